"""Slow leaks: what rises day by day is found, what jumps, stays or comes once is not."""

import numpy as np
import pytest

from chargeline.domain.anomaly.leaks import DAY_S, LeakDetector

START = 20_000 * DAY_S
WINDOWS = 24  # of a day


def alarms(factors, *, noise=0.05, series=20, cut=0.0, seed=1):
    """By day of the alarm, how many of the series: each spends 10 a window, times the day's factor."""
    rng, detector = np.random.default_rng(seed), LeakDetector()
    detector.add_series(series)
    found = {}
    for day, factor in enumerate([*factors, 1.0]):
        wave = 1 + 0.5 * ((day % 7) < 5)
        values = 10 * factor * wave * rng.lognormal(0, noise, (WINDOWS, series))
        for window in range(WINDOWS):
            leaks = detector.step(
                np.arange(series), START + day * DAY_S + window * 3600, values[window], np.full(series, cut)
            )
            if len(leaks.series):
                found[day - 1] = len(leaks.series)
    return found


def test_spend_that_rises_a_tenth_every_day_is_found_within_a_week():
    found = alarms([1.0] * 20 + [1.1**day for day in range(1, 10)])
    assert sum(found.values()) == 20
    assert 20 < min(found) <= max(found) <= 27


@pytest.mark.parametrize(
    "factors",
    [
        [1.0] * 30,
        [1.0] * 20 + [2.5] * 10,  # a level that jumped: other detectors tell of it, at once
        [1.0] * 20 + [6.0] + [1.0] * 9,
        [1.0] * 20 + [0.9**day for day in range(1, 10)],
        [1.1**day for day in range(13)],  # nothing is known yet
    ],
)
def test_what_is_steady_or_jumps_is_no_leak(factors):
    assert alarms(factors) == {}


def test_windows_that_are_not_known_and_days_without_any_change_nothing():
    detector = LeakDetector()
    detector.add_series(1)
    for day in range(25):
        for window in range(WINDOWS):
            value = np.nan if window % 3 == 0 or day == 17 else 5.0
            assert not len(
                detector.step(np.arange(1), START + day * DAY_S + window * 3600, np.array([value]), np.zeros(1)).series
            )
    assert detector.state["drift"][0, 0] == 0


def test_a_window_counts_up_to_what_is_usual_at_most():
    """One hour a day of a hundred times the usual, more of them each day, is not this detector's."""
    assert alarms([1.0] * 20 + [1.2**day for day in range(1, 9)], cut=16.0, noise=0.0) == {}
