"""Streams of spend with known anomalies, from a seed: what the cost parameters and the light detector are measured on.

A series has windows of 5 minutes over 28 days. Calls of a window are negative binomial, times a price. Some series are
active in every window, some in 20 a day; an inactive window is a spend of 0. All have days, most have weeks, single
bursts of up to 2.5 times, and stretches of missing windows (NaN).
"""

from dataclasses import dataclass, field

import numpy as np

STEP_S = 300
DAY = 288
DAYS = 28
START_S = 1_767_571_200  # a Monday, 2026-01-05T00:00:00Z
FIRST_DAY = 10  # anomalies come after it
DETECTABLE = ("spike", "runaway", "shift", "leak", "lost")
NEUTRAL = ("promotion", "reorg")  # an alert on them is neither a hit nor false


@dataclass(frozen=True)
class Incident:
    """Rows [first, end) of something that happened to a series. `settles` is where alerts count as false again."""

    kind: str
    first: int
    end: int
    settles: int


@dataclass
class CostSeries:
    values: np.ndarray
    active_per_day: float
    incidents: list[Incident] = field(default_factory=list)
    calls: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # of each window; 0 where it is missing


def times() -> np.ndarray:
    """Start of each window, seconds since 1970."""
    return START_S + STEP_S * np.arange(DAYS * DAY)


def make(count: int, seed: int) -> list[CostSeries]:
    return [_series(np.random.default_rng((seed, number))) for number in range(count)]


def _series(rng: np.random.Generator) -> CostSeries:
    rows = np.arange(DAYS * DAY)
    share = min(1.0, 20 / DAY * (DAY / 20) ** (rng.random() * 1.5))  # a third of the series is active always
    phase, depth = rng.random(), rng.uniform(0.2, 0.7)
    season = 1.0 + depth * np.sin(2 * np.pi * (rows / DAY - phase))
    if rng.random() < 0.7:
        season *= np.where(rows // DAY % 7 >= 5, rng.uniform(0.3, 0.9), 1.0)
    calls, dispersion = 10 ** rng.uniform(0.8, 3.0), rng.uniform(4, 30)
    usual = season * calls if share == 1.0 else np.full(len(rows), calls)
    active = np.ones(len(rows)) if share == 1.0 else (rng.random(len(rows)) < share * season).astype(float)
    extra, factor, incidents = _incidents(rng, usual, calls, dense=share == 1.0)
    mean = usual * active * factor * np.where(rng.random(len(rows)) < 1 / (3 * DAY), rng.uniform(1.5, 2.5), 1.0) + extra
    values = rng.negative_binomial(dispersion, dispersion / (dispersion + np.maximum(mean, 1e-9))).astype(float)
    counts = values.astype(np.int64)
    values *= 10 ** rng.uniform(-4, 0)
    for _ in range(rng.poisson(1.5)):
        at = int(rng.integers(len(rows)))
        if all(not each.first - 36 <= at < each.end for each in incidents):
            values[at : at + int(rng.integers(3, 36))] = np.nan
    return CostSeries(values, share * DAY, incidents, np.where(np.isnan(values), 0, counts))


def _incidents(
    rng: np.random.Generator, usual: np.ndarray, calls: float, *, dense: bool
) -> tuple[np.ndarray, np.ndarray, list[Incident]]:
    """Calls added, factor on the usual calls, and the list. Incidents begin at least 36 hours apart."""
    extra, factor = np.zeros(len(usual)), np.ones(len(usual))
    incidents = []

    def note(kind: str, first: int, length: int, settle: int = DAY) -> slice:
        end = min(first + length, len(usual))
        incidents.append(Incident(kind, first, end, end + settle))
        return slice(first, end)

    starts = [DAY * day + int(rng.integers(DAY // 2)) for day in (FIRST_DAY, 13, 16, 20)]
    chosen = rng.permutation(["spike", "runaway", "promotion" if rng.random() < 0.5 else "spike"])
    for first, kind in zip(starts, chosen, strict=False):
        if kind == "promotion":
            factor[note(kind, first, DAY)] *= rng.uniform(1.5, 2.5)
            continue
        length = int(rng.integers(3, 13)) if kind == "spike" else int(rng.integers(24, DAY + 1))
        where = note(kind, first, length)
        extra[where] += (rng.uniform(3, 10) - 1) * np.maximum(usual[where], calls)
    last = rng.choice(["shift", "leak", "reorg", "none", "none", "lost" if dense else "none"])
    rest = len(usual) - starts[-1]
    if last == "shift":
        note(last, starts[-1], DAY)
        factor[starts[-1] :] *= rng.uniform(2, 3)
    elif last == "leak":
        factor[note(last, starts[-1], rest)] *= np.linspace(1, rng.uniform(2, 4), rest)
    elif last == "reorg":
        note(last, starts[-1], DAY)
        factor[starts[-1] :] *= rng.choice([0.4, 1.6])
    elif last == "lost":
        factor[note(last, starts[-1], int(rng.integers(36, 145)))] = 0.0
    return extra, factor, incidents


@dataclass(frozen=True)
class Quality:
    """What alerts are worth. Delays in windows, 0: alerted in the incident's first."""

    found: dict[str, tuple[int, int]]  # by kind: found, of
    delays: list[int]  # of spikes and runaway jobs
    false: int
    true: int
    series_weeks: float

    @property
    def recall(self) -> float:
        """Of spikes and runaway jobs, all at least 3 times the usual over at least 3 windows."""
        found, there = (self.found["spike"][part] + self.found["runaway"][part] for part in (0, 1))
        return found / there

    @property
    def false_per_series_week(self) -> float:
        return self.false / self.series_weeks

    @property
    def precision(self) -> float:
        return self.true / max(1, self.true + self.false)

    @property
    def delay(self) -> float:
        return float(np.median(self.delays)) if self.delays else float("inf")


def judge(series: list[CostSeries], alerts: list[np.ndarray], learning_rows: int) -> Quality:
    """Compare alerts (rows, ascending, one array a series) with what happened. Learning rows count for nothing."""
    found = {kind: [0, 0] for kind in DETECTABLE}
    delays, false, true, rows = [], 0, 0, 0
    for one, given in zip(series, alerts, strict=True):
        at = given[given >= learning_rows]
        explained = np.zeros(len(at), bool)
        for incident in one.incidents:
            inside = (at >= incident.first) & (at < incident.settles)
            explained |= inside
            if incident.kind in NEUTRAL:
                continue
            hits = at[(at >= incident.first) & (at < max(incident.end, incident.first + 3))]
            true += int(inside.sum())
            found[incident.kind][0] += len(hits) > 0
            found[incident.kind][1] += 1
            if len(hits) and incident.kind in ("spike", "runaway"):
                delays.append(int(hits[0] - incident.first))
        false += int((~explained).sum())
        settled = sum(min(each.settles, len(one.values)) - each.first for each in one.incidents)
        rows += len(one.values) - learning_rows - settled
    weeks = rows / (7 * DAY)
    return Quality({kind: (pair[0], pair[1]) for kind, pair in found.items()}, delays, false, true, weeks)
