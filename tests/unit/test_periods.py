"""Billing periods: months in UTC from the cycle day (spec/rating.md 1)."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.periods import billing_period, billing_periods

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("moment", "cycle_day", "start", "end"),
    [
        ("2026-06-10T08:00:00", 1, "2026-06-01", "2026-07-01"),
        ("2026-06-01T00:00:00", 1, "2026-06-01", "2026-07-01"),
        ("2026-05-31T23:59:59.999999", 1, "2026-05-01", "2026-06-01"),
        ("2026-06-10T08:00:00", 15, "2026-05-15", "2026-06-15"),
        ("2026-06-15T00:00:00", 15, "2026-06-15", "2026-07-15"),
        ("2024-02-29T12:00:00", 28, "2024-02-28", "2024-03-28"),
        ("2026-12-31T23:00:00", 1, "2026-12-01", "2027-01-01"),
    ],
)
def test_a_period_begins_on_the_cycle_day(moment, cycle_day, start, end):
    def read(text):
        return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))

    assert billing_period(read(moment), cycle_day) == (read(start), read(end))


@settings(max_examples=100)
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(1, 28),
)
def test_an_instant_lies_in_the_month_that_the_calendar_says(moment, cycle_day):
    start, end = billing_period(micros(moment), cycle_day)
    first = EPOCH + timedelta(microseconds=start)
    last = EPOCH + timedelta(microseconds=end)
    assert start <= micros(moment) < end
    assert (first.day, first.hour, first.minute, first.second, first.microsecond) == (cycle_day, 0, 0, 0, 0)
    assert (last.year * 12 + last.month) - (first.year * 12 + first.month) == 1
    assert last.day == cycle_day


def test_many_instants_get_what_each_gets_alone():
    times = np.arange(946_684_800_000_000, 4_133_980_800_000_000, 10**13, dtype=np.int64)
    start, end = billing_periods(times, 9)
    assert [billing_period(int(time), 9) for time in times[:50]] == list(zip(start[:50], end[:50], strict=True))
