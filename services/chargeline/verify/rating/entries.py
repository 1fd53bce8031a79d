"""Entries of charges and the rows that hold them; how they are written out.

Source: spec/rating.md, section 1; spec/formats.md, section 6.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from chargeline.verify.rating.accumulate import ScopeKey
from chargeline.verify.rating.numbers import money, price, quantity, rounded, variance
from chargeline.verify.rating.times import Period, instant

Identity = tuple[str, str, str]


@dataclass(frozen=True)
class Entry:
    """One component of a charge. Amounts are picounits; unit prices are in the pricing currency.

    Attributes:
        period: the billing period in which it is billed; `charge_time` lies in that of the usage.
        billed: null: as contracted.
        event_id: the charge that an entry of another object is about; `origin` is the event behind any entry.
        usage: the closed period that a correction of a close is about; else null.
        is_minimum: credits pay it only where the grant says so.
        waived: what the owner did not have to pay (bill_zero).
    """

    kind: str
    account: str
    period: Period
    charge_time: int
    currency: str
    contracted: int
    listed: int = 0
    billed: int | None = None
    effective: int | None = None
    sku_id: str | None = None
    variant: str | None = None
    sku_price_id: str | None = None
    rate_card_id: str | None = None
    rate_card_version: int | None = None
    leaf: str | None = None
    pricing_quantity: Fraction | None = None
    pricing_unit: str | None = None
    list_unit_price: Fraction | None = None
    contracted_unit_price: Fraction | None = None
    pricing_currency: str | None = None
    pricing_cost: int = 0
    fx_rate: Fraction | None = None
    charge_class: str | None = None
    event_id: str | None = None
    project: str | None = None
    waived: int | None = None
    pool: str | None = None
    is_estimated: bool = False
    origin: Identity | None = None
    usage: Period | None = None
    is_minimum: bool = False

    @property
    def effective_cost(self) -> int:
        return self.billed_cost if self.effective is None else self.effective

    @property
    def billed_cost(self) -> int:
        return self.contracted if self.billed is None else self.billed

    def reversed(self, period: Period, charge_class: str | None) -> "Entry":
        """The exact negative, with the original's rate of exchange."""
        return replace(
            self,
            kind="REVERSAL",
            period=period,
            charge_class=charge_class,
            contracted=-self.contracted,
            listed=-self.listed,
            pricing_cost=-self.pricing_cost,
            pricing_quantity=None if self.pricing_quantity is None else -self.pricing_quantity,
            waived=None if self.waived is None else -self.waived,
        )

    def written(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "entry_kind": self.kind,
            "sku_id": self.sku_id,
            "sku_price_id": self.sku_price_id,
            "rate_card_id": self.rate_card_id,
            "rate_card_version": self.rate_card_version,
            "leaf": self.leaf,
            "pricing_quantity": None if self.pricing_quantity is None else quantity(self.pricing_quantity),
            "pricing_unit": self.pricing_unit,
            "list_unit_price": None if self.list_unit_price is None else price(self.list_unit_price),
            "contracted_unit_price": None if self.contracted_unit_price is None else price(self.contracted_unit_price),
            "contracted_cost": money(self.contracted),
            "list_cost": money(self.listed),
        }
        if self.billed is not None:
            found["billed_cost"] = money(self.billed)
        if self.effective is not None:
            found["effective_cost"] = money(self.effective)
        if self.fx_rate is not None:
            found |= {"pricing_currency": self.pricing_currency, "pricing_cost": money(self.pricing_cost),
                      "fx_rate": price(self.fx_rate)}  # fmt: skip
        optional = {"charge_class": self.charge_class, "event_id": self.event_id, "pool": self.pool}
        found |= {name: value for name, value in optional.items() if value is not None}
        if self.waived is not None:
            found["waived_cost"] = money(self.waived)
        if self.is_estimated:
            found["estimated"] = True
        return found


def converted(picos: int, rate: Fraction | None) -> int:
    """Q12 of an amount in the billing currency, from the stored Q12 of the pricing amount."""
    return picos if rate is None else rounded(picos * rate)


@dataclass(frozen=True)
class Move:
    """What an event put into a scope: base units, and the picounits (pricing currency) that its entries booked."""

    scope: ScopeKey
    quantity: int
    amount: int
    project: str | None
    fx_rate: Fraction | None
    charge_time: int


@dataclass(frozen=True)
class Row:
    """What one record booked. `scope`: null for events, else what the entries are about.

    Attributes:
        foreign: entries of another account: what was waived to the owner.
        variance: of the estimate, exact; null: not sampled.
        signature: which rates, factors and exchange rates were used; equal ones need no re-rating.
    """

    account: str
    period: Period | None
    currency: str | None
    entries: tuple[Entry, ...] = ()
    foreign: tuple[Entry, ...] = ()
    moves: tuple[Move, ...] = ()
    variance: Fraction | None = None
    signature: tuple[Any, ...] = ()
    match_kind: str = "NONE"
    identity: Identity | None = None
    scope: dict[str, Any] | None = None
    reason: str | None = None

    def written(self, outcome: str, event_id: str | None) -> dict[str, Any]:
        is_priced = outcome != "UNRATED"
        cost = sum(entry.contracted for entry in self.entries)
        billed = sum(entry.billed_cost for entry in self.entries)
        about: dict[str, Any] = {"scope": self.scope} if self.scope is not None else {"event_id": event_id}
        found = about | {
            "outcome": outcome,
            "reason": self.reason,
            "billing_period": None if self.period is None else instant(self.period.start),
            "contracted_cost": money(cost) if is_priced else None,
            "billed_cost": money(billed) if is_priced else None,
            "billing_currency": self.currency if is_priced else None,
            "entries": [entry.written() for entry in self.entries],
        }
        if self.variance is not None:
            found["cost_variance"] = variance(self.variance)
        return found
