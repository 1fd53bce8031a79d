"""The benchmark's own arithmetic, against values worked out by hand from NAB's definition."""

from datetime import UTC, datetime

import numpy as np
import pytest
from bench.anomaly import nab, synth
from bench.anomaly.cross_validation import alerts_of

# 1,000 rows, so 150 are not scored; windows of 100 rows.
FILE = nab.Series("x/one.csv", [datetime(2026, 1, 1, tzinfo=UTC)] * 1000, [0.0] * 1000, [(300, 399), (600, 699)])


def sigmoid(place):
    return 2 / (1 + np.exp(5 * place)) - 1


@pytest.mark.parametrize(
    ("alerts", "earned", "false", "missed"),
    [
        ([], 0, 0, 2),
        ([300, 600], 2, 0, 0),
        ([350], sigmoid(-0.5) / sigmoid(-1), 0, 1),
        ([399], sigmoid(-0.01) / sigmoid(-1), 0, 1),
        ([310, 350, 390], sigmoid(-0.9) / sigmoid(-1), 0, 1),  # only the best one of a window counts
        ([10, 149], 0, 0, 2),  # not scored yet
        ([150, 299], 0, 2, 2),  # no window before: in full
        ([400], 0, -sigmoid(1 / 99), 2),  # hardly anything right after a window
        ([999], 0, 1, 2),  # more than three lengths after: in full
    ],
)  # fmt: skip
def test_alerts_earn_what_nab_says(alerts, earned, false, missed):
    found = nab.points(FILE, alerts)
    assert found[0] == pytest.approx(earned)
    assert found[1] == pytest.approx(false)
    assert found[2] == missed


@pytest.mark.parametrize("profile", nab.PROFILES)
def test_silence_is_0_and_every_window_at_its_first_row_is_100(profile):
    assert nab.normalised([nab.points(FILE, [])], 2, profile) == 0
    assert nab.normalised([nab.points(FILE, [300, 600])], 2, profile) == pytest.approx(100)


def test_cool_down_of_a_swept_threshold_is_the_detectors():
    assert alerts_of(np.array([9.0] * 12), 1.0, cool_down=3, learning=2) == [2, 6, 10]


def test_synthetic_series_are_the_same_for_a_seed_and_however_many_are_made():
    few, more = synth.make(2, seed=4), synth.make(3, seed=4)
    assert all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in zip(few, more, strict=False))
    assert not np.array_equal(more[0].values, synth.make(1, seed=5)[0].values)


def test_an_alert_outside_incidents_is_false_and_one_inside_a_neutral_one_is_neither():
    one = synth.CostSeries(
        np.zeros(2016), 288, [synth.Incident("spike", 500, 506, 794), synth.Incident("promotion", 900, 1188, 1476)]
    )
    quality = synth.judge([one], [np.array([50, 501, 700, 1000, 1900])], learning_rows=100)
    assert (quality.found["spike"], quality.delays, quality.false, quality.true) == ((1, 1), [1], 1, 2)
