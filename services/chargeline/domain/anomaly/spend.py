"""Spend: is more (or suddenly much less) spent than this hour usually brings? The rules of the light detector, one row.

The five signals, in units of the usual deviation: sums of 3 and of 12 rows, the mean of about a day, the negated sum
of 12 rows (lost metering), and the sizes of the last 3 rows with spend. The largest surprise counts.
"""

from array import array
from math import log

from chargeline.domain.anomaly import light

_HOURS, _WEEK = light.HOURS, light.WEEK_HOURS
_DAY_AT, _WEEK_AT, _DEVIATION_AT, _PROFILE = 0, _HOURS, _HOURS + _WEEK, 2 * _HOURS + _WEEK
_SIGNALS = len(light.SIGNALS)
(_ROWS, _ACTIVE, _BEGUN, _RUN, _DEVIATION_ALL, _HOT, _SIZE, _SIZE_DEVIATION) = range(8)
_RING = 8
_SIZE_RING = _RING + light.LONG
_QUANTILE = _SIZE_RING + light.SHORT
_EXCESS = _QUANTILE + _SIGNALS
_SMALL = _EXCESS + _SIGNALS
_LN10 = log(10.0)


class Spend:
    """Signals, profile and tails of one series.

    Args:
        learning_rows: rows in which everything is learned in full, incidents too.
    """

    token_length = _SMALL + 9

    def __init__(self, learning_rows: int) -> None:
        self.learning_rows = learning_rows
        self.small = array("d", [0.0] * _SMALL)
        for place in range(_SIGNALS):
            self.small[_QUANTILE + place], self.small[_EXCESS + place] = light.FIRST_QUANTILE, light.FIRST_EXCESS
        self.means = array("d", [0.0] * _PROFILE)  # of hour of day, of hour of week; deviation by hour of day
        self.counts = array("d", [0.0] * _PROFILE)

    def expected(self, time_s: float) -> float:
        """What this hour usually brings: of the day, and after a week more and more of the week."""
        hour, week_hour = _hours(time_s)
        day, week = self.means[_DAY_AT + hour], self.means[_WEEK_AT + week_hour]
        share: float = light.weekly_share(time_s - self.small[_BEGUN], self.counts[_WEEK_AT + week_hour])
        return day + share * (week - day)

    def step(self, time_s: float, value: float, floor: float) -> tuple[float, int, "array[float]"]:
        """Judge and learn a row; returns surprise (no upper bound), its signal's place in SIGNALS, and the token."""
        small = self.small
        token = small[:]
        if not small[_ROWS]:
            small[_BEGUN] = time_s
        hour, _ = _hours(time_s)
        # An hour that was never seen brings what it brings: there is nothing to compare it with.
        expected = self.expected(time_s) if self.counts[_DAY_AT + hour] else value
        unit = max((self.means[_DEVIATION_AT + hour] + small[_DEVIATION_ALL]) / 2.0, floor, 1e-37)
        signals = (*self._sums((value - expected) / unit), self._sizes(value, floor))
        surprises = [
            light.AT_QUANTILE + (signal - small[_QUANTILE + place]) / self._mean_excess(place) / _LN10
            for place, signal in enumerate(signals)
        ]
        if small[_ACTIVE] * 2.0 <= small[_ROWS] or time_s - small[_BEGUN] < light.DROPS_FROM_S:
            surprises[light.LOW] = 0.0
        surprise = max(surprises)
        calm = self._calm(surprise)
        self._learn_tails(signals, calm)
        self._learn_profile(time_s, value, (expected, unit, calm), token)
        small[_ROWS] += 1.0
        small[_ACTIVE] += value != 0.0
        if small[_ACTIVE] < light.ACTIVE_LEAST:
            surprise = 0.0
        return max(0.0, surprise), surprises.index(max(surprises)), token

    def undo(self, token: "array[float]") -> None:
        """Take the last step back."""
        self.small = token[:_SMALL]
        for at in range(_SMALL, _SMALL + 9, 3):
            place = int(token[at])
            self.means[place], self.counts[place] = token[at + 1], token[at + 2]

    def _mean_excess(self, place: int) -> float:
        return max(self.small[_EXCESS + place], light.EXCESS_LEAST)

    def _sums(self, normal: float) -> tuple[float, float, float, float]:
        small = self.small
        normal = min(max(normal, -1e4), 1e4)
        place = int(small[_ROWS]) % light.LONG
        small[_RING + place] = normal
        ring = small[_RING : _RING + light.LONG]
        short = ring[place] + ring[place - 1] + ring[place - 2]
        long = sum(ring) / light.LONG**0.5
        small[_RUN] += light.DAY_WEIGHT * (normal - small[_RUN])
        return short / light.SHORT**0.5, long, small[_RUN] * light.DAY_WEIGHT**-0.5, -long

    def _sizes(self, value: float, floor: float) -> float:
        if not value:
            return light.NOT_JUDGED
        small = self.small
        rows = int(small[_ACTIVE])
        unit = max(small[_SIZE_DEVIATION], floor, 1e-37)
        apart = value - small[_SIZE]
        small[_SIZE_RING + rows % light.SHORT] = min(max(apart / unit, -1e4), 1e4)
        weight = max(light.SIZE_WEIGHT, 1.0 / (rows + 1.0))
        if rows >= light.LONG:
            apart = min(max(apart, -light.CLIP * unit), light.CLIP * unit)
        small[_SIZE] += weight * apart
        small[_SIZE_DEVIATION] += weight * (abs(apart) - small[_SIZE_DEVIATION])
        # Where nearly every row has spend, sums see the same and know the season.
        if rows < light.LONG or rows >= light.SPARSE_SHARE * small[_ROWS]:
            return light.NOT_JUDGED
        return sum(small[_SIZE_RING : _SIZE_RING + light.SHORT]) / light.SHORT**0.5

    def _calm(self, surprise: float) -> float:
        """Weight of what is learned of the row: little inside an incident, until it has lasted for a day's rows."""
        small = self.small
        is_hot = surprise >= light.SURPRISED
        small[_HOT] = min(small[_HOT] + 1.0, 2.0 * light.HOT_ROWS) if is_hot else max(small[_HOT] - 1.0, 0.0)
        if is_hot and small[_HOT] < light.HOT_ROWS and small[_ROWS] >= self.learning_rows:
            return light.HOT_WEIGHT
        return 1.0

    def _learn_tails(self, signals: tuple[float, ...], calm: float) -> None:
        small = self.small
        rows = small[_ROWS]
        if rows < light.TAIL_FROM:
            return
        rate = max(light.TAIL_RATE, 20.0 / (rows + 1.0))
        excess_rate = max(light.EXCESS_RATE, rate / 2.0)
        for place, signal in enumerate(signals):
            if signal == light.NOT_JUDGED:
                continue
            mean_excess = self._mean_excess(place)
            beyond = signal - small[_QUANTILE + place]
            small[_QUANTILE + place] += calm * rate * mean_excess * ((beyond > 0.0) - light.TAIL_SHARE)
            if beyond > 0.0:
                seen = min(beyond, light.EXCESS_CLIP * mean_excess)
                small[_EXCESS + place] += calm * excess_rate * (seen - small[_EXCESS + place])

    def _learn_profile(
        self, time_s: float, value: float, usual: tuple[float, float, float], token: "array[float]"
    ) -> None:
        expected, unit, calm = usual
        hour, week_hour = _hours(time_s)
        clip = light.CLIP * unit
        for place in (_DAY_AT + hour, _WEEK_AT + week_hour):
            mean, count = self.means[place], self.counts[place]
            token.extend((place, mean, count))
            apart = value - mean if count < light.LONG else min(max(value - mean, -clip), clip)
            self.means[place] = mean + calm * max(light.PROFILE_WEIGHT, 1.0 / (count + 1.0)) * apart
            self.counts[place] = count + 1.0
        apart = abs(value - expected)
        if self.small[_ROWS] >= light.DAY_ROWS:
            apart = min(apart, clip)
        place = _DEVIATION_AT + hour
        mean, count = self.means[place], self.counts[place]
        token.extend((place, mean, count))
        self.means[place] = mean + calm * max(light.DEVIATION_WEIGHT, 1.0 / (count + 2.0)) * (apart - mean)
        self.counts[place] = count + 1.0
        weight = calm * max(light.DEVIATION_ALL_WEIGHT, 1.0 / (self.small[_ROWS] + 1.0))
        self.small[_DEVIATION_ALL] += weight * (apart - self.small[_DEVIATION_ALL])


def _hours(time_s: float) -> tuple[int, int]:
    hours = int(time_s // 3600)
    return hours % _HOURS, (hours + light.MONDAY) % _WEEK
