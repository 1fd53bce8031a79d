"""Instants in microseconds since 1970 UTC, billing periods, UTC days and local time bands.

Source: spec/rating.md, sections 1 (billing_period) and 5 (time_band); spec/allocation.md, section 1 (day rule).
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?Z", re.ASCII)
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class Period(NamedTuple):
    """A billing period [start, end)."""

    start: int
    end: int

    @property
    def days(self) -> int:
        return (self.end - self.start) // DAY


@lru_cache(maxsize=10_000)
def micros(text: str) -> int:
    """Raises ValueError where the text is no instant in UTC with Z, to microseconds (spec/formats.md 1)."""
    if not _INSTANT.fullmatch(text):
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def open_micros(text: str | None) -> int | None:
    return None if text is None else micros(text)


def instant(time: int) -> str:
    """ISO 8601 with Z; microseconds only where there are any."""
    moment = moment_of(time)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{moment.microsecond:06d}" if moment.microsecond else "") + "Z"


def moment_of(time: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time)


def utc_date(time: int) -> str:
    return moment_of(time).date().isoformat()


def period_of(time: int, cycle_day: int) -> Period:
    """The billing period of an instant: one month from the cycle day at 00:00Z."""
    return _period_of_day(time // DAY, cycle_day)


@lru_cache(maxsize=10_000)
def _period_of_day(day: int, cycle_day: int) -> Period:
    moment = moment_of(day * DAY)
    year, month = moment.year, moment.month
    if moment.day < cycle_day:
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    following = (year, month + 1) if month < 12 else (year + 1, 1)
    return Period(_midnight(year, month, cycle_day), _midnight(*following, cycle_day))


def _midnight(year: int, month: int, day: int) -> int:
    return (datetime(year, month, day, tzinfo=UTC) - _EPOCH).days * DAY


def months_before(time: int, months: int) -> int:
    """The same time of day so many months earlier; a day that the month lacks is its last day."""
    moment = moment_of(time)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    first = _midnight(year, month + 1, 1)
    last = period_of(first, 1).days
    return first + (min(moment.day, last) - 1) * DAY + time % DAY


def day_ends(period: Period) -> list[int]:
    """The last microsecond of every UTC day of a period: what is in force then has the day."""
    return [start + DAY - 1 for start in range(period.start, period.end, DAY)]


def band_of(time: int, modifier: dict[str, Any]) -> int | None:
    """The number of the time band that holds at an instant; null where none does.

    The wall clock decides: in a repeated hour both instants are in the band, in a skipped hour there is none. A band
    that ends at or before its start passes midnight and belongs to the weekday of its start.
    """
    local = moment_of(time).astimezone(ZoneInfo(modifier["time_zone"]))
    today, yesterday = _WEEKDAYS[local.weekday()], _WEEKDAYS[local.weekday() - 1]
    now = (local.hour * 60 + local.minute) * MINUTE + local.second * SECOND + local.microsecond
    for at, band in enumerate(modifier["bands"]):
        start, end = _wall(band["from"]), _wall(band["to"])
        if start < end:
            inside = today in band["weekdays"] and start <= now < end
        else:
            inside = (today in band["weekdays"] and now >= start) or (yesterday in band["weekdays"] and now < end)
        if inside:
            return at
    return None


def band_changes(start: int, end: int, modifier: dict[str, Any]) -> list[int]:
    """The instants inside (start, end) at which another band begins to hold.

    Since 2000 every zone is a whole number of quarters of an hour from UTC: only minutes that agree with a band's edge
    modulo a quarter, and quarters themselves (changes of summer time), can be such an instant.
    """
    edges = {0} | {_wall(band[side]) // MINUTE % 15 for band in modifier["bands"] for side in ("from", "to")}
    changes, last = [], band_of(start, modifier)
    for time in range(start - start % MINUTE + MINUTE, end, MINUTE):
        if time // MINUTE % 15 not in edges:
            continue
        now = band_of(time, modifier)
        if now != last:
            changes.append(time)
        last = now
    return changes


def _wall(text: str) -> int:
    hours, minutes = text.split(":")[:2]
    return (int(hours) * 60 + int(minutes)) * MINUTE
