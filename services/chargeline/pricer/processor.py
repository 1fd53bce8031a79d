"""The pricer's loop over its ports: the commit protocol of docs/architecture.md, one commit unit a step.

    1. poll, and capture the group metadata now; it travels with the unit and is never read again for it
    2. wait until the governance view is fresh enough; cut the unit where a fact becomes visible (both: `intake`)
    3.-5. decode, refuse, price (`intake`), drop duplicates, aggregate (`compute`): the state is not touched
    6. one transaction: charges, panes, dead letters, next_offsets; commit: **the commit point**
    7. apply to memory and to the state store

A crash before 6 leaves nothing visible, and the unit is read again. A crash after 6 leaves state behind the log, and
recovery folds it from `charges`. There is no third case.

While a unit is aggregated, encoded and committed, the next one is booked already: a function of the state and of what
the unit in flight will add to it. Its transaction begins only when the one before is decided; if that was aborted, it
is void. The state itself is never touched before the commit.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from chargeline.adapters.governance import GovernanceReader
from chargeline.domain.errors import AbortRequired, Fault, Fenced, TransientError
from chargeline.domain.rating.rate_table import RateTable
from chargeline.ports import ChargeArchive, Clock, LogConsumer, LogReader, TransactionalProducer
from chargeline.pricer.aggregate import Computed, aggregate
from chargeline.pricer.compute import Booked, Rules, book
from chargeline.pricer.correcting import Correcting, needs_care
from chargeline.pricer.intake import INPUT, Intake, Limits, Part, Unit
from chargeline.pricer.known_events import Known
from chargeline.pricer.messages import header_of, messages_of
from chargeline.pricer.observer import Observer
from chargeline.pricer.originals import Originals
from chargeline.pricer.overlap import Coming, Done, Later
from chargeline.pricer.recovery import CHARGES, PartitionState, Recovery
from chargeline.state_ports import ApplyOutcome, StateDelta, StateStore
from chargeline.wire.charge_rows import Row
from chargeline.wire.units import UnitHeader

_RETRY_S = 0.5
log = structlog.get_logger()


Written = Mapping[tuple[str, int], int]


@dataclass(frozen=True)
class Committed:
    """A unit that the log has; the state does not know it yet."""

    computed: dict[int, Computed]
    written: Written


@dataclass(frozen=True)
class _InFlight:
    """A unit whose transaction is under way. `committed` None: it was aborted."""

    unit: Unit
    booked: dict[int, Booked]
    committed: Coming[Committed | None]


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
    archive: ChargeArchive | None = None
    run_commit: Callable[[Callable[[], Committed | None]], Coming[Committed | None]] = Done
    make_ahead: Callable[[Callable[[], RateTable]], Coming[RateTable]] = Later

    def __post_init__(self) -> None:
        self.states: dict[int, PartitionState] = {}
        self.intake = Intake(
            self.consumer,
            self.governance,
            self.clock,
            self.schema_of,
            self.rules,
            self.limits,
            self.observer,
            self.make_ahead,
        )
        self._originals = Originals(self.reader, self.archive, self.clock)
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
        if self._assigned is not None:
            self._recover()
            return True
        if not self._saved():
            self._decide()
            self.clock.sleep(_RETRY_S)
            return False
        unit = self._held or self.intake.next()
        self._held = None
        if unit is None:
            self._decide()
            self.observer.idle()
            return False
        self.observer.began()
        if not self._book(unit):
            self._read_again()
        return True

    def close(self) -> None:
        """Leave the group; what was read and not committed is read again by the next owner."""
        self._settle()
        self.consumer.close()
        self.producer.close()
        self.reader.close()

    def _decide(self) -> None:
        """Settle what is in flight now: no unit follows that would."""
        if not self._settle():
            self._read_again()

    def _read_again(self) -> None:
        """After an abort: the records from the commit point on come once more."""
        self._held = None
        self.intake.forget()
        self.consumer.start({partition: state.next_offset for partition, state in self.states.items()})

    # 3. to 5.
    def _book(self, unit: Unit) -> bool:
        """Decide what becomes of each record, and start the unit's transaction once the one before is decided.

        False: that one was aborted. A unit with corrections overlaps with no other: they ask for booked rows, which
        must be committed, and take back what later units lean on.
        """
        careful = {partition for partition, part in unit.parts.items() if self._needs_care(part)}
        if careful and not self._settle():
            return False
        try:
            booked = {partition: self._judge(part, partition in careful) for partition, part in unit.parts.items()}
        except TransientError:
            self._held = unit  # the same records again, never past them
            raise
        self.observer.did("book")
        if not self._settle():
            return False
        self._in_flight = _InFlight(unit, booked, self.run_commit(partial(self._commit, unit, booked)))
        return not careful or self._settle()

    def _needs_care(self, part: Part) -> bool:
        return needs_care(part.prepared, self.states[part.batch.partition].corrections)

    def _judge(self, part: Part, is_careful: bool) -> Booked:
        """The state stays as it is; what the unit in flight will add to it counts as earlier rows of this unit."""
        batch = part.batch
        state = self.states[batch.partition]
        before = None if self._in_flight is None else self._in_flight.booked.get(batch.partition)
        next_offset = state.next_offset if before is None else before.batch.next_offset
        if int(batch.offsets[0]) != next_offset:
            raise Fault(f"{INPUT}/{batch.partition}: read {batch.offsets[0]}, expected {next_offset}")
        self._forget(state, int(batch.append_times[0]))
        if is_careful:
            known = Known(
                state.identities, state.scopes, state.corrections, state.next_offset,
                partial(self._originals.booked_end, state.partition, state.charges_next_offset),
                partial(self._booked_rows, state), self.archive,
            )  # fmt: skip
            correcting = Correcting(batch, part.prepared, known, part.facts, self.rules, self.schema_of)
            return correcting.run(state.watermark)
        return book(
            batch,
            part.prepared,
            known=state.identities,
            scopes=state.scopes,
            before=before,
            watermark=state.watermark if before is None else before.watermark,
            rules=self.rules,
        )

    def _booked_rows(self, state: PartitionState, offsets: Collection[int]) -> dict[int, list[Row]]:
        return self._originals.rows(state.partition, offsets, state.places, state.charges_next_offset)

    # 5. and 6.
    def _commit(self, unit: Unit, booked: dict[int, Booked]) -> Committed | None:
        """One transaction with what the unit adds. None: it was aborted. Runs while the next unit is booked."""
        self.observer.began()
        computed = {
            partition: aggregate(each, unit.parts[partition].governance_sequence, self.rules)
            for partition, each in booked.items()
        }
        self.observer.did("aggregate")
        try:
            self.producer.begin()
            for partition, part in unit.parts.items():
                for message in messages_of(part, computed[partition]):
                    self.producer.produce(*message)
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
        return Committed(computed, written)

    # 7.
    def _settle(self) -> bool:
        """Wait until the unit in flight is decided, and apply it. False: it was aborted."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return True
        committed = in_flight.committed.result()
        self.observer.did("settle")
        if committed is None:
            self.observer.aborted()
            return False
        for partition, each in committed.computed.items():
            header = header_of(in_flight.unit.parts[partition], each.booked)
            self._apply(header, each, committed.written[CHARGES, partition])
        self.observer.did("apply")
        self.units += 1
        self.consumed += sum(len(part.batch.values) for part in in_flight.unit.parts.values())
        return True

    def _apply(self, header: UnitHeader, computed: Computed, charges_next_offset: int) -> None:
        state = self.states[header.partition]
        keys = computed.booked.keys
        corrections = {} if computed.booked.corrected is None else computed.booked.corrected.changes
        state.apply(header, keys, computed.live, charges_next_offset, computed.booked.scopes, corrections)
        delta = StateDelta(
            header.start,
            header.end,
            charges_next_offset,
            keys.stored(),
            header.last_append_time,
            state.live.touched_by(computed.live),
            self.limits.live_ttl_s,
            header.watermark,
            state.scopes.part(computed.booked.scopes.keys).stored(),
            corrections,
        )
        self._unsaved.setdefault(header.partition, deque()).append(delta)
        self._save(header.partition)
        self.observer.committed(header, computed, state, len(self._unsaved[header.partition]))

    def _saved(self) -> bool:
        """Whether the store follows closely enough to go on."""
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
        state.write_to(self.store)

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
        self.intake.rebalanced()
        self._assigned = partitions
        self.observer.assigned(partitions)

    def _on_revoke(self, partitions: list[int]) -> None:
        # Both callbacks run inside `poll` only.
        self.intake.rebalanced()
        self._assigned = None
        self._held = None
        in_flight, self._in_flight = self._in_flight, None
        for partition in partitions:
            self.states.pop(partition, None)
            self._unsaved.pop(partition, None)
        self.observer.revoked(partitions)
        if in_flight is not None:
            # Decided before the partitions go: whoever gets them reads the outcome from the log.
            in_flight.committed.result()

    def _recover(self) -> None:
        assigned = self._assigned or []
        recovery = Recovery(self.consumer, self.reader, self.store, self.clock, self.observer, self.archive)
        for partition in assigned:
            self.states[partition] = recovery.recover(partition)
            self.observer.ready(self.states[partition])
        self._assigned = None
        self.consumer.start({partition: self.states[partition].next_offset for partition in assigned})
