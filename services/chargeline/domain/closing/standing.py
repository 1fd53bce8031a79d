"""Standing fees: once a billing period for each subscribed quantity, prorated by whole days.

Source: spec/rating.md, section 4.2; spec/allocation.md, section 1; spec/formats.md, section 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.entries import Booked, Period, Rate, Scope, Span, of_rate, q12
from chargeline.domain.closing.proration import DAY, days_between, days_in_use


@dataclass(frozen=True)
class FeeVersion:
    """A fee while it is in force for the account: the card's validity, cut to that of the account or contract.

    Attributes:
        amount: for one subscribed unit and a whole period, in the pricing currency, after percentage discounts, >= 0.
        in_advance: booked at the start of the part in use; else at the close of the period.
    """

    used: Span
    amount: Fraction
    in_advance: bool
    rate: Rate


@dataclass(frozen=True)
class StandingFee:
    """One subscription, or a fee that is due without one.

    Attributes:
        changes: those of one day count together; they stay in every later period.
        versions: without overlaps, ascending.
    """

    scope: Scope
    changes: tuple[SubscriptionChange, ...]
    versions: tuple[FeeVersion, ...]


def without_subscription(start: int) -> tuple[SubscriptionChange, ...]:
    """A fee of an account or contract card that no subscription names is due with quantity 1 (spec/formats.md 4)."""
    return (SubscriptionChange(start, Decimal(1)),)


def quantity_spans(changes: Sequence[SubscriptionChange], period: Period) -> list[tuple[Span, Fraction]]:
    """The running quantity over the days of a period, in spans that join; the first begins with the period.

    A UTC day has the quantity that is in force just before it ends.
    """
    by_day: dict[int, Fraction] = {}
    for change in changes:
        day = max(change.at // DAY * DAY, period.start)
        if day < period.end:
            by_day[day] = by_day.get(day, Fraction(0)) + Fraction(change.quantity)
    starts = sorted({period.start, *by_day})
    spans: list[tuple[Span, Fraction]] = []
    running = Fraction(0)
    for start, end in zip(starts, [*starts[1:], period.end], strict=True):
        running += by_day.get(start, Fraction(0))
        spans.append((Span(start, end), running))
    return spans


def standing_entries(fee: StandingFee, period: Period) -> list[Booked]:
    """The STANDING_FEE entries of a fee in one period: those in advance by time, then one for each version in arrears.

    Quantities are unit-periods: a unit for half the days of the period counts 0.5. An entry of quantity 0 is left out.
    """
    arrears = (
        _entry(fee.scope, version, _unit_periods(fee.changes, version.used, period), period.last)
        for version in fee.versions
        if not version.in_advance
    )
    return [*_in_advance(fee, period), *(entry for entry in arrears if entry.pricing_quantity != 0)]


def _unit_periods(changes: Sequence[SubscriptionChange], used: Span, period: Period) -> Fraction:
    days = days_between(period.start, period.end)
    total = Fraction(0)
    for span, quantity in quantity_spans(changes, period):
        assert span.end is not None
        total += quantity * days_in_use(used, Period(span.start, span.end))
    return total / days


def _in_advance(fee: StandingFee, period: Period) -> Iterator[Booked]:
    """A change books the rest of the period anew: what was booked for these days is credited, the new is charged."""
    days = days_between(period.start, period.end)
    old: FeeVersion | None = None
    old_quantity = Fraction(0)
    for start, quantity in _steps(fee, period):
        version = _in_force(fee.versions, start)
        rest = Fraction(days_between(start, period.end), days)
        added = [(version, quantity - old_quantity)]
        anew = [(old, -old_quantity), (version, quantity)]
        for each, units in added if version is old else anew:
            if each is not None and units != 0:
                yield _entry(fee.scope, each, units * rest, start)
        old, old_quantity = version, quantity


def _steps(fee: StandingFee, period: Period) -> list[tuple[int, Fraction]]:
    """(day, quantity) wherever the quantity or the version in force may change within the period."""
    spans = quantity_spans(fee.changes, period)
    edges = {
        edge // DAY * DAY for each in fee.versions for edge in (each.used.start, each.used.end) if edge is not None
    }
    days = sorted({span.start for span, _ in spans} | {edge for edge in edges if period.start <= edge < period.end})
    return [(day, next(quantity for span, quantity in reversed(spans) if span.start <= day)) for day in days]


def _in_force(versions: Sequence[FeeVersion], day: int) -> FeeVersion | None:
    """The version, if booked in advance, that is in force just before the end of the day that starts at `day`."""
    for version in versions:
        end = version.used.end
        if version.in_advance and version.used.start < day + DAY and (end is None or end >= day + DAY):
            return version
    return None


def _entry(scope: Scope, version: FeeVersion, units: Fraction, event_time: int) -> Booked:
    return of_rate(
        version.rate,
        scope,
        q12(version.amount * units),
        entry_kind="STANDING_FEE",
        charge_category="PURCHASE",
        event_time=event_time,
        tier=1,
        quantity=units,
        unit_price=version.amount,
    )
