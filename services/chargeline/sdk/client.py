"""`UsageClient`: publish usage events without slowing the caller down or losing one.

    with UsageClient(bootstrap="kafka:9092", registry="http://registry:8081", source="gateway-1") as client:
        client.emit({"billing_account_id": "acme", "provider_name": "openai", "request_model": "gpt-4o",
                     "operation_name": "chat", "input_tokens": 812, "output_tokens": 96})

`emit` never waits for the network. What Kafka does not take within `delivery_timeout_s` is kept in a local spill file
and sent again once Kafka is back, by this client or the next one, with the same event_id, so that nothing is billed
twice.
"""

import asyncio
import atexit
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from chargeline.sdk.encode import encode
from chargeline.sdk.normalise import usage_fields
from chargeline.sdk.spill import SpillFile
from chargeline.wire._generated import USAGE_EVENT_SCHEMA

TOPIC = "usage-events"
_RESEND_EVERY_S = 2.0
WhenFull = Literal["spill", "block", "raise"]
Delivered = Callable[[str, KafkaError | None], None]


class BufferFullError(RuntimeError):
    """The buffer is full and the policy is `raise`; the event was not taken."""


class UsageClient:
    """Publishes usage events; safe to share between threads.

    Args:
        bootstrap: Kafka's addresses.
        registry: URL of the schema registry (or give `schema_id`).
        source: who produces; with event_id and account the identity of an event.
        when_full: what `emit` does when `buffer_events` wait: `spill` to the file (default), `block`, or `raise`.
        spill: file for what could not be sent; None: `chargeline-spill.jsonl` here. Its directory must be writable.
            Each running client has one of its own: a second one takes `chargeline-spill-1.jsonl`, and so on.
        on_delivery: called with (event_id, error or None) from the client's thread, and once more when an event that
            was kept is sent again.
        config: further librdkafka settings, e.g. for TLS and SASL; secrets never reach a log.
    """

    def __init__(
        self,
        bootstrap: str,
        registry: str | None = None,
        *,
        source: str,
        schema_id: int | None = None,
        buffer_events: int = 100_000,
        when_full: WhenFull = "spill",
        spill: Path | None = None,
        delivery_timeout_s: float = 30.0,
        on_delivery: Delivered | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._source = source
        self._schema_id = schema_id if schema_id is not None else _registered(registry)
        self._when_full = when_full
        self._spill = SpillFile(spill or Path("chargeline-spill.jsonl"))
        self._buffer_events = buffer_events
        self._on_delivery = on_delivery
        self._closed = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                # Java's partitioner: an account's events must all lie on the same partition.
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 20,
                "message.max.bytes": 8_388_608,
                "queue.buffering.max.messages": buffer_events,
                "delivery.timeout.ms": int(delivery_timeout_s * 1000),
                **(config or {}),
            }
        )
        self._worker = threading.Thread(target=self._work, name="chargeline-usage", daemon=True)
        self._worker.start()
        atexit.register(self.close)

    def emit(self, event: Mapping[str, Any]) -> str:
        """Hand over one event; its event_id. Missing `event_id`, `source`, `event_time` are filled in.

        Raises:
            BadEvent: the event is not a UsageEvent.
            BufferFullError: with `when_full="raise"`.
        """
        filled: dict[str, Any] = {"event_id": str(uuid.uuid4()), "source": self._source, **event}
        filled.setdefault("event_time", datetime.now(UTC))
        value = encode(filled, self._schema_id)
        self._send(filled["billing_account_id"], filled["event_id"], value)
        return str(filled["event_id"])

    @contextmanager
    def measure(self, **fields: Any) -> "Iterator[Call]":
        """Time a model call and emit its event at the end; an exception makes its status ERROR and goes on."""
        call = Call(fields)
        try:
            yield call
        except BaseException as error:
            call.fields.setdefault("status", "ERROR")
            call.fields.setdefault("error_type", type(error).__name__)
            raise
        finally:
            call.finish()
            self.emit(call.fields)

    def flush(self, timeout_s: float = 30.0) -> int:
        """Wait until Kafka has everything; how many are still waiting."""
        return int(self._producer.flush(timeout_s))

    async def aflush(self, timeout_s: float = 30.0) -> int:
        """The same without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout_s)

    def close(self) -> None:
        """Flush, and keep what Kafka did not take. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._worker.join()
        if self._producer.flush(30.0):
            # What still waits fails now, and so is kept. It may have arrived: the next client sends it once more.
            self._producer.purge()
            self._producer.flush(5.0)
        self._spill.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _send(self, account: str, event_id: str, value: bytes) -> None:
        while True:
            try:
                self._produce(account, event_id, value)
            except BufferError as error:
                if self._when_full == "raise":
                    raise BufferFullError(f"{len(self._producer)} events wait to be sent") from error
                if self._when_full == "spill":
                    self._spill.keep(account, event_id, value)
                    return
                time.sleep(0.01)
            else:
                return

    def _produce(self, account: str, event_id: str, value: bytes, done: Callable[[], None] | None = None) -> None:
        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                self._spill.keep(account, event_id, value)
            if done is not None:
                done()
            if self._on_delivery is not None:
                self._on_delivery(event_id, error)

        self._producer.produce(TOPIC, value, account.encode(), on_delivery=delivered)

    def _work(self) -> None:
        """The client's thread: delivery reports, and what was kept as soon as Kafka answers."""
        due = time.monotonic()
        while not self._closed.is_set():
            self._producer.poll(0.1)
            if time.monotonic() >= due and self._spill:
                if self._is_reachable():
                    self._resend()
                due = time.monotonic() + _RESEND_EVERY_S

    def _is_reachable(self) -> bool:
        try:
            known = self._producer.list_topics(TOPIC, timeout=1.0).topics[TOPIC]
        except KafkaException:
            return False
        return known.error is None

    def _resend(self) -> None:
        """Send all that was kept; what fails again is kept again."""
        waiting: set[int] = set()
        for number, (account, event_id, value) in enumerate(self._spill.taken()):
            # Half of the buffer stays free for new events.
            while len(waiting) >= self._buffer_events // 2 and not self._closed.is_set():
                self._producer.poll(0.1)
            waiting.add(number)
            sent = False
            while not sent and not self._closed.is_set():
                try:
                    self._produce(account, event_id, value, partial(waiting.discard, number))
                    sent = True
                except BufferError:
                    self._producer.poll(0.1)
        while waiting and not self._closed.is_set():
            self._producer.poll(0.1)
        if not self._closed.is_set():
            # A crash before this line sends them once more: the same ids, so nothing is billed twice.
            self._spill.forget_taken()


class Call:
    """One model call inside `UsageClient.measure`."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = {"event_time": datetime.now(UTC), **fields}
        self._began = time.perf_counter()

    def usage(self, **quantities: Any) -> None:
        """What the call used: fields of UsageEvent."""
        self.fields |= quantities

    def answered(self, answer: Any, api_flavor: str | None = None) -> None:
        """What the call used by the provider's answer as parsed JSON, or by its usage block (docs/normaliser.md).

        Raises:
            UsageNotUnderstood: no quantities can be read from it. If that leaves `measure`, the event has status ERROR.
        """
        provider, model = self.fields["provider_name"], self.fields.get("request_model")
        self.fields |= usage_fields(answer, provider=provider, model=model, api_flavor=api_flavor)

    def first_token(self) -> None:
        """Call it when the first token arrives."""
        self.fields["time_to_first_token_ms"] = self._elapsed()

    def finish(self) -> None:
        self.fields.setdefault("duration_ms", self._elapsed())

    def _elapsed(self) -> int:
        return round((time.perf_counter() - self._began) * 1000)


def _registered(registry: str | None) -> int:
    if registry is None:
        message = "give the schema registry's URL, or schema_id"
        raise ValueError(message)
    client = SchemaRegistryClient({"url": registry})
    return int(client.register_schema(f"{TOPIC}-value", Schema(USAGE_EVENT_SCHEMA, "AVRO")))
