"""Counts beside the synthetic spend, and alarms of open windows: are the other kinds of alerts as quiet as spend?

Of each series of `synth` every window gets errors, retries, tokens and cached tokens of its calls: shares that wander
by day and scatter from call to call. Calls that an incident of spend adds are calls like the others, so a ratio that is
odd is a false alarm, but where something was planted: for 24 windows errors, retries, uncached tokens or the cost of a
call rise. Open windows are looked at after a quarter, a half and three quarters of their time.
"""

from dataclasses import dataclass

import numpy as np
from bench.anomaly import synth

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.domain.anomaly.cells import CACHE_READ, ERRORS, EVENTS, INPUT, MEASURED, MEASURES, OUTPUT, RETRIES
from chargeline.domain.anomaly.incidents import CALM_WINDOWS
from chargeline.domain.anomaly.light import LightDetector
from chargeline.domain.anomaly.ratios import RATIOS, RatioDetector, fractions

PLANTED_ROWS = 24
PLANTED = ("ERROR_COST", "RETRY_STORM", "CACHE_COLLAPSE", "REQUEST_COST")
LOOKS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Measured:
    """One series: spend and counts by window, and what was planted: kind by first row."""

    spend: np.ndarray
    measures: np.ndarray  # (len(MEASURES), rows)
    planted: dict[int, str]


def make(series: list[synth.CostSeries], seed: int) -> list[Measured]:
    return [_measured(one, np.random.default_rng((seed, 77, number))) for number, one in enumerate(series)]


def _measured(one: synth.CostSeries, rng: np.random.Generator) -> Measured:
    rows = len(one.values)
    spend, calls = np.nan_to_num(one.values), one.calls
    day = 2 * np.pi * (np.arange(rows) / synth.DAY - rng.random())

    def share(usual: float) -> np.ndarray:
        """Wanders by a fifth with the day and scatters by a tenth."""
        return np.clip(usual * (1 + 0.2 * np.sin(day)) * rng.lognormal(0, 0.1, rows), 0, 0.95)

    errors, retries, cached = (
        share(10 ** rng.uniform(-2.5, -1.2)),
        share(10 ** rng.uniform(-3, -1)),
        share(rng.uniform(0.2, 0.8)),
    )
    dear = rng.lognormal(0, 0.1, rows)
    planted = {}
    for first, kind in zip(synth.DAY * np.array([11, 15, 18, 24]) + 200, rng.permutation(PLANTED), strict=True):
        planted[int(first)] = str(kind)
        where = slice(first, first + PLANTED_ROWS)
        if kind == "ERROR_COST":
            errors[where] = np.clip(6 * errors[where] + 0.1, 0, 0.95)
        elif kind == "RETRY_STORM":
            retries[where] = np.clip(6 * retries[where] + 0.2, 0, 0.95)
        elif kind == "CACHE_COLLAPSE":
            cached[where] *= 0.05
        else:
            dear[where] *= 2
    measures = np.zeros((len(MEASURES), rows), np.int64)
    measures[EVENTS] = measures[MEASURED] = calls
    measures[ERRORS], measures[RETRIES] = rng.binomial(calls, errors), rng.binomial(calls, retries)
    # Lengths of calls scatter: of a sum of n of them, by its root.
    length = np.maximum(0.05, 1 + rng.normal(0, 1, rows) / np.sqrt(np.maximum(calls, 1)))
    measures[INPUT] = (2_000 * calls * length).astype(np.int64)
    measures[CACHE_READ] = (measures[INPUT] * cached).astype(np.int64)
    measures[OUTPUT] = (
        300 * calls * np.maximum(0.05, 1 + rng.normal(0, 1, rows) / np.sqrt(np.maximum(calls, 1)))
    ).astype(np.int64)
    return Measured(spend * dear * length, measures, planted)


def ratio_alarms(measured: list[Measured]) -> tuple[float, float, dict[str, int]]:
    """(False alarms a series and week, share of the planted that is found, false ones by kind)."""
    learning = shipped_parameters("cost").learning_rows
    detector, numbers = RatioDetector(min(learning, 96)), np.arange(len(measured))
    detector.add_series(len(measured))
    rows = len(measured[0].spend)
    odd: dict[tuple[int, str], list[int]] = {}
    for row in range(rows):
        spend = np.array([one.spend[row] for one in measured])
        found = detector.step(numbers, *fractions(spend, np.stack([one.measures[:, row] for one in measured], axis=1)))
        for series, ratio in zip(found.row.tolist(), found.ratio.tolist(), strict=True):
            odd.setdefault((series, RATIOS[ratio].kind), []).append(row)
    false: dict[str, int] = {}
    hits = set()
    for (series, kind), at in odd.items():
        last = -CALM_WINDOWS - 1
        for row in at:
            planted = [first for first in measured[series].planted if first <= row < first + PLANTED_ROWS + synth.DAY]
            hits |= {
                (series, first)
                for first in planted
                if row < first + PLANTED_ROWS and _is_of(kind, measured[series].planted[first])
            }
            if row >= learning and not planted and row - last > CALM_WINDOWS:
                false[kind] = false.get(kind, 0) + 1
            last = row
    able = sum(1 for one in measured for first in one.planted if _says_enough(one, first))
    able_hits = sum(1 for series, first in hits if _says_enough(measured[series], first))
    weeks = len(measured) * (rows - learning) / (7 * synth.DAY)
    return sum(false.values()) / weeks, able_hits / able, false


def _is_of(kind: str, planted: str) -> bool:
    return kind == planted or (kind, planted) == ("TOKEN_COST", "REQUEST_COST")


def _says_enough(one: Measured, first: int) -> bool:
    """At least six of the windows have a hundred calls: with fewer a ratio says little."""
    return int((one.measures[EVENTS, first : first + PLANTED_ROWS] >= 100).sum()) >= 6


def early_alarms(series: list[synth.CostSeries], seed: int) -> tuple[float, float]:
    """(False alarms of open windows a series and week, share of spikes and runaway jobs seen in an open one)."""
    parameters = shipped_parameters("cost")
    detector = LightDetector(parameters.spend_threshold, parameters.cool_down_rows, parameters.learning_rows)
    detector.add_series(len(series))
    numbers, moments = np.arange(len(series)), synth.times().tolist()
    values = np.stack([one.values for one in series], axis=1)
    rng = np.random.default_rng((seed, 78))
    early = np.zeros(values.shape, bool)
    for row, moment in enumerate(moments):
        known = np.flatnonzero(np.isfinite(values[row]))
        times = np.full(len(known), moment)
        for look in LOOKS:
            so_far = values[row, known] * rng.beta(20 * look, 20 * (1 - look), len(known))
            early[row, known] |= detector.would_alert(numbers[known], times, so_far)
        detector.step(numbers[known], times, values[row, known])
    quality = synth.judge(series, [np.flatnonzero(column) for column in early.T], parameters.learning_rows)
    return quality.false_per_series_week, quality.recall
