"""What the closes of one account's periods have booked, and what they must remember.

Source: spec/rating.md, sections 8, 9 and 12.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from chargeline.verify.rating.entries import Identity
from chargeline.verify.rating.times import Period


@dataclass(frozen=True)
class Draw:
    """What a charge took from a grant, picounits."""

    origin: Identity | None
    sku_id: str | None
    grant_id: str
    amount: int


@dataclass
class Ledger:
    """One account's books; amounts in picounits of the billing currency.

    Attributes:
        reached: R of each commitment.
        true_ups: of each commitment whose term has ended, what has been booked.
        usage: by period of the usage, what was booked before credits.
        minimums: by closed period, (the minimum, what has been booked to reach it).
        drawn: of each grant, what is used up; `draws` are the single uses, oldest first.
        forfeited: grants whose rest was taken.
    """

    account: str
    reached: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    true_ups: dict[str, int] = field(default_factory=dict)
    usage: dict[Period, int] = field(default_factory=lambda: defaultdict(int))
    minimums: dict[Period, tuple[int, int]] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    draws: list[Draw] = field(default_factory=list)
    forfeited: set[str] = field(default_factory=set)


@dataclass
class ChargeSum:
    """What one record or scope charges for one SKU, on its way through commitments and credits; `due` changes."""

    origin: Identity | None
    sku_id: str | None
    project: str | None
    charge_time: int
    currency: str
    due: int
    is_minimum: bool

    @property
    def event_id(self) -> str | None:
        return None if self.origin is None else self.origin[2]
