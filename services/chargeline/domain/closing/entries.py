"""Booked entries as the close of a billing period reads and makes them.

Amounts are whole picounits (1e-12) of the billing currency; quantities are whole 1e-12 of the pricing unit; instants
are microseconds since 1970 UTC. Source: spec/rating.md, sections 1 and 2; spec/formats.md, section 6.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.columns.exact import AMOUNT_LIMIT
from chargeline.domain.errors import Refused
from chargeline.domain.money import PICOS, round_half_away

Coordinate = tuple[int, int, int]  # partition, offset, index
EVERY_SKU = "*"
CORRECTION = "CORRECTION"


@dataclass(frozen=True)
class Span:
    """A half-open time [start, end); `end` None: open."""

    start: int
    end: int | None

    def holds(self, time: int) -> bool:
        """Whether an instant lies in it."""
        return self.start <= time and (self.end is None or time < self.end)


@dataclass(frozen=True)
class Period:
    """A billing period [start, end); both lie at 00:00 UTC."""

    start: int
    end: int

    @property
    def last(self) -> int:
        """The last instant of the period: when its close books."""
        return self.end - 1


PeriodOf = Callable[[int], Period]  # an account's billing period of an instant


@dataclass(frozen=True)
class Scope:
    """What an entry without an event of its own belongs to; exactly one of the ids, or the account minimum.

    Attributes:
        by: attributes of the event that name the scope, e.g. its project, sorted; None: the event has none.
        window_start: start of a window shorter than the billing period.
    """

    sku_id: str | None = None
    variant: str | None = None
    by: tuple[tuple[str, str | None], ...] = ()
    window_start: int | None = None
    subscription_id: str | None = None
    commitment_id: str | None = None
    grant_id: str | None = None
    account_minimum: bool = False


@dataclass(frozen=True)
class Rate:
    """Which rate an entry comes from, and how its pricing currency becomes the billing currency.

    Attributes:
        currency: the pricing currency.
        fx: billing units for one pricing unit, at the date of the entry.
    """

    sku_id: str
    variant: str | None = None
    rate_card_id: str | None = None
    rate_card_version: int | None = None
    pricing_unit: str | None = None
    currency: str | None = None
    fx: Fraction = Fraction(1)

    def sku_price_id(self, tier: int) -> str:
        """The price point of a tier, from 1."""
        middle = "" if self.variant is None else f"/{self.variant}"
        return f"{self.sku_id}{middle}/{tier}"


@dataclass(frozen=True)
class Booked:
    """One entry of (account, billing period).

    Attributes:
        event: coordinate of the record whose charge this is, or is drawn on; None: of no single event.
        event_id: its id, for people.
        corrects: the event that the entry is about, where `event` alone does not tell: one that a record takes back or
            books anew. A coordinate, or any other name that is the same at every close.
        event_time: by which commitments and credits are chosen.
        scope: the accumulating scope of an event's entry; what an entry of the close belongs to.
        rate: the rate of a fee, opening, settlement or rate true-up; with `pricing_cost`, its amount in the pricing
            currency, and, for entries with a price point, `pricing_quantity` and `unit_price`.
        usage: the closed period that an entry of class CORRECTION is about; else None, or that which closes.
        credit_amount: what the entry takes out of a grant (negative: gives back); 0 for other entries.
    """

    entry_kind: str
    charge_category: str
    event_time: int
    contracted_cost: int
    billed_cost: int
    effective_cost: int
    event: Coordinate | None = None
    event_id: str | None = None
    corrects: Coordinate | str | None = None
    sku_id: str | None = None
    sku_price_id: str | None = None
    project: str | None = None
    charge_class: str | None = None
    scope: Scope | None = None
    rate: Rate | None = None
    pricing_quantity: int | None = None
    unit_price: Fraction | None = None
    pricing_cost: int | None = None
    usage: Period | None = None
    credit_amount: int = 0


def q12(units: Fraction) -> int:
    """An exact amount or quantity as whole 1e-12 steps, rounded once, half away from zero.

    Raises:
        Refused: AMOUNT_OVERFLOW, from 1e26 units on.

    Source: spec/rating.md, section 2.
    """
    picos = round_half_away(units.numerator * PICOS, units.denominator)
    if abs(picos) >= AMOUNT_LIMIT:
        raise Refused("AMOUNT_OVERFLOW", f"an amount of 1e26 or more cannot be booked: about {picos // PICOS}")
    return picos


def in_billing_currency(pricing_cost: int, fx: Fraction) -> int:
    """A stored pricing amount in the billing currency (spec/rating.md 5)."""
    return q12(Fraction(pricing_cost, PICOS) * fx)


def of_rate(
    rate: Rate,
    scope: Scope,
    pricing_cost: int,
    *,
    entry_kind: str,
    charge_category: str,
    event_time: int,
    tier: int | None = None,
    quantity: Fraction | None = None,
    unit_price: Fraction | None = None,
    project: str | None = None,
    charge_class: str | None = None,
    usage: Period | None = None,
) -> Booked:
    """An entry of a rate that the close books: its three costs are equal until commitments and credits see it.

    Args:
        pricing_cost: in the pricing currency.
        tier: number of the price point, from 1; None: an entry without one.
    """
    amount = in_billing_currency(pricing_cost, rate.fx)
    return Booked(
        entry_kind,
        charge_category,
        event_time,
        amount,
        amount,
        amount,
        sku_id=rate.sku_id,
        sku_price_id=None if tier is None else rate.sku_price_id(tier),
        project=project,
        charge_class=charge_class,
        scope=scope,
        rate=rate,
        pricing_quantity=None if quantity is None else q12(quantity),
        unit_price=unit_price,
        pricing_cost=pricing_cost,
        usage=usage,
    )


def at_rate(entry: Booked, fx: Fraction) -> Booked:
    """An entry of a rate with its three costs converted anew from its pricing amount."""
    assert entry.rate is not None
    assert entry.pricing_cost is not None
    amount = in_billing_currency(entry.pricing_cost, fx)
    rate = replace(entry.rate, fx=fx)
    return replace(entry, rate=rate, contracted_cost=amount, billed_cost=amount, effective_cost=amount)


def covers_sku(sku_ids: Collection[str], sku_id: str | None) -> bool:
    """Whether a filter of SKUs lets an entry through; one without a SKU passes only where every SKU does."""
    return EVERY_SKU in sku_ids or sku_id in sku_ids
