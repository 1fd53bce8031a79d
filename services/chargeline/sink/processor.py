"""From one topic of the log into its table, each row once. The place is kept in the table, with the rows.

    1. at assignment: start at the larger of the stored maximum (inclusive) and the committed next_offset
    2. poll: this also tells of a rebalance, so it comes before every attempt
    3. one unit of a partition is one block: its slices are consecutive and become visible together; a poll may end
       between them, and then the first ones wait for the rest. The token is topic/partition/offset of the first
       slice, and this offset stands in every row; one insert in flight for each partition, in a thread and on a
       connection of its own
    4. commit next_offset of what was acknowledged: a broker that knows another owner refuses it, and nothing of what
       is in hand is sent any more

A crash between 3 and 4: the unit is sent again under its token, which adds what a crash left out and nothing that is
there. The log alone says what a block is, and the stored maximum is where one begins, so it is the same block. A
stored maximum that were started behind (+ 1) would lose the rest of a block that was written in part, and begin
inside a unit.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import structlog

from chargeline.domain.errors import Fault, Fenced, TransientError
from chargeline.ports import Clock, LogConsumer, Record, Warehouse
from chargeline.sink.observer import Observer
from chargeline.sink.rows import anomaly_rows, columnar_rows, dead_letter_rows, whole_unit

_POLL_S = 0.2
_LOOK_S = 0.05  # how long a new message of another partition may wait for an insert in flight
_RETRY_S = 0.5
_RETRY_MAX_S = 5.0
log = structlog.get_logger()

TABLES = {
    "charges": "charges",
    "cost-rollups": "cost_rollups",
    "performance-rollups": "performance_rollups",
    "usage-events-dlq": "dead_letters",
    "cost-anomalies": "cost_anomalies",
}
# Topics whose messages are a row each; their tables replace a row that comes again.
SINGLE = {"usage-events-dlq": dead_letter_rows, "cost-anomalies": anomaly_rows}


@dataclass(frozen=True)
class _Done:
    """An acknowledged block."""

    rows: int
    seconds: float


@dataclass(frozen=True)
class _Insert:
    """A block on its way, and the records that it was made of."""

    records: list[Record]
    done: Future[_Done]


@dataclass
class TopicSink:
    """Moves one topic. `step` is the loop's body.

    Attributes:
        connect: makes a connection, which one thread at a time uses.
        messages: most messages that wait for their insert, but for the rest of a unit that has more.
        inserts: most inserts in flight.
        threads: where they run; None: threads of its own.
    """

    topic: str
    consumer: LogConsumer
    connect: Callable[[], Warehouse]
    clock: Clock
    messages: int = 128
    observer: Observer = field(default_factory=Observer)
    inserts: int = 4
    threads: Executor | None = None

    def __post_init__(self) -> None:
        self.table = TABLES[self.topic]
        self._assigned: list[int] | None = None
        self._waiting: dict[int, deque[Record]] = {}  # by partition that is ours: read, and not acknowledged
        self._log_starts: dict[int, int] = {}  # by partition that is ours: its oldest offset at the assignment
        self._flying: dict[int, _Insert] = {}
        self._idle: list[Warehouse] = []
        self._is_held = False  # whether our partitions are paused
        self._threads = self.threads or ThreadPoolExecutor(self.inserts, f"insert-{self.topic}")
        self._failures = 0
        self.rows = 0
        self.consumer.subscribe(self.topic, self._on_assign, self._on_revoke)

    def step(self) -> bool:
        """Move what is there; False if nothing was there to move.

        Raises:
            TransientError: Kafka or ClickHouse is away: call again.
            Fault: the place in the table and the log contradict each other, or a message is not ours.
        """
        self.observer.began(self.topic)
        if self._assigned is not None:
            self._begin()
        self._poll()
        self._insert()
        if not any(self._waiting.values()):
            self.observer.idle(self.topic)
            return False
        try:
            self._acknowledge()
        except Fenced as error:
            log.warning("partitions_lost", topic=self.topic, reason=str(error))
            self._on_revoke(list(self._waiting))
        return True

    def close(self) -> None:
        """Leave the group; what was not acknowledged is inserted again by the next owner."""
        self._on_revoke(list(self._waiting))
        self._threads.shutdown()
        self.consumer.close()

    def _poll(self) -> None:
        room = self.messages - sum(map(len, self._waiting.values()))
        self._hold(room)
        # Even then: the client tells of a rebalance inside a poll only.
        records = self.consumer.poll_records(1, 0.0 if self._flying or self._ready() else _POLL_S)
        if records and room > 1:
            # Asked for many at once, the client would wait for all of them.
            records += self.consumer.poll_records(room - 1, 0.0)
        for record in records:
            if record.partition in self._waiting:
                self._waiting[record.partition].append(record)

    def _hold(self, room: int) -> None:
        """Let the log wait while the queue is full; but the rest of a unit that fills it has to come."""
        if not self._is_held:
            if room < 1 and (self._flying or self._ready()):
                self._is_held = True
                self.consumer.pause(list(self._waiting))
        elif room > self.messages // 2 or not (self._flying or self._ready()):
            self._go_on(list(self._waiting))

    def _go_on(self, partitions: list[int]) -> None:
        self._is_held = False
        self.consumer.resume(partitions)

    def _acknowledge(self) -> None:
        wait([each.done for each in self._flying.values()], _LOOK_S, FIRST_COMPLETED)
        acknowledged: list[Record] = []
        failure: TransientError | None = None
        for partition, insert in list(self._flying.items()):
            if not insert.done.done():
                continue
            del self._flying[partition]
            try:
                done = insert.done.result()
            except TransientError as error:
                failure = error
                continue
            self.rows += done.rows
            self.observer.inserted(self.table, done.rows, done.seconds)
            acknowledged += [self._waiting[partition].popleft() for _ in insert.records]
        if acknowledged:
            self._failures = 0
            self.consumer.commit({record.partition: record.offset + 1 for record in acknowledged})
            for record in acknowledged:
                self.observer.stored(record)
        if failure is not None:
            self._failures += 1
            self.observer.failed(failure)
            log.warning("insert_repeated", topic=self.topic, attempt=self._failures, reason=str(failure))
            self.clock.sleep(min(_RETRY_S * self._failures, _RETRY_MAX_S))

    def _insert(self) -> None:
        for partition, records in self._ready().items():
            if len(self._flying) == self.inserts:
                break
            self._flying[partition] = _Insert(records, self._threads.submit(self._send, records))

    def _ready(self) -> dict[int, list[Record]]:
        """The next block of every partition that has a whole one and no insert in flight."""
        blocks = {p: self._next(p, w) for p, w in self._waiting.items() if w and p not in self._flying}
        return {partition: block for partition, block in blocks.items() if block}

    def _next(self, partition: int, waiting: deque[Record]) -> list[Record]:
        if self.topic in SINGLE:
            return list(waiting)  # each is a message of its own: all that wait make one block
        try:
            return whole_unit(waiting, self._log_starts[partition])
        except (KeyError, ValueError) as error:
            raise self._not_ours(waiting[0], error) from error

    def _send(self, records: list[Record]) -> _Done:
        """Insert one block; in a thread of its own."""
        began = self.clock.now_ms()
        rows, token = self._block(records)
        if rows.num_rows:
            with self._connection() as warehouse:
                warehouse.insert(self.table, rows, token)
        return _Done(rows.num_rows, (self.clock.now_ms() - began) / 1000)

    @contextmanager
    def _connection(self) -> Iterator[Warehouse]:
        try:
            warehouse = self._idle.pop()
        except IndexError:
            warehouse = self.connect()
        try:
            yield warehouse
        finally:
            self._idle.append(warehouse)

    def _block(self, records: list[Record]) -> tuple[pa.Table, str]:
        first, last = records[0], records[-1]
        token = f"{self.topic}/{first.partition}/{first.offset}"
        try:
            if self.topic in SINGLE:
                return SINGLE[self.topic](records), f"{token}-{last.offset}"
            return columnar_rows(records), token
        except (KeyError, ValueError) as error:
            raise self._not_ours(first, error) from error

    def _not_ours(self, record: Record, error: Exception) -> Fault:
        return Fault(f"{self.topic}/{record.partition}/{record.offset} is no message of ours: {error}")

    def _on_assign(self, partitions: list[int]) -> None:
        self._assigned = partitions
        self.observer.assigned(self.topic)

    def _on_revoke(self, partitions: list[int]) -> None:
        # What is in flight ends first: the next owner asks for the stored maximum as soon as this returns.
        self._assigned = None
        self.observer.revoked(self.topic, partitions)
        inserts = [self._flying.pop(partition).done for partition in partitions if partition in self._flying]
        wait(inserts)
        self._go_on(list(self._waiting))  # a pause would outlive the assignment
        for partition in partitions:
            self._waiting.pop(partition, None)

    def _begin(self) -> None:
        partitions = self._assigned or []
        with self._connection() as warehouse:
            stored = warehouse.stored_maximum(self.table, self.topic)
        committed = self.consumer.committed(partitions)
        starts = {}
        for partition in partitions:
            low, end = self.consumer.bounds(partition)
            self._log_starts[partition] = low
            maximum = stored.get(partition, -1)
            if maximum >= end:
                raise Fault(
                    f"{self.table} holds offset {maximum} of {self.topic}/{partition}, which ends at {end}. Was Kafka "
                    "wiped and ClickHouse kept? Then drop the tables, or restore the topics, before you start again"
                )
            start = max(maximum, committed[partition] or 0)
            if start < low and partition in stored:
                raise Fault(
                    f"{self.topic}/{partition} begins at {low}, but {start} is next for {self.table}: rows were "
                    "deleted from Kafka before they were stored. Restore them from the archive"
                )
            starts[partition] = max(start, low)
        self._waiting = {partition: deque() for partition in partitions}
        self._assigned = None
        self.consumer.start(starts)
        self.observer.ready(self.topic, starts)
        log.info("topic_ready", topic=self.topic, next_offsets=starts)
