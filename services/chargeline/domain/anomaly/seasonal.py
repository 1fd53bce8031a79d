"""Seasonal residual: how far are the last rows from what this time of the day, or hour of the week, usually brings?"""

from array import array

from chargeline.domain.anomaly.history import History

DAY_S = 86_400
HALF_HOURS = 48
HOURS_OF_WEEK = 168
WARM_DAYS = 2  # with less than two cycles a profile is a guess
WARM_WEEKS = 2
LONG, SHORT = 24, 8  # rows: a seasonal jump that comes a bit late gives large residuals of one row
_MONDAY = 96  # hours from the epoch's Thursday to a Monday
_ROWS, _START = LONG, LONG + 1


class Seasonal:
    """Residual from a profile, averaged over the last 24 and the last 8 rows: the mean of both surprises.

    The profile is the slow mean of each half hour of the day, and once two weeks have been seen of each hour of the
    week (UTC). Before two days have been seen the surprise is 0.

    Args:
        weight: weight of one row in its bucket; a bucket's first rows count equally.
    """

    token_length = LONG + 2 + 8

    def __init__(self, history_rows: int, weight: float) -> None:
        self.weight = weight
        self.small = array("d", [0.0] * (LONG + 2))  # residuals as a ring, residuals so far, time of the first row
        self.means = array("d", [0.0] * (HALF_HOURS + HOURS_OF_WEEK))
        self.counts = array("d", [0.0] * (HALF_HOURS + HOURS_OF_WEEK))
        self.long = History(history_rows)
        self.short = History(history_rows)

    def expected(self, time_s: float) -> float | None:
        """What this time usually brings; None before two cycles have been seen."""
        if not self.small[_START] or time_s - self.small[_START] < WARM_DAYS * DAY_S:
            return None
        place = self._bucket(time_s)
        return self.means[place] if self.counts[place] else None

    def step(self, time_s: float, value: float, floor: float) -> tuple[float, "array[float]"]:
        """Judge and learn a row; returns the surprise and the token for `undo`."""
        small = self.small
        token = small[:]
        if not small[_START]:
            small[_START] = time_s
        expected = self.expected(time_s)
        self._learn(time_s, value, token)
        if expected is None:
            token.extend((0.0, 0.0))
            return 0.0, token
        rows = int(small[_ROWS])
        small[rows % LONG] = value - expected
        small[_ROWS] = rows + 1.0
        long, short = abs(self._mean(LONG)), abs(self._mean(SHORT))
        surprise = (self.long.above(long, floor) + self.short.above(short, floor)) / 2.0
        token.extend((self.long.push(long), self.short.push(short)))
        return surprise, token

    def undo(self, token: "array[float]") -> None:
        """Take the last step back."""
        if self.small[_ROWS] != token[_ROWS]:
            self.short.undo(token[-1])
            self.long.undo(token[-2])
        for at in (LONG + 5, LONG + 2):
            place = int(token[at])
            self.means[place] = token[at + 1]
            self.counts[place] = token[at + 2]
        self.small = token[: LONG + 2]

    def _mean(self, rows: int) -> float:
        """Mean of the last residuals, fewer at the start."""
        known = int(self.small[_ROWS])
        rows = min(rows, known)
        end = (known - 1) % LONG + 1
        ring = self.small
        if rows <= end:
            return sum(ring[end - rows : end]) / rows
        return (sum(ring[LONG - (rows - end) : LONG]) + sum(ring[:end])) / rows

    def _bucket(self, time_s: float) -> int:
        if time_s - self.small[_START] >= WARM_WEEKS * 7 * DAY_S:
            return _hour_of_week(time_s)
        return _half_hour(time_s)

    def _learn(self, time_s: float, value: float, token: "array[float]") -> None:
        for place in (_half_hour(time_s), _hour_of_week(time_s)):
            mean, count = self.means[place], self.counts[place]
            token.extend((place, mean, count))
            self.counts[place] = count + 1.0
            self.means[place] = mean + max(1.0 / (count + 1.0), self.weight) * (value - mean)


def _half_hour(time_s: float) -> int:
    return int(time_s % DAY_S // 1800)


def _hour_of_week(time_s: float) -> int:
    return HALF_HOURS + int((time_s // 3600 + _MONDAY) % HOURS_OF_WEEK)
