"""The state of a partition at assignment: what is stored, brought up to the commit point from `charges`.

State is a fold over the committed output, never a second execution of the input. While folding, every unit must begin
where the one before ended: that is the proof that nothing was billed twice or left out.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.errors import Fault, OutcomePending, StateIncomplete
from chargeline.domain.identities import Identities, Keys
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.ports import ChargeArchive, Clock, LogConsumer, LogReader
from chargeline.pricer.correction_state import CorrectionFields, CorrectionState, WaitingRecord, needed, relevant
from chargeline.pricer.live import LiveTotals, LiveWindows
from chargeline.pricer.observer import Observer
from chargeline.pricer.originals import UnitPlaces
from chargeline.state_ports import Segment, StateHead, StateStore
from chargeline.wire.arrow_messages import decode_columns, schema_of
from chargeline.wire.charge_scopes import has_scopes, moved_scopes
from chargeline.wire.units import UnitHeader

SEGMENT_IDENTITIES = 1_000_000
_PENDING_S = 0.2
_MARKERS_MS = 10_000  # the broker writes them in milliseconds; a restart of it may come in between
_MARK_MS = 3_600_000
CHARGES = "charges"
_KEYS = ("source_offset", "source_index", "identity_hash", "content_hash")


@dataclass
class PartitionState:
    """What the pricer knows of one source partition after its last committed unit."""

    partition: int
    next_offset: int = 0
    charges_next_offset: int = 0
    watermark: int | None = None
    last_append_time: int = 0
    identities: Identities = field(default_factory=Identities)
    live: LiveWindows = field(default_factory=LiveWindows)
    scopes: ScopeStates = field(default_factory=ScopeStates.empty)
    corrections: CorrectionFields = field(default_factory=CorrectionFields)
    places: UnitPlaces = field(default_factory=UnitPlaces)
    marks: deque[tuple[int, int]] = field(default_factory=deque)  # (next_offset, append time) about once an hour

    def apply(
        self,
        header: UnitHeader,
        keys: Keys,
        live: LiveTotals,
        charges_next_offset: int,
        scopes: ScopeStates,
        corrections: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Fold one committed unit in; the only way in which state changes, live and at recovery.

        Args:
            scopes: what the unit changed of the scopes of accumulating rates.
            corrections: what it changed of the state of corrections.
        """
        if header.start != self.next_offset:
            raise Fault(
                f"charges of partition {self.partition} do not join: a unit begins at {header.start} "
                f"and the one before ended at {self.next_offset}"
            )
        self.identities.add(keys)
        self.live = self.live.plus(live)
        if len(scopes):
            self.scopes = self.scopes.apply(scopes)
        if corrections:
            self.corrections.apply(corrections)
        self.places.add(header.end, charges_next_offset)
        self.next_offset = header.end
        self.charges_next_offset = charges_next_offset
        self.watermark = header.watermark
        self.last_append_time = header.last_append_time
        if not self.marks or header.last_append_time - self.marks[-1][1] >= _MARK_MS:
            self.marks.append((header.end, header.last_append_time))

    def forget(self, before: int) -> bool:
        """Forget the identities of units that were appended before an instant; whether there were any."""
        offset = None
        while self.marks and self.marks[0][1] < before:
            offset = self.marks.popleft()[0]
        if offset is not None:
            self.identities.forget_before(offset)
        return offset is not None

    def head(self) -> StateHead:
        return StateHead(self.next_offset, self.charges_next_offset, self.watermark)

    def segments(self) -> list[Segment]:
        """The known identities as stored segments."""
        keys = self.identities.keys()
        rows = range(0, len(keys), SEGMENT_IDENTITIES)
        return [
            Segment(number, keys.take(np.arange(start, min(start + SEGMENT_IDENTITIES, len(keys)))).stored(),
                    self.last_append_time)
            for number, start in enumerate(rows)
        ]  # fmt: skip

    def write_to(self, store: StateStore) -> None:
        """Replace what the store has of the partition."""
        store.replace(
            self.partition, self.head(), self.segments(), self.live.blobs, self.scopes.stored(), self.corrections
        )


class Recovery:
    """Brings partitions to their commit point."""

    def __init__(
        self,
        consumer: LogConsumer,
        reader: LogReader,
        store: StateStore,
        clock: Clock,
        observer: Observer,
        archive: ChargeArchive | None = None,
    ) -> None:
        self._consumer = consumer
        self._reader = reader
        self._store = store
        self._clock = clock
        self._observer = observer
        self._archive = archive

    def recover(self, partition: int) -> PartitionState:
        """The state at the committed next_offset.

        Raises:
            Fault: the logs or the stored state contradict each other; the text says what to do.
            TransientError: Kafka or Redis is away, or the archive where `charges` begins too late.
        """
        low, end = self._reader.bounds(CHARGES, partition)
        committed = self._committed(partition)
        head = self._store.head(partition)
        if committed is None:
            committed = self._last_unit_end(partition, low, end, head)
        if head is not None and head.next_offset > committed:
            raise Fault(
                f"Redis is ahead of Kafka on partition {partition}: it knows offset {head.next_offset}, the group "
                f"committed {committed}. Was Kafka wiped and Redis kept? Then flush the keys "
                f"{{usage-events:{partition}}}:* and start again"
            )
        state = self._stored(partition, head)
        if state is None or (state.charges_next_offset < low and state.next_offset != committed):
            state = PartitionState(partition, *self._first_unit(partition, low, end))
            state.scopes = self._older_scopes(state)
        if state.next_offset != committed:
            self._fold(state, committed)
            self._read_waiting(state)
        if head is None or head.next_offset != committed:
            state.write_to(self._store)
        self._check_input(state)
        return state

    def _older_scopes(self, state: PartitionState) -> ScopeStates:
        """What units moved that `charges` has no more: a scope is moved by late events and corrections for months.

        Identities need none of them: their horizon is shorter than the topic's retention.
        """
        if self._archive is None or not state.next_offset:
            return ScopeStates.empty()
        return self._archive.scopes(state.partition, state.next_offset)

    def _committed(self, partition: int) -> int | None:
        while True:
            try:
                return self._consumer.committed([partition])[partition]
            except OutcomePending:
                # A transaction that may move it is still open; it ends by itself within its time limit.
                self._clock.sleep(_PENDING_S)

    def _stored(self, partition: int, head: StateHead | None) -> PartitionState | None:
        if head is None:
            return None
        state = PartitionState(partition, head.next_offset, head.charges_next_offset, head.watermark)
        try:
            total = self._store.sizes(partition).identities
            for segment in self._store.segments(partition):
                self._observer.recovering(partition, "loading from Redis", len(state.identities), total)
                state.identities.add(Keys.from_stored(segment.identities))
                state.last_append_time = segment.last_append_time
                state.marks.append((int.from_bytes(segment.identities[-8:], "big") + 1, segment.last_append_time))
        except StateIncomplete:
            return None
        state.live = LiveWindows(self._store.live(partition))
        state.scopes = ScopeStates.from_stored(self._store.scopes(partition))
        state.corrections = CorrectionFields(self._store.corrections(partition))
        return state

    def _read_waiting(self, state: PartitionState) -> None:
        """`charges` names the records that wait; what they say stands in the input."""
        for name, stored in list(state.corrections.items()):
            if name[:1] != b"w" or (waiting := WaitingRecord.from_stored(stored)).value:
                continue
            low, _ = self._consumer.bounds(state.partition)
            if waiting.offset < low:
                raise Fault(
                    f"usage-events/{state.partition}/{waiting.offset} waits for the event that it corrects, and was "
                    "deleted: restore it from the archive (docs/operations.md)"
                )
            (record,) = self._reader.read("usage-events", state.partition, waiting.offset, waiting.offset + 1)
            whole = WaitingRecord(waiting.offset, record.append_time, record.value or b"")
            state.corrections.apply({name: whole.stored()})

    def _fold(self, state: PartitionState, committed: int) -> None:
        """Apply the committed units after the state, up to the commit point."""
        deadline = self._clock.now_ms() + _MARKERS_MS
        while True:
            _, end = self._reader.bounds(CHARGES, state.partition)
            self._apply_units(state, committed, end)
            if state.next_offset == committed:
                return
            if self._clock.now_ms() > deadline:
                if self._is_all_deleted(state.partition):
                    state.next_offset = committed
                    state.scopes = self._older_scopes(state)
                    return
                raise Fault(
                    f"{CHARGES} of partition {state.partition} ends at input offset {state.next_offset}, but the group "
                    f"committed {committed}: charges were lost. Restore the topic before you go on"
                )
            # A commit is decided before its markers reach every partition, and the offsets may be there first.
            self._clock.sleep(_PENDING_S)

    def _is_all_deleted(self, partition: int) -> bool:
        """Whether retention has deleted every unit: nothing came for so long, and no identity is remembered either."""
        low, end = self._reader.bounds(CHARGES, partition)
        return low > 0 and next(iter(self._reader.read(CHARGES, partition, low, end)), None) is None

    def _apply_units(self, state: PartitionState, committed: int, end: int) -> None:
        keys: list[Keys] = []
        scopes = ScopeStates.empty()
        named: list[pa.Table] = []
        waiting: tuple[tuple[int, bytes], ...] = ()
        slices = 0
        first = state.next_offset
        for record in self._reader.read(CHARGES, state.partition, state.charges_next_offset, end):
            header = UnitHeader.decode(record.headers)
            if header.end > committed:
                break
            if header.slice_index != slices:
                raise Fault(f"slice {slices} of the unit that ends at {header.end} is missing in {CHARGES}")
            self._observer.recovering(state.partition, "folding charges", header.start - first, committed - first)
            waiting += header.waiting
            charges, is_corrected = _folded(
                record.value or b"", is_awaiting=bool(waiting) or state.corrections.is_awaiting
            )
            keys.append(keys_of(charges))
            if "entries" in charges.column_names:
                scopes = scopes.apply(moved_scopes(charges))
            if is_corrected:
                named.append(relevant(charges))
            slices = (slices + 1) % header.slice_count
            if slices == 0:
                corrections = CorrectionState(state.corrections)
                if named or waiting:
                    corrections.book(pa.concat_tables(named) if named else None, waiting)
                joined = Keys.joined(keys)
                known = once(joined) if named and header.slice_count > 1 else joined
                state.apply(header, known, LiveTotals(), record.offset + 1, scopes, corrections.changes)
                keys, scopes, named, waiting = [], ScopeStates.empty(), [], ()

    def _first_unit(self, partition: int, low: int, end: int) -> tuple[int, int]:
        """Where the first whole unit begins, in `usage-events` and in `charges`: retention may have cut one in two."""
        place = (0, low)
        for record in self._reader.read(CHARGES, partition, low, end):
            header = UnitHeader.decode(record.headers)
            if header.slice_index == 0:
                return header.start, record.offset
            place = (header.end, record.offset + 1)
        return place

    def _last_unit_end(self, partition: int, low: int, end: int, head: StateHead | None) -> int:
        """Where to go on without a committed offset: after the last unit in `charges`, or at the very beginning.

        What the stored state holds need not be read again; retention may have deleted all of it.
        """
        start, last = low, 0
        # The offset after a unit is that of its commit marker: with only this deleted, no unit is missing either.
        if head is not None and low - 1 <= head.charges_next_offset <= end:
            start, last = max(low, head.charges_next_offset), head.next_offset
        for record in self._reader.read(CHARGES, partition, start, end):
            last = UnitHeader.decode(record.headers).end
        return last

    def _check_input(self, state: PartitionState) -> None:
        low, high = self._consumer.bounds(state.partition)
        if low > state.next_offset:
            raise Fault(
                f"usage-events/{state.partition} begins at {low}, but {state.next_offset} is next: "
                f"{low - state.next_offset} events were deleted before they were billed: restore them "
                "from the archive (docs/operations.md)"
            )
        if high < state.next_offset:
            raise Fault(
                f"usage-events/{state.partition} ends at {high}, but {state.next_offset} was billed already. Was the "
                "topic created anew? Then remove the consumer group, Redis and ClickHouse data of the old one too"
            )


def _folded(value: bytes, *, is_awaiting: bool) -> tuple[pa.Table, bool]:
    """The columns of a message of `charges` that state is folded from, and whether corrections are among them."""
    schema = schema_of(value)
    corrections = needed(schema.names, is_awaiting=is_awaiting)
    scopes = ("entries",) if has_scopes(schema) else ()
    return decode_columns(value, schema, {*_KEYS, *scopes, *corrections}), bool(corrections)


def keys_of(charges: pa.Table) -> Keys:
    """The identities that the rows of a `charges` message make known; each record's own once. A close makes none."""
    if "event_kind" in charges.column_names:
        kinds = charges.column("event_kind").cast(pa.string())
        charges = charges.filter(pc.not_equal(kinds, "PERIOD_CLOSE"))
    keys = _keys_of(charges)
    return once(keys) if "source_index" in charges.column_names else keys


def once(keys: Keys) -> Keys:
    """The keys in log order, where a record may name an identity in several rows."""
    kept: dict[tuple[int, int, int], int] = {}
    for place, name in enumerate(zip(keys.offset.tolist(), keys.high.tolist(), keys.low.tolist(), strict=True)):
        kept.setdefault(name, place)
    return keys.take(np.array(list(kept.values()), np.int64))


def _keys_of(charges: pa.Table) -> Keys:
    hashes = _bytes(charges, "identity_hash", 12)
    content = _bytes(charges, "content_hash", 4)
    return Keys(
        np.ascontiguousarray(hashes[:, :8]).view(">u8").ravel().astype(np.uint64),
        np.ascontiguousarray(hashes[:, 8:]).view(">u4").ravel().astype(np.uint32),
        content.view(">u4").ravel().astype(np.uint32),
        charges["source_offset"].to_numpy().astype(np.int64),
    )


def _bytes(table: pa.Table, name: str, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    column = table[name].combine_chunks()
    raw = np.frombuffer(column.buffers()[1], np.uint8) if len(column) else np.zeros(0, np.uint8)
    return raw[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)
