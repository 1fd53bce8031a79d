"""Kafka behind the ports: a group consumer, a transactional producer, a reader of ranges."""

import gc
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from operator import itemgetter
from typing import Any, cast

import numpy as np
import structlog
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from chargeline.adapters.kafka_errors import translate, translated
from chargeline.domain.errors import Fault, LogTruncated, OutcomePending, TransientError
from chargeline.ports import Headers, LogBatch, Record

REQUEST_TIMEOUT_S = 10.0
# A transactional client has at most five requests under way, and spins on a whole core while more wait behind them.
_UNDELIVERED_BYTES_MAX = 2_500_000
GRACE_S = 10.0  # what a call may take beyond the time limit that it was given
RETRIABLE_S = 15.0  # beyond the time limit of a transaction: the broker has ended it by then
_APPEND_TIME = itemgetter(1)  # of (type, milliseconds)
log = structlog.get_logger()
_QUIET = logging.getLogger("librdkafka")
_SILENT = {KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED}
# Shared by every client: names resolve to IPv4 on hosts whose localhost is IPv6 first, and reconnects stay quick.
COMMON: dict[str, Any] = {
    "broker.address.family": "v4",
    "reconnect.backoff.max.ms": 2000,
    "socket.keepalive.enable": True,
    "topic.metadata.propagation.max.ms": 10_000,
}


class KafkaLogConsumer:
    """`ports.LogConsumer`: classic protocol, eager assignor, read_committed, nothing committed by itself."""

    def __init__(self, bootstrap: str, group: str, *, session_timeout_ms: int = 10_000, client_id: str = "") -> None:
        self._consumer = Consumer(
            {
                **COMMON,
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "client.id": client_id or group,
                "group.protocol": "classic",
                "partition.assignment.strategy": "range",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # The owner of the state names every start; a reset by the client would lose or repeat events.
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "session.timeout.ms": session_timeout_ms,
                "heartbeat.interval.ms": max(500, session_timeout_ms // 5),
                "max.poll.interval.ms": 300_000,
                # The next unit is fetched by the client's own threads while this one is computed.
                "queued.min.messages": 200_000,
                "queued.max.messages.kbytes": 131_072,
                "fetch.message.max.bytes": 8_388_608 + 65_536,
                "fetch.max.bytes": 33_554_432,
                "fetch.wait.max.ms": 500,
            },
            logger=_QUIET,
        )
        self._topic = ""
        self._closed = False

    def subscribe(
        self, topic: str, on_assign: Callable[[list[int]], None], on_revoke: Callable[[list[int]], None]
    ) -> None:
        self._topic = topic

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            # Nothing is fetched before `start` says from where.
            consumer.assign([])
            on_assign(sorted(each.partition for each in partitions))

        def revoked(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            on_revoke(sorted(each.partition for each in partitions))
            consumer.unassign()

        self._consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)

    def poll(self, max_records: int, timeout_s: float) -> list[LogBatch]:
        with _uncollected():
            messages = self._consume(max_records, timeout_s)
            return self._batches(messages) if messages else []

    def poll_records(self, max_records: int, timeout_s: float) -> list[Record]:
        return [_record(message) for message in self._consume(max_records, timeout_s)]

    def group_metadata(self) -> object:
        return self._consumer.consumer_group_metadata()

    def start(self, next_offsets: Mapping[int, int]) -> None:
        # A new assignment drops whatever was prefetched before it, which a seek does not promise.
        self._consumer.assign([TopicPartition(self._topic, p, offset) for p, offset in next_offsets.items()])

    def pause(self, partitions: Sequence[int]) -> None:
        self._consumer.pause(self._named(partitions))

    def resume(self, partitions: Sequence[int]) -> None:
        self._consumer.resume(self._named(partitions))

    def committed(self, partitions: Sequence[int]) -> dict[int, int | None]:
        try:
            answers = self._consumer.committed(self._named(partitions), timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            # With read_committed the broker withholds an offset while a transaction may still move it.
            if error.args[0].code() in (KafkaError._TIMED_OUT, KafkaError.UNSTABLE_OFFSET_COMMIT):
                raise OutcomePending(str(error)) from error
            raise translated(error, "asking for committed offsets") from error
        for answer in answers:
            if answer.error:
                raise translate(answer.error, "asking for committed offsets")
        return {each.partition: None if each.offset == OFFSET_INVALID else each.offset for each in answers}

    def commit(self, next_offsets: Mapping[int, int]) -> None:
        offsets = [TopicPartition(self._topic, p, offset) for p, offset in next_offsets.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise translated(error, "committing offsets") from error

    def bounds(self, partition: int) -> tuple[int, int]:
        return _bounds(self._consumer, self._topic, partition)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _named(self, partitions: Sequence[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    def _consume(self, max_records: int, timeout_s: float) -> list[Message]:
        try:
            messages = self._consumer.consume(max_records, timeout_s)
        except KafkaException as error:
            raise translated(error, f"reading {self._topic}") from error
        errors = list(map(Message.error, messages))
        if errors.count(None) < len(errors):
            for fault in errors:
                if fault is not None and fault.code() not in _SILENT:
                    problem = translate(fault, f"reading {self._topic}")
                    if not isinstance(problem, TransientError):
                        raise problem
            messages = [message for message, fault in zip(messages, errors, strict=True) if fault is None]
        return messages

    def _batches(self, messages: list[Message]) -> list[LogBatch]:
        """The messages by partition. The client hands them over in runs of one partition."""
        partitions = np.fromiter(map(Message.partition, messages), np.int64, len(messages))
        bounds = [0, *(np.flatnonzero(partitions[1:] != partitions[:-1]) + 1).tolist(), len(messages)]
        runs: dict[int, list[Message]] = {}
        for start, stop in pairwise(bounds):
            runs.setdefault(int(partitions[start]), []).extend(messages[start:stop])
        return [self._batch(partition, runs[partition]) for partition in sorted(runs)]

    def _batch(self, partition: int, messages: list[Message]) -> LogBatch:
        offsets = np.fromiter(map(Message.offset, messages), np.int64, len(messages))
        values = list(map(Message.value, messages))
        return LogBatch(
            topic=self._topic,
            partition=partition,
            offsets=offsets,
            append_times=np.fromiter(map(_APPEND_TIME, map(Message.timestamp, messages)), np.int64, len(messages)),
            values=[value or b"" for value in values] if None in values else values,
            next_offset=int(offsets[-1]) + 1,
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cycle collector: it would walk 100,000 new messages again and again, and they form no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class KafkaTransactionalProducer:
    """`ports.TransactionalProducer`. Making one fences the process that held the same transactional id."""

    def __init__(self, bootstrap: str, transactional_id: str, *, message_bytes_max: int = 9_000_000) -> None:
        self._producer = Producer(
            {
                **COMMON,
                "bootstrap.servers": bootstrap,
                "transactional.id": transactional_id,
                "client.id": transactional_id,
                "transaction.timeout.ms": 10_000,
                # The client waits this long when the last transaction's markers are still being written.
                "retry.backoff.ms": 10,
                "linger.ms": 0,
                "message.max.bytes": message_bytes_max,
                "queue.buffering.max.kbytes": 262_144,
                # The values are compressed Arrow buffers already.
                "compression.type": "none",
            },
            logger=_QUIET,
        )
        self._written: dict[tuple[str, int], int] = {}
        self._undelivered = 0  # bytes
        self._guard("opening the transactional producer", lambda: self._producer.init_transactions(30.0), 30.0)

    def begin(self) -> None:
        self._written = {}
        self._undelivered = 0
        self._guard("opening a transaction", self._producer.begin_transaction)

    def produce(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        while True:
            while self._undelivered > _UNDELIVERED_BYTES_MAX:
                self._producer.poll(0.1)
            try:
                self._producer.produce(
                    topic, value, key, partition, on_delivery=self._delivered, headers=cast("Any", list(headers))
                )
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise translated(error, f"producing to {topic}") from error
            else:
                self._undelivered += len(value)
                return

    def send_offsets(self, topic: str, next_offsets: Mapping[int, int], group_metadata: object) -> None:
        offsets = [TopicPartition(topic, partition, offset) for partition, offset in next_offsets.items()]
        self._guard(
            "adding offsets to the transaction",
            lambda: self._producer.send_offsets_to_transaction(offsets, group_metadata, REQUEST_TIMEOUT_S),
        )

    def commit(self) -> Mapping[tuple[str, int], int]:
        self._producer.flush(REQUEST_TIMEOUT_S)  # serves the delivery reports, which carry the offsets
        self._guard("committing a transaction", lambda: self._producer.commit_transaction(REQUEST_TIMEOUT_S))
        return self._written

    def abort(self) -> None:
        self._guard("aborting a transaction", lambda: self._producer.abort_transaction(REQUEST_TIMEOUT_S))

    def close(self) -> None:
        # One that was fenced says so once more; it has nothing left to send.
        with suppress(KafkaException):
            self._producer.flush(1.0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._undelivered -= len(message)
        # A failed delivery fails the transaction by itself: commit says so.
        if error is None:
            at = (str(message.topic()), int(message.partition() or 0))
            self._written[at] = max(self._written.get(at, 0), int(message.offset() or 0) + 1)

    def _guard(self, doing: str, call: Callable[[], Any], limit_s: float = REQUEST_TIMEOUT_S) -> None:
        """Make the call again while the client says that it is retriable: the outcome is then still open.

        Not for ever: after a restart of the broker the client may stay in that answer until its process ends, and the
        open transaction holds up all readers. A fresh process ends the transaction and finds out what became of it.
        """
        deadline = time.monotonic() + RETRIABLE_S
        while True:
            try:
                with _ending(doing, limit_s + GRACE_S):
                    call()
            except KafkaException as error:
                if error.args[0].retriable() and time.monotonic() < deadline:
                    continue
                problem = translated(error, doing)
                # Waiting is no answer here: the client has retried what can be, and the outcome is not known.
                raise Fault(str(problem)) if isinstance(problem, TransientError) else problem from error
            else:
                return


@contextmanager
def _ending(doing: str, limit_s: float) -> Iterator[None]:
    """End the process if the block does not return in time: the client may stay in a call for ever.

    Seen with send_offsets_to_transaction when the broker restarts: its time limit is not kept (librdkafka issues 5456
    and 5511). The thread cannot be taken back, so the process goes as from kill -9; recovery finds out what happened.
    """

    def end() -> None:
        log.critical("kafka_call_never_returned", doing=doing, limit_s=limit_s)
        os._exit(1)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class KafkaLogReader:
    """`ports.LogReader`: ranges of partitions, outside any group."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._asker = self._client()

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return _bounds(self._asker, topic, partition)

    def partitions(self, topic: str) -> int:
        try:
            known = self._asker.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            raise translated(error, f"asking for the partitions of {topic}") from error
        if known.error is not None:
            raise translate(known.error, f"asking for the partitions of {topic}")
        return len(known.partitions)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        low, _ = self.bounds(topic, partition)
        if start < low:
            raise LogTruncated(f"{topic}/{partition} begins at {low}; {start} is needed and gone")
        if start >= end:
            return
        consumer = self._client()
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            while True:
                for message in consumer.consume(1000, 0.5):
                    error = message.error()
                    offset = message.offset()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        problem = translate(error, f"reading {topic}/{partition}")
                        if isinstance(problem, Fault):
                            raise problem
                        continue
                    # Control markers have offsets but are no records: the end may only be seen as EOF.
                    if offset is not None and offset >= end:
                        return
                    if error is None:
                        yield _record(message)
                        if offset is not None and offset + 1 >= end:
                            return
        finally:
            consumer.close()

    def close(self) -> None:
        self._asker.close()

    def _client(self) -> Consumer:
        return Consumer(
            {
                **COMMON,
                "bootstrap.servers": self._bootstrap,
                "group.id": f"chargeline-reader-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.message.max.bytes": 8_388_608 + 65_536,
                "fetch.wait.max.ms": 50,
            },
            logger=_QUIET,
        )


def _bounds(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    try:
        answer = consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=REQUEST_TIMEOUT_S, cached=False
        )
    except KafkaException as error:
        if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:
            # Seen while the broker had no leader for it; by itself the client looks again after five minutes only.
            with suppress(KafkaException):
                consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S)
        raise translated(error, f"asking for the bounds of {topic}/{partition}") from error
    if answer is None:
        raise TransientError(f"the bounds of {topic}/{partition} could not be asked for")
    low, high = answer
    return int(low), int(high)


def _record(message: Message) -> Record:
    headers = cast("list[tuple[str, bytes]] | None", message.headers())
    return Record(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        append_time=message.timestamp()[1],
        key=cast("bytes | None", message.key()),
        value=cast("bytes | None", message.value()),
        headers=tuple(headers or ()),
    )
