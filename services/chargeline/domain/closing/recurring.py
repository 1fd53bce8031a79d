"""Recurring units such as seats: subscribed quantities priced by tiers, prorated by whole days.

The tier is chosen by full units, the price is paid for prorated ones. Source: spec/allocation.md, section 1;
spec/rating.md, section 4.5.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.entries import Booked, Period, Rate, Scope, Span, in_billing_currency, of_rate, q12
from chargeline.domain.closing.proration import day_share
from chargeline.domain.closing.standing import quantity_spans
from chargeline.domain.rate_card import Tier


@dataclass(frozen=True)
class RecurringUnits:
    """A subscription to a SKU with `quantity: recurring_units`.

    Attributes:
        tiers: ascending; a per_unit rate has one.
        is_volume: all units pay the price of one tier; else each pays that of the tier it lies in.
        used: when the rate is in force for the account.
        factor: what percentage discounts leave of every price and flat fee.
    """

    scope: Scope
    rate: Rate
    tiers: tuple[Tier, ...]
    is_volume: bool
    changes: tuple[SubscriptionChange, ...]
    used: Span
    factor: Fraction = Fraction(1)


def recurring_entries(units: RecurringUnits, period: Period) -> list[Booked]:
    """The entries of recurring units in one period, in order of the changes, then of the tiers.

    Units of earlier periods count from the start of the period on. Running quantities below 0 count as 0.
    """
    steps = _shares(units, period)
    made = _volume(units, steps, period.last) if units.is_volume else _graduated(units, steps, period.last)
    return list(_not_below_zero(made))


def _shares(units: RecurringUnits, period: Period) -> list[tuple[Fraction, Fraction, Fraction]]:
    """(full units before, full units after, share of the period that is left) of each change that has days left."""
    steps: list[tuple[Fraction, Fraction, Fraction]] = []
    running = Fraction(0)
    for span, full in quantity_spans(units.changes, period):
        share = day_share(Span(max(span.start, units.used.start), units.used.end), period)
        after = max(full, Fraction(0))
        if after != running and share > 0:
            steps.append((running, after, share))
        running = after
    return steps


def _graduated(
    units: RecurringUnits, steps: Sequence[tuple[Fraction, Fraction, Fraction]], event_time: int
) -> Iterator[Booked]:
    entered: set[int] = set()
    for before, after, share in steps:
        for number, tier in enumerate(units.tiers, 1):
            lower = _lower(units.tiers, number)
            if after > lower or number == 1:
                if number not in entered and tier.flat_fee:
                    yield _flat(units, number, event_time)
                entered.add(number)
            count = _priced_units(tier, lower, after) - _priced_units(tier, lower, before)
            if count:
                yield _unit(units, number, count * share, event_time)


def _volume(
    units: RecurringUnits, steps: Sequence[tuple[Fraction, Fraction, Fraction]], event_time: int
) -> Iterator[Booked]:
    """One tier for all: that of the most full units in use at one time in the period."""
    if not steps:
        return
    most = max(after for _, after, _ in steps)
    number = next(n for n, tier in enumerate(units.tiers, 1) if tier.up_to is None or most <= Fraction(tier.up_to))
    tier = units.tiers[number - 1]
    prorated = sum(((after - before) * share for before, after, share in steps), Fraction(0))
    count = _priced_units(replace(tier, up_to=None), Fraction(0), prorated)
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
    """Cut an entry that would bring the sum of the scope below zero."""
    total = 0
    for entry in entries:
        assert entry.pricing_cost is not None
        assert entry.rate is not None
        cost = max(entry.pricing_cost, -total)
        total += cost
        if cost != entry.pricing_cost:
            amount = in_billing_currency(cost, entry.rate.fx)
            yield replace(entry, pricing_cost=cost, contracted_cost=amount, billed_cost=amount, effective_cost=amount)
        else:
            yield entry
