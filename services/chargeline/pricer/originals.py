"""The rows that a record booked, found by its coordinate: in the log of charges, or in the archive beyond it.

Rows of a partition lie in the order of their source offsets, so a place is found by halving. What an event costs is
read, never worked out again. Source: docs/architecture.md; spec/rating.md, section 12.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.errors import Fault, LogTruncated, TransientError
from chargeline.ports import ChargeArchive, Clock, LogReader, Record
from chargeline.wire.arrow_messages import decode, decode_columns, schema_of
from chargeline.wire.charge_rows import Row, rows_of
from chargeline.wire.units import UnitHeader

CHARGES = "charges"
_KEPT = 16  # messages: originals of one unit's corrections often lie near each other
_WAIT_S = 0.1
_MARKERS_MS = 10_000
_PLACES = 4096
_BACK, _BACK_MAX = 64, 1024  # messages of `charges` that one look back reads: without rows they are small


class UnitPlaces:
    """Where in `charges` units of a partition lie that this process has seen, by their end: at most so many of them.

    With every second one left out the ranges are wider, and still right.
    """

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._next: list[int] = []

    def add(self, end: int, charges_next_offset: int) -> None:
        self._ends.append(end)
        self._next.append(charges_next_offset)
        if len(self._ends) > _PLACES:
            self._ends, self._next = self._ends[::2], self._next[::2]

    def __len__(self) -> int:
        return len(self._ends)

    def range(self, offset: int, low: int, end: int) -> tuple[int, int]:
        """Between which offsets of `charges` the rows of a source offset lie."""
        at = bisect_right(self._ends, offset)
        return (
            max(low, self._next[at - 1]) if at else low,
            min(end, self._next[at]) if at < len(self._next) else end,
        )


@dataclass(frozen=True)
class Message:
    """One message of `charges`. `offsets`: int64, rising: the source offset of each row."""

    record: Record
    table: pa.Table
    offsets: npt.NDArray[np.int64]

    @staticmethod
    def of(record: Record) -> "Message":
        table = decode(record.value or b"")
        return Message(record, table, table.column("source_offset").to_numpy())

    def whole(self, offsets: Sequence[int]) -> slice:
        """Of rising source offsets those of which all rows, if any, must be in it: it has rows before and behind."""
        if not len(self.offsets):
            return slice(0, 0)
        return slice(bisect_right(offsets, self.offsets[0]), bisect_left(offsets, self.offsets[-1]))

    def rows(self, offsets: Sequence[int]) -> dict[int, list[Row]]:
        """By source offset its rows that are here."""
        first, end = np.searchsorted(self.offsets, offsets), np.searchsorted(self.offsets, offsets, "right")
        at = np.concatenate([np.arange(low, high) for low, high in zip(first, end, strict=True)])
        rows = iter(rows_of(self.table.take(pa.array(at))))
        return {
            offset: list(islice(rows, count)) for offset, count in zip(offsets, (end - first).tolist(), strict=True)
        }


class Originals:
    """Reads booked rows. What it has read is kept for a while: booked rows never change."""

    def __init__(self, reader: LogReader, archive: ChargeArchive | None, clock: Clock) -> None:
        self._reader, self.archive, self._clock = reader, archive, clock
        self._messages: OrderedDict[tuple[int, int], Message] = OrderedDict()
        self._seen: dict[
            int, tuple[int, int, int]
        ] = {}  # by partition: what was committed, and the bounds that show it
        self._booked: dict[int, tuple[int, int]] = {}  # up to where `charges` was looked at, and what `booked_end` was

    def rows(
        self, partition: int, offsets: Collection[int], places: UnitPlaces, charges_next_offset: int
    ) -> dict[int, list[Row]]:
        """By offset of committed records their rows in their order, complete; none if one booked none.

        Raises:
            TransientError: Kafka or the archive is away.
        """
        found: dict[int, list[Row]] = {}
        left = sorted(set(offsets))
        while left:
            for (place, _), message in self._messages.items():
                whole = message.whole(left) if place == partition else slice(0, 0)
                if whole.start < whole.stop:
                    found |= message.rows(left[whole])
                    del left[whole]
            if left:  # its message is kept, and has most of those behind it
                offset = left.pop(0)
                found[offset] = self._searched(partition, offset, places, charges_next_offset)
        return found

    def _searched(self, partition: int, offset: int, places: UnitPlaces, charges_next_offset: int) -> list[Row]:
        low, end = self._bounds(partition, charges_next_offset)
        start, stop = places.range(offset, low, end)
        found = self._first(partition, offset, start, stop)
        if found is None or (found.offset == low and UnitHeader.decode(found.headers).start > offset):
            return self._archived(partition, offset)
        return [
            row
            for record in (found, *self._after(partition, found, stop, offset))
            for row in self._message(partition, record).rows([offset])[offset]
        ]

    def booked_end(self, partition: int, charges_next_offset: int) -> int:
        """Where the last committed unit that booked rows ends; 0: none that `charges` still has did.

        So far the archive must hold charges: no row tells it of the units behind.

        Raises:
            TransientError: Kafka is away.
        """
        low, _ = self._bounds(partition, charges_next_offset)
        seen, found = self._booked.get(partition, (0, 0))
        stop, width, first = charges_next_offset, _BACK, max(low, seen)
        while stop > first:
            start = max(first, stop - width)
            ends = [
                UnitHeader.decode(record.headers).end
                for record in self._reader.read(CHARGES, partition, start, stop)
                if _has_rows(record.value or b"")
            ]
            if ends:
                found = ends[-1]
                break
            stop, width = start, min(2 * width, _BACK_MAX)
        self._booked[partition] = (max(seen, charges_next_offset), found)
        return found

    def _bounds(self, partition: int, charges_next_offset: int) -> tuple[int, int]:
        """Of `charges`, once it shows the last committed unit: its markers may take a moment."""
        committed, *seen = self._seen.get(partition, (-1, 0, 0))
        if committed == charges_next_offset:
            return seen[0], seen[1]
        deadline = self._clock.now_ms() + _MARKERS_MS
        while True:
            low, end = self._reader.bounds(CHARGES, partition)
            if end >= charges_next_offset:
                self._seen[partition] = charges_next_offset, low, end
                return low, end
            if self._clock.now_ms() > deadline:
                raise TransientError(f"{CHARGES}/{partition} ends at {end}; {charges_next_offset} was committed")
            self._clock.sleep(_WAIT_S)

    def _first(self, partition: int, offset: int, start: int, stop: int) -> Record | None:
        """The first message that reaches to a source offset."""
        found: Record | None = None
        while start < stop:
            middle = (start + stop) // 2
            record = self._at(partition, middle, stop)
            if record is None:
                stop = middle
            elif self._reach(partition, record) >= offset:
                found, stop = record, middle
            else:
                start = record.offset + 1
        return found

    def _after(self, partition: int, found: Record, stop: int, offset: int) -> list[Record]:
        """The messages behind it that go on with the same record."""
        more: list[Record] = []
        last = found
        while self._reach(partition, last) == offset and not _is_last(last):
            following = self._at(partition, last.offset + 1, stop + 1)
            if following is None:
                break
            more.append(following)
            last = following
        return more

    def _at(self, partition: int, start: int, stop: int) -> Record | None:
        """The first message from an offset on."""
        known = self._messages.get((partition, start))
        if known is not None:
            return known.record
        try:
            return next(iter(self._reader.read(CHARGES, partition, start, stop)), None)
        except LogTruncated:
            self._seen.pop(partition, None)
            return None

    def _reach(self, partition: int, record: Record) -> int:
        """The largest source offset that it, or what comes before it, tells of."""
        header = UnitHeader.decode(record.headers)
        if _is_last(record):
            return header.end - 1
        return int(self._message(partition, record).offsets[-1])

    def _message(self, partition: int, record: Record) -> Message:
        key = (partition, record.offset)
        if key not in self._messages:
            self._messages[key] = Message.of(record)
            while len(self._messages) > _KEPT:
                self._messages.popitem(last=False)
        self._messages.move_to_end(key)
        return self._messages[key]

    def _archived(self, partition: int, offset: int) -> list[Row]:
        if self.archive is None:
            raise Fault(
                f"usage-events/{partition}/{offset} is to be corrected, but {CHARGES} begins later and no archive is "
                "set: set the address of ClickHouse"
            )
        return self.archive.rows(partition, offset)


def _has_rows(value: bytes) -> bool:
    return decode_columns(value, schema_of(value), ("source_offset",)).num_rows > 0


def _is_last(record: Record) -> bool:
    header = UnitHeader.decode(record.headers)
    return header.slice_index == header.slice_count - 1
