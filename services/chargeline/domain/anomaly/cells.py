"""Cells: what one window holds of one group, summed exactly, in columns. Money is in picounits of the currency."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.exact import Exact

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
# Counts of a cell. The first three come with the cost panes, the others with the performance panes.
MEASURES = ("events", "errors", "unrated", "measured", "retries", "input_tokens", "cache_read_tokens", "output_tokens")
EVENTS, ERRORS, UNRATED, MEASURED, RETRIES, INPUT, CACHE_READ, OUTPUT = range(len(MEASURES))
PICOS = 1e12


@dataclass(frozen=True)
class Cells:
    """n cells of one window.

    Attributes:
        group: int64, ascending and distinct: number of each cell's group.
        cost: billed cost in picounits.
        measures: int64 (len(MEASURES), n).
    """

    group: Ints
    cost: Exact
    measures: Ints

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: Ints) -> "Cells":
        """Some cells, ascending rows."""
        return Cells(self.group[rows], self.cost.take(rows), self.measures[:, rows])

    def spend(self) -> Doubles:
        """Cost in units of the currency, as the detectors read it: never added up to money."""
        picos = self.cost.values.astype(np.float64)
        for row, number in self.cost.large.items():
            picos[row] = number
        return picos / PICOS

    def total(self) -> int:
        """All cost in picounits, exact."""
        return sum(self.cost.values.tolist()) + sum(self.cost.large.values())


def nothing() -> Cells:
    """No cells."""
    return Cells(np.zeros(0, np.int64), Exact(np.zeros(0, np.int64)), np.zeros((len(MEASURES), 0), np.int64))


def summed(group: Ints, cost: Exact, measures: Ints) -> Cells:
    """The cells of n rows, in any order, several of which may belong to one group."""
    if not len(group):
        return nothing()
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    fresh = np.append(True, ordered[1:] != ordered[:-1])
    starts = np.flatnonzero(fresh)
    place = np.cumsum(fresh) - 1
    return Cells(
        ordered[starts],
        cost.take(order).sum_by(place, len(starts)),
        np.add.reduceat(measures[:, order], starts, axis=1),
    )


def merged(parts: Sequence[Cells]) -> Cells:
    """The sum of several sets of cells."""
    parts = [each for each in parts if len(each)]
    if not parts:
        return nothing()
    if len(parts) == 1:
        return parts[0]
    large: dict[int, int] = {}
    at = 0
    for each in parts:
        large |= {at + row: number for row, number in each.cost.large.items()}
        at += len(each)
    cost = Exact(np.concatenate([each.cost.values for each in parts]), large)
    return summed(
        np.concatenate([each.group for each in parts]), cost, np.concatenate([each.measures for each in parts], axis=1)
    )


class OpenWindows:
    """The cells of the windows that are not complete, by window start in microseconds.

    Panes of a window are put beside each other; what is no larger than what comes after it is summed with it. So each
    row is sorted a few times, not once for every message, and a window has few parts.
    """

    def __init__(self) -> None:
        self._parts: dict[int, list[Cells]] = {}

    def add(self, window: int, cells: Cells) -> None:
        """Add deltas to a window."""
        parts = self._parts.setdefault(window, [])
        parts.append(cells)
        while len(parts) > 1 and len(parts[-2]) <= len(parts[-1]):
            parts[-2:] = [merged(parts[-2:])]

    def starts(self) -> list[int]:
        """Starts of the windows with cells, ascending."""
        return sorted(self._parts)

    def of(self, window: int) -> Cells:
        """The cells of a window so far."""
        parts = self._parts.get(window)
        if parts is None:
            return nothing()
        if len(parts) > 1:
            parts[:] = [merged(parts)]
        return parts[0]

    def take(self, window: int) -> Cells:
        """The cells of a window, which is forgotten."""
        cells = self.of(window)
        self._parts.pop(window, None)
        return cells

    def renumber(self, number: Ints) -> None:
        """Groups have new numbers: `number[old]`, which is ascending over the groups that are kept."""
        for window in self.starts():
            cells = self.of(window)
            self._parts[window] = [Cells(number[cells.group], cells.cost, cells.measures)]
