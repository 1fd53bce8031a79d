"""Judging one window of a source partition: from cells to alerts, from alerts to incidents.

`judge` and `early.look_early` change the watch that they are given; nothing else does, but the watch itself.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.cells import (
    CACHE_READ,
    ERRORS,
    EVENTS,
    INPUT,
    MEASURES,
    RETRIES,
    UNRATED,
    Cells,
    merged,
    nothing,
)
from chargeline.domain.anomaly.contribution import by_cause
from chargeline.domain.anomaly.grouping import Candidate, grouped
from chargeline.domain.anomaly.incidents import CALM_WINDOWS, HOLDS, Alert, Incident
from chargeline.domain.anomaly.leaks import DAY_S, Leaks
from chargeline.domain.anomaly.light import SURPRISED
from chargeline.domain.anomaly.ratios import RATIOS, fractions
from chargeline.domain.anomaly.scoring import DROP, FIRST_SPEND, SPEND, Judged
from chargeline.domain.anomaly.series import SeriesName
from chargeline.domain.columns.exact import Exact
from chargeline.domain.money import round_half_away

if TYPE_CHECKING:
    from chargeline.domain.anomaly.watch import Watch

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

RUNAWAY, DEAD_LETTERS = "RUNAWAY", "DEAD_LETTERS"
_OF_SPEND = (SPEND, FIRST_SPEND, RUNAWAY, DROP)
_CACHED_PRICE = 0.5  # of the price of an input token that is paid less for one from the cache, roughly
_DEAD_LEAST, _DEAD_SHARE, _DEAD_TIMES, _DEAD_WEIGHT = 20, 0.05, 3.0, 0.05
_SAMPLES = 5
ALL_ACCOUNTS = "*"


@dataclass(frozen=True)
class Window:
    """A window [start, end), microseconds, and its cells."""

    start: int
    end: int
    cells: Cells


class Reference:
    """Sums over the usual: a full block of windows, and the one that is being filled."""

    def __init__(self, windows: int) -> None:
        self._windows = windows
        self.full, self.full_windows = nothing(), 0
        self.part, self.part_windows = nothing(), 0
        self._fresh: list[Cells] = []

    def add(self, cells: Cells, held: npt.NDArray[np.bool_]) -> None:
        """Another complete window; of the groups that are `held`, what is usual counts instead of what was spent."""
        if held.any():
            usual, windows = self.usual()
            outside = cells.take(np.flatnonzero(~held[cells.group]))
            cells = merged([outside, _mean(usual.take(np.flatnonzero(held[usual.group])), windows)])
        self._fresh.append(cells)
        self.part_windows += 1
        if self.part_windows >= self._windows:
            self.full, self.full_windows = self._filled(), self.part_windows
            self.part, self.part_windows = nothing(), 0

    def usual(self) -> tuple[Cells, int]:
        """Cells summed over so many windows; 0 windows: nothing is known."""
        if self.full_windows:
            return self.full, self.full_windows
        self.part = self._filled()
        return self.part, self.part_windows

    def settle(self) -> None:
        """Sum what is only put beside each other, so that the columns are the whole state."""
        self.part = self._filled()

    def renumber(self, number: Ints) -> None:
        """Groups have new numbers; -1: forgotten."""
        self.part = _renumbered(self._filled(), number)
        self.full = _renumbered(self.full, number)

    def _filled(self) -> Cells:
        cells = merged([self.part, *self._fresh])
        self._fresh = []
        return cells


def judge(watch: "Watch", window: Window) -> int:
    """Judge a complete window; the number of alerts."""
    table, cells = watch.table, window.cells
    spend = table.totals(cells.group, cells.spend())
    measures = np.stack([table.totals(cells.group, row.astype(np.float64)) for row in cells.measures])
    judged = watch.scorer.step(table, window.start / 1e6, spend)
    table.note(window.start, spend, measures[EVENTS])
    alerts = _spend_alerts(watch, judged, spend)
    alerts += _ratio_alerts(watch, judged.series, spend, measures) + _leak_alerts(watch, judged.leaks)
    # Where nothing is known, not the largest spend so far is expected, but the mean of before the incident.
    expected = np.full(len(spend), np.nan)
    expected[judged.series[judged.is_known]] = judged.expected[judged.is_known]
    expected[judged.leaks.series] = judged.leaks.usual
    candidates = sorted_out(watch, window, alerts)
    for candidate in candidates:
        if candidate.incident is not None and candidate.incident.kind != DEAD_LETTERS:
            _go_on(watch, window, candidate, expected)
    return len(alerts)


def _spend_alerts(watch: "Watch", judged: Judged, spend: Doubles) -> list[Alert]:
    values = spend[judged.series]
    impact = np.where(judged.is_low, judged.expected - values, values - judged.expected)
    enough = judged.is_alert & (impact > 0)
    enough &= impact >= minimum_of(watch, judged.series, impact)
    alerts = []
    for at in np.flatnonzero(enough).tolist():
        kind = DROP if judged.is_low[at] else SPEND if judged.is_known[at] else FIRST_SPEND
        alerts.append(
            Alert(
                int(judged.series[at]), kind, float(values[at]), float(judged.expected[at]), float(impact[at]),
                float(judged.surprise[at]), judged.reason.get(at, ""),
            )
        )  # fmt: skip
    return alerts


def _leak_alerts(watch: "Watch", leaks: Leaks) -> list[Alert]:
    """Of a day: what it brought beyond the same days of the weeks before."""
    alerts = []
    for series, value, usual in zip(leaks.series.tolist(), leaks.value.tolist(), leaks.usual.tolist(), strict=True):
        impact = (value - usual) * DAY_S * 1e6 / watch.rules.window_us
        if impact >= least_of(watch, series):
            reason = f"rises for days: {value / usual:.2f} times the same days of the weeks before"
            alerts.append(Alert(series, SPEND, value, usual, impact, SURPRISED, reason))
    return alerts


def _ratio_alerts(watch: "Watch", series: Ints, spend: Doubles, measures: Doubles) -> list[Alert]:
    numerators, denominators = fractions(spend[series], measures[:, series])
    odd = watch.scorer.ratios.step(series, numerators, denominators)
    alerts = []
    for ratio, row, value, usual, apart in zip(
        odd.ratio.tolist(), odd.row.tolist(), odd.value.tolist(), odd.usual.tolist(), odd.apart.tolist(), strict=True
    ):
        number, kind = int(series[row]), RATIOS[ratio].kind
        impact = _ratio_impact(kind, value - usual, float(spend[number]), denominators[ratio, row], measures[:, number])
        if impact < least_of(watch, number):
            continue
        reason = f"{kind.lower().replace('_', ' ')}: {value:.4g} instead of {usual:.4g}"
        alerts.append(Alert(number, kind, value, usual, impact, apart, reason))
    return alerts


def _ratio_impact(kind: str, change: float, spend: float, denominator: float, measures: Doubles) -> float:
    """What a changed ratio costs in this window, in the currency; an estimate for all but the costs themselves."""
    if kind in ("REQUEST_COST", "TOKEN_COST"):
        return float(change * denominator)
    if kind == "CACHE_COLLAPSE":
        tokens = denominator + measures[MEASURES.index("output_tokens")]
        return float(-change * denominator * spend / max(tokens, 1.0) * _CACHED_PRICE)
    if kind == "UNRATED":
        rated = max(measures[EVENTS] - measures[UNRATED], 1.0)
        return float(change * measures[EVENTS] * spend / rated)
    return change * spend


def sorted_out(watch: "Watch", window: Window, alerts: list[Alert]) -> list[Candidate]:
    """The alerts by incident; new incidents are made and kept."""
    open_ones = [
        (each, number)
        for each in watch.incidents
        if each.status == "OPEN" and (number := watch.table.number_of(each.scope)) is not None
    ]
    lost = [each for each in watch.incidents if each.status == "OPEN" and watch.table.number_of(each.scope) is None]
    for each in lost:
        if each.kind != DEAD_LETTERS:
            each.status = "RESOLVED"  # its series is not watched any more
    if not alerts:
        return [Candidate(number, np.zeros(0, bool), incident) for incident, number in open_ones]
    weights = _weights(watch, window.cells)
    candidates = grouped(
        alerts, open_ones, watch.table, lambda alert: weights[_WEIGHTS.get(alert.kind, "more")], weights["spend"]
    )
    for candidate in candidates:
        if candidate.incident is None and len(open_ones) < watch.rules.incidents_max:
            candidate.incident = _opened(watch, window, candidate)
            watch.incidents.append(candidate.incident)
        for alert in candidate.alerts if candidate.incident else ():
            assert candidate.incident is not None
            candidate.incident.saw(alert.kind, alert.reason, alert.surprise)
    return candidates


def _opened(watch: "Watch", window: Window, candidate: Candidate) -> Incident:
    table, first = watch.table, candidate.alerts[0]
    incident = Incident(table.name(candidate.scope), first.kind, window.start, window.end, watch.partition)
    usual, windows = watch.reference.usual()
    inside = usual.take(table.cells_of(candidate.scope, usual.group))
    incident.reference, incident.reference_windows = by_cause(inside, watch.groups), windows
    incident.mean_before = float(inside.spend().sum()) / max(windows, 1)
    if first.kind not in _OF_SPEND:
        incident.value, incident.usual = first.actual, first.expected
    cells = window.cells.take(table.cells_of(candidate.scope, window.cells.group))
    if incident.scope.dimensions and "team" not in dict(incident.scope.dimensions):
        incident.owner = watch.groups.only("team", np.concatenate([cells.group, inside.group])) or ""
    largest = np.argsort(-cells.spend(), kind="stable")[:_SAMPLES]
    units = watch.groups.unit[:, cells.group[largest]].T.tolist()
    incident.samples = list(dict.fromkeys((int(start), int(end)) for start, end in units))
    return incident


def _go_on(watch: "Watch", window: Window, candidate: Candidate, expected: Doubles) -> None:
    """One more complete window of an open incident: it goes on, or calms down, or is over."""
    incident = candidate.incident
    assert incident is not None
    cells = window.cells.take(watch.table.cells_of(candidate.scope, window.cells.group))
    usual = float(expected[candidate.scope])
    usual = incident.mean_before if np.isnan(usual) else usual
    excess = float(cells.spend().sum()) - usual
    excess = -excess if incident.kind == DROP else excess
    holds = incident.kind in _OF_SPEND and excess > 0 and excess >= HOLDS * incident.peak
    if not candidate.alerts and not holds:
        incident.calm += 1
        if incident.calm >= CALM_WINDOWS:
            incident.status = "RESOLVED"
        return
    incident.forget_early()
    incident.calm = 0
    incident.windows += 1
    incident.window_end = window.end
    incident.expected += round(usual * 1e12)
    incident.peak = max(incident.peak, excess)
    for alert in candidate.alerts:
        if alert.kind not in _OF_SPEND:
            incident.ratio_impact += round(alert.impact * 1e12)
            break
    incident.add(cells, watch.groups)


def _weights(watch: "Watch", cells: Cells) -> dict[str, Doubles]:
    """By group: what there is more of than usual (spend, errors, retries, …), spend that is missing, and all spend."""
    size = watch.table.of_group.shape[1]
    usual, windows = watch.reference.usual()

    def more(values: Doubles, before: Doubles) -> Doubles:
        change = np.zeros(size)
        change[cells.group] = values
        change[usual.group] -= before / max(windows, 1)
        return change

    spend = more(cells.spend(), usual.spend())
    now, then = cells.measures.astype(np.float64), usual.measures.astype(np.float64)
    found = {"more": spend, "less": -spend}
    found |= {
        name: more(now[at], then[at]) for name, at in (("errors", ERRORS), ("retries", RETRIES), ("unrated", UNRATED))
    }
    found["uncached"] = more(now[INPUT] - now[CACHE_READ], then[INPUT] - then[CACHE_READ])
    found["spend"] = np.zeros(size)
    found["spend"][cells.group] = cells.spend()
    return {name: np.maximum(values, 0) for name, values in found.items()}


_WEIGHTS = {DROP: "less", "UNRATED": "unrated", "ERROR_COST": "errors", "RETRY_STORM": "retries",
            "CACHE_COLLAPSE": "uncached"}  # fmt: skip


def minimum_of(watch: "Watch", series: Ints, impact: Doubles) -> Doubles:
    """Least impact of each series; asked only where the least of all is reached."""
    rules = watch.rules
    if not rules.minimum_impact_by_team:
        return np.full(len(series), float(rules.minimum_impact))
    least = min(float(rules.minimum_impact), *map(float, rules.minimum_impact_by_team.values()))
    found = np.full(len(series), least)
    for at in np.flatnonzero(impact >= least).tolist():
        found[at] = least_of(watch, int(series[at]))
    return found


def least_of(watch: "Watch", series: int) -> float:
    return float(watch.rules.minimum(watch.table.name(series)))


def _mean(cells: Cells, windows: int) -> Cells:
    if not windows:
        return nothing()
    picos = {row: round_half_away(number, windows) for row, number in cells.cost.large.items()}
    return Cells(
        cells.group, Exact(np.rint(cells.cost.values / windows).astype(np.int64), picos), cells.measures // windows
    )


def _renumbered(cells: Cells, number: Ints) -> Cells:
    rows = np.flatnonzero(number[cells.group] >= 0)
    kept = cells.take(rows)
    return Cells(number[kept.group], kept.cost, kept.measures)


def look_at_dead_letters(watch: "Watch", start: int, end: int) -> None:
    """Whether an unusual share of what came lately could not be read; of the whole partition, no account is known.

    Dead letters have no event time, so they are compared with what came with them, not with a window: with the events
    since the look before the last one, because the two topics are read at their own speeds.

    Args:
        start, end: the newest complete window, microseconds.
    """
    events = watch.arrived + watch.arrived_before
    watch.arrived, watch.arrived_before = 0, watch.arrived
    dead, watch.dead = watch.dead, 0
    share = dead / (dead + events) if dead else 0.0
    is_odd = dead >= _DEAD_LEAST and share >= max(_DEAD_SHARE, _DEAD_TIMES * watch.dead_usual)
    if dead + events and not is_odd:
        watch.dead_usual += _DEAD_WEIGHT * (share - watch.dead_usual)
    found = next((each for each in watch.incidents if each.kind == DEAD_LETTERS and each.status == "OPEN"), None)
    if found is None and is_odd:
        scope = SeriesName(ALL_ACCOUNTS, "", (("source_partition", str(watch.partition)),))
        found = Incident(scope, DEAD_LETTERS, start, end, watch.partition)
        watch.incidents.append(found)
    if found is None:
        return
    if is_odd:
        found.saw(DEAD_LETTERS, f"{dead} dead letters beside {events} events", share)
        found.value, found.usual = max(found.value, share), watch.dead_usual
        found.windows, found.window_end, found.calm = found.windows + 1, end, 0
        return
    found.calm += 1
    if found.calm >= CALM_WINDOWS:
        found.status = "RESOLVED"
