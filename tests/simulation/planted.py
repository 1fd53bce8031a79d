"""Bugs planted on purpose. Each is what somebody could write in good faith, and each must be found."""

from dataclasses import dataclass, replace
from typing import Any

from chargeline.adapters.governance import TOPIC, GovernanceReader, decode
from chargeline.adapters.memory import MemoryLogConsumer, MemoryLogReader, MemoryTransactionalProducer
from chargeline.adapters.memory_state import MemoryStateStore
from chargeline.domain.errors import AbortRequired, TransientError
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.pricer.processor import Pricer
from chargeline.sink.processor import TopicSink, _Done
from chargeline.wire.units import UnitHeader
from tests.simulation.processes import OutcomeUnknown
from tests.simulation.simulation import Simulation


@dataclass(frozen=True)
class Bug:
    """A bug, and what finds it.

    Attributes:
        within: so many seeds, from 0 on, must be enough to find it.
        seed: the first of these that found it when this was written. It is tried before the others.
        parts: they replace factories of the simulation.
    """

    name: str
    within: int
    seed: int
    parts: dict[str, Any]


class AppliesBeforeTheCommit(Pricer):
    def _judge(self, part, is_careful):
        booked = super()._judge(part, is_careful)
        self.states[part.batch.partition].identities.add(booked.keys)
        return booked

    def _apply(self, header, computed, charges_next_offset):
        keys = computed.booked.keys
        booked = replace(computed.booked, keys=keys.take(keys.offset < 0))
        super()._apply(header, replace(computed, booked=booked), charges_next_offset)


class ReadsMetadataAgain(Pricer):
    def _commit(self, unit, booked):
        class Late:
            parts = unit.parts

            @property
            def group_metadata(self_):  # noqa: N805
                return self.consumer.group_metadata()

        late: Any = Late()
        return super()._commit(late, booked)


class ForgetsTheUnitInFlight(Pricer):
    """What is being committed is not known yet, so a repeat in the next unit is charged again."""

    def _judge(self, part, is_careful):
        before, state = self._in_flight, self.states[part.batch.partition]
        shown, watermark = state.next_offset, state.watermark
        if before is not None and part.batch.partition in before.booked:
            state.next_offset = int(part.batch.offsets[0])
            state.watermark = before.booked[part.batch.partition].watermark
        self._in_flight = None
        try:
            return super()._judge(part, is_careful)
        finally:
            self._in_flight, state.next_offset, state.watermark = before, shown, watermark


class ForgetsTheScopesInFlight(Pricer):
    """Tiers go on from what is applied, not from what is being committed."""

    def _judge(self, part, is_careful):
        before = self._in_flight
        if before is not None:
            bare = {p: replace(each, scopes=ScopeStates.empty()) for p, each in before.booked.items()}
            self._in_flight = replace(before, booked=bare)
        try:
            return super()._judge(part, is_careful)
        finally:
            self._in_flight = before


class StoresNoScopes(MemoryStateStore):
    """After a restart every tier begins anew."""

    def scopes(self, partition):
        return b""


class BooksAfterAnAbort(Pricer):
    """The unit that was booked behind an aborted one is committed all the same."""

    def _settle(self):
        super()._settle()
        return True


class DoesNotSeekAfterAnAbort(Pricer):
    def _read_again(self):
        """What was read is dropped, and the consumer stands behind it."""
        self._held = None
        self.intake.forget()


class ReadsAbortedCharges(MemoryLogReader):
    """Recovery and its bounds with isolation.level=read_uncommitted."""

    def bounds(self, topic, partition):
        return 0, len(self._log.logs[topic, partition])

    def read(self, topic, partition, start, end):
        yield from self._log.readable(topic, partition, start, end, committed=False)


class ReadsUncommitted(MemoryLogConsumer):
    """The consumer of a sink with isolation.level=read_uncommitted."""

    def __init__(self, log, group, faults):
        super().__init__(log, group, faults, committed=False)


class TakesUnstableOffsets(MemoryLogConsumer):
    """Committed offsets are asked for without waiting for the transaction that may move them."""

    def committed(self, partitions):
        group = self._log.groups[self._group]
        return {partition: group.committed.get(partition) for partition in partitions}


class WritesPanesOutside(MemoryTransactionalProducer):
    def produce(self, topic, partition, key, value, headers):
        if topic == "cost-rollups":
            self._log.append(topic, partition, key, value, headers)
        else:
            super().produce(topic, partition, key, value, headers)


class WritesChargesOutside(MemoryTransactionalProducer):
    def produce(self, topic, partition, key, value, headers):
        if topic == "charges":
            offset = self._log.append(topic, partition, key, value, headers)
            self._written[topic, partition] = offset + 1
        else:
            super().produce(topic, partition, key, value, headers)


class TakesUnknownForAborted(MemoryTransactionalProducer):
    def commit(self):
        try:
            return super().commit()
        except OutcomeUnknown as error:
            raise AbortRequired("no answer came") from error


class OneRefreshOld(GovernanceReader):
    def refresh(self):
        seen = getattr(self, "seen", 0)
        _, end = self._reader.bounds(TOPIC, 0)
        for record in self._reader.read(TOPIC, 0, self._next_offset, seen):
            self.chain.add(decode(record.value or b""), (record.value or b"")[5:], record.append_time)
            self._next_offset = record.offset + 1
        self.seen = end
        self.view_ms = self._clock.now_ms() - self._skew


class StartsAfterTheMaximum(TopicSink):
    """The newest stored message is taken for whole."""

    def _begin(self):
        stored = self.connect().stored_maximum(self.table, self.topic)
        start = self.consumer.start
        later = lambda starts: start({p: s + (s == stored.get(p)) for p, s in starts.items()})  # noqa: E731
        consumer: Any = self.consumer
        consumer.start = later
        try:
            super()._begin()
        finally:
            consumer.start = start


class ForgetsWhatWasAcknowledged(TopicSink):
    """The place is the stored maximum alone, so an acknowledged block is sent again, long after its token expired."""

    def _begin(self):
        consumer: Any = self.consumer
        committed, consumer.committed = consumer.committed, dict.fromkeys
        try:
            super()._begin()
        finally:
            consumer.committed = committed


class InsertsPartOfAUnit(TopicSink):
    """What a poll brought of a unit is a block."""

    def _next(self, partition, waiting):
        if self.topic == "usage-events-dlq":
            return super()._next(partition, waiting)
        header = UnitHeader.decode(waiting[0].headers)
        return list(waiting)[: header.slice_count - header.slice_index]


class InsertsWithoutToken(TopicSink):
    def _block(self, records):
        self.attempts = getattr(self, "attempts", 0) + 1
        rows, token = super()._block(records)
        return rows, f"{token}/{id(self)}/{self.attempts}"


class DoesNotAskForOwnership(TopicSink):
    def _send(self, records):
        while True:
            try:
                return super()._send(records)
            except TransientError:
                continue


class AcknowledgesBeforeTheInsert(TopicSink):
    def _send(self, records):
        self.consumer.commit({record.partition: record.offset + 1 for record in records})
        return super()._send(records)


class GivesUpAfterOneAttempt(TopicSink):
    """An insert that failed is left out."""

    def _send(self, records):
        try:
            return super()._send(records)
        except TransientError:
            return _Done(0, 0.0)


class StoresNoCorrections(MemoryStateStore):
    """Which events were taken back, and what waits, is kept in memory only."""

    def apply(self, partition, delta):
        return super().apply(partition, replace(delta, corrections={}))

    def replace(self, partition, head, segments, live, scopes, corrections=None):
        super().replace(partition, head, segments, live, scopes)


class ClosesBeforeTheCommit(Pricer):
    """A period is closed when its record is judged; a unit that is aborted is read again, and the close is a second one."""

    def _judge(self, part, is_careful):
        booked = super()._judge(part, is_careful)
        if booked.corrected is not None:
            closed = {name: value for name, value in booked.corrected.changes.items() if name[:1] == b"k"}
            self.states[part.batch.partition].corrections.apply(closed)
        return booked


class StoresNoCloses(MemoryStateStore):
    """Which periods are closed is kept in memory only."""

    def corrections(self, partition):
        return {name: value for name, value in super().corrections(partition).items() if name[:1] != b"k"}


class StoresNoHeldScopes(MemoryStateStore):
    """Which scopes owe T(0) without an event is kept in memory only."""

    def corrections(self, partition):
        return {name: value for name, value in super().corrections(partition).items() if name[:1] != b"h"}


class ForgetsWhatClosesCarry(Pricer):
    """A close begins with nothing, whatever the closes before it handed on."""

    def __post_init__(self):
        super().__post_init__()
        self.archive = CarriesNothing(self.archive)


class CarriesNothing:
    """An archive whose rows of closes say nothing to the next close."""

    def __init__(self, archive):
        self._archive = archive

    def __getattr__(self, name):
        return getattr(self._archive, name)

    def of_account(self, *asked):
        return [row | {"carried": None} for row in self._archive.of_account(*asked)]


class NamesNothingThatWaits(MemoryTransactionalProducer):
    """`charges` does not tell which records wait for their original."""

    def produce(self, topic, partition, key, value, headers):
        super().produce(topic, partition, key, value, [each for each in headers if each[0] != "waiting"])


class TakesBackTheSameTwice(Pricer):
    """A second cancel of an event acts as the first did."""

    def _apply(self, header, computed, charges_next_offset):
        corrected = computed.booked.corrected
        if corrected is not None:
            kept = {name: value for name, value in corrected.changes.items() if name[:1] != b"c"}
            booked = replace(computed.booked, corrected=replace(corrected, changes=kept))
            computed = replace(computed, booked=booked)
        super()._apply(header, computed, charges_next_offset)


class WaitsForUnitsWithoutRows(Pricer):
    """The archive of rows has to hold charges up to the newest unit, whether that booked any or not."""

    def __post_init__(self):
        super().__post_init__()
        originals: Any = self._originals
        originals.booked_end = lambda partition, _: self.states[partition].next_offset


REFUSED_BECOME_KNOWN = "an identity made known by a refused event"
BUGS = (
    Bug("state applied before the commit", 30, 1, {"make": AppliesBeforeTheCommit}),
    Bug("metadata read again at commit", 30, 1, {"make": ReadsMetadataAgain}),
    Bug("the unit in flight forgotten", 30, 3, {"make": ForgetsTheUnitInFlight}),
    Bug("the scopes in flight forgotten", 60, 39, {"make": ForgetsTheScopesInFlight}),
    Bug("scopes not stored", 30, 8, {"store": StoresNoScopes()}),
    Bug("corrections not stored", 60, 4, {"store": StoresNoCorrections()}),
    Bug("a period closed before the commit", 60, 7, {"make": ClosesBeforeTheCommit}),
    Bug("closed periods not stored", 60, 5, {"store": StoresNoCloses()}),
    Bug("scopes that a close holds not stored", 60, 27, {"store": StoresNoHeldScopes()}),
    Bug("what closes carry forgotten", 60, 17, {"make": ForgetsWhatClosesCarry}),
    Bug("what waits is not named in charges", 60, 4, {"producer": NamesNothingThatWaits}),
    Bug("an event taken back twice", 30, 8, {"make": TakesBackTheSameTwice}),
    Bug("an archive that must hold units without rows", 30, 0, {"make": WaitsForUnitsWithoutRows}),
    Bug("a unit booked behind an aborted one", 30, 7, {"make": BooksAfterAnAbort}),
    Bug("charges read uncommitted at recovery", 30, 0, {"charges_reader": ReadsAbortedCharges}),
    Bug("no seek after an abort", 30, 7, {"make": DoesNotSeekAfterAnAbort}),
    Bug(REFUSED_BECOME_KNOWN, 20, 8, {}),
    Bug("a governance view one refresh old", 30, 2, {"governance": OneRefreshOld}),
    Bug("a pane outside the transaction", 30, 0, {"producer": WritesPanesOutside}),
    Bug("a charge outside the transaction", 30, 0, {"producer": WritesChargesOutside}),
    Bug("an unknown outcome taken for an abort", 60, 5, {"producer": TakesUnknownForAborted}),
    Bug("committed offsets read while a transaction is open", 30, 8, {"consumer": TakesUnstableOffsets}),
    Bug("sink starting at maximum + 1", 60, 0, {"sink": StartsAfterTheMaximum}),
    Bug("sink reading uncommitted", 30, 0, {"sink_consumer": ReadsUncommitted}),
    Bug("part of a unit inserted", 30, 4, {"sink": InsertsPartOfAUnit}),
    Bug("insert without token", 30, 0, {"sink": InsertsWithoutToken}),
    Bug("ownership not checked before an insert is repeated", 30, 4, {"sink": DoesNotAskForOwnership}),
    Bug("acknowledged block sent again", 60, 4, {"sink": ForgetsWhatWasAcknowledged}),
    Bug("acknowledgement before the insert", 30, 0, {"sink": AcknowledgesBeforeTheInsert}),
    Bug("a failed insert left out", 30, 0, {"sink": GivesUpAfterOneAttempt}),
)  # fmt: skip


def plant(world: Simulation, bug: Bug) -> None:
    for part, value in bug.parts.items():
        # A store of its own for each run: what an earlier one left would be found instead of the bug.
        setattr(world, part, type(value)() if part == "store" else value)
