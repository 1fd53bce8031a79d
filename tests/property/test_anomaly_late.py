"""Late panes put the series right: whatever comes late and in whatever order, the state is that of the right values."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.domain.anomaly import stored
from chargeline.domain.anomaly.late_rows import LATE
from chargeline.domain.anomaly.light import LightDetector
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from tests.support.panes import MINUTE, PICO, history, unit
from tests.support.panes import START as PANES

SERIES, ROWS = 4, 90
START, STEP = 1_767_571_200, 1_800  # half hours: twelve rows are of several hours
PARAMETERS = replace(shipped_parameters("cost"), history_rows=100, pattern_history_rows=100)
RULES = Rules(window_us=MINUTE, bound_us=MINUTE, minimum_impact=Decimal("0.01"), sets=(("team",),), full_max=9)


@st.composite
def histories(draw):
    """Right values (rows, series), and changes that come late: (row, series, after so many rows, part of the value)."""
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).integers(0, 64, (ROWS, SERIES)).astype(float)
    values[draw(st.lists(st.integers(0, ROWS - 1), max_size=4)), 0] = 2.0**20  # spikes
    late = st.tuples(st.integers(0, ROWS - 1), st.integers(0, SERIES - 1), st.integers(0, LATE - 1),
                     st.sampled_from((0.25, 0.5, 1.0, 2.0)))  # fmt: skip
    return values, draw(st.lists(late, max_size=25)), draw(st.permutations(range(SERIES)))


def light():
    made = LightDetector(3.0, 10, 20)
    made.add_series(SERIES)
    return made


def times(row):
    return np.array([START + STEP * each for each in range(max(0, row - 2 * LATE), row + 1)], float)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_late_values_leave_the_state_of_the_right_ones_to_the_bit(history):
    values, late, order = history
    right, subject = light(), light()
    known = values.copy()
    for row, series, _, part in late:
        known[row, series] -= part * values[row, series]
    numbers = np.array(order)
    for row in range(ROWS):
        moment = np.full(SERIES, float(START + STEP * row))
        right.step(np.arange(SERIES), moment, values[row])
        subject.step(numbers, moment, known[row, numbers])
        for at, series, after, part in late:
            if min(at + after, ROWS - 1) == row:
                known[at, series] += part * values[at, series]
                back = np.array([row - at])
                done = subject.replace(np.array([series]), back, known[[at], series], times(row))
                assert done.series.tolist() == [series]
    assert subject.to_bytes() == right.to_bytes()


@settings(max_examples=20, deadline=None)
@given(histories())
def test_rows_of_several_series_are_put_right_at_once_as_one_by_one(history):
    values, _, _ = history
    together, apart = light(), light()
    for row in range(ROWS):
        for subject in (together, apart):
            subject.step(np.arange(SERIES), np.full(SERIES, float(START + STEP * row)), values[row])
    back = np.array([0, 5, 11, 3])
    together.replace(np.arange(SERIES), back, np.arange(SERIES) * 7.0, times(ROWS - 1))
    for each in range(SERIES):
        apart.replace(np.array([each]), back[[each]], np.array([each * 7.0]), times(ROWS - 1))
    assert together.to_bytes() == apart.to_bytes()


@st.composite
def deliveries(draw):
    """Panes of three teams, (window, team, quarters of a unit), and for each the window in whose unit it comes."""
    rows, windows = [], 30
    for window in range(windows):
        for team in "xyz":
            for _ in range(draw(st.integers(1, 2))):
                amount = draw(st.sampled_from((1, 2, 3, 5, 4_000, -1)))
                late = draw(st.sampled_from((0, 0, 0, 1, 5, LATE))) if window >= 4 else 0
                rows.append((window, team, amount, min(window + late, windows - 1)))
    return rows, windows, draw(st.booleans())


def watched(rows, windows, by, *, is_reversed):
    """The watch after the panes came in the units that `by` names."""
    subject = Watch(0, RULES, PARAMETERS)
    for number in range(windows):
        panes = [{"window": PANES + window * MINUTE, "team": team, "picos": amount * PICO // 4, "events": 1}
                 for window, team, amount, late in rows if by(window, late) == number]  # fmt: skip
        subject.take(unit(number, panes[:: -1 if is_reversed else 1], PANES + number * MINUTE))
    subject.advance(PANES + windows * MINUTE)
    return subject


@settings(max_examples=25, deadline=None)
@given(deliveries())
def test_panes_in_any_order_inside_the_lateness_teach_the_same(delivery):
    rows, windows, is_reversed = delivery
    right = watched(rows, windows, lambda window, late: window, is_reversed=False)
    subject = watched(rows, windows, lambda window, late: late, is_reversed=is_reversed)
    assert subject.counts.dropped_panes == 0
    numbers = {name: number for number, name in enumerate(right.table.names)}
    for number, name in enumerate(subject.table.names):
        other = numbers[name]
        for column, found in subject.scorer.light.state.items():
            wanted = right.scorer.light.state[column]
            assert found[:, number].tobytes() == wanted[:, other].tobytes(), (name, column)
        full = subject.scorer.full[number].detector
        assert stored.to_bytes(full) == stored.to_bytes(right.scorer.full[other].detector)
        assert subject.table.activity[number] == pytest.approx(right.table.activity[other])


def test_a_window_that_is_odd_only_since_late_panes_is_an_incident_of_that_window():
    subject = Watch(0, replace(RULES, full_max=0, minimum_impact=Decimal(100)), replace(PARAMETERS, learning_rows=40))
    calm = lambda number: [{"team": team, "picos": (9 + number % 3) * PICO, "events": 1} for team in "xy"]  # noqa: E731
    for each in history(600, calm):
        assert subject.take(each) == []
    odd = PANES + 596 * MINUTE
    late = [{"window": odd, "team": "x", "picos": 500 * PICO, "events": 1}]
    told = subject.take(unit(600, late, PANES + 599 * MINUTE))
    assert [(each.window_start, each.kind, each.dimensions, each.actual_cost) for each in told] == [
        (odd, "SPEND", (("team", "x"),), Decimal(500))
    ]
    assert 480 < told[0].impact <= 500
    assert subject.take(unit(600, late, PANES + 599 * MINUTE)) == []


def test_what_is_too_old_or_was_never_there_stays_as_it_is():
    subject = light()
    for row in range(5):
        subject.step(np.arange(2), np.full(2, float(START + STEP * row)), np.ones(2))
    before = subject.to_bytes()
    assert len(subject.replace(np.array([0, 1, 2]), np.array([5, LATE, 0]), np.full(3, 9.0), times(4)).series) == 0
    assert subject.to_bytes() == before


def test_a_spike_that_comes_late_is_an_alert_once():
    subject = light()
    for row in range(60):
        subject.step(np.arange(1), np.full(1, float(START + STEP * row)), np.array([10.0 + row % 3]))
    found = [subject.replace(np.array([0]), np.array([2]), np.array([500.0]), times(59)).is_alert[0] for _ in range(2)]
    assert found == [True, False]
