"""Periods of budgets: days, weeks and months in UTC, and fixed dates. All are half-open, [start, end)."""

from dataclasses import dataclass
from datetime import date, timedelta

DAY_US = 86_400 * 1_000_000
DAILY, WEEKLY, MONTHLY, FIXED = "daily", "weekly", "monthly", "fixed"
KINDS = (DAILY, WEEKLY, MONTHLY, FIXED)
_EPOCH = date(1970, 1, 1)
_MONDAY = 4  # 1970-01-05, the first Monday, is day 4


@dataclass(frozen=True)
class Period:
    """A kind of period; `first_day` (inclusive) and `end_day` (exclusive) of fixed dates, None for the others."""

    kind: str
    first_day: date | None = None
    end_day: date | None = None

    def bounds(self, at: int) -> tuple[int, int] | None:
        """Start and end of the period that holds an instant (microseconds since 1970 UTC); None: outside its dates.

        A week begins on Monday (ISO 8601), a day at 00:00 UTC.
        """
        day = at // DAY_US
        if self.kind == FIXED:
            assert self.first_day is not None
            assert self.end_day is not None
            start, end = _number(self.first_day), _number(self.end_day)
            return (start * DAY_US, end * DAY_US) if start <= day < end else None
        if self.kind == DAILY:
            return day * DAY_US, (day + 1) * DAY_US
        if self.kind == WEEKLY:
            start = (day - _MONDAY) // 7 * 7 + _MONDAY
            return start * DAY_US, (start + 7) * DAY_US
        first = (_EPOCH + timedelta(days=day)).replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
        return _number(first) * DAY_US, _number(following) * DAY_US

    def __str__(self) -> str:
        return f"{self.first_day}..{self.end_day}" if self.kind == FIXED else self.kind


def period_of(text: str) -> Period:
    """The period of its text: daily, weekly, monthly, or 2026-06-01..2026-09-01 (end exclusive).

    Raises:
        ValueError: it is none of these, or ends before it begins.
    """
    if text in (DAILY, WEEKLY, MONTHLY):
        return Period(text)
    first, dots, end = text.partition("..")
    if not dots:
        raise ValueError(f"{text} is not daily, weekly, monthly or two dates such as 2026-06-01..2026-09-01")
    period = Period(FIXED, date.fromisoformat(first), date.fromisoformat(end))
    if str(period) != text or date.fromisoformat(first) >= date.fromisoformat(end):
        raise ValueError(f"{text} is not a first day and a later end such as 2026-06-01..2026-09-01")
    return period


def _number(day: date) -> int:
    return (day - _EPOCH).days
