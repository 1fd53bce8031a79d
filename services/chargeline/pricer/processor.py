"""The pricer's loop over its ports: the commit protocol of docs/architecture.md, one commit unit a step.

    1. poll, and capture the group metadata now; it travels with the unit and is never read again for it
    2. wait until the governance view is fresh enough; cut the unit where a fact becomes visible
    3.-5. decode, refuse, price, drop duplicates, aggregate (`compute`): the state is not touched
    6. one transaction: charges, panes, dead letters, next_offsets; commit: **the commit point**
    7. apply to memory and to the state store

A crash before 6 leaves nothing visible, and the unit is read again. A crash after 6 leaves state behind the log, and
recovery folds it from `charges`. There is no third case.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import structlog

from chargeline.adapters.governance import GovernanceReader
from chargeline.domain.errors import AbortRequired, Fault, Fenced, TransientError
from chargeline.domain.rate_table import RateTable
from chargeline.ports import (
    ApplyOutcome,
    Clock,
    LogBatch,
    LogConsumer,
    LogReader,
    StateDelta,
    StateStore,
    TransactionalProducer,
)
from chargeline.pricer.compute import Computed, Rules, compute
from chargeline.pricer.observer import Observer
from chargeline.pricer.recovery import CHARGES, PartitionState, Recovery
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

INPUT = "usage-events"
DEAD_LETTERS = "usage-events-dlq"
_DEAD_LETTER_BYTES_MAX = 8_388_608
_RETRY_S = 0.5
log = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """Bounds of a commit unit and of what may be in flight."""

    unit_records: int = 100_000
    unit_bytes: int = 64_000_000
    poll_s: float = 0.2
    trailing_units: int = 8
    identities_max: int = 200_000_000
    live_ttl_s: int = 7200
    dedupe_horizon_ms: int = 7 * 86_400_000
    margin_ms: int = 10_000


@dataclass
class _Polled:
    """Records with the membership under which they were read."""

    batches: dict[int, LogBatch]
    group_metadata: object


@dataclass
class Pricer:
    """One pricer process. `step` is the loop's body; whoever calls it decides what follows from an error."""

    consumer: LogConsumer
    producer: TransactionalProducer
    reader: LogReader
    store: StateStore
    governance: GovernanceReader
    clock: Clock
    schema_of: Callable[[int], str | None]
    rules: Rules
    limits: Limits = field(default_factory=Limits)
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        self.states: dict[int, PartitionState] = {}
        self._assigned: list[int] | None = None
        self._waiting: _Polled | None = None
        self._unsaved: dict[int, deque[StateDelta]] = {}
        self._tables: dict[int, RateTable] = {}
        self._generation = 0
        self.units = 0
        self.consumed = 0
        self.consumer.subscribe(INPUT, self._on_assign, self._on_revoke)

    def step(self) -> bool:
        """Take one commit unit through the protocol; False if there was nothing to do.

        Raises:
            TransientError: Kafka or Redis is away: call again.
            Fenced, Fault: stop this process.
        """
        if self._assigned is not None:
            self._recover()
        if not self._saved():
            self.clock.sleep(_RETRY_S)
            return False
        self.observer.began()
        polled = self._poll()
        if polled is None:
            self.observer.idle()
            return False
        self.observer.did("poll")
        try:
            unit, later = self._visible_part(polled)
            self.observer.did("fresh")
            computed = {partition: self._compute(batch) for partition, batch in unit.batches.items()}
            self.observer.did("compute")
        except TransientError:
            self._waiting = polled  # the same records again, never past them
            raise
        self._waiting = later
        self._commit(unit, computed)
        return True

    def close(self) -> None:
        """Leave the group; what was read and not committed is read again by the next owner."""
        self.consumer.close()
        self.producer.close()
        self.reader.close()

    # 1.
    def _poll(self) -> _Polled | None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            return waiting
        generation = self._generation
        batches = self.consumer.poll(self.limits.unit_records, self.limits.poll_s)
        group_metadata = self.consumer.group_metadata()
        if generation != self._generation or not batches:
            # A rebalance ran inside the poll: what it returned may belong to a partition that has moved.
            return None
        for batch in batches:
            state = self.states.get(batch.partition)
            if state is None or int(batch.offsets[0]) != state.next_offset:
                expected = None if state is None else state.next_offset
                raise Fault(f"{INPUT}/{batch.partition}: read {batch.offsets[0]}, expected {expected}")
            if int(batch.offsets[-1]) - int(batch.offsets[0]) + 1 != len(batch.offsets):
                raise Fault(f"{INPUT}/{batch.partition} has gaps: only writers without transactions are allowed")
        return _Polled({batch.partition: batch for batch in batches}, group_metadata)

    # 2.
    def _visible_part(self, polled: _Polled) -> tuple[_Polled, _Polled | None]:
        """The records whose visible facts are known and all the same, and the others, which wait for the next step."""
        newest = max(int(batch.append_times.max()) for batch in polled.batches.values())
        while self.governance.view_ms < newest - self.limits.margin_ms:
            self.governance.refresh()
            if self.governance.view_ms < newest - self.limits.margin_ms:
                self.clock.sleep(0.05)
        now, later = {}, {}
        for partition, batch in polled.batches.items():
            count = self.governance.chain.visible_count(batch.append_times, self.limits.margin_ms)
            cut = int((count == count[0]).argmin()) if (count != count[0]).any() else len(count)
            cut = min(cut, _fitting(batch, self.limits.unit_bytes // len(polled.batches)))
            now[partition] = batch.part(0, cut)
            if cut < len(count):
                later[partition] = batch.part(cut, len(count))
        rest = _Polled(later, polled.group_metadata) if later else None
        return _Polled(now, polled.group_metadata), rest

    # 3. to 5.
    def _compute(self, batch: LogBatch) -> Computed:
        state = self.states[batch.partition]
        chain = self.governance.chain
        count = int(chain.visible_count(batch.append_times[:1], self.limits.margin_ms)[0])
        self._forget(state, int(batch.append_times[0]))
        return compute(
            batch,
            known=state.identities,
            watermark=state.watermark,
            table=self._table(count),
            governance_sequence=count - 1,
            rules=self.rules,
            schema_of=self.schema_of,
        )

    # 6. and 7.
    def _commit(self, unit: _Polled, computed: dict[int, Computed]) -> None:
        headers = {partition: self._header(unit.batches[partition], each) for partition, each in computed.items()}
        try:
            self.producer.begin()
            for partition, each in computed.items():
                self._produce(unit.batches[partition], each, headers[partition])
            next_offsets = {partition: batch.next_offset for partition, batch in unit.batches.items()}
            # Offsets go into the transaction, not after it: a crash between the two would bill the unit twice.
            self.producer.send_offsets(INPUT, next_offsets, unit.group_metadata)
            self.observer.did("produce")
            written = self.producer.commit()
            self.observer.did("commit")
        except AbortRequired as error:
            log.warning("unit_aborted", reason=str(error))
            self.observer.aborted()
            self.producer.abort()
            self._waiting = None
            self.consumer.start({partition: state.next_offset for partition, state in self.states.items()})
            return
        for partition, each in computed.items():
            self._apply(headers[partition], each, written[CHARGES, partition])
        self.observer.did("apply")
        self.units += 1
        self.consumed += sum(len(batch.values) for batch in unit.batches.values())

    def _produce(self, batch: LogBatch, computed: Computed, header: UnitHeader) -> None:
        partition = batch.partition
        key = str(partition).encode()
        for topic, table in (
            (CHARGES, computed.charges),
            ("cost-rollups", computed.cost_rollups),
            ("performance-rollups", computed.performance_rollups),
        ):
            messages = encode(table) if table is not None else []
            for index, message in enumerate(messages):
                sliced = header.slice(index, len(messages))
                self.producer.produce(topic, partition, key, message, sliced.encode())
        for letter in computed.dead_letters:
            value = batch.values[letter.row]
            place = (
                int(batch.offsets[letter.row]),
                int(batch.append_times[letter.row]),
            )
            self.producer.produce(
                DEAD_LETTERS,
                partition,
                None,
                value[:_DEAD_LETTER_BYTES_MAX],
                _letter_headers(letter.code, letter.reason, partition, place, value),
            )

    def _apply(self, header: UnitHeader, computed: Computed, charges_next_offset: int) -> None:
        state = self.states[header.partition]
        state.apply(header, computed.keys, computed.live, charges_next_offset)
        delta = StateDelta(
            header.start,
            header.end,
            charges_next_offset,
            computed.keys.stored(),
            header.last_append_time,
            state.live.blobs(computed.live),
            self.limits.live_ttl_s,
            header.watermark,
        )
        self._unsaved.setdefault(header.partition, deque()).append(delta)
        self._save(header.partition)
        self.observer.committed(header, computed, state, len(self._unsaved[header.partition]))

    def _saved(self) -> bool:
        """Whether the store follows closely enough to go on."""
        for partition in list(self._unsaved):
            self._save(partition)
        return all(len(waiting) < self.limits.trailing_units for waiting in self._unsaved.values())

    def _save(self, partition: int) -> None:
        """Write what waits, in order; what cannot be written now stays."""
        waiting = self._unsaved.get(partition, deque())
        state = self.states[partition]
        try:
            while waiting:
                outcome = self.store.apply(partition, waiting[0])
                if outcome is ApplyOutcome.AHEAD and waiting[0].end == self._stored_next(partition):
                    outcome = ApplyOutcome.APPLIED  # the answer to an earlier, identical call was lost
                if outcome is ApplyOutcome.AHEAD:
                    raise Fenced(f"the state of partition {partition} was written by another process")
                if outcome is ApplyOutcome.BEHIND:
                    self._replace(state)
                    waiting.clear()
                    return
                waiting.popleft()
        except TransientError as error:
            log.warning("state_not_saved", partition=partition, units=len(waiting), reason=str(error))
            self.observer.failed(error)

    def _stored_next(self, partition: int) -> int | None:
        head = self.store.head(partition)
        return None if head is None else head.next_offset

    def _replace(self, state: PartitionState) -> None:
        """The store lost state: write it again, if a stable read shows that this process still owns the partition."""
        if self.consumer.committed([state.partition])[state.partition] != state.next_offset:
            raise Fenced(f"partition {state.partition} was committed by another process")
        log.warning("state_written_again", partition=state.partition, identities=len(state.identities))
        self.store.replace(state.partition, state.head(), state.segments(), state.live.blobs(state.live))

    def _header(self, batch: LogBatch, computed: Computed) -> UnitHeader:
        return UnitHeader(
            batch.partition,
            int(batch.offsets[0]),
            batch.next_offset,
            0,
            1,
            computed.outcomes,
            computed.watermark,
            int(batch.append_times[-1]),
            int(self.governance.chain.visible_count(batch.append_times[-1:], self.limits.margin_ms)[0]) - 1,
        )

    def _table(self, count: int) -> RateTable:
        table = self._tables.get(count)
        if table is None or table.full:
            book = self.governance.chain.book(
                count, margin_ms=self.limits.margin_ms, future_bound_ms=self.rules.future_bound_ms
            )
            self._tables = {count: RateTable(book)}
        return self._tables[count]

    def _forget(self, state: PartitionState, append_time: int) -> None:
        """Keep identities for the horizon only; never forget one because there are many."""
        oldest = append_time - self.limits.dedupe_horizon_ms
        if state.forget(oldest):
            self.store.drop_segments(state.partition, oldest)
        if len(state.identities) >= self.limits.identities_max:
            raise TransientError(
                f"partition {state.partition} remembers {len(state.identities)} identities, which is the limit: "
                "raise dedupe_max_ids or wait until the horizon passes"
            )

    def _on_assign(self, partitions: list[int]) -> None:
        self._generation += 1
        self._assigned = partitions
        self.observer.assigned(partitions)

    def _on_revoke(self, partitions: list[int]) -> None:
        # Nothing is in flight: callbacks run inside `poll` only. What waits was read by a membership that ended.
        self._generation += 1
        self._waiting = None
        self._assigned = None
        self.observer.revoked(partitions)
        for partition in partitions:
            self.states.pop(partition, None)
            self._unsaved.pop(partition, None)

    def _recover(self) -> None:
        assigned = self._assigned or []
        recovery = Recovery(self.consumer, self.reader, self.store, self.clock, self.observer)
        for partition in assigned:
            self.states[partition] = recovery.recover(partition)
            self.observer.ready(self.states[partition])
        self._assigned = None
        self.consumer.start({partition: self.states[partition].next_offset for partition in assigned})


def _fitting(batch: LogBatch, most: int) -> int:
    """How many records, one at the least, have so many bytes: what a unit may hold in memory."""
    return max(1, int(np.searchsorted(np.cumsum(batch.sizes), most, "right")))


def _letter_headers(
    code: str, reason: str, partition: int, place: tuple[int, int], value: bytes
) -> list[tuple[str, bytes]]:
    headers = [
        ("x-chargeline-code", code),
        ("x-chargeline-reason", reason),
        ("x-chargeline-topic", INPUT),
        ("x-chargeline-partition", str(partition)),
        ("x-chargeline-offset", str(place[0])),
        ("x-chargeline-append-time", str(place[1])),
    ]
    if len(value) >= 5 and value[0] == 0:
        headers.append(("x-chargeline-schema-id", str(int.from_bytes(value[1:5], "big"))))
    if len(value) > _DEAD_LETTER_BYTES_MAX:
        headers.append(("x-chargeline-original-length", str(len(value))))
        headers.append(("x-chargeline-original-sha256", hashlib.sha256(value).hexdigest()))
    return [(name, text.encode()) for name, text in headers]
