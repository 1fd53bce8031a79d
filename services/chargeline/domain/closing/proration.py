"""Proration: which share of a billing period's fee is due for the time in use (spec/allocation.md 1)."""

from fractions import Fraction

from chargeline.domain.closing.entries import Period, Span
from chargeline.domain.errors import Refused

DAY = 86_400 * 1_000_000
SECOND = 1_000_000


def days_between(start: int, end: int) -> int:
    """Whole UTC days of [start, end): the day of the start counts, the day of the end does not.

    Over any chain of times that join, every day is counted exactly once.
    """
    return max(0, end // DAY - start // DAY)


def days_in_use(used: Span, period: Period) -> int:
    """Whole UTC days of a time in use that lie in the billing period."""
    return days_between(*_clipped(used, period))


def seconds_between(start: int, end: int) -> Fraction:
    """The exact seconds of [start, end)."""
    return Fraction(max(0, end - start), SECOND)


def seconds_in_use(used: Span, period: Period) -> Fraction:
    """The exact seconds of a time in use that lie in the billing period; for comparisons, not for fees."""
    return seconds_between(*_clipped(used, period))


def _clipped(used: Span, period: Period) -> tuple[int, int]:
    end = period.end if used.end is None else min(used.end, period.end)
    return max(used.start, period.start), end


def day_share(used: Span, period: Period) -> Fraction:
    """Days in use / days of the account's own billing period.

    Raises:
        Refused: EMPTY_PERIOD, where the period has no whole day.
    """
    days = days_between(period.start, period.end)
    if days == 0:
        raise Refused("EMPTY_PERIOD", "the billing period has no whole UTC day; give one of at least a day")
    return Fraction(days_in_use(used, period), days)


def second_share(used: Span, period: Period) -> Fraction:
    """Seconds in use / seconds of the period. Raises Refused (EMPTY_PERIOD) for a period without length."""
    if period.end <= period.start:
        raise Refused("EMPTY_PERIOD", "the billing period must end after its start")
    return seconds_in_use(used, period) / seconds_between(period.start, period.end)


def prorate(amount: Fraction, used: Span, period: Period) -> Fraction:
    """The part of a period's amount that is due for the time in use, by whole UTC days, exact.

    Source: spec/allocation.md, section 1 (day rule).
    """
    return amount * day_share(used, period)
