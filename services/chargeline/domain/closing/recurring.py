"""Recurring units such as seats in tiers: the tier is that of the full units, the price is prorated by whole days.

Units with one price are standing fees. Source: spec/allocation.md, section 1; spec/rating.md, section 4.5.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.entries import Booked, Period, Rate, Scope, Span, at_rate, of_rate, q12
from chargeline.domain.closing.fee_parts import fee_parts
from chargeline.domain.closing.proration import days_between
from chargeline.domain.rates.card import Tier


@dataclass(frozen=True)
class RecurringUnits:
    """A subscription to a SKU with `quantity: recurring_units` that is priced by tiers.

    Attributes:
        tiers: ascending.
        is_volume: all units pay the price of one tier; else each pays that of the tier it lies in.
        used: when a rate of the SKU is in force for the account, without overlaps; the first one is paid all the time.
        factor: what percentage discounts leave of every price and flat fee.
    """

    scope: Scope
    rate: Rate
    tiers: tuple[Tier, ...]
    is_volume: bool
    changes: tuple[SubscriptionChange, ...]
    used: tuple[Span, ...]
    factor: Fraction = Fraction(1)


@dataclass(frozen=True)
class _Step:
    """A change of the full units in use; `share`: days in use from then on / days of the period."""

    before: Fraction
    after: Fraction
    share: Fraction


def recurring_entries(units: RecurringUnits, period: Period) -> list[Booked]:
    """The entries of recurring units in one period, in order of the changes, then of the tiers.

    Units of earlier periods count from the start of the period on, or from the first day on which a rate is in force.
    """
    steps = _steps(units, period)
    made = _volume(units, steps, period.last) if units.is_volume else _graduated(units, steps, period.last)
    return list(_not_below_zero(made))


def _steps(units: RecurringUnits, period: Period) -> list[_Step]:
    parts = fee_parts(units.changes, [(used, True) for used in units.used], period)
    in_use = [part for part in parts if part.version is not None]
    left, whole = sum(part.days for part in in_use), days_between(period.start, period.end)
    steps: list[_Step] = []
    running = Fraction(0)
    for part in in_use:
        if part.quantity != running:
            steps.append(_Step(running, part.quantity, Fraction(left, whole)))
        running = part.quantity
        left -= part.days
    return steps


def _graduated(units: RecurringUnits, steps: Sequence[_Step], event_time: int) -> Iterator[Booked]:
    entered: set[int] = set()
    for step in steps:
        for number, tier in enumerate(units.tiers, 1):
            lower = _lower(units.tiers, number)
            if step.after > lower or number == 1:
                if number not in entered and tier.flat_fee:
                    yield _flat(units, number, event_time)
                entered.add(number)
            count = _priced_units(tier, lower, step.after) - _priced_units(tier, lower, step.before)
            if count:
                yield _unit(units, number, count * step.share, event_time)


def _volume(units: RecurringUnits, steps: Sequence[_Step], event_time: int) -> Iterator[Booked]:
    """One tier for all: that of the most full units in use at one time in the period.

    Blocks are of full units, as in graduated tiers; their price is prorated by days.
    """
    if not steps:
        return
    most = max(step.after for step in steps)
    number = next(n for n, tier in enumerate(units.tiers, 1) if tier.up_to is None or most <= Fraction(tier.up_to))
    tier = replace(units.tiers[number - 1], up_to=None)
    zero = Fraction(0)
    blocks = [_priced_units(tier, zero, step.after) - _priced_units(tier, zero, step.before) for step in steps]
    count = sum((each * step.share for each, step in zip(blocks, steps, strict=True)), zero)
    if tier.flat_fee:
        yield _flat(units, number, event_time)
    if count:
        yield _unit(units, number, count, event_time)


def _lower(tiers: Sequence[Tier], number: int) -> Fraction:
    bound = Decimal(0) if number == 1 else tiers[number - 2].up_to
    assert bound is not None, "only the last tier is open"
    return Fraction(bound)


def _priced_units(tier: Tier, lower: Fraction, total: Fraction) -> Fraction:
    """Units, or blocks begun, of the tier's part of so many full units."""
    upper = total if tier.up_to is None else min(total, Fraction(tier.up_to))
    inside = max(Fraction(0), upper - lower)
    if tier.block_size is None:
        return inside
    blocks = inside / Fraction(tier.block_size)
    return Fraction(-(-blocks.numerator // blocks.denominator))


def _flat(units: RecurringUnits, number: int, event_time: int) -> Booked:
    fee = units.tiers[number - 1].flat_fee
    return _entry(units, number, "TIER_FLAT", Fraction(1), Fraction(fee) * units.factor, event_time)


def _unit(units: RecurringUnits, number: int, count: Fraction, event_time: int) -> Booked:
    unit_price = Fraction(units.tiers[number - 1].unit_price) * units.factor
    return _entry(units, number, "UNIT", count, unit_price, event_time)


def _entry(
    units: RecurringUnits, number: int, kind: str, quantity: Fraction, unit_price: Fraction, event_time: int
) -> Booked:
    return of_rate(
        units.rate,
        units.scope,
        q12(unit_price * quantity),
        entry_kind=kind,
        charge_category="PURCHASE",
        event_time=event_time,
        tier=number,
        quantity=quantity,
        unit_price=unit_price,
    )


def _not_below_zero(entries: Iterator[Booked]) -> Iterator[Booked]:
    """Cut an entry that would bring the sum of the scope below zero: roundings of several entries might."""
    total = 0
    for entry in entries:
        assert entry.pricing_cost is not None
        assert entry.rate is not None
        cost = max(entry.pricing_cost, -total)
        total += cost
        yield entry if cost == entry.pricing_cost else at_rate(replace(entry, pricing_cost=cost), entry.rate.fx)
