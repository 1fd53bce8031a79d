"""Slow leaks: spend that grows by a little every day, which a profile follows and no threshold of an hour sees.

    mean of a day   of its known windows, each cut at a usual largest size: one wild hour is another detector's
    rise            log of it over the mean of the same weekday one and two weeks before
    drift           CUSUM of the rise in units of its usual size (Page 1954): max(0, drift + rise - SLACK), up to ENOUGH
    jump            largest step of the rise within the drift: a level that jumped once is no leak

Columns of many series; what is late changes nothing here. A day is one of UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

DAY_S = 86_400
WEEK, KEPT = 7, 14
SLACK, ENOUGH, CLIP = 0.5, 3.0, 2.0  # usual sizes of a rise
SCATTER_LEAST = 0.15  # of the log: what varies less is constant
FIRST_SCATTER, FIRST_DAYS = 1.0, 5  # before so many rises their size is not known
SCATTER_WEIGHT = 0.1
MEAN_TO_DEVIATION = 1.2533  # of a normal law: deviation over mean size
JUMP = 0.5  # of the rise in one step: from here it is a jump
QUIET_DAYS = 7
_COLUMNS: dict[str, tuple[int, type[np.generic]]] = {
    "days": (KEPT, np.float32), "sum": (1, np.float32), "seen": (1, np.int32), "closed": (1, np.int32),
    "drift": (1, np.float32), "jump": (1, np.float32), "before": (1, np.float32), "scatter": (1, np.float32),
    "quiet": (1, np.int32),
}  # fmt: skip


@dataclass(frozen=True)
class Leaks:
    """Series that leak: `series`, mean spend of a window of the day that ended, and of the same days before."""

    series: Ints
    value: Doubles
    usual: Doubles


class LeakDetector:
    """Series are numbered from 0; state is one column a series, below 100 bytes. `day`: being summed now."""

    def __init__(self) -> None:
        self.day = -1
        self.state: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((rows, 0), kind) for name, (rows, kind) in _COLUMNS.items()
        }

    def add_series(self, count: int) -> None:
        """Make room for `count` more series, with nothing learned."""
        for name, column in self.state.items():
            self.state[name] = np.concatenate([column, np.zeros((len(column), count), column.dtype)], axis=1)

    def bytes_per_series(self) -> int:
        return sum(len(column) * column.dtype.itemsize for column in self.state.values())

    def reset(self, series: Ints) -> None:
        """Forget what was learned of these."""
        for column in self.state.values():
            column[:, series] = 0

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The state, to be stored."""
        return {f"leak/{name}": column for name, column in self.state.items()} | {"leak/day": np.array([self.day])}

    def restore(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from `columns`; with nothing learned if they are of before there was this detector."""
        if "leak/day" in columns:
            self.day = int(columns["leak/day"][0])
            self.state = {name: columns[f"leak/{name}"].copy() for name in self.state}

    def step(self, series: Ints, window_s: float, values: Doubles, largest: Doubles) -> Leaks:
        """Add a window; when it is the first one of a day, the day before is judged.

        Args:
            values: spend of m series; NaN: not known.
            largest: what counts of a window at most; 0: it is not known yet, all of it counts.
        """
        day = int(window_s // DAY_S)
        found = self._close() if day > self.day >= 0 else Leaks(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        self.day = max(self.day, day)
        known = np.isfinite(values)
        of = series[known]
        cut = np.where(largest[known] > 0, np.minimum(values[known], largest[known]), values[known])
        self.state["sum"][0, of] += cut
        self.state["seen"][0, of] += 1
        return found

    def _close(self) -> Leaks:
        """Judge the day that ended, of all series that have windows of it."""
        state = self.state
        series = np.flatnonzero(state["seen"][0])
        mean = state["sum"][0, series].astype(np.float64) / state["seen"][0, series]
        state["sum"][0], state["seen"][0] = 0.0, 0
        closed = state["closed"][0, series]
        days = state["days"][:, series].astype(np.float64)
        week, fortnight = days[(self.day - WEEK) % KEPT], days[self.day % KEPT]
        usual = np.where(closed >= KEPT, (week + fortnight) / 2, week)
        state["days"][self.day % KEPT, series] = mean
        state["closed"][0, series] = closed + 1
        says = (closed >= WEEK) & (usual > 0) & (mean > 0)
        rise = np.log(np.where(says, mean, 1.0) / np.where(says, usual, 1.0))
        drift, jump = self._drift(series, says, rise, closed)
        leaks = says & (closed >= KEPT) & (drift > ENOUGH) & (jump <= JUMP * rise)
        leaks &= self.day > state["quiet"][0, series]
        state["drift"][0, series] = np.where(leaks, 0.0, drift)
        state["quiet"][0, series[leaks]] = self.day + QUIET_DAYS
        return Leaks(series[leaks], mean[leaks], usual[leaks])

    def _drift(self, series: Ints, says: npt.NDArray[np.bool_], rise: Doubles, closed: Ints) -> tuple[Doubles, Doubles]:
        state = self.state
        before, scatter = state["drift"][0, series], state["scatter"][0, series]
        rises = closed - WEEK
        size = np.where(rises >= FIRST_DAYS, np.maximum(scatter * MEAN_TO_DEVIATION, SCATTER_LEAST), FIRST_SCATTER)
        drift = np.maximum(0.0, before + np.clip(rise / size, -3.0, CLIP) - SLACK)
        step = rise - np.where(before > 0, state["before"][0, series], 0.0)
        jump = np.where(before > 0, np.maximum(state["jump"][0, series], step), step)
        drift = np.where(says, drift, 0.0)
        seen = np.where(
            rises >= FIRST_DAYS, np.minimum(np.abs(rise), 3 * np.maximum(scatter, SCATTER_LEAST)), np.abs(rise)
        )
        weight = np.maximum(SCATTER_WEIGHT, 1.0 / (np.maximum(rises, 0) + 1.0))
        state["scatter"][0, series] = np.where(says, scatter + weight * (seen - scatter), scatter)
        state["jump"][0, series], state["before"][0, series] = jump, np.maximum(rise, 0.0)
        return drift, jump
