"""The Faust side of the anomaly service: thin agents around `processor.Partition`.

    1. a message comes; the partition's state is loaded if it is not here (the table has been recovered by then)
    2. the processor takes it; its updates are published, and durable, before anything else happens
    3. every few minutes the state is stored, then the input's next_offsets are committed

A crash after 2: the same units are read again from the stored state and give the same updates with the same names; a
reader drops what it has by (anomaly_id, sequence). A rebalance is the same: partitions are stored and forgotten when
they are revoked, and loaded where they are assigned. Kafka waits for that, so two workers never write one state.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog
from faust import TopicT
from faust.types import TP

from chargeline.anomaly.metrics import AnomalyMetrics
from chargeline.anomaly.processor import PERFORMANCE, TOPICS, Mark, Partition
from chargeline.anomaly.state_table import Revoked, StateTable
from chargeline.anomaly.transport import App
from chargeline.domain.anomaly.notes import Notes
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.update import Update
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.errors import StateIncomplete
from chargeline.domain.money import plain
from chargeline.ports import Clock
from chargeline.wire.anomaly_records import ANOMALIES, encode_update

log = structlog.get_logger()
_LOOK_TICKS = 5  # seconds between two looks for what was lost
_HAND_OVER_S = 5.0  # the others of the group stand still meanwhile


@dataclass(frozen=True)
class Pace:
    """How often: seconds without a unit until windows are complete; seconds between snapshots, bases in each."""

    idle_s: float
    snapshot_s: float
    bases: int


class Worker:
    """The agents of one process. Everything here runs in the event loop's thread.

    Args:
        schema_id: of CostAnomaly in the registry.
        failed: told of whatever ends the process.
    """

    def __init__(
        self,
        app: App,
        partitions: int,
        rules: Rules,
        parameters: Parameters,
        pace: Pace,
        *,
        clock: Clock,
        notes: Notes,
        metrics: AnomalyMetrics,
        schema_id: int,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._app, self._rules, self._parameters, self._pace = app, rules, parameters, pace
        self._clock, self._notes, self._metrics = clock, notes, metrics
        self._schema_id, self._failed = schema_id, failed
        raw: dict[str, Any] = {
            "key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw",
        }  # fmt: skip
        self._out: TopicT = app.topic(ANOMALIES, **raw)
        table = app.Table("state", partitions=partitions)
        self._state = StateTable(table)
        self._partitions: dict[int, Partition] = {}
        self._assigned: set[int] = set()
        self._is_recovered = False
        self._places: dict[TP, tuple[int, int]] = {}  # where the client and we were at the last look
        self._read_again: dict[TP, int] = {}
        self._ticks = 0
        # In seconds of the event loop, which goes on evenly whatever happens to the clock of the machine.
        self._seen: dict[int, float] = {}  # by partition: its last message, or its assignment
        self._stored: dict[int, float] = {}
        self._lock = asyncio.Lock()
        # Offsets are committed with the state. Faust, which would keep one range for each transaction marker until it
        # commits by itself, and sort all of them at each marker, is told that nothing will be acknowledged.
        app.agent(app.topic(*TOPICS, acks=False, **raw), name="panes")(self._panes)
        app.timer(1.0)(self._tick)
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_partitions_assigned.connect(self._on_assigned)
        table.on_recover(self._on_recovered)

    async def store_all(self) -> None:
        """Store what has changed; before a stop, so that the next start has nothing to do again."""
        async with self._lock:
            for number, partition in self._partitions.items():
                if partition.is_dirty:
                    await self._store(number)

    async def _panes(self, stream: Any) -> None:
        try:
            async for event in stream.noack().events():
                async with self._lock:
                    await self._take(event.message)
        except Exception as error:  # the framework would log it and go on behind the message
            self._failed(error)
            raise

    async def _take(self, message: Any) -> None:
        if not self._is_recovered or message.generation_id != self._app.consumer_generation_id:
            return  # left over from before a rebalance; it comes again where its partition is now
        number = message.partition
        partition = self._partition(number)
        now = _loop_s()
        self._seen[number] = now
        headers = [(name, bytes(value)) for name, value in _pairs(message.headers)]
        updates = partition.record(message.topic, message.offset, headers, message.value or b"")
        await self._publish(updates)
        self._metrics.took(message.topic, number, message.offset, int(message.timestamp * 1000), partition.watch)
        if partition.is_dirty:
            await self._store_if_due(number, now)

    async def _tick(self) -> None:
        self._metrics.beat()
        if self._lock.locked():
            return
        try:
            async with self._lock:
                now = _loop_s()
                self._ticks += 1
                for number in sorted(self._assigned):
                    if not self._is_recovered:
                        break  # also while the one before was looked at
                    partition = self._partition(number)
                    self._seen.setdefault(number, now)
                    if self._ticks % _LOOK_TICKS == 0:
                        await self._look_for_lost(number, partition)
                    await self._idle(number, partition, now)
                    if partition.is_dirty:
                        await self._store_if_due(number, now)
        except Exception as error:
            self._failed(error)
            raise

    async def _look_for_lost(self, number: int, partition: Partition) -> None:
        """Read again what the client took from Kafka and never handed over.

        A second line of defence behind `transport`, which knows of no way left. A record and its marker are two
        offsets; what lies between may also be an aborted transaction, so a place is read again once only.
        """
        consumer = self._app.consumer
        for topic in TOPICS:
            at = TP(topic, number)
            position, ours = await consumer.position(at) or 0, partition.read.get(topic, 0)
            is_known = self._places.get(at) == (position, ours)
            self._places[at] = (position, ours)
            if is_known and position - ours >= 2 and self._read_again.get(at) != position:
                self._read_again[at] = position
                log.warning("read_again", topic=topic, partition=number, from_offset=ours, position=position)
                await consumer.seek(at, ours)

    async def _idle(self, number: int, partition: Partition, now: float) -> None:
        if now - self._seen.get(number, now) < self._pace.idle_s:
            return
        now_ms = self._clock.now_ms()
        self._metrics.idle(now_ms)
        if partition.is_waiting():
            log.warning("unit_incomplete", partition=number, missing=PERFORMANCE)
            await self._publish(partition.give_up_waiting())
        mark = partition.idle_mark(now_ms * 1000, int(self._pace.idle_s * 1_000_000))
        if mark is not None:
            await self._advance(number, partition, mark)

    async def _advance(self, number: int, partition: Partition, mark: Mark) -> None:
        # The decision is kept before its updates are seen: a restart makes it again, at the same place.
        await self._state.mark(number, mark)
        await self._publish(partition.advance(mark))
        self._metrics.looked(number, partition.watch)

    async def _publish(self, updates: list[Update]) -> None:
        if not updates:
            return
        told = [replace(each, is_muted=self._notes.is_muted(each)) for each in updates]
        sent = [
            await self._out.send(key=each.billing_account_id.encode(), value=encode_update(each, self._schema_id))
            for each in told
        ]
        for future in sent:
            await future
        for update in told:
            self._metrics.published(update)
            if not update.is_muted:
                _log(update)

    async def _store_if_due(self, number: int, now: float) -> None:
        if now - self._stored.setdefault(number, now) >= self._pace.snapshot_s:
            await self._store(number)

    async def _store(self, number: int) -> None:
        partition = self._partitions.get(number)
        if partition is None:
            return  # it was revoked meanwhile, and whoever has it now writes its state
        began = _loop_s()
        try:
            await self._state.store(partition, self._pace.bases)
        except Revoked:
            log.warning("not_stored", partition=number, reason="it was revoked meanwhile")
            return
        offsets = {TP(topic, number): offset for topic, offset in partition.next_offsets.items()}
        await self._app.consumer._commit(offsets)  # type: ignore[attr-defined]
        self._stored[number] = _loop_s()
        self._metrics.stored(self._stored[number] - began, self._state.bytes_written)

    def _partition(self, number: int) -> Partition:
        found = self._partitions.get(number)
        if found is None:
            try:
                found = self._state.load(number, self._rules, self._parameters)
            except StateIncomplete as error:
                # What was learned is lost; what is counted is the log's, so detection begins anew from here.
                log.error("state_dropped", partition=number, reason=str(error))
                found = Partition(Watch(number, self._rules, self._parameters))
            begins = self._app.consumer.log_begins
            found.log_begins = {each.topic: begins[each] for each in begins if each.partition == number}
            self._partitions[number] = found
            log.info("partition_ready", partition=number, counted=found.watch.counted, series=len(found.watch.table))
        return found

    async def _on_assigned(self, _app: Any, assigned: set[TP], **_more: Any) -> None:
        self._assigned = {each.partition for each in assigned if each.topic in TOPICS}
        self._metrics.assigned(self._assigned)

    async def _on_revoked(self, _app: Any, _revoked: set[TP], **_more: Any) -> None:
        # Faust reads every assigned partition again from its committed place, also those that stay here.
        self._is_recovered = False
        try:
            async with asyncio.timeout(_HAND_OVER_S):
                await self.store_all()
        except Exception as error:  # noqa: BLE001 - the stored state is older then: more is read again
            log.warning("not_handed_over", reason=repr(error))
        self._state.revoke()
        numbers = list(self._partitions)
        self._partitions.clear()
        self._stored.clear()
        self._places.clear()
        self._read_again.clear()
        self._assigned = set()
        self._metrics.revoked(numbers)

    async def _on_recovered(self) -> None:
        self._is_recovered = True
        self._metrics.recovered()


def _loop_s() -> float:
    return asyncio.get_running_loop().time()


def _pairs(headers: Any) -> Any:
    return headers.items() if isinstance(headers, dict) else headers or ()


def _log(update: Update) -> None:
    """The log always hears of it; other channels read the topic."""
    log.warning(
        "cost_anomaly",
        anomaly_id=update.anomaly_id,
        sequence=update.sequence,
        status=update.status,
        kind=update.kind,
        severity=update.severity,
        billing_account_id=update.billing_account_id,
        dimensions=dict(update.dimensions),
        impact=plain(update.impact),
        billing_currency=update.billing_currency,
    )
