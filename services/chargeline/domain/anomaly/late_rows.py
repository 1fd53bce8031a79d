"""The last rows of the light detectors, so that one of them can be put right: columns beside the detectors' own.

    every row        its value, and what it will change of the profile, before it is learned
    every 12th row   all the rest of the state, before that row is learned: two such places, used in turn
    to take back     the profile row by row, newest first; the rest from the place before the row

Then the rows are learned again. The state is to the bit what it would be if the right value had come first. Rows of a
series are counted from its first one; those before `since` are not kept.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Columns = dict[str, npt.NDArray[Any]]
Ints = npt.NDArray[np.int64]

LATE = 12  # rows that can be put right: the last one and those before it
KEPT = 2 * LATE  # rows kept: those, and the ones from the place before the oldest of them
_HOURS = 24
# The profile, of which a row changes one cell each.
_CELLS: dict[str, type[np.generic]] = {
    "day": np.float32,
    "week": np.float32,
    "deviation": np.float32,
    "day_rows": np.uint8,
    "week_rows": np.uint8,
}
_ROW: dict[str, type[np.generic]] = {"value": np.float32}
_NOT_COPIED = ("rows", "begun", *_CELLS)


def columns_of(own: dict[str, tuple[int, type[np.generic]]]) -> dict[str, tuple[int, type[np.generic]]]:
    """Names, rows and kinds of the columns that are needed beside the detector's own."""
    found: dict[str, tuple[int, type[np.generic]]] = {"since": (1, np.int32)}
    found |= {f"late/{name}": (KEPT, kind) for name, kind in (_CELLS | _ROW).items()}
    return found | {f"kept/{name}": (2 * rows, kind) for name, (rows, kind) in own.items() if name not in _NOT_COPIED}


def note(state: Columns, series: Ints, week_hour: Ints, values: npt.NDArray[np.float32]) -> None:
    """Keep what is needed to take the next row of these series back."""
    rows = state["rows"][0, series]
    place = rows % KEPT
    for name in _CELLS:
        state[f"late/{name}"][place, series] = state[name][_at(name, week_hour), series]
    state["late/value"][place, series] = values
    copied = rows % LATE == 0
    if copied.any():
        of, second = series[copied], (rows[copied] // LATE % 2).astype(bool)
        for slot, some in ((0, of[~second]), (1, of[second])):
            for name in _copied(state):
                kept = state[f"kept/{name}"]
                half = len(kept) // 2
                kept[slot * half : (slot + 1) * half, some] = state[name][:, some]


def can_take_back(state: Columns, series: Ints, back: Ints) -> npt.NDArray[np.bool_]:
    """Whether these rows, 0: the last one, can be put right."""
    row = state["rows"][0, series] - 1 - back
    return (back >= 0) & (back < LATE) & (row >= 0) & (row // LATE * LATE >= state["since"][0, series])


def take_back(state: Columns, series: Ints, back: Ints, week_hours: Ints) -> None:
    """The state of these series as it was at the place before the row, which `can_take_back` has allowed.

    Args:
        week_hours: of the last rows, the same for all series, the last row's last.
    """
    rows = state["rows"][0, series]
    start = (rows - 1 - back) // LATE * LATE
    for age in range(int((rows - start).max(initial=0))):
        row = rows - 1 - age
        chosen = row >= start
        of, place = series[chosen], row[chosen] % KEPT
        hour = np.full(len(of), week_hours[-1 - age]) if len(of) else week_hours[:0]
        for name in _CELLS:
            state[name][_at(name, hour), of] = state[f"late/{name}"][place, of]
    second = start // LATE % 2 == 1
    for slot, some in ((0, series[~second]), (1, series[second])):
        for name in _copied(state):
            half = len(state[name])
            state[name][:, some] = state[f"kept/{name}"][slot * half : (slot + 1) * half, some]
    state["rows"][0, series] = start


def _at(name: str, week_hour: Ints) -> Ints:
    """The week begins on a Monday at 0:00, so its hour tells the hour of the day."""
    return week_hour if name.startswith("week") else week_hour % _HOURS


def _copied(state: Columns) -> list[str]:
    return [name[5:] for name in state if name.startswith("kept/")]
