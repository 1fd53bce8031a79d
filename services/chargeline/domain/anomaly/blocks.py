"""Pattern and shape: is the recent course like any of the courses before it?"""

from array import array
from math import sqrt

import numpy as np

from chargeline.domain.anomaly.history import History

LENGTH = 12  # block means in a pattern
KEPT = 300  # patterns to compare with
NEAREST = 3  # the distance to the third nearest: one or two repeats of an incident do not make it usual
_BUFFER = KEPT + 2 * LENGTH - 1  # block means: the newest pattern, and 300 that end before it begins
_ROWS, _SUM, _BLOCKS, _PATTERN, _SHAPE = range(5)


class Blocks:
    """Distance of the last 12 block means to their third nearest among the 300 patterns before them.

    Twice: as they are (pattern), and each with its own mean taken out (shape). Both change at the end of a block.

    Args:
        rows: rows in a block.
        history_rows: distances that a new one is compared with.
    """

    token_length = 8

    def __init__(self, rows: int, history_rows: int) -> None:
        self.rows = rows
        self.small = array("d", [0.0] * 5)
        self.means = np.zeros(_BUFFER)
        self.pattern_history = History(history_rows)
        self.shape_history = History(history_rows)

    def step(self, value: float, floor: float) -> "array[float]":
        """Learn a row; returns the token for `undo`."""
        small = self.small
        token = small[:]
        small[_ROWS] += 1.0
        small[_SUM] += value
        if small[_ROWS] < self.rows:
            token.extend(_NOTHING)
            return token
        means = self.means
        first = means[0]
        means[:-1] = means[1:]
        means[-1] = small[_SUM] / self.rows
        small[_ROWS] = small[_SUM] = 0.0
        small[_BLOCKS] += 1.0
        gone = self._compare(min(int(small[_BLOCKS]), _BUFFER), floor)
        token.extend((first, *gone))
        return token

    def undo(self, token: "array[float]") -> None:
        """Take the last step back."""
        if self.small[_BLOCKS] != token[_BLOCKS]:
            self.means[1:] = self.means[:-1]
            self.means[0] = token[5]
            if self.small[_BLOCKS] >= _LEAST_BLOCKS:
                self.pattern_history.undo(token[6])
                self.shape_history.undo(token[7])
        self.small = token[:5]

    def pattern(self) -> float:
        return self.small[_PATTERN]

    def shape(self) -> float:
        return self.small[_SHAPE]

    def _compare(self, known: int, floor: float) -> tuple[float, float]:
        if known < _LEAST_BLOCKS:
            return 0.0, 0.0
        means = self.means
        past = np.lib.stride_tricks.as_strided(
            means[_BUFFER - known :], (known - 2 * LENGTH + 1, LENGTH), (means.itemsize, means.itemsize)
        )
        apart = past - means[-LENGTH:]
        squares = np.einsum("ij,ij->i", apart, apart)
        sums = apart.sum(1)
        shapes = squares - sums * sums / LENGTH
        pattern = sqrt(float(np.partition(squares, NEAREST - 1)[NEAREST - 1]))
        shape = sqrt(max(0.0, float(np.partition(shapes, NEAREST - 1)[NEAREST - 1])))
        self.small[_PATTERN] = self.pattern_history.above(pattern, floor)
        self.small[_SHAPE] = self.shape_history.above(shape, floor)
        return self.pattern_history.push(pattern), self.shape_history.push(shape)


_LEAST_BLOCKS = 3 * LENGTH  # some patterns to compare with, so that the third nearest exists
_NOTHING = (0.0, 0.0, 0.0)
