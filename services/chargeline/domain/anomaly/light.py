"""The light detector: many small series at once, in columns; less than 2 kB a series.

A row is compared with what its hour usually brings, in units of the usual deviation of that hour; sums of these over
3 windows, 12 windows and about a day are judged. A surprise has the unit of the full detector (-log10 of a
probability) and the same exponential tail, here a running 95 % quantile and mean excess instead of a history.
Only sums, products, quotients and comparisons by element: the bits do not depend on how rows are cut into batches.
"""

import struct
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly import late_rows
from chargeline.domain.errors import StateIncomplete

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOURS, WEEK_HOURS = 24, 168
SHORT, LONG = 3, 12  # windows summed
DAY_WEIGHT = 1 / 144  # of a row in the running mean over about a day, which sees slow leaks
DAY_S = 86_400
ACTIVE_LEAST = 30  # rows with spend before a series can alert: what is usual is not known before
WEEKLY_FROM_S = 7 * DAY_S
WEEKLY_HALF_ROWS = 12.0  # rows of an hour of the week that count as much as all of its hour of the day
DROPS_FROM_S = 14 * DAY_S
MONDAY = 96  # hours from the epoch's Thursday to a Monday
CLIP = 4.0  # deviations: what is learned of an incident, so that the next one is still one
PROFILE_WEIGHT = 0.02
TAIL_SHARE = 0.05
TAIL_RATE, EXCESS_RATE = 0.02, 0.01
EXCESS_CLIP = 4.0  # mean excesses
AT_QUANTILE = 1.30103  # -log10 of the tail's share
_LN10 = log(10.0)
EXCESS_LEAST = 0.3  # deviations: bounded signals (nothing is less than no spend) have no tail
_FLOOR_SHARE = 1e-4  # of the largest value so far: what varies less is constant
LOW, SIZE = 3, 4
_HIGH = (0, 1, SIZE)  # signals of a single row: too much at once
HOT_ROWS = 288  # rows that an incident may last before it is the new usual
SURPRISED = 3.0  # from here a row is part of an incident
HOT_WEIGHT = 0.03  # of what is learned of it: a day's job of 10 times must not stretch the tails for the next one
TAIL_FROM = 144  # rows
NOT_JUDGED = -1e6  # a signal without a value in this row
_LEAST_UNIT = np.float32(1e-37)  # above zero
DAY_ROWS = 48  # rows before deviations are clipped
SIZE_WEIGHT = 0.01  # of one row with spend in the usual size
DEVIATION_WEIGHT, DEVIATION_ALL_WEIGHT = 0.02, 0.002  # of one row, by hour and over all
FIRST_QUANTILE, FIRST_EXCESS = 1.5, 0.5  # of noise in units of its deviation
WORSE = 3.0  # times the surprise of the last alert: worth another one inside the cool-down
SPARSE_SHARE = 0.9  # of rows with spend: from here sizes are not judged apart
_MAGIC = b"CLAL0002"  # the last four digits: version of the layout
SIGNALS = ("last 3 windows", "last 12 windows", "last day", "last 12 windows, for being low", "last 3 sizes")


@dataclass(frozen=True)
class Columns:
    """Verdicts of m rows, in their order: float32 `score` 0 to 1 and `surprise`; bool `is_alert`; `expected` spend."""

    score: Floats
    is_alert: Bools
    surprise: Floats
    expected: Floats
    signal: Ints  # place in SIGNALS of the largest surprise


@dataclass(frozen=True)
class Replaced:
    """Series whose rows were put right: whether there is an alert now that was not there, its surprise, is it low."""

    series: Ints
    is_alert: Bools
    surprise: Floats
    is_low: Bools


class LightDetector:
    """Series are numbered from 0; state is one column a series.

    Args:
        threshold: surprise from which a row is an alert.
        cool_down_rows: rows of a series after an alert without another one.
        learning_rows: rows of a series at its start without an alert.
    """

    def __init__(self, threshold: float, cool_down_rows: int, learning_rows: int) -> None:
        self.threshold = np.float32(threshold)
        self.cool_down_rows = cool_down_rows
        self.learning_rows = learning_rows
        self.size = 0
        self.state: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((rows, 0), kind) for name, (rows, kind) in _STATE.items()
        }

    def add_series(self, count: int) -> None:
        """Make room for `count` more series, with nothing learned."""
        for name, column in self.state.items():
            fresh = np.zeros((len(column), count), column.dtype)
            if name == "quantile":
                fresh[:] = FIRST_QUANTILE
            elif name == "excess":
                fresh[:] = FIRST_EXCESS
            self.state[name] = np.concatenate([column, fresh], axis=1)
        self.size += count

    def bytes_per_series(self) -> int:
        return sum(len(column) * column.dtype.itemsize for column in self.state.values())

    def to_bytes(self) -> bytes:
        """The state of all series: plain little-endian columns, one after the other."""
        return b"".join([_MAGIC, struct.pack("<Q", self.size), *(column.tobytes() for column in self.state.values())])

    def read_bytes(self, state: bytes) -> None:
        """Take over a stored state; the detector goes on with the same bits.

        Raises:
            StateIncomplete: another layout, or damaged bytes.
        """
        (size,) = struct.unpack_from("<Q", state, len(_MAGIC)) if state[: len(_MAGIC)] == _MAGIC else (-1,)
        at = len(_MAGIC) + 8
        if size < 0 or len(state) != at + size * self.bytes_per_series():
            raise StateIncomplete("state of a light anomaly detector: another layout or damaged bytes")
        for name, column in self.state.items():
            count = len(column) * size
            read = np.frombuffer(state, column.dtype, count, at)
            self.state[name] = read.reshape(len(column), size).copy()
            at += read.nbytes
        self.size = size

    def replace(self, series: Ints, back: Ints, values: Doubles, times_s: Doubles) -> "Replaced":
        """Put other values in the place of some already learned: late panes corrected their windows.

        Afterwards the state is, to the bit, as if the right values had come first. What cannot be put right (too old,
        or from before the series' `since`) stays as it is.

        Args:
            series: numbers of m series, each once.
            back: rows before the last one of each, 0: the last row; less than `late_rows.LATE`.
            values: the right ones.
            times_s: starts of the last rows' windows, the same for all these series, the last row's last.
        """
        taken = late_rows.can_take_back(self.state, series, back)
        series, back, values = series[taken], back[taken], values[taken]
        rows = self.state["rows"][0, series].copy()
        # Where that row or one after it was an alert, it is told already.
        told = self.state["quiet"][0, series] - self.cool_down_rows > rows - 1 - back
        late_rows.take_back(self.state, series, back, _hours(times_s)[1])
        right = np.clip(values, -1e30, 1e30).astype(np.float32)
        self.state["late/value"][(rows - 1 - back) % late_rows.KEPT, series] = right
        is_alert, low = np.zeros(len(series), bool), np.zeros(len(series), bool)
        surprise = np.zeros(len(series), np.float32)
        for _ in range(late_rows.KEPT):
            row = self.state["rows"][0, series]
            left = np.flatnonzero(row < rows)
            some, row = series[left], row[left]
            if not len(some):
                break
            place = row % late_rows.KEPT
            ages = rows[left] - row
            verdict = self._step(some, times_s[len(times_s) - ages], self.state["late/value"][place, some])
            fresh = verdict.is_alert & ~told[left] & ~is_alert[left]
            is_alert[left] |= fresh
            surprise[left] = np.where(fresh, verdict.surprise, surprise[left])
            low[left] = np.where(fresh, verdict.signal == LOW, low[left])
        return Replaced(series, is_alert, surprise, low)

    def would_alert(self, series: Ints, time_s: Doubles, values: Doubles) -> Bools:
        """Whether these rows would be alerts for being high if they came now; nothing is learned.

        Args:
            series, time_s, values: as of `step`; no value is NaN.
        """
        state = self.state
        row = np.clip(values, -1e30, 1e30).astype(np.float32)
        largest = np.maximum(state["largest"][0, series], np.abs(row))
        expected, unit = self._expected(series, time_s, row, state["begun"][0, series], largest)
        normal = np.clip((row - expected) / unit, -1e4, 1e4).astype(np.float32)
        rows, active = state["rows"][0, series], state["active"][0, series]
        ring = state["ring"][:, series]
        at = np.arange(len(series))
        ring[rows % LONG, at] = normal
        short = normal + ring[(rows - 1) % LONG, at] + ring[(rows - 2) % LONG, at]
        sizes = state["size_ring"][:, series]
        floor = np.maximum(largest * np.float32(_FLOOR_SHARE), _LEAST_UNIT)
        of_size = np.maximum(state["size_deviation"][0, series], floor)
        sizes[active % SHORT, at] = np.clip((row - state["size"][0, series]) / of_size, -1e4, 1e4)
        is_sparse = (active >= LONG) & (active < np.float32(SPARSE_SHARE) * rows)
        signals = np.stack([short / SHORT**0.5, ring.sum(axis=0) / LONG**0.5, sizes.sum(axis=0) / SHORT**0.5])
        signals[2] = np.where(is_sparse, signals[2], NOT_JUDGED)
        quantile, excess = (state[name][list(_HIGH)][:, series] for name in ("quantile", "excess"))
        tail = (signals - quantile) / np.maximum(excess, np.float32(EXCESS_LEAST))
        surprise = (AT_QUANTILE + tail / _LN10).max(axis=0)
        learned = (rows >= self.learning_rows) & (active >= ACTIVE_LEAST)
        is_quiet = (rows < state["quiet"][0, series]) & (surprise < WORSE * state["alerted"][0, series])
        return np.asarray(learned & ~is_quiet & (surprise >= self.threshold))

    def step(self, series: Ints, time_s: Doubles, values: Doubles) -> Columns:
        """Judge and learn one row of each of m series.

        Args:
            series: numbers of the series, each at most once in a call.
            time_s: start of each row's window, seconds since 1970 in UTC.
            values: NaN: not known. Nothing is learned and the score is 0. 0: no spend.
        """
        known = np.isfinite(values)
        verdicts = _nothing(len(series))
        if known.any():
            judged = self._step(series[known], time_s[known], np.clip(values[known], -1e30, 1e30).astype(np.float32))
            for name, column in vars(judged).items():
                getattr(verdicts, name)[known] = column
        return verdicts

    def _step(self, series: Ints, time_s: Doubles, values: Floats) -> Columns:
        late_rows.note(self.state, series, _hours(time_s)[1], values)
        expected, unit = self._usual(series, time_s, values)
        normal = np.clip((values - expected) / unit, -1e4, 1e4).astype(np.float32)
        signals = np.concatenate([self._sums(series, normal), self._sizes(series, values)])
        surprises = self._surprises(series, time_s, signals)
        calm = self._calm(series, surprises)
        self._learn_tails(series, signals, calm)
        self._learn_profile(series, time_s, values, (expected, unit, calm))
        signal = surprises.argmax(axis=0)
        surprise = surprises.max(axis=0)
        ratio = surprise / self.threshold
        score = ratio / (1 + ratio)
        state = self.state
        rows = state["rows"][0, series] + 1
        state["rows"][0, series] = rows
        state["active"][0, series] += values != 0
        learned = (rows > self.learning_rows) & (state["active"][0, series] >= ACTIVE_LEAST)
        quiet = rows <= state["quiet"][0, series]
        worse = surprise >= np.float32(WORSE) * state["alerted"][0, series]
        quiet &= ~worse
        is_alert = learned & ~quiet & (ratio >= 1)
        state["alerted"][0, series] = np.where(is_alert, surprise, state["alerted"][0, series])
        state["quiet"][0, series] = np.where(is_alert, rows + self.cool_down_rows, state["quiet"][0, series])
        score = np.where(learned, np.where(quiet, score / 2, score), 0).astype(np.float32)
        return Columns(score, is_alert, surprise, expected, signal)

    def _usual(self, series: Ints, time_s: Doubles, values: Floats) -> tuple[Floats, Floats]:
        """Expected spend and usual deviation."""
        state = self.state
        begun = np.where(state["rows"][0, series] == 0, time_s, state["begun"][0, series])
        state["begun"][0, series] = begun
        largest = np.maximum(state["largest"][0, series], np.abs(values))
        state["largest"][0, series] = largest
        return self._expected(series, time_s, values, begun, largest)

    def _expected(
        self, series: Ints, time_s: Doubles, values: Floats, begun: Doubles, largest: Floats
    ) -> tuple[Floats, Floats]:
        state = self.state
        hour, week_hour = _hours(time_s)
        day = state["day"][hour, series]
        share = weekly_share(time_s - begun, state["week_rows"][week_hour, series].astype(np.float32))
        expected = day + share * (state["week"][week_hour, series] - day)
        # An hour that was never seen brings what it brings: there is nothing to compare it with.
        expected = np.where(state["day_rows"][hour, series] > 0, expected, values)
        # Half of it from all hours: where an hour is quiet, its own deviation is mostly chance.
        unit = (state["deviation"][hour, series] + state["deviation_all"][0, series]) / np.float32(2)
        return expected, np.maximum(unit, np.maximum(largest * np.float32(_FLOOR_SHARE), _LEAST_UNIT))

    def _sums(self, series: Ints, normal: Floats) -> Floats:
        """The signals: sums over windows in units of their usual deviation."""
        state = self.state
        place = state["rows"][0, series] % LONG
        state["ring"][place, series] = normal
        long = np.zeros(len(series), np.float32)
        short = np.zeros(len(series), np.float32)
        for back in range(LONG):
            part = state["ring"][(place - back) % LONG, series]
            long += part
            if back < SHORT:
                short += part
        day = state["run"][0, series]
        day = day + np.float32(DAY_WEIGHT) * (normal - day)
        state["run"][0, series] = day
        long = long / np.float32(LONG**0.5)
        return np.stack([short / np.float32(SHORT**0.5), long, day * np.float32(DAY_WEIGHT**-0.5), -long])

    def _sizes(self, series: Ints, values: Floats) -> Floats:
        """The last 3 rows with spend against the usual size of such a row: what sums with empty rows cannot show."""
        state = self.state
        some = values != 0
        usual, deviation, rows = (
            state["size"][0, series],
            state["size_deviation"][0, series],
            state["active"][0, series],
        )
        unit = np.maximum(deviation, np.maximum(state["largest"][0, series] * np.float32(_FLOOR_SHARE), _LEAST_UNIT))
        apart = values - usual
        place = rows % SHORT
        ring = state["size_ring"]
        ring[place, series] = np.where(some, np.clip(apart / unit, -1e4, 1e4), ring[place, series])
        young = rows < LONG
        clip = np.where(young, np.float32(3e38), np.float32(CLIP) * unit)
        rate = np.maximum(np.float32(SIZE_WEIGHT), 1 / (rows.astype(np.float32) + 1))
        weight = np.where(some, rate, np.float32(0))
        state["size"][0, series] = usual + weight * np.clip(apart, -clip, clip)
        state["size_deviation"][0, series] = deviation + weight * (np.minimum(np.abs(apart), clip) - deviation)
        total = ring[0, series] + ring[1, series] + ring[2, series]
        # Where nearly every row has spend, sums see the same and know the season.
        sparse = rows < np.float32(SPARSE_SHARE) * state["rows"][0, series]
        return np.where(some & ~young & sparse, total / np.float32(SHORT**0.5), np.float32(NOT_JUDGED))[np.newaxis]

    def _surprises(self, series: Ints, time_s: Doubles, signals: Floats) -> Floats:
        """Surprise by quantile and mean excess of each signal."""
        state = self.state
        quantile, excess = state["quantile"][:, series], state["excess"][:, series]
        floor = np.maximum(excess, np.float32(EXCESS_LEAST))
        tail = (signals - quantile) / floor
        surprises = np.maximum(np.float32(AT_QUANTILE) + tail / np.float32(_LN10), np.float32(0))
        # A drop means something where spend is the rule and where its weekends have been seen.
        mostly = state["active"][0, series] * 2 > state["rows"][0, series]
        surprises[LOW] = np.where(mostly & (time_s - state["begun"][0, series] >= DROPS_FROM_S), surprises[LOW], 0)
        return surprises

    def _calm(self, series: Ints, surprises: Floats) -> Floats:
        """Weight of what is learned of a row: little inside an incident, until it has lasted for a day's rows."""
        hot = surprises.max(axis=0) >= SURPRISED
        lasting = self.state["hot"][0, series]
        lasting = np.where(hot, np.minimum(lasting + 1, 2 * HOT_ROWS), np.maximum(lasting - 1, 0))
        self.state["hot"][0, series] = lasting
        young = self.state["rows"][0, series] < self.learning_rows
        return np.where(hot & (lasting < HOT_ROWS) & ~young, np.float32(HOT_WEIGHT), np.float32(1))

    def _learn_tails(self, series: Ints, signals: Floats, calm: Floats) -> None:
        state = self.state
        quantile, excess = state["quantile"][:, series], state["excess"][:, series]
        floor = np.maximum(excess, np.float32(EXCESS_LEAST))
        beyond = signals - quantile
        calm = np.where(signals == NOT_JUDGED, np.float32(0), calm)
        above = beyond > 0
        rows = state["rows"][0, series].astype(np.float32)
        # The first rows have no usual deviation yet: their signals would stretch the tail for weeks.
        rate = np.maximum(np.float32(TAIL_RATE), np.float32(20) / (rows + np.float32(1)))
        rate = np.where(rows < TAIL_FROM, np.float32(0), rate)
        state["quantile"][:, series] = quantile + calm * rate * floor * (above - np.float32(TAIL_SHARE))
        seen = np.minimum(beyond, np.float32(EXCESS_CLIP) * floor)
        rate = np.where(rate > 0, np.maximum(np.float32(EXCESS_RATE), rate / np.float32(2)), np.float32(0))
        state["excess"][:, series] = np.where(above, excess + calm * rate * (seen - excess), excess)

    def _learn_profile(
        self, series: Ints, time_s: Doubles, values: Floats, usual: tuple[Floats, Floats, Floats]
    ) -> None:
        state = self.state
        expected, unit, calm = usual
        for name, counts, place in zip(("day", "week"), ("day_rows", "week_rows"), _hours(time_s), strict=True):
            mean, rows = state[name][place, series], state[counts][place, series]
            clip = np.where(rows < LONG, np.float32(3e38), np.float32(CLIP) * unit)
            weight = calm * np.maximum(np.float32(PROFILE_WEIGHT), 1 / (rows.astype(np.float32) + 1))
            state[name][place, series] = mean + weight * np.clip(values - mean, -clip, clip)
            state[counts][place, series] = rows + (rows < 255)  # eight bits: 256 would be 0
        hour = _hours(time_s)[0]
        rows = state["rows"][0, series].astype(np.float32)
        clip = np.where(rows < DAY_ROWS, np.float32(3e38), np.float32(CLIP) * unit)
        apart = np.minimum(np.abs(values - expected), clip)
        for name, place, least in (
            ("deviation", hour, DEVIATION_WEIGHT),
            ("deviation_all", np.zeros_like(hour), DEVIATION_ALL_WEIGHT),
        ):
            mean = state[name][place, series]
            count = state["day_rows"][hour, series] if name == "deviation" else rows
            weight = calm * np.maximum(np.float32(least), 1 / (count.astype(np.float32) + 1))
            state[name][place, series] = mean + weight * (apart - mean)


_STATE: dict[str, tuple[int, type[np.generic]]] = {
    "rows": (1, np.int32), "active": (1, np.int32), "quiet": (1, np.int32), "begun": (1, np.float64),
    "hot": (1, np.int16), "alerted": (1, np.float32), "largest": (1, np.float32), "run": (1, np.float32),
    "ring": (LONG, np.float32), "day": (HOURS, np.float32), "day_rows": (HOURS, np.uint8),
    "deviation": (HOURS, np.float32), "deviation_all": (1, np.float32),
    "week": (WEEK_HOURS, np.float32), "week_rows": (WEEK_HOURS, np.uint8),
    "size": (1, np.float32), "size_deviation": (1, np.float32), "size_ring": (SHORT, np.float32),
    "quantile": (len(SIGNALS), np.float32), "excess": (len(SIGNALS), np.float32),
}  # fmt: skip
_STATE |= late_rows.columns_of(_STATE)


def weekly_share(age_s: Any, rows: Any) -> Any:
    """What the hour of the week counts, 0 to 1, beside the hour of the day: the more rows it has, from a week's age on.

    Numbers or columns; `rows` not as integers of eight bits.
    """
    return (age_s >= WEEKLY_FROM_S) * (rows / (rows + WEEKLY_HALF_ROWS))


def _hours(time_s: Doubles) -> tuple[Ints, Ints]:
    hours = (time_s // 3600).astype(np.int64)
    return hours % HOURS, (hours + MONDAY) % WEEK_HOURS


def _nothing(rows: int) -> Columns:
    zeros = np.zeros(rows, np.float32)
    return Columns(zeros, np.zeros(rows, bool), zeros.copy(), zeros.copy(), np.zeros(rows, np.int64))
