"""Laws of the light detector: many series in columns."""

import numpy as np
import pytest
from bench.anomaly import synth
from bench.anomaly.run import run_light

from chargeline.domain.anomaly.leaks import LeakDetector
from chargeline.domain.anomaly.light import LightDetector
from chargeline.domain.anomaly.spend import Spend
from chargeline.domain.errors import StateIncomplete

SERIES = synth.make(12, seed=7)
VALUES = np.stack([one.values for one in SERIES], axis=1)
TIMES = synth.times()
ROWS = 1500


def detector(series=12):
    made = LightDetector(5.5, 144, 288)
    made.add_series(series)
    return made


def run(light, first=0, end=ROWS, values=VALUES, parts=1):
    """Scores, alerts and surprises of rows [first, end); each window's series cut into so many calls."""
    out = []
    for row in range(first, end):
        of_row = []
        for numbers in np.array_split(np.arange(values.shape[1]), parts):
            judged = light.step(numbers, np.full(len(numbers), float(TIMES[row])), values[row, numbers])
            of_row.append(np.stack([judged.score, judged.is_alert, judged.surprise, judged.expected]))
        out.append(np.concatenate(of_row, axis=1))
    return np.array(out)


WHOLE = run(detector())


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_bits_do_not_depend_on_how_series_are_cut_into_batches(parts):
    assert run(detector(), parts=parts).tobytes() == WHOLE.tobytes()


def test_order_of_series_in_a_batch_changes_nothing():
    light, order = detector(), np.random.default_rng(1).permutation(12)
    for row in range(600):
        judged = light.step(order, np.full(12, float(TIMES[row])), VALUES[row, order])
        assert np.array_equal(judged.surprise, WHOLE[row, 2, order])


def test_scores_of_the_first_rows_do_not_depend_on_the_rows_after_them():
    assert np.array_equal(run(detector(), end=900), WHOLE[:900])


def test_scaling_by_four_changes_no_bit_of_score_and_alert():
    assert np.array_equal(run(detector(), values=4 * VALUES)[:, :3], WHOLE[:, :3])


def test_a_detector_that_was_stored_goes_on_with_the_same_bits():
    light = detector()
    run(light, end=700)
    read = LightDetector(5.5, 144, 288)
    read.read_bytes(light.to_bytes())
    assert np.array_equal(run(read, first=700), WHOLE[700:])


def test_damaged_state_is_refused():
    state = detector().to_bytes()
    for bad in (state[:-1], state + b"x", b"x" + state, b""):
        with pytest.raises(StateIncomplete):
            LightDetector(5.5, 144, 288).read_bytes(bad)


def test_score_is_in_0_to_1_and_from_a_half_on_exactly_where_it_alerts():
    assert ((WHOLE[:, 0] >= 0) & (WHOLE[:, 0] <= 1)).all()
    assert ((WHOLE[:, 0] >= 0.5) == (WHOLE[:, 1] == 1)).all()


def test_rows_that_are_not_known_score_0_and_teach_nothing():
    light, twin = detector(), detector()
    run(light, end=500)
    run(twin, end=500)
    gap = np.full(VALUES.shape, np.nan)
    assert not run(light, first=500, end=510, values=gap)[:, :3].any()
    assert light.to_bytes() == twin.to_bytes()


def test_constant_and_empty_series_never_alert():
    values = np.tile(np.array([0.0, 18.0, -3.0]), (ROWS, 1))
    assert not run(detector(3), values=values)[:, 1].any()


def test_a_series_with_hardly_any_spend_does_not_alert():
    values = np.zeros((ROWS, 1))
    values[400::60] = 5.0
    values[1200:1210] = 50.0
    assert not run(detector(1), values=values)[:, 1].any()


def test_what_would_be_an_alert_is_one_and_asking_changes_nothing():
    """By the signals of single rows; the mean of a day and a fall are not asked for."""
    light, both, told = detector(), 0, 0
    run(light, end=2800)
    for row in range(2800, 4500):
        numbers, moment = np.arange(12), np.full(12, float(TIMES[row]))
        values = np.nan_to_num(VALUES[row])
        before = light.to_bytes()
        would = light.would_alert(numbers, moment, values)
        assert light.to_bytes() == before
        judged = light.step(numbers, moment, values)
        assert not (would & ~judged.is_alert).any()
        at_once = judged.is_alert & np.isin(judged.signal, (0, 1, 4))
        both, told = both + int((would & at_once).sum()), told + int(at_once.sum())
    assert both == told > 0


def noise(mean):
    """Spend of one series: `mean` by row, and chance of two fifths."""
    return (mean * np.random.default_rng(3).gamma(6, 1 / 6, len(mean)))[:, np.newaxis]


def test_the_second_weekend_is_expected_to_be_one():
    is_weekend = np.arange(13 * synth.DAY) // synth.DAY % 7 >= 5
    expected = run(detector(1), end=len(is_weekend), values=noise(np.where(is_weekend, 50.0, 100.0)))[:, 3, 0]
    by_day = expected.reshape(-1, synth.DAY).mean(axis=1)
    assert by_day[5] > 85  # the first one is not known to be one
    assert by_day[11] > 85
    assert by_day[12] < 75  # 50 and some 93, the usual of all days, by halves


def test_spend_of_one_series_expects_what_columns_do():
    light, one = detector(1), Spend(288)
    for row in range(10 * synth.DAY):
        moment, value = float(TIMES[row]), float(np.float32(np.nan_to_num(VALUES[row, 0])))
        judged = light.step(np.arange(1), np.array([moment]), np.array([value]))
        if row >= 3 * synth.DAY:
            assert one.expected(moment) == pytest.approx(float(judged.expected[0]), rel=0.02)
        one.step(moment, value, 1e-4)


def test_a_job_of_a_day_does_not_hide_the_spike_of_the_day_after_next():
    mean = np.full(12 * synth.DAY + 103, 100.0)
    mean[10 * synth.DAY : 11 * synth.DAY] = 1000.0
    mean[-3:] = 300.0
    alerts = run(detector(1), end=len(mean), values=noise(mean))[:, 1, 0]
    assert alerts[10 * synth.DAY]
    assert alerts[-3:].any()


def test_a_series_takes_less_than_2_kb():
    assert detector().bytes_per_series() + LeakDetector().bytes_per_series() <= 2_000


def test_spikes_and_runaway_jobs_are_found_and_little_else():
    alerts, _, _ = run_light(SERIES)
    quality = synth.judge(SERIES, alerts, 864)
    assert quality.recall >= 0.95
    assert quality.delay <= 2
    assert quality.false <= 2
