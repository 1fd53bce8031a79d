"""One complete window of all series: which of them spent more, or less, than is usual, and which ratios are odd.

Every series has the light detector; the largest ones have the full detector too, whose word counts once it has
learned. A series that has not learned is judged by whether it spends many times what it ever did, and, once it has its
account's profile in its own proportion, many times what that says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly import late_rows, light, stored
from chargeline.domain.anomaly.detector import Detector
from chargeline.domain.anomaly.leaks import LeakDetector, Leaks
from chargeline.domain.anomaly.parameters import LEGS, Parameters
from chargeline.domain.anomaly.ratios import RatioDetector
from chargeline.domain.anomaly.series import SeriesTable

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SPEND, DROP, FIRST_SPEND = "SPEND", "SPEND_DROP", "NEW_SPEND"
_YOUNG_ROWS = 5  # windows before a series without anything learned can be odd
_PEAK_FADES = 0.98  # of the largest spend so far, a window
_HOUR_ROWS = 6  # windows of an hour of the day before what is usual in it is known
_SIZES_FROM = 100  # windows with spend before a usual size is known
_SEED_ROWS = 12  # own windows from which a series' proportion to its account is known
_LARGER = 2.0  # times the activity of the least of the full ones: worth a detector of its own
_RANK_EVERY = 12  # windows


@dataclass(frozen=True)
class Judged:
    """Verdicts of one window, by place in `series`.

    Attributes:
        expected: usual spend.
        deviation: usual deviation of the spend; 0 where nothing is known.
        is_known: the usual spend is known, from the series itself or from its account.
        is_alert: odd now, not in a cool-down.
        is_low: the alert is a fall.
        surprise: -log10 of a probability.
        reason: by place: what the detector saw, of those with an alert.
        leaks: series whose spend rises slowly, by number.
    """

    series: Ints
    expected: Doubles
    deviation: Doubles
    is_known: Bools
    is_alert: Bools
    is_low: Bools
    surprise: Doubles
    reason: Mapping[int, str]
    leaks: Leaks


@dataclass
class Full:
    """A full detector.

    Attributes:
        rows: (time, value) put into it since its state was stored.
        version: of the stored state, from 1; 0: nothing was stored yet.
        is_stale: a row before those was corrected: the stored state has to be written again.
    """

    detector: Detector
    rows: list[tuple[float, float]]
    is_stale: bool = False
    version: int = 0


@dataclass(frozen=True)
class Late:
    """A series for which a window is an alert only since late panes put it right; `value`, `expected`: its spend."""

    series: int
    value: float
    expected: float
    surprise: float


class Scorer:
    """The detectors of all series of one source partition."""

    def __init__(self, parameters: Parameters, *, full_max: int, young_factor: float) -> None:
        self.parameters = parameters
        self.full_max = full_max
        self.young_factor = young_factor
        self.light = light.LightDetector(
            parameters.spend_threshold, parameters.cool_down_rows, parameters.learning_rows
        )
        self.leaks = LeakDetector()
        self.ratios = RatioDetector(min(parameters.learning_rows, 96))
        self.full: dict[int, Full] = {}
        self.peak = np.zeros(0)  # largest spend of a window, fading
        self.seeded = np.zeros(0, bool)  # what is known is the account's
        self.share = np.zeros((2, 0))  # spend of a young series and of its account meanwhile
        self.windows = 0
        self.times: list[float] = []  # starts of the last windows, seconds, the newest last

    def make_room(self, count: int) -> None:
        """Know at least so many series."""
        more = count - self.light.size
        if more > 0:
            self.light.add_series(more)
            self.ratios.add_series(more)
            self.leaks.add_series(more)
            self.peak = np.concatenate([self.peak, np.zeros(more)])
            self.seeded = np.concatenate([self.seeded, np.zeros(more, bool)])
            self.share = np.concatenate([self.share, np.zeros((2, more))], axis=1)

    def reset(self, series: Ints) -> None:
        """Forget these: their numbers will be other series."""
        for name, column in self.light.state.items():
            column[:, series] = {"quantile": light.FIRST_QUANTILE, "excess": light.FIRST_EXCESS}.get(name, 0)
        self.ratios.reset(series)
        self.leaks.reset(series)
        self.peak[series], self.seeded[series], self.share[:, series] = 0.0, False, 0.0
        for number in series.tolist():
            self.full.pop(number, None)

    def usual(self, series: Ints, time_s: float) -> tuple[Doubles, Doubles, Bools]:
        """Usual spend of a window, its deviation, and whether they are known; changes nothing."""
        state = self.light.state
        hour, week_hour = int(time_s // 3600) % 24, (int(time_s // 3600) + light.MONDAY) % light.WEEK_HOURS
        known = self._known(series) & (state["day_rows"][hour, series] >= _HOUR_ROWS)
        day, rows = state["day"][hour, series], state["week_rows"][week_hour, series].astype(np.float32)
        share = light.weekly_share(time_s - state["begun"][0, series], rows)
        expected = (day + share * (state["week"][week_hour, series] - day)).astype(np.float64)
        deviation = (state["deviation"][hour, series] + state["deviation_all"][0, series]).astype(np.float64) / 2
        return expected, deviation, known

    def runs_away(self, series: Ints, window_s: float, spend: Doubles) -> tuple[Bools, Doubles]:
        """Whether the spend so far of an open window would be an alert were it all of it, and the usual spend.

        So what is told early is what would be told when the window is complete.
        """
        expected, _, is_known = self.usual(series, window_s)
        young = self._young(series, spend, expected, is_known) & is_known
        return self.light.would_alert(series, np.full(len(series), window_s), spend) & is_known | young, expected

    def step(self, table: SeriesTable, window_s: float, spend: Doubles) -> Judged:
        """Judge and learn a window of every live series.

        Args:
            window_s: its start, seconds since 1970 UTC.
            spend: by series number, in units of each currency; 0: none.
        """
        self.make_room(len(spend))
        series = table.live()
        values = spend[series]
        times = np.full(len(series), window_s)
        expected, deviation, is_known = self.usual(series, window_s)
        young = self._young(series, values, expected, is_known)
        verdict = self.light.step(series, times, values)
        surprise = verdict.surprise.astype(np.float64)
        is_alert = verdict.is_alert.copy()
        is_low = verdict.signal == light.LOW
        reason = {int(row): light.SIGNALS[int(verdict.signal[row])] for row in np.flatnonzero(is_alert)}
        surprise = np.where(young, light.SURPRISED, surprise)
        reason |= {int(row): "many times what was ever spent" for row in np.flatnonzero(young)}
        expected = np.where(is_known, expected, self.peak[series])
        self._step_full(series, window_s, values, (is_alert, is_low, surprise, reason))
        is_alert &= is_known
        self.peak[series] = np.maximum(values, self.peak[series] * _PEAK_FADES)
        self._seed(table, series, spend)
        self.windows += 1
        self.times = [*self.times[1 - late_rows.KEPT :], window_s]
        if self.windows % _RANK_EVERY == 0 or not self.full:
            self._rank(table)
        leaks = self.leaking(series, window_s, values)
        return Judged(series, expected, deviation, is_known, is_alert | young, is_low & ~young, surprise, reason, leaks)

    def leaking(self, series: Ints, window_s: float, values: Doubles) -> Leaks:
        """Learn a window, after `light` has; the series that leak, if it is the first one of a day.

        What was told lately is no news: a shift of level that was an alert also looks like a rise for two weeks.
        """
        state = self.light.state
        rows, quiet = state["rows"][0], state["quiet"][0]
        largest = state["size"][0, series] + light.CLIP * state["size_deviation"][0, series]
        largest = np.where(state["active"][0, series] >= _SIZES_FROM, largest, 0.0).astype(np.float64)
        found = self.leaks.step(series, window_s, values, largest)
        told = quiet[found.series] - self.light.cool_down_rows
        fresh = (quiet[found.series] == 0) | (rows[found.series] - told > self.parameters.learning_rows)
        return Leaks(found.series[fresh], found.value[fresh], found.usual[fresh])

    def correct(self, table: SeriesTable, series: Ints, window_s: float, change: Doubles) -> list[Late]:
        """Late panes changed a window that was judged; what is too old stays as it is.

        Args:
            series: numbers of the series, each once.
            window_s: start of the window, seconds since 1970 UTC.
            change: of the spend of each.

        Returns:
            Those for which the window, or one after it, is an alert only now.
        """
        if window_s not in self.times:
            return []  # a gap, or before the first window
        back = len(self.times) - 1 - self.times.index(window_s)
        kept = late_rows.can_take_back(self.light.state, series, np.full(len(series), back))
        series, change = series[kept], change[kept]
        rows = self.light.state["rows"][0, series]
        before = self.light.state["late/value"][(rows - 1 - back) % late_rows.KEPT, series].astype(np.float64)
        right = before + change
        replaced = self.light.replace(series, np.full(len(series), back), right, np.array(self.times))
        expected, _, is_known = self.usual(series, window_s)
        self.peak[series] = np.maximum(self.peak[series], right * _PEAK_FADES**back)
        table.note_change(series, back, before, right)
        is_alert, surprise = replaced.is_alert & ~replaced.is_low, replaced.surprise.astype(np.float64)
        for place, number in enumerate(series.tolist()):
            if number in self.full:
                is_alert[place], surprise[place] = self._correct_full(number, back, float(change[place]))
        return [
            Late(int(series[at]), float(right[at]), float(expected[at]), float(surprise[at]))
            for at in np.flatnonzero(is_alert & is_known).tolist()
        ]

    def _correct_full(self, series: int, back: int, change: float) -> tuple[bool, float]:
        """Whether a row is an alert only now, and how surprising."""
        full = self.full[series]
        detector = full.detector
        if not 0 <= back < len(detector.journal):
            return False, 0.0
        row = detector.journal.step(back)
        if back < len(full.rows):
            # What replays the rows has to see the corrected one.
            at = len(full.rows) - 1 - back
            full.rows[at] = (full.rows[at][0], row.value + change)
        else:
            full.is_stale = True
        quiet = detector.quiet_until
        verdicts = detector.replace(back, row.value + change)
        found = [each for each in verdicts if each.is_alert and each.signal != light.LOW]
        return bool(found) and detector.quiet_until > quiet, max((max(e.surprise, e.spend) for e in found), default=0.0)

    def _known(self, series: Ints) -> Bools:
        state = self.light.state
        learned = state["rows"][0, series] >= self.parameters.learning_rows
        return (learned & (state["active"][0, series] >= light.ACTIVE_LEAST)) | self.seeded[series]

    def _young(self, series: Ints, values: Doubles, expected: Doubles, is_known: Bools) -> Bools:
        """Many times what was ever spent, and what the account's profile says; of series that have not learned.

        An hour that was never seen looks like a jump to the detectors: there, too, what was ever spent decides.
        """
        peak = self.peak[series]
        most = np.where(is_known, np.maximum(peak, expected), peak)
        is_young = (self.light.state["rows"][0, series] >= _YOUNG_ROWS) & (peak > 0) & (~is_known | self.seeded[series])
        return is_young & (values >= self.young_factor * most)

    def _step_full(
        self, series: Ints, window_s: float, values: Doubles, verdicts: tuple[Bools, Bools, Doubles, dict[int, str]]
    ) -> None:
        is_alert, is_low, surprise, reason = verdicts
        places = {int(number): place for place, number in enumerate(series.tolist()) if number in self.full}
        for number, place in places.items():
            full = self.full[number]
            value = float(values[place])
            verdict = full.detector.step(window_s, value)
            full.rows.append((window_s, value))
            if full.detector.small[0] <= self.parameters.learning_rows:
                continue
            is_alert[place] = verdict.is_alert
            surprise[place] = max(verdict.surprise, verdict.spend)
            is_low[place] = verdict.spend >= self.parameters.spend_threshold and verdict.signal == light.LOW
            if verdict.is_alert:
                legs = sorted(zip(verdict.legs, LEGS, strict=True), reverse=True)[:2]
                words = [f"{leg} {size:.1f}" for size, leg in legs if size > 1]
                words += [f"spend {verdict.spend:.1f} ({light.SIGNALS[verdict.signal]})"] if verdict.spend else []
                reason[place] = ", ".join(words)

    def _seed(self, table: SeriesTable, series: Ints, spend: Doubles) -> None:
        """Give young series their account's profile, in their own proportion."""
        state: dict[str, npt.NDArray[Any]] = dict(self.light.state)
        parent = table.parent[series]
        young = (parent >= 0) & ~self.seeded[series] & (state["rows"][0, series] <= _SEED_ROWS)
        young_series, of = series[young], parent[young]
        self.share[0, young_series] += spend[young_series]
        self.share[1, young_series] += spend[of]
        ready = state["rows"][0, young_series] == _SEED_ROWS
        ready &= self._known(of) & ~self.seeded[of] & (self.share[0, young_series] > 0)
        child, of = young_series[ready], of[ready]
        if len(child):
            ratio = np.minimum(self.share[0, child] / np.maximum(self.share[1, child], 1e-12), 1.0).astype(np.float32)
            for name in ("day", "week", "deviation", "deviation_all"):
                state[name][:, child] = state[name][:, of] * ratio
            for name in ("day_rows", "week_rows", "begun"):
                state[name][:, child] = state[name][:, of]
            # Of a part that is smaller the noise is relatively larger: at least as its root.
            state["deviation_all"][:, child] = state["deviation_all"][:, child] / np.sqrt(np.maximum(ratio, 1e-6))
            state["since"][0, child] = state["rows"][0, child]  # what they learned before is not theirs any more
            self.seeded[child] = True
        grown = series[self.seeded[series] & (state["rows"][0, series] > self.parameters.learning_rows)]
        self.seeded[grown] = False

    def _rank(self, table: SeriesTable) -> None:
        """Full detectors for the most active series; one is given up only for a much more active one."""
        live = table.live()
        order = live[np.lexsort((live, -table.activity[live]))][: self.full_max]
        wanted = [int(each) for each in order if int(each) not in self.full and table.activity[each] > 0]
        spare = self.full_max - len(self.full)
        for number in wanted[:spare]:
            self.full[number] = Full(Detector(self.parameters), [])
        rest = wanted[spare:] if spare >= 0 else wanted
        weakest = sorted(self.full, key=lambda each: (table.activity[each], each))
        for number, least in zip(rest, weakest, strict=False):
            if table.activity[number] <= _LARGER * table.activity[least]:
                break
            del self.full[least]
            self.full[number] = Full(Detector(self.parameters), [])

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The state of all but the full detectors."""
        found = {f"light/{name}": column for name, column in self.light.state.items()}
        found |= {f"ratio/{name}": column for name, column in self.ratios.state.items()}
        return found | self.leaks.columns() | {"peak": self.peak, "seeded": self.seeded, "share": self.share}

    def restore(self, columns: Mapping[str, npt.NDArray[Any]], windows: int, times: list[float]) -> None:
        """Continue from `columns`; full detectors are put into `full` by the caller."""
        self.make_room(len(columns["peak"]))
        for name, column in self.light.state.items():
            found = columns.get(f"light/{name}")
            if found is not None:
                self.light.state[name] = found.astype(column.dtype)
            elif name == "since":
                # A state of before the last rows were kept: those that come from now on can be put right.
                self.light.state[name] = columns["light/rows"].astype(column.dtype)
        for name in self.ratios.state:
            self.ratios.state[name] = columns[f"ratio/{name}"].copy()
        self.leaks.restore(columns)
        self.peak, self.seeded = columns["peak"].copy(), columns["seeded"].copy()
        self.share = columns["share"].copy()
        self.windows, self.times = windows, list(times)


def full_from(state: bytes, rows: list[tuple[float, float]], parameters: Parameters) -> Full:
    """A full detector from its stored state, or from nothing, and the rows put in since. Raises StateIncomplete."""
    detector = stored.from_bytes(state, parameters) if state else Detector(parameters)
    for time_s, value in rows:
        detector.step(time_s, value)
    return Full(detector, list(rows))
