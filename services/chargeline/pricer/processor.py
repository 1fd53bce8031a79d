"""The pricer's loop over its ports: the commit protocol of docs/architecture.md, one commit unit a step.

    1. poll, and capture the group metadata now; it travels with the unit and is never read again for it
    2. wait until the governance view is fresh enough; cut the unit where a fact becomes visible (both: `intake`)
    3.-5. decode, refuse, price, drop duplicates, aggregate (`compute`): the state is not touched
    6. one transaction: charges, panes, dead letters, next_offsets; commit: **the commit point**
    7. apply to memory and to the state store

A crash before 6 leaves nothing visible, and the unit is read again. A crash after 6 leaves state behind the log, and
recovery folds it from `charges`. There is no third case.

Three units may be under way, in the order of the log: one is taken in (1 and 2, and what of 3 to 5 knows no state),
one is booked, one is committed. Each of the three may have a thread; the state is read and written by this one only.
A unit is never begun to be committed before the one before it is decided, and an abort voids all that came after.
"""

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from chargeline.adapters.governance import GovernanceReader
from chargeline.domain.errors import AbortRequired, Fault, Fenced, TransientError
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
from chargeline.pricer.compute import Computed, Rules, book
from chargeline.pricer.intake import INPUT, Intake, Limits, Part, Unit
from chargeline.pricer.observer import Observer
from chargeline.pricer.overlap import Coming, Done, Later
from chargeline.pricer.recovery import CHARGES, PartitionState, Recovery
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

DEAD_LETTERS = "usage-events-dlq"
_DEAD_LETTER_BYTES_MAX = 8_388_608
_RETRY_S = 0.5
log = structlog.get_logger()


Written = Mapping[tuple[str, int], int]


@dataclass(frozen=True)
class _InFlight:
    """A unit whose transaction is under way; the state does not know it yet."""

    unit: Unit
    computed: dict[int, Computed]
    written: Coming[Written | None]


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
    run_ahead: Callable[[Callable[[], Unit | None]], Coming[Unit | None]] = Later
    run_commit: Callable[[Callable[[], Written | None]], Coming[Written | None]] = Done

    def __post_init__(self) -> None:
        self.states: dict[int, PartitionState] = {}
        self.intake = Intake(
            self.consumer, self.governance, self.clock, self.schema_of, self.rules, self.limits, self.observer
        )
        # Held while a unit is booked and committed: a rebalance, which the intake hears of, waits for that long.
        self._booking = threading.RLock()
        self._ahead: Coming[Unit | None] | None = None
        self._held: Unit | None = None
        self._in_flight: _InFlight | None = None
        self._assigned: list[int] | None = None
        self._unsaved: dict[int, deque[StateDelta]] = {}
        self.units = 0
        self.consumed = 0
        self.consumer.subscribe(INPUT, self._on_assign, self._on_revoke)

    def step(self) -> bool:
        """Take one commit unit through the protocol; False if there was nothing to do.

        Raises:
            TransientError: Kafka or Redis is away: call again.
            Fenced, Fault: stop this process.
        """
        if self._assigned is not None and self._ahead is None:
            self._recover()
            return True
        if not self._saved():
            self._decide()
            self.clock.sleep(_RETRY_S)
            return False
        self.observer.began()
        unit = self._take()
        if self._assigned is not None:
            return False  # a rebalance ran inside the poll: the state comes first
        if unit is not None:
            self.observer.did("wait")
            self._ahead = self.run_ahead(self.intake.next)
            with self._booking:
                done = self._book(unit)
            if not done:
                self._read_again()
            return True
        self._decide()
        self.observer.idle()
        return False

    def _decide(self) -> None:
        """Settle what is in flight now: no unit follows that would."""
        with self._booking:
            done = self._settle()
        if not done:
            self._read_again()

    def close(self) -> None:
        """Leave the group; what was read and not committed is read again by the next owner."""
        self._drop_ahead()
        with self._booking:
            self._settle()
        self.consumer.close()
        self.producer.close()
        self.reader.close()

    def _take(self) -> Unit | None:
        """The unit that was taken in ahead, or the next one."""
        held, self._held = self._held, None
        if held is not None:
            return held
        ahead, self._ahead = self._ahead or self.run_ahead(self.intake.next), None
        return ahead.result()

    def _drop_ahead(self) -> None:
        """Wait for the intake to come to rest, and throw away what it took in."""
        ahead, self._ahead, self._held = self._ahead, None, None
        if ahead is not None:
            with contextlib.suppress(TransientError):
                ahead.result()
        self.intake.forget()

    def _read_again(self) -> None:
        """After an abort: the records from the commit point on come once more."""
        self._drop_ahead()
        self.consumer.start({partition: state.next_offset for partition, state in self.states.items()})

    # 3. to 5.
    def _book(self, unit: Unit) -> bool:
        """Compute a unit and start its transaction, once the one before is decided. False: that one was aborted.

        A unit whose partitions moved while it waited is void: their owner reads it.
        """
        if unit.generation != self.intake.generation:
            return True
        try:
            computed = {partition: self._compute(part) for partition, part in unit.parts.items()}
        except TransientError:
            self._held = unit  # the same records again, never past them
            raise
        self.observer.did("compute")
        if not self._settle():
            return False
        self._in_flight = _InFlight(unit, computed, self.run_commit(partial(self._commit, unit, computed)))
        return True

    def _compute(self, part: Part) -> Computed:
        """The state stays as it is; what the unit in flight will add to it counts as earlier rows of this unit."""
        batch = part.batch
        state = self.states[batch.partition]
        in_flight = self._in_flight
        before = None if in_flight is None else in_flight.computed.get(batch.partition)
        next_offset = state.next_offset
        if in_flight is not None and before is not None:
            next_offset = in_flight.unit.parts[batch.partition].batch.next_offset
        if int(batch.offsets[0]) != next_offset:
            raise Fault(f"{INPUT}/{batch.partition}: read {batch.offsets[0]}, expected {next_offset}")
        self._forget(state, int(batch.append_times[0]))
        return book(
            batch,
            part.prepared,
            known=state.identities,
            before=None if before is None else before.keys,
            watermark=state.watermark if before is None else before.watermark,
            governance_sequence=part.governance_sequence,
            rules=self.rules,
        )

    # 6.
    def _commit(self, unit: Unit, computed: dict[int, Computed]) -> Written | None:
        """One transaction; what `producer.commit` says. None: it was aborted. Runs while the next unit is computed."""
        self.observer.began()
        try:
            self.producer.begin()
            for partition, each in computed.items():
                self._produce(unit.parts[partition].batch, each, _header(unit.parts[partition], each))
            next_offsets = {partition: part.batch.next_offset for partition, part in unit.parts.items()}
            # Offsets go into the transaction, not after it: a crash between the two would bill the unit twice.
            self.producer.send_offsets(INPUT, next_offsets, unit.group_metadata)
            self.observer.did("produce")
            written = self.producer.commit()
        except AbortRequired as error:
            log.warning("unit_aborted", reason=str(error))
            self.producer.abort()
            return None
        self.observer.did("commit")
        return written

    # 7.
    def _settle(self) -> bool:
        """Wait until the unit in flight is decided, and apply it. False: it was aborted."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return True
        written = in_flight.written.result()
        self.observer.did("settle")
        if written is None:
            self.observer.aborted()
            return False
        for partition, each in in_flight.computed.items():
            self._apply(_header(in_flight.unit.parts[partition], each), each, written[CHARGES, partition])
        self.observer.did("apply")
        self.units += 1
        self.consumed += sum(len(part.batch.values) for part in in_flight.unit.parts.values())
        return True

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
        with self._booking:
            # A snapshot is written only where the committed offset is known to stand still.
            for partition in list(self._unsaved) if self._in_flight is None else []:
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
        with self._booking:
            self.intake.generation += 1
            self._assigned = partitions
            self.observer.assigned(partitions)

    def _on_revoke(self, partitions: list[int]) -> None:
        # Waits for the unit in flight to be committed or aborted; then what was taken in under this membership is void.
        with self._booking:
            self.intake.generation += 1
            self._assigned = None
            self._held = None
            in_flight, self._in_flight = self._in_flight, None
            for partition in partitions:
                self.states.pop(partition, None)
                self._unsaved.pop(partition, None)
            self.observer.revoked(partitions)
            if in_flight is not None:
                # Decided before the partitions go: whoever gets them reads the outcome from the log.
                in_flight.written.result()

    def _recover(self) -> None:
        assigned = self._assigned or []
        recovery = Recovery(self.consumer, self.reader, self.store, self.clock, self.observer)
        for partition in assigned:
            self.states[partition] = recovery.recover(partition)
            self.observer.ready(self.states[partition])
        self._assigned = None
        self.consumer.start({partition: self.states[partition].next_offset for partition in assigned})


def _header(part: Part, computed: Computed) -> UnitHeader:
    batch = part.batch
    return UnitHeader(
        batch.partition,
        int(batch.offsets[0]),
        batch.next_offset,
        0,
        1,
        computed.outcomes,
        computed.watermark,
        int(batch.append_times[-1]),
        part.governance_sequence,
    )


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
