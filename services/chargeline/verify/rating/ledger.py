"""What the closes of one account's periods have booked, and what they must remember.

Source: spec/rating.md, sections 8, 9 and 12.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from chargeline.verify.rating.entries import Identity
from chargeline.verify.rating.times import Period


@dataclass(frozen=True)
class Draw:
    """What a charge took from a grant, picounits. `place`: see `ChargeSum`."""

    origin: Identity | None
    sku_id: str | None
    place: tuple[object, ...]
    grant_id: str
    amount: int


@dataclass
class Ledger:
    """One account's books; amounts in picounits of the billing currency.

    Attributes:
        reached: R of each commitment that a close has known.
        true_ups: of each commitment whose term has ended, what has been booked; `ended`: in which period it did.
        usage: by period of the usage and currency, what it cost before credits: purchases when they are used.
        minimums: by closed period, (the minimum, what has been booked to reach it, currency).
        drawn: of each grant, what is used up; `draws` are the single uses, oldest first.
        forfeited: grants whose rest was taken.
    """

    account: str
    reached: dict[str, int] = field(default_factory=dict)
    true_ups: dict[str, int] = field(default_factory=dict)
    ended: dict[str, Period] = field(default_factory=dict)
    usage: dict[tuple[Period, str], int] = field(default_factory=lambda: defaultdict(int))
    minimums: dict[Period, tuple[int, int, str]] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    draws: list[Draw] = field(default_factory=list)
    forfeited: set[str] = field(default_factory=set)


@dataclass
class ChargeSum:
    """What one record, scope or fee costs for one SKU at one instant, on its way through commitments and credits.

    Attributes:
        usage: the billing period that it is about.
        due: what is left of it; changes.
        commitment: of which it is the true-up.
        charge_class: of its entries.
    """

    origin: Identity | None
    sku_id: str | None
    project: str | None
    charge_time: int
    usage: Period
    currency: str
    due: int
    is_minimum: bool
    commitment: str | None = None
    charge_class: str | None = None

    @property
    def place(self) -> tuple[object, ...]:
        """By this a negative charge without an event finds what was drawn."""
        return (self.sku_id, self.project, self.usage, self.is_minimum, self.commitment)

    @property
    def event_id(self) -> str | None:
        return None if self.origin is None else self.origin[2]
