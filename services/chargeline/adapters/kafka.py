"""Kafka behind the ports: a group consumer, and a reader of ranges. The writer: kafka_producer.py."""

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from operator import itemgetter
from typing import Any, cast

import numpy as np
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from chargeline.adapters.kafka_errors import translate, translated
from chargeline.domain.collector import nothing_collected
from chargeline.domain.errors import Fault, LogTruncated, OutcomePending, TransientError
from chargeline.ports import LogBatch, Record

REQUEST_TIMEOUT_S = 10.0
_READ_BYTES = 8_000_000
_APPEND_TIME = itemgetter(1)  # of (type, milliseconds)
QUIET = logging.getLogger("librdkafka")
_SILENT = {KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED}
# Shared by every client: names resolve to IPv4 on hosts whose localhost is IPv6 first, and reconnects stay quick.
COMMON: dict[str, Any] = {
    "broker.address.family": "v4",
    "reconnect.backoff.max.ms": 2000,
    "socket.keepalive.enable": True,
    "topic.metadata.propagation.max.ms": 10_000,
}
_FETCH: dict[str, Any] = {
    "fetch.message.max.bytes": 8_388_608 + 65_536,
    # A full queue is looked at again so soon; by itself the client lets a second pass.
    "fetch.queue.backoff.ms": 10,
}


class KafkaLogConsumer:
    """`ports.LogConsumer`: classic protocol, eager assignor, read_committed, nothing committed by itself."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        *,
        session_timeout_ms: int = 10_000,
        client_id: str = "",
        prefetch_kib: int = 131_072,
    ) -> None:
        self._consumer = Consumer(
            {
                **COMMON,
                **_FETCH,
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
                "queued.max.messages.kbytes": prefetch_kib,
                "fetch.max.bytes": 33_554_432,
                "fetch.wait.max.ms": 500,
            },
            logger=QUIET,
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
        with nothing_collected():
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
        consumer, wanted = self._client(), 1
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            while True:
                size = 0
                # The call waits for as many as it may return, or half a second that nobody has.
                for message in consumer.consume(max(1, min(wanted, end - start)), 0.5):
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
                        yield (record := _record(message))
                        size += len(record.value or b"")
                        start = start if offset is None else offset + 1
                        if offset is not None and offset + 1 >= end:
                            return
                # While few are worked on, the client fetches the next: whoever waits for hundreds of MB works on none.
                wanted = min(2 * wanted, 1000) if size < _READ_BYTES else max(1, wanted // 2)
        finally:
            consumer.close()

    def close(self) -> None:
        self._asker.close()

    def _client(self) -> Consumer:
        return Consumer(
            {
                **COMMON,
                **_FETCH,
                "bootstrap.servers": self._bootstrap,
                "group.id": f"chargeline-reader-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            },
            logger=QUIET,
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
