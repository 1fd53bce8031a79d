"""The detection of one source partition: a fold over its commit units. No clock, nothing but the units decides.

    1. a unit that was counted before is left out; its end is the place up to which everything is counted
    2. panes become cells of their windows; those of complete windows correct what was learned of them
    3. the watermark completes windows, in order: each is judged, and its alerts open incidents or belong to some
    4. windows that are still open are looked at: spend far beyond what the baseline allows by now
    5. what is new of an incident becomes its next update

The same units give the same updates, whatever was in one call and wherever the state was stored between them.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.cells import EVENTS, Cells, OpenWindows, summed
from chargeline.domain.anomaly.early import OpenSpend, look_early
from chargeline.domain.anomaly.groups import Groups
from chargeline.domain.anomaly.incidents import Incident
from chargeline.domain.anomaly.judging import Reference, Window, judge, look_at_dead_letters
from chargeline.domain.anomaly.late import correct
from chargeline.domain.anomaly.panes import Panes, Unit
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.scoring import Scorer
from chargeline.domain.anomaly.series import SeriesTable
from chargeline.domain.anomaly.update import Update, update_of

Ints = npt.NDArray[np.int64]
_EVICT_SHARE = 20  # a twentieth more than must go, so that it is not done every window


@dataclass
class Counts:
    """What became of the panes so far; for metrics."""

    panes: int = 0
    repeated_units: int = 0
    late_panes: int = 0
    dropped_panes: int = 0
    windows: int = 0
    gaps: int = 0
    alerts: int = 0


@dataclass
class Watch:
    """The state of one source partition.

    Attributes:
        counted: everything before this offset of the source partition is counted.
        complete: windows that start before it are complete, microseconds; None: none was yet.
        dead: dead letters since the last look at them; `dead_counted`: source offset up to which they are counted.
        arrived: events since that look; `arrived_before`: between it and the one before.
        dead_usual: usual share of dead letters.
    """

    partition: int
    rules: Rules
    parameters: Parameters
    counted: int = 0
    watermark: int | None = None
    complete: int | None = None
    dead: int = 0
    dead_counted: int = -1
    dead_usual: float = 0.0
    arrived: int = 0
    arrived_before: int = 0
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.groups = Groups()
        self.table = SeriesTable(self.rules.sets)
        self.windows = OpenWindows()
        self.early = OpenSpend()
        self.scorer = Scorer(self.parameters, full_max=self.rules.full_max, young_factor=self.rules.young_factor)
        self.reference = Reference(self.rules.reference_windows)
        self.incidents: list[Incident] = []
        self.last_cells: int | None = None  # newest complete window with panes

    def take(self, unit: Unit) -> list[Update]:
        """Count a unit; the updates that follow from it."""
        if unit.end <= self.counted:
            self.counts.repeated_units += 1
            return []
        self.counted = unit.end
        for panes in (unit.cost, unit.performance):
            if panes is not None and len(panes):
                self._count(panes, unit)
        if unit.watermark is not None:
            self.watermark = max(unit.watermark, self.watermark or unit.watermark)
        made = self._complete()
        self._look_early()
        return made + self._updates()

    def advance(self, watermark: int) -> list[Update]:
        """Nothing came for so long that the watermark is taken to be this one; never backwards."""
        self.watermark = max(watermark, self.watermark or watermark)
        return self._complete()

    def dead_letters(self, offsets: Ints) -> None:
        """Count dead letters by their source offsets, ascending; those counted before are left out."""
        fresh = offsets[offsets > self.dead_counted]
        if len(fresh):
            self.dead += len(fresh)
            self.dead_counted = int(fresh[-1])

    def newest(self) -> int | None:
        """End of the newest window with panes, complete or not; None: there was none."""
        starts = self.windows.starts()
        if starts:
            return starts[-1] + self.rules.window_us
        return self.complete

    def is_silent(self) -> bool:
        """Nothing came for so many complete windows that nothing is known any more."""
        if self.windows.starts() or self.complete is None or self.last_cells is None:
            return not self.windows.starts()
        return self.complete - self.last_cells > self.rules.gap_windows * self.rules.window_us

    def would_complete(self, watermark: int) -> bool:
        """Whether some window would be complete with this watermark."""
        starts = self.windows.starts()
        first = self.complete if self.complete is not None else starts[0] if starts else watermark
        return first + self.rules.window_us <= watermark

    def _count(self, panes: Panes, unit: Unit) -> None:
        groups = self.groups.number(panes)
        if self.groups.fresh:
            self.table.add(self.groups)
            self.scorer.make_room(len(self.table.names))
        self.counts.panes += len(panes)
        self.arrived += int(panes.measures[EVENTS].sum())
        window = panes.window_start // self.rules.window_us * self.rules.window_us
        np.maximum.at(self.groups.last_window, groups, window)
        self.groups.unit[0, groups], self.groups.unit[1, groups] = unit.start, unit.end
        for start in np.unique(window).tolist():
            rows = np.flatnonzero(window == start)
            cells = summed(groups[rows], panes.cost.take(rows), panes.measures[:, rows])
            if self.complete is not None and start < self.complete:
                self._correct(start, cells, len(rows))
            else:
                self.windows.add(start, cells)
                self.early.add(start, self.table, cells)

    def _correct(self, start: int, cells: Cells, panes: int) -> None:
        """Late panes: the windows that were learned last and the incidents are put right."""
        assert self.complete is not None
        back = (self.complete - start) // self.rules.window_us - 1
        if back >= self.rules.late_windows:
            self.counts.dropped_panes += panes
            return
        self.counts.late_panes += panes
        self.counts.alerts += correct(self, start, cells)

    def _complete(self) -> list[Update]:
        before = self.counts.windows
        made = self._complete_windows()
        if self.counts.windows > before and self.complete is not None:
            look_at_dead_letters(self, self.complete - self.rules.window_us, self.complete)
            made += self._updates()
        return made

    def _complete_windows(self) -> list[Update]:
        made: list[Update] = []
        if self.watermark is None:
            return made
        width = self.rules.window_us
        while True:
            starts = self.windows.starts()
            if self.complete is None:
                if not starts:
                    return made
                self.complete = starts[0]
            if starts and (starts[0] - self.complete) // width > self.rules.gap_windows:
                self.counts.gaps += 1
                self.complete = starts[0]
            if self.complete + width > self.watermark:
                return made
            if self.is_silent():
                return made
            self._judge(self.complete)
            self.complete += width
            made += self._updates()

    def _judge(self, start: int) -> None:
        cells = self.windows.take(start)
        self.early.drop(start)
        if len(cells):
            self.last_cells = start
        window = Window(start, start + self.rules.window_us, cells)
        self.counts.windows += 1
        self.counts.alerts += judge(self, window)
        self.reference.add(cells, self._held())
        self._evict()

    def _held(self) -> npt.NDArray[np.bool_]:
        """By group: it belongs to an open incident, whose spend is not usual."""
        held = np.zeros(self.table.of_group.shape[1], bool)
        for incident in self.incidents:
            series = self.table.number_of(incident.scope)
            if series is not None and incident.status == "OPEN":
                held |= self.table.of_group[int(self.table.place[series])] == series
        return held

    def _look_early(self) -> None:
        for start, series in self.early.touched():
            if self.watermark is None:
                continue
            self.counts.alerts += look_early(self, start, series, self.watermark + self.rules.bound_us)

    def _evict(self) -> None:
        """Give up series and groups beyond the limits, the least active first."""
        limit = self.rules.series_max
        many = len(self.table) - limit
        if many > 0:
            gone = self.table.least_active(min(len(self.table), many + limit // _EVICT_SHARE))
            self.table.evict(gone)
            self.scorer.reset(gone)
            self.early.reset(gone)
        if self.groups.size > limit + limit // _EVICT_SHARE:
            kept = np.argsort(self.groups.last_window[: self.groups.size], kind="stable")[-limit:]
            used = [self.windows.of(start).group for start in self.windows.starts()]
            kept = np.unique(np.concatenate([kept, *used]))
            self._renumber(kept)

    def _renumber(self, kept: Ints) -> None:
        number = self.groups.keep(kept)
        self.table.keep(kept)
        self.windows.renumber(number)
        self.reference.renumber(number)

    def _updates(self) -> list[Update]:
        made = []
        for incident in self.incidents:
            minimum = self.rules.minimum(incident.scope)
            if incident.is_due(minimum, incident.window_end, self.rules.update_us):
                made.append(update_of(incident, minimum, self.watermark or 0))
        done = (self.complete or 0) - self.rules.late_windows * self.rules.window_us
        self.incidents = [each for each in self.incidents if each.status == "OPEN" or each.window_end > done]
        return made
