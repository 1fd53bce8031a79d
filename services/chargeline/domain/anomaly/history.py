"""The last values of one signal, and how surprising the next one is: the unit in which all signals are compared."""

from array import array
from bisect import bisect_left, bisect_right, insort
from math import log, log10, nan

TAIL_SHARE = 0.05  # the part of the history to which the exponential tail is fitted
SURPRISE_MAX = 8.0  # beyond it a larger value says nothing more: heavy tails must not drown the other signals
LEAST = 40  # with fewer values the tail is a single row

_LN10 = log(10.0)
_AT_CUT = -log10(TAIL_SHARE)
_RANGE_FLOOR = 1e-3  # of the range seen: nearly constant signals would make the first change of 1e-9 infinite


class History:
    """A bounded history of a signal: a ring in order of arrival and the same values in order of size.

    Values are kept in 32 bits (8 bytes a value for both orders). Multiplying all values by a power of two changes
    no surprise in any bit.

    Args:
        size: most values kept; the oldest goes first.
    """

    __slots__ = ("_cell", "count", "ordered", "ring", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self.ring = array("f")
        self.ordered = array("f")
        self._cell = array("f", [0.0])

    def above(self, value: float, floor: float = 0.0) -> float:
        """Surprise of a value for being large: -log10 of the probability of one at least as large, 0 to 8.

        Below the 95 % quantile q the probability is the rank; beyond it the tail is exponential:
        -log10(0.05) + (value - q) / mean excess / ln 10. The mean excess counts as no less than `floor`.
        """
        self._cell[0] = value
        value = self._cell[0]  # as it would be stored: a repeated value must tie with itself
        ordered = self.ordered
        length = len(ordered)
        if length < LEAST:
            return 0.0
        rare = int(length * TAIL_SHARE)
        quantile = ordered[length - 1 - rare]
        if value <= quantile:
            return log10((length + 1) / (length - bisect_left(ordered, value) + 1))
        return self._tail(value - quantile, sum(ordered[length - rare :]) / rare - quantile, floor)

    def below(self, value: float, floor: float = 0.0) -> float:
        """Surprise of a value for being small; the mirror image of `above`."""
        self._cell[0] = value
        value = self._cell[0]
        ordered = self.ordered
        length = len(ordered)
        if length < LEAST:
            return 0.0
        rare = int(length * TAIL_SHARE)
        quantile = ordered[rare]
        if value >= quantile:
            return log10((length + 1) / (bisect_right(ordered, value) + 1))
        return self._tail(quantile - value, quantile - sum(ordered[:rare]) / rare, floor)

    def push(self, value: float) -> float:
        """Learn a value. Returns the one that made room, NaN if none did: the argument of `undo`."""
        ring, ordered = self.ring, self.ordered
        self._cell[0] = value
        value = self._cell[0]
        gone = nan
        if len(ring) < self.size:
            ring.append(value)
        else:
            place = self.count % self.size
            gone = ring[place]
            ring[place] = value
            del ordered[bisect_left(ordered, gone)]
        insort(ordered, value)
        self.count += 1
        if self.count == self.size:
            # Full: from here nothing grows, so the room that arrays keep for growing (a sixteenth) is given back.
            self.ring, self.ordered = array("f", ring), array("f", ordered)
        return gone

    def undo(self, gone: float) -> None:
        """Forget the value learned last; `gone` is what its `push` returned."""
        self.count -= 1
        ring, ordered = self.ring, self.ordered
        if gone != gone:  # noqa: PLR0124  # NaN: nothing had to make room
            last = ring.pop()
        else:
            place = self.count % self.size
            last = ring[place]
            ring[place] = gone
            insort(ordered, gone)
        del ordered[bisect_left(ordered, last)]

    def _tail(self, beyond: float, mean_excess: float, floor: float) -> float:
        mean_excess = max(mean_excess, (self.ordered[-1] - self.ordered[0]) * _RANGE_FLOOR, floor)
        if beyond >= SURPRISE_MAX * _LN10 * mean_excess:
            return SURPRISE_MAX
        return min(SURPRISE_MAX, _AT_CUT + beyond / mean_excess / _LN10)
