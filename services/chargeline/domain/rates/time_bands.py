"""Time bands: which band of a table holds at an instant, for many instants at once.

Source: spec/rating.md, section 5.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np

from chargeline.domain.columns.exact import Int64Array
from chargeline.domain.rates.card import TimeBands
from chargeline.domain.time_zones import time_zone

_SECOND = 1_000_000
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, 86_400 * _SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THURSDAY = 3  # 1970-01-01; 0 is Monday


def band_at(bands: TimeBands, time: Int64Array) -> Int64Array:
    """The number of the band that holds at each instant (microseconds since 1970 UTC); -1: none.

    The wall clock decides: in a repeated hour both instants match, in a skipped hour none does.
    """
    local = time + offsets(bands.time_zone, time)
    day = local // _DAY
    minute = (local - day * _DAY) // _MINUTE
    weekday = (day + _THURSDAY) % 7
    found = np.full(len(time), -1, np.int64)
    for number, band in enumerate(bands.bands):
        today = np.isin(weekday, band.weekdays)
        if band.start < band.end:
            inside = today & (minute >= band.start) & (minute < band.end)
        else:  # past midnight: the weekday is that of the start
            yesterday = np.isin((weekday - 1) % 7, band.weekdays)
            inside = (today & (minute >= band.start)) | (yesterday & (minute < band.end))
        found[inside] = number
    return found


def band_changes(bands: TimeBands, start: int, end: int) -> list[int]:
    """The instants inside (start, end) at which another band begins to hold, or none. They are whole minutes."""
    times = np.append(start, np.arange(start - start % _MINUTE + _MINUTE, end, _MINUTE))
    band = band_at(bands, times)
    return [int(time) for time in times[1:][band[1:] != band[:-1]]]


def offsets(zone: str, time: Int64Array) -> Int64Array:
    """What is added to UTC, in microseconds; each hour is asked once, and each minute of an hour that has a change."""
    hours, place = np.unique(time // _HOUR, return_inverse=True)
    known = [_hour_offset(zone, hour) for hour in hours.tolist()]
    found = np.array([0 if each is None else each for each in known], np.int64)[place]
    if None in known:
        rows = np.flatnonzero(np.array([each is None for each in known])[place])
        minutes, at = np.unique(time[rows] // _MINUTE, return_inverse=True)
        found[rows] = np.array([_offset(zone, minute * _MINUTE) for minute in minutes.tolist()], np.int64)[at]
    return found


@lru_cache(maxsize=100_000)
def _hour_offset(zone: str, hour: int) -> int | None:
    """The offset of a whole hour since 1970; None: it changes in it."""
    first, last = _offset(zone, hour * _HOUR), _offset(zone, (hour + 1) * _HOUR - 1)
    return first if first == last else None


def _offset(zone: str, time: int) -> int:
    offset = (_EPOCH + timedelta(microseconds=time)).astimezone(time_zone(zone)).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)
