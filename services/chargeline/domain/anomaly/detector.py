"""The detector of one series: five weak signals in one unit, their mean, one threshold, a cool-down.

Online and causal: a row is judged by what came before it, once, in order. The same rows give the same scores, to the
bit, whatever follows them and however often the state was written out and read back (`stored.py`).
Where `spend_threshold` is set, spend well above what is usual is an alert by itself, however usual its pattern.
"""

from array import array
from dataclasses import dataclass
from math import isfinite

from chargeline.domain.anomaly import light
from chargeline.domain.anomaly.blocks import Blocks
from chargeline.domain.anomaly.journal import Journal, Step
from chargeline.domain.anomaly.level import Level, Value
from chargeline.domain.anomaly.parameters import LEGS, Parameters
from chargeline.domain.anomaly.seasonal import Seasonal
from chargeline.domain.anomaly.spend import Spend

BLOCK_ROWS = (4, 8, 12)  # three lengths of a pattern: 48, 96 and 144 rows
ABSOLUTE_MAX = 1e30  # beyond it 32 bits end; larger values count as this
FLOOR_SHARE = 1e-4  # of the largest value so far: what varies less is constant
_ROWS, _QUIET, _LARGEST, _ALERTED = range(4)  # rows so far, last row of the cool-down, largest |value|, last alert


@dataclass(frozen=True)
class Verdict:
    """What the detector says of a row.

    Attributes:
        score: 0 to 1; 0.5 and more exactly where `is_alert`. Halved inside the cool-down, 0 while learning.
        surprise: mean of the legs, 0 to 8: -log10 of a probability.
        legs: surprise of each leg, in the order of `LEGS`.
        spend: surprise of spend, 0 and more; 0 where `spend_threshold` is 0.
        signal: place in `light.SIGNALS` of what made `spend`.
    """

    score: float
    is_alert: bool
    surprise: float
    legs: tuple[float, ...]
    spend: float = 0.0
    signal: int = 0


_UNKNOWN = Verdict(0.0, False, 0.0, (0.0,) * len(LEGS))


class Detector:
    """One series. Rows are given in order of time by `step`; the last few can be corrected by `replace`."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        rows = parameters.history_rows
        self.small = array("d", [0.0] * 4)
        self.value = Value(rows)
        self.seasonal = Seasonal(rows, parameters.profile_weight)
        self.level = Level(rows)
        self.blocks = tuple(Blocks(block, parameters.pattern_history_rows) for block in BLOCK_ROWS)
        self.spend = Spend(parameters.learning_rows)
        lengths = (len(self.small), *(part.token_length for part in self.parts()))
        self.journal = Journal(parameters.late_rows, lengths)
        self._cell = array("f", [0.0])

    @property
    def quiet_until(self) -> float:
        """Last row, from 1, of the cool-down after the newest alert; 0: there was none."""
        return self.small[_QUIET]

    def parts(self) -> tuple[Value | Seasonal | Level | Blocks | Spend, ...]:
        """In the order of a step's tokens after the first; spend only where it is judged."""
        spend = (self.spend,) if self.parameters.spend_threshold else ()
        return (self.value, self.seasonal, self.level, *self.blocks, *spend)

    def step(self, time_s: float, value: float) -> Verdict:
        """Judge a row and learn it.

        Args:
            time_s: start of its window, seconds since 1970 in UTC. May repeat or go back; its place in the day and
                in the week is used, and how long ago the first row was.
            value: NaN or infinite: not known. Nothing is learned and the score is 0.
        """
        before = self.small[:]
        self.small[_ROWS] += 1.0
        if not isfinite(value):
            self.journal.append(Step(time_s, value, (before,)))
            return _UNKNOWN
        # Seven digits: a change in the sixteenth is noise of arithmetic, not news.
        self._cell[0] = min(max(value, -ABSOLUTE_MAX), ABSOLUTE_MAX)
        value = self._cell[0]
        self.small[_LARGEST] = max(self.small[_LARGEST], abs(value))
        floor = self.small[_LARGEST] * FLOOR_SHARE
        of_value, value_token = self.value.step(value, floor)
        of_season, season_token = self.seasonal.step(time_s, value, floor)
        of_level, level_token = self.level.step(value, floor)
        tokens = [before, value_token, season_token, level_token]
        tokens += [blocks.step(value, floor) for blocks in self.blocks]
        spend, signal = 0.0, 0
        if self.parameters.spend_threshold:
            spend, signal, token = self.spend.step(time_s, value, floor)
            tokens.append(token)
        self.journal.append(Step(time_s, value, tuple(tokens)))
        pattern = sum(blocks.pattern() for blocks in self.blocks) / len(self.blocks)
        shape = sum(blocks.shape() for blocks in self.blocks) / len(self.blocks)
        return self._verdict((of_value, of_season, pattern, of_level, shape), spend, signal)

    def replace(self, back: int, value: float) -> list[Verdict]:
        """Put another value in the place of one already learned: a late pane corrected its window.

        The state is afterwards, to the bit, as if the right value had come first.

        Args:
            back: rows before the last one, 0: the last row; less than `late_rows`.

        Returns:
            New verdicts of that row and of all after it, oldest first.

        Raises:
            IndexError: the row is too old or was never given.
        """
        if not 0 <= back < len(self.journal):
            raise IndexError(f"row {back} before the last cannot be replaced: {len(self.journal)} are kept")
        taken = [self._undo() for _ in range(back + 1)][::-1]
        return [self.step(row.time_s, value if place == 0 else row.value) for place, row in enumerate(taken)]

    def _undo(self) -> Step:
        row = self.journal.pop()
        self.small = row.tokens[0]
        if len(row.tokens) > 1:
            for part, token in zip(self.parts(), row.tokens[1:], strict=True):
                part.undo(token)
        return row

    def _verdict(self, legs: tuple[float, ...], spend: float, signal: int) -> Verdict:
        parameters, small = self.parameters, self.small
        row = small[_ROWS]
        surprise = sum(legs) / len(legs)
        ratio = surprise / parameters.threshold
        if spend:
            ratio = max(ratio, spend / parameters.spend_threshold)
        score = ratio / (1.0 + ratio)
        is_alert = ratio >= 1.0
        if row <= parameters.learning_rows:
            score, is_alert = 0.0, False
        elif row <= small[_QUIET] and (not spend or spend < light.WORSE * small[_ALERTED]):
            # Halved, so that a reader of scores alone sees one alert for one incident, too.
            score, is_alert = score / 2.0, False
        if is_alert:
            small[_QUIET] = row + parameters.cool_down_rows
            small[_ALERTED] = max(spend, parameters.spend_threshold)
        return Verdict(score, is_alert, surprise, legs, spend, signal)
