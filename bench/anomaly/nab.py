"""Scores alerts as the Numenta Anomaly Benchmark defines it, on the files of shared/data/nab (see its README)."""

import csv
import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp
from pathlib import Path

PROFILES = {"standard": (0.11, 1.0), "low_fp": (0.22, 1.0), "low_fn": (0.11, 2.0)}  # fp, fn; profiles.json
_REFERENCE = {"standard": "standard", "low_fp": "reward_low_FP_rate", "low_fn": "reward_low_FN_rate"}


@dataclass(frozen=True)
class Series:
    """One file. `windows`: first and last row of each labelled window; rows before `probation` are not scored."""

    name: str
    times: list[datetime]
    values: list[float]
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        return min(int(0.15 * len(self.values)), 750)


def read(folder: Path) -> list[Series]:
    """All files of the folder in order of name."""
    windows = json.loads((folder / "windows.json").read_text())
    found = []
    for name in sorted(windows):
        with (folder / "data" / name).open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        times = [datetime.fromisoformat(row[0]) for row in rows]
        ordered = sorted(times)
        bounds = [[datetime.fromisoformat(text) for text in window] for window in windows[name]]
        places = [(bisect_left(ordered, start), bisect_right(ordered, end) - 1) for start, end in bounds]
        found.append(Series(name, times, [float(row[1]) for row in rows], places))
    return found


def references(folder: Path) -> dict[str, dict[str, float]]:
    """Published detectors on the same files: name -> score by profile."""
    published = json.loads((folder / "reference_scores.json").read_text())["normalised"]
    return {name: {ours: scores[theirs] for ours, theirs in _REFERENCE.items()} for name, scores in published.items()}


def points(series: Series, alerts: Sequence[int]) -> tuple[float, float, int]:
    """What the alerts (rows, ascending) of one file earn.

    Returns:
        (earned by windows hit, weight of false alerts before the profile's factor, windows missed).
    """
    best: dict[int, float] = {}
    false = 0.0
    for row in alerts:
        if row < series.probation:
            continue
        inside = [window for window in series.windows if window[0] <= row <= window[1]]
        if inside:
            start, end = inside[0]
            place = -(end - row + 1) / (end - start + 1)
            best[start] = max(best.get(start, 0.0), _sigmoid(place) / _sigmoid(-1.0))
        else:
            false += _false_weight(series, row)
    return sum(best.values()), false, len(series.windows) - len(best)


def _sigmoid(place: float) -> float:
    return 2.0 / (1.0 + exp(5.0 * place)) - 1.0


def _false_weight(series: Series, row: int) -> float:
    before = [window for window in series.windows if window[1] < row]
    if not before:
        return 1.0
    start, end = before[-1]
    place = (row - end) / max(1, end - start)
    return 1.0 if place > 3.0 else -_sigmoid(place)  # NAB: beyond 3 windows' lengths it counts in full


def normalised(per_file: Sequence[tuple[float, float, int]], windows: int, profile: str) -> float:
    """The score of all files: 100 for every window found at its first row, 0 for no alert at all."""
    fp, fn = PROFILES[profile]
    raw = sum(earned - fp * false - fn * missed for earned, false, missed in per_file)
    null = -fn * windows
    return 100.0 * (raw - null) / (windows - null)
