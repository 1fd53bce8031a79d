"""Threshold and cool-down chosen on four fifths of the files, scored on the rest: the number to believe."""

from collections.abc import Mapping, Sequence

import numpy as np
from bench.anomaly import nab

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(24, 37))  # 1.2 to 1.8
COOL_DOWNS = (80, 100, 120)
FOLDS, DRAWS = 5, 5
Points = tuple[float, float, int]
Choice = tuple[float, int]


def alerts_of(surprises: np.ndarray, threshold: float, cool_down: int, learning: int) -> list[int]:
    """Rows that would be alerts with another threshold; surprises do not depend on it."""
    rows, next_row = [], learning
    for row in np.flatnonzero(surprises >= threshold):
        if row >= next_row:
            rows.append(int(row))
            next_row = int(row) + cool_down + 1
    return rows


def points_by_choice(
    files: Sequence[nab.Series], surprises: Sequence[np.ndarray], learning: int
) -> dict[Choice, list[Points]]:
    return {
        (threshold, cool_down): [
            nab.points(one, alerts_of(values, threshold, cool_down, learning))
            for one, values in zip(files, surprises, strict=True)
        ]
        for threshold in THRESHOLDS
        for cool_down in COOL_DOWNS
    }


def cross_validated(files: Sequence[nab.Series], table: Mapping[Choice, list[Points]]) -> float:
    """Mean standard score over five seeded ways to cut the sources into five folds."""
    sources = sorted({_source(one.name) for one in files})
    scores = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(sources))
        fold = {sources[number]: place % FOLDS for place, number in enumerate(order)}
        parts = np.array([fold[_source(one.name)] for one in files])
        earned = [(0.0, 0.0, 0)] * len(files)
        for part in range(FOLDS):
            kept = {choice: _score(files, points, parts != part) for choice, points in table.items()}
            best = max(kept, key=kept.__getitem__)
            for place in np.flatnonzero(parts == part):
                earned[place] = table[best][place]
        scores.append(_score(files, earned, parts >= 0))
    return float(np.mean(scores))


def _score(files: Sequence[nab.Series], earned: Sequence[Points], chosen: np.ndarray) -> float:
    places = [int(place) for place in np.flatnonzero(chosen)]
    windows = sum(len(files[place].windows) for place in places)
    return nab.normalised([earned[place] for place in places], windows, "standard")


def _source(name: str) -> str:
    """Two metrics of one source stay on the same side."""
    return next((source for source in ("exchange-4", "t4013") if source in name), name)
