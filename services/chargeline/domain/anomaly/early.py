"""Windows that are still open: spend so far by series, and which of them runs away from what is usual by now.

Spend that passes the line is seen with the unit that brings it: every unit is looked at, in every open window, and only
the series that it touches. So a look costs what the unit costs, not what all series cost.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.cells import Cells
from chargeline.domain.anomaly.grouping import SHARE
from chargeline.domain.anomaly.incidents import Alert
from chargeline.domain.anomaly.judging import RUNAWAY, Window, minimum_of, sorted_out
from chargeline.domain.anomaly.series import SeriesTable

if TYPE_CHECKING:
    from chargeline.domain.anomaly.watch import Watch

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class OpenSpend:
    """Spend so far of open windows.

    Attributes:
        sums: by start of the window, microseconds: spend by series number, in units of each currency.
    """

    def __init__(self) -> None:
        self.sums: dict[int, Doubles] = {}
        self._touched: dict[int, list[Ints]] = {}

    def add(self, start: int, table: SeriesTable, cells: Cells) -> None:
        """Add the cells of a unit; their series are touched."""
        before = self.sums.get(start, np.zeros(0))
        sums = np.concatenate([before, np.zeros(max(0, len(table.names) - len(before)))])
        numbers, values = table.of_group[:, cells.group], cells.spend()
        inside = numbers >= 0
        np.add.at(sums, numbers[inside], np.broadcast_to(values, numbers.shape)[inside])
        self.sums[start] = sums
        self._touched.setdefault(start, []).append(numbers[inside])

    def touched(self) -> Iterator[tuple[int, Ints]]:
        """Each window and the numbers of its series touched since the last call, ascending."""
        found, self._touched = self._touched, {}
        for start in sorted(found):
            yield start, np.unique(np.concatenate(found[start]))

    def drop(self, start: int) -> None:
        """The window is complete."""
        self.sums.pop(start, None)
        self._touched.pop(start, None)

    def reset(self, series: Ints) -> None:
        """These numbers will be other series."""
        for sums in self.sums.values():
            sums[series[series < len(sums)]] = 0.0


def look_early(watch: "Watch", start: int, series: Ints, newest: int) -> int:
    """Look at some series of a window that is still open; the number of those that run away.

    Args:
        start: of the window, microseconds.
        newest: event time up to which the window's events have come, about; microseconds.
    """
    width, rules = watch.rules.window_us, watch.rules
    elapsed = min(1.0, max(0.0, (newest - start) / width))
    spend = watch.early.sums[start][series]
    is_odd, expected = watch.scorer.runs_away(series, start / 1e6, spend)
    beyond = spend - expected * elapsed
    is_odd &= beyond >= minimum_of(watch, series, beyond)
    is_told = is_odd & (spend > rules.runaway_factor * expected * elapsed)
    if not is_told.any():
        return 0
    is_told |= _wider(watch.table, series, is_odd, is_told, beyond)
    found = np.flatnonzero(is_told)
    reason = f"{100 * elapsed:.0f}% of the window is over"
    alerts = [
        Alert(int(series[at]), RUNAWAY, float(spend[at]), float(expected[at] * elapsed), float(beyond[at]), 0.0, reason)
        for at in found.tolist()
    ]
    window = Window(start, start + width, watch.windows.of(start))
    for candidate in sorted_out(watch, window, alerts):
        incident = candidate.incident
        if incident is not None and candidate.alerts and not incident.windows and not incident.sequence:
            inside = window.cells.take(watch.table.cells_of(candidate.scope, window.cells.group))
            incident.begin_early(inside, candidate.alerts[0].expected, watch.groups)
    return len(alerts)


def _wider(table: SeriesTable, series: Ints, is_odd: Bools, is_told: Bools, beyond: Doubles) -> Bools:
    """Odd series of whose excess no series inside them that is told of holds most: they run away as a whole.

    So projects that run away at once are their team's incident from the first of them on, though the team has not
    passed its line yet.
    """
    most = np.zeros(len(table.names))
    others = is_odd & ~is_told
    for at in np.flatnonzero(is_told).tolist() if others.any() else ():
        number = series[at]
        holders = table.of_group[:, table.of_group[int(table.place[number])] == number]
        holders = holders[(holders == holders[:, :1]).all(axis=1) & (holders[:, 0] >= 0), 0]
        most[holders] = np.maximum(most[holders], beyond[at])
    return np.asarray(others & (most[series] > 0) & (most[series] < SHARE * beyond))
