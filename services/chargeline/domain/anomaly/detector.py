"""The detector of one series: five weak signals in one unit, their mean, one threshold, a cool-down.

Online and causal: a row is judged by what came before it, once, in order. The same rows give the same scores, to the
bit, whatever follows them and however often the state was written out and read back.
"""

from array import array
from collections import deque
from dataclasses import dataclass
from math import isfinite

from chargeline.domain.anomaly.blocks import Blocks
from chargeline.domain.anomaly.level import Level, Value
from chargeline.domain.anomaly.parameters import LEGS, Parameters
from chargeline.domain.anomaly.seasonal import Seasonal

BLOCK_ROWS = (4, 8, 12)  # three lengths of a pattern: 48, 96 and 144 rows
ABSOLUTE_MAX = 1e30  # beyond it 32 bits end; larger values count as this
FLOOR_SHARE = 1e-4  # of the largest value so far: what varies less is constant
_ROWS, _QUIET, _LARGEST = range(3)


@dataclass(frozen=True)
class Verdict:
    """What the detector says of a row.

    Attributes:
        score: 0 to 1; 0.5 and more exactly where `is_alert`. Halved inside the cool-down, 0 while learning.
        surprise: mean of the legs, 0 to 8.
        legs: surprise of each leg, in the order of `LEGS`.
    """

    score: float
    is_alert: bool
    surprise: float
    legs: tuple[float, ...]


_UNKNOWN = Verdict(0.0, False, 0.0, (0.0,) * len(LEGS))


class Detector:
    """One series. Rows are given in order of time by `step`; the last few can be taken back by `replace`."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        rows = parameters.history_rows
        self.small = array("d", [0.0] * 3)
        self.value = Value(rows)
        self.seasonal = Seasonal(rows, parameters.profile_weight)
        self.level = Level(rows)
        self.blocks = tuple(Blocks(block, parameters.pattern_history_rows) for block in BLOCK_ROWS)
        self.journal: deque[tuple[float, float, tuple[array[float], ...]]] = deque(maxlen=parameters.late_rows)
        self._cell = array("f", [0.0])

    def step(self, time_s: float, value: float) -> Verdict:
        """Judge a row and learn it.

        Args:
            time_s: start of its window, seconds since 1970 in UTC. May repeat or go back; only its place in the day
                and in the week is used.
            value: NaN or infinite: not known. Nothing is learned and the score is 0.
        """
        small_before = self.small[:]
        self.small[_ROWS] += 1.0
        if not isfinite(value):
            self.journal.append((time_s, value, (small_before,)))
            return _UNKNOWN
        # Seven digits: a change in the sixteenth is noise of arithmetic, not news.
        self._cell[0] = min(max(value, -ABSOLUTE_MAX), ABSOLUTE_MAX)
        value = self._cell[0]
        self.small[_LARGEST] = max(self.small[_LARGEST], abs(value))
        floor = self.small[_LARGEST] * FLOOR_SHARE
        value_surprise, value_token = self.value.step(value, floor)
        seasonal_surprise, seasonal_token = self.seasonal.step(time_s, value, floor)
        level_surprise, level_token = self.level.step(value, floor)
        tokens = [blocks.step(value, floor) for blocks in self.blocks]
        self.journal.append((time_s, value, (small_before, value_token, seasonal_token, level_token, *tokens)))
        pattern = sum(blocks.pattern() for blocks in self.blocks) / len(self.blocks)
        shape = sum(blocks.shape() for blocks in self.blocks) / len(self.blocks)
        return self._verdict((value_surprise, seasonal_surprise, pattern, level_surprise, shape))

    def _verdict(self, legs: tuple[float, ...]) -> Verdict:
        parameters, row = self.parameters, self.small[_ROWS]
        surprise = sum(legs) / len(legs)
        ratio = surprise / parameters.threshold
        score = ratio / (1.0 + ratio)
        if row <= parameters.learning_rows:
            return Verdict(0.0, False, surprise, legs)
        if row <= self.small[_QUIET]:
            return Verdict(score / 2.0, False, surprise, legs)
        is_alert = ratio >= 1.0
        if is_alert:
            self.small[_QUIET] = row + parameters.cool_down_rows
        return Verdict(score, is_alert, surprise, legs)
