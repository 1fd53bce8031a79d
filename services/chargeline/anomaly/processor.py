"""One source partition of the anomaly service, over messages: from records to numbered updates of incidents.

    1. slices of a unit are put together, on each topic by itself
    2. the unit's cost and performance panes are taken together: they were written in one transaction, so the second
       topic has them moments after the first; what follows then depends on the units alone, not on which topic was
       read faster
    3. `domain.anomaly.watch` counts the unit

A clock decides one thing: that nothing came for so long that open windows are complete. That decision is a mark: it is
stored before its updates are published, and made again at the same place when units are read once more.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from chargeline.domain.anomaly.panes import Panes, Unit
from chargeline.domain.anomaly.update import Update
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.errors import Fault
from chargeline.wire.rollup_columns import cost_panes, joined, performance_panes
from chargeline.wire.units import UnitHeader

COST, PERFORMANCE, DEAD_LETTERS = "cost-rollups", "performance-rollups", "usage-events-dlq"
TOPICS = (COST, PERFORMANCE, DEAD_LETTERS)
_DECODE = {COST: cost_panes, PERFORMANCE: performance_panes}
_LIVE_US = 3_600_000_000  # event times that far from now are of another day: silence then says nothing


@dataclass
class _Reading:
    """One topic: slices of the unit that is being read, by number, and whole units that wait for the other topic.

    Attributes:
        first: offset of the first slice that came of the unit that ends at `end`.
    """

    end: int = 0
    first: int = 0
    parts: dict[int, Panes] = field(default_factory=dict)
    units: deque[tuple[UnitHeader, Panes | None, int]] = field(default_factory=deque)

    def is_whole(self, end: int) -> bool:
        """Whether all slices of the unit that ends there have come, and it waits for the other topic."""
        return bool(self.units) and end <= self.units[-1][0].end

    def lacks(self, count: int, log_begins: int) -> bool:
        """Whether slices of a unit of `count` did not come, although the log has them."""
        missing = count - len(self.parts)
        is_cut_off = self.first <= log_begins and min(self.parts) == missing  # by retention
        return missing > 0 and not is_cut_off


@dataclass(frozen=True)
class Mark:
    """Nothing came for long after the unit that ends at `counted`: the watermark was taken to be `watermark`."""

    counted: int
    watermark: int


class Partition:
    """The detection of one source partition.

    Attributes:
        watch: its state.
        next_offsets: by topic, next offset of what the state holds: from there everything is read again.
        marks: decisions of the clock that were made before and wait for their place, in order.
        log_begins: by topic, first offset that the log still has; to be set where retention may have cut a unit.
    """

    def __init__(self, watch: Watch, marks: Sequence[Mark] = (), next_offsets: Mapping[str, int] | None = None) -> None:
        self.watch = watch
        self.marks = deque(marks)
        self.next_offsets: dict[str, int] = dict(next_offsets or {})
        self.is_dirty = False
        self.log_begins: dict[str, int] = {}
        self.read: dict[str, int] = dict(self.next_offsets)  # by topic, next offset to take; before it all was taken
        self._reading = {COST: _Reading(), PERFORMANCE: _Reading()}

    def record(self, topic: str, offset: int, headers: Sequence[tuple[str, bytes]], value: bytes) -> list[Update]:
        """Take one message, in the order of its partition; the updates that follow.

        Raises:
            Fault: it is no message of ours.
        """
        if offset < self.read.get(topic, 0):
            return []  # the client went back; it is here already
        self.read[topic] = offset + 1
        try:
            if topic == DEAD_LETTERS:
                return self._dead_letter(offset, headers)
            return self._pane_message(topic, offset, UnitHeader.decode(headers), value)
        except (KeyError, ValueError, pa.ArrowInvalid) as error:
            raise Fault(f"{topic}/{self.watch.partition}/{offset} is no message of ours: {error}") from error

    def idle_mark(self, now_us: int, idle_us: int) -> Mark | None:
        """What the clock decides after `idle_us` without a unit; None: nothing.

        Windows with panes are complete now. In a silence of today windows go on without panes; after older events,
        which were replayed, nothing is known.
        """
        watch = self.watch
        newest = watch.newest()
        if newest is None or self.marks or self.is_waiting() or watch.is_silent():
            return None
        watermark = newest  # completes what has panes
        if abs(now_us - newest) < _LIVE_US:
            watermark = max(newest, now_us - watch.rules.bound_us - idle_us)
        if watch.watermark is not None and watermark < watch.watermark:
            return None
        if not watch.would_complete(watermark):
            return None
        return Mark(watch.counted, watermark)

    def advance(self, mark: Mark) -> list[Update]:
        """Act on a mark that is stored."""
        self.is_dirty = True
        return self.watch.advance(mark.watermark)

    def is_waiting(self) -> bool:
        """A unit of one topic waits for the other topic."""
        return any(each.units or each.parts for each in self._reading.values())

    def give_up_waiting(self) -> list[Update]:
        """The other topic does not have it: retention has taken it there. Take what is here."""
        made = []
        for topic, reading in self._reading.items():
            while reading.units:
                made += self._take({topic: reading.units.popleft()})
        return made

    def due_marks(self) -> list[Update]:
        """Act on the marks whose place has come."""
        made = []
        while self.marks and self.marks[0].counted <= self.watch.counted:
            made += self.advance(self.marks.popleft())
        return made

    def _pane_message(self, topic: str, offset: int, header: UnitHeader, value: bytes) -> list[Update]:
        reading = self._reading[topic]
        is_last = header.slice_index + 1 == header.slice_count
        if header.end <= self.watch.counted:
            if offset >= self.next_offsets.get(topic, offset + 1):
                raise Fault(
                    f"{topic}/{self.watch.partition}/{offset} tells of usage before {header.end}, which is counted up "
                    f"to {self.watch.counted}: were the topics created anew? Then delete the anomaly changelog too"
                )
            self.watch.counts.repeated_units += is_last
            return []
        if reading.is_whole(header.end):
            return []
        if header.end != reading.end:
            if reading.parts:
                raise Fault(_lacking(topic, reading.end, offset))
            reading.end, reading.first = header.end, offset
        # A slice that came before is left out: by unit and slice, a pane's place in its unit is the same again.
        if header.slice_index not in reading.parts:
            reading.parts[header.slice_index] = _DECODE[topic](value)
        if not is_last:
            return []
        if reading.lacks(header.slice_count, self.log_begins.get(topic, 0)):
            raise Fault(_lacking(topic, header.end, offset))
        reading.units.append((header, joined(list(reading.parts.values())), offset + 1))
        reading.parts = {}
        made = []
        cost, performance = self._reading[COST].units, self._reading[PERFORMANCE].units
        while cost and performance:
            first = min(cost[0][0].end, performance[0][0].end)
            ready = {
                name: each.units.popleft() for name, each in self._reading.items() if each.units[0][0].end == first
            }
            made += self._take(ready)
        return made

    def _take(self, ready: Mapping[str, tuple[UnitHeader, Panes | None, int]]) -> list[Update]:
        header = next(iter(ready.values()))[0]
        panes = {topic: each[1] for topic, each in ready.items()}
        unit = Unit(
            header.start, header.end, header.watermark, header.last_append_time, panes.get(COST), panes.get(PERFORMANCE)
        )
        made = self.due_marks()
        made += self.watch.take(unit)
        made += self.due_marks()
        self.next_offsets |= {topic: each[2] for topic, each in ready.items()}
        self.is_dirty = True
        return made

    def _dead_letter(self, offset: int, headers: Sequence[tuple[str, bytes]]) -> list[Update]:
        source = next(int(value) for name, value in headers if name == "x-chargeline-offset")
        self.watch.dead_letters(np.array([source], np.int64))
        self.next_offsets[DEAD_LETTERS] = offset + 1
        self.is_dirty = True
        return []


def _lacking(topic: str, end: int, offset: int) -> str:
    return (
        f"{topic}: slices of the unit that ends at {end} were not handed over before offset {offset}; "
        "a restart reads them again from the stored state"
    )
