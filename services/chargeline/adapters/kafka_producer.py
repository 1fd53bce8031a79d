"""Kafka behind the ports: the transactional producer."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from chargeline.adapters.kafka import COMMON, QUIET, REQUEST_TIMEOUT_S
from chargeline.adapters.kafka_errors import translated
from chargeline.domain.errors import Fault, TransientError
from chargeline.ports import Headers

# A transactional client has at most five requests under way, and spins on a whole core while more wait behind them.
_UNDELIVERED_BYTES_MAX = 2_500_000
GRACE_S = 10.0  # what a call may take beyond the time limit that it was given
RETRIABLE_S = 15.0  # beyond the time limit of a transaction: the broker has ended it by then
log = structlog.get_logger()


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
            logger=QUIET,
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
