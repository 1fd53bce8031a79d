"""From one topic of the log into its table, each message once. The place is kept in the table, with the rows.

    1. at assignment: start at the larger of the stored maximum (inclusive) and the committed next_offset
    2. poll messages
    3. one message is one block under the token topic/partition/offset: insert until acknowledged, while owned
    4. commit next_offset

A crash between 3 and 4: the message is sent again under its token, which adds what a crash left out and nothing that
is there. A stored maximum that were started behind (+ 1) would lose the rest of a block that was written in part.
"""

from dataclasses import dataclass, field

import pyarrow as pa
import structlog

from chargeline.domain.errors import Fault, TransientError
from chargeline.ports import Clock, LogConsumer, Record, Warehouse
from chargeline.sink.observer import Observer
from chargeline.sink.rows import columnar_rows, dead_letter_rows

_RETRY_S = 0.5
log = structlog.get_logger()

TABLES = {
    "charges": "charges",
    "cost-rollups": "cost_rollups",
    "performance-rollups": "performance_rollups",
    "usage-events-dlq": "dead_letters",
}


@dataclass
class TopicSink:
    """Moves one topic. `step` is the loop's body."""

    topic: str
    consumer: LogConsumer
    warehouse: Warehouse
    clock: Clock
    messages: int = 64
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        self.table = TABLES[self.topic]
        self._assigned: list[int] | None = None
        self._owned: set[int] = set()
        self._waiting: list[Record] = []
        self.rows = 0
        self.consumer.subscribe(self.topic, self._on_assign, self._on_revoke)

    def step(self) -> bool:
        """Insert what is there; False if there was nothing.

        Raises:
            TransientError: Kafka or ClickHouse is away: call again.
            Fault: the place in the table and the log contradict each other, or a message is not ours.
        """
        self.observer.began(self.topic)
        if self._assigned is not None:
            self._begin()
        if not self._waiting:
            self._waiting = self.consumer.poll_records(self.messages, 0.2)
        records = [record for record in self._waiting if record.partition in self._owned]
        self._waiting = records
        if not records:
            self.observer.idle(self.topic)
            return False
        if self.topic == "usage-events-dlq":
            self._insert_dead_letters(records)
        else:
            for record in records:
                self._insert(record)
        self._waiting = []
        self._commit(records)
        return True

    def close(self) -> None:
        """Leave the group; what was not acknowledged is inserted again by the next owner."""
        self.consumer.close()

    def _insert(self, record: Record) -> None:
        try:
            rows = columnar_rows(record)
        except (KeyError, ValueError) as error:
            raise Fault(f"{self.topic}/{record.partition}/{record.offset} is no message of ours: {error}") from error
        self._insert_rows(rows, record.partition, f"{self.topic}/{record.partition}/{record.offset}")

    def _insert_dead_letters(self, records: list[Record]) -> None:
        for partition in sorted({record.partition for record in records}):
            mine = [record for record in records if record.partition == partition]
            token = f"{self.topic}/{partition}/{mine[0].offset}-{mine[-1].offset}"
            self._insert_rows(dead_letter_rows(mine), partition, token)

    def _insert_rows(self, rows: pa.Table, partition: int, token: str) -> None:
        """Insert until it is acknowledged; dropped when the partition is no longer ours."""
        attempt = 0
        while rows.num_rows and partition in self._owned:
            self.observer.began(self.topic)
            try:
                self.warehouse.insert(self.table, rows, token)
            except TransientError as error:
                attempt += 1
                self.observer.failed(error)
                log.warning("insert_repeated", token=token, attempt=attempt, reason=str(error))
                self.clock.sleep(min(_RETRY_S * attempt, 5.0))
                self._ask_ownership()
            else:
                self.rows += rows.num_rows
                self.observer.inserted(self.topic, self.table, rows.num_rows)
                return

    def _ask_ownership(self) -> None:
        """Let the client tell of a rebalance, without fetching more."""
        paused = sorted(self._owned)
        self.consumer.pause(paused)
        try:
            self.consumer.poll_records(1, 0.0)
        finally:
            # Also what has moved away: a pause outlives the assignment, and a partition that came back would be stuck.
            self.consumer.resume(paused)

    def _commit(self, records: list[Record]) -> None:
        next_offsets = {record.partition: record.offset + 1 for record in records if record.partition in self._owned}
        if next_offsets:
            self.consumer.commit(next_offsets)
        for record in records:
            if record.partition in self._owned:
                self.observer.stored(record)

    def _on_assign(self, partitions: list[int]) -> None:
        self._assigned = partitions
        self.observer.assigned(self.topic)

    def _on_revoke(self, partitions: list[int]) -> None:
        self._assigned = None
        self.observer.revoked(self.topic, partitions)
        self._owned -= set(partitions)
        self._waiting = [record for record in self._waiting if record.partition in self._owned]

    def _begin(self) -> None:
        partitions = self._assigned or []
        stored = self.warehouse.stored_maximum(self.table, self.topic)
        committed = self.consumer.committed(partitions)
        starts = {}
        for partition in partitions:
            low, end = self.consumer.bounds(partition)
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
        self._owned = set(partitions)
        self._assigned = None
        self.consumer.start(starts)
        self.observer.ready(self.topic, starts)
        log.info("topic_ready", topic=self.topic, next_offsets=starts)
