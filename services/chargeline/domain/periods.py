"""Billing periods: half-open months in UTC that begin on the account's cycle day (spec/rating.md 1)."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
_MICROS_A_DAY = 86_400 * 1_000_000


def billing_periods(event_time: Int64Array, cycle_day: int = 1) -> tuple[Int64Array, Int64Array]:
    """Start (inclusive) and end (exclusive) of the billing period of each instant, int64 microseconds since 1970 UTC.

    Args:
        event_time: microseconds since 1970 UTC.
        cycle_day: 1 to 28, the day of the month on which a period begins at 00:00 UTC.
    """
    shifted = event_time - (cycle_day - 1) * _MICROS_A_DAY
    month = shifted.astype("datetime64[us]").astype("datetime64[M]")
    start = month.astype("datetime64[D]").astype(np.int64) + (cycle_day - 1)
    end = (month + 1).astype("datetime64[D]").astype(np.int64) + (cycle_day - 1)
    return start * _MICROS_A_DAY, end * _MICROS_A_DAY


def billing_period(event_time: int, cycle_day: int = 1) -> tuple[int, int]:
    """The same for one instant."""
    return _of_day(event_time // _MICROS_A_DAY, cycle_day)


@lru_cache(maxsize=4096)
def _of_day(day: int, cycle_day: int) -> tuple[int, int]:
    start, end = billing_periods(np.array([day * _MICROS_A_DAY], np.int64), cycle_day)
    return int(start[0]), int(end[0])
