"""Spend that runs away is flagged by the unit that brings it over the line, with 1,000 active series."""

import pytest
from bench.anomaly import runaway


@pytest.mark.parametrize(("unit_s", "ahead_s"), [(0.2, 0.0), (1.0, 0.0), (10.0, 0.0), (1.0, 900.0)])
def test_spend_beyond_the_line_is_flagged_by_the_unit_that_brings_it(unit_s, ahead_s):
    found = runaway.measured(unit_s, ahead_s, clock=lambda: 0.0)
    assert found["runaway_active_series"] == 1000
    assert found["runaway_found"] == "10/10"
    assert 0 < found["runaway_delay_s_max"] <= unit_s


def test_the_line_is_what_would_be_an_alert_and_three_times_what_is_usual_by_then():
    # 3.00 a window, give or take 0.30: 6.11 would be an alert at its end; at 290 s 8.70 are three times the usual.
    assert runaway.passes(0.0) == pytest.approx(6.11, abs=0.01)
    assert runaway.passes(290.0) == pytest.approx(290 + (8.7 - 2.9) / (1 - 0.03), abs=0.05)
