"""Sending many events from a command: partitions from the account, a progress bar, and what became of them."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka import COMMON, KafkaLogReader
from chargeline.adapters.pipeline import INPUT, units
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import print_json, progress
from chargeline.domain.columns.murmur import PADDING, murmur2
from chargeline.domain.errors import Fault, Refused, TransientError
from chargeline.runtime.stack import Stack
from chargeline.wire.usage_encoder import Framed

_WAIT_S = 120.0
_PACE_S = 0.02  # at a given rate: as many as are due, so often


# One row a record that was charged or kept unrated: corrections book several, control records are none of these.
_STORED = ("SELECT countIf(source_index = 0 AND event_kind NOT IN ('RERATE', 'PERIOD_CLOSE')) AS n FROM charges "
           "WHERE source_partition = {p:Int32} AND source_offset < {e:Int64}")  # fmt: skip
T = TypeVar("T")


class Sender:
    """Writes framed values to usage-events and remembers where they went."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._producer = Producer(
            {
                **COMMON,
                "bootstrap.servers": stack.kafka,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 20,
                "batch.size": 1_000_000,
                "compression.type": "lz4",
                "message.max.bytes": 8_388_608,
                # All that waits in memory: when it is full, sending waits.
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 131_072,
                "on_delivery": self._delivered,
                "delivery.report.only.error": True,
            }
        )
        topics = AdminClient({**COMMON, "bootstrap.servers": stack.kafka}).list_topics(INPUT, timeout=10)
        self.partitions = len(topics.topics[INPUT].partitions)
        number = SchemaRegistry(stack.registry).id_of("usage-events-value")
        if not self.partitions or number is None:
            raise Refused("NOT_PREPARED", "usage-events or its schema does not exist: run `chargeline up`")
        self.schema_id = number
        self._starts = self._ends()
        self.sent = 0
        self.events_per_s = 0.0
        self._failed: list[KafkaError] = []

    def close(self) -> None:
        """Leave the broker; nothing may be on its way any more."""
        self._producer.close()

    def starts_at(self, account: str) -> tuple[int, int]:
        """(partition of an account, the first offset there that a value of this process can have)."""
        _, (place,) = placed(pa.array([account]).dictionary_encode(), self.partitions)
        return place, self._starts[place]

    def send(self, account: str, value: bytes) -> None:
        """Put one value on its account's partition."""
        self.send_batch(Framed(pa.array([account]).dictionary_encode(), [value]))

    def send_batch(self, events: Framed) -> None:
        """Put values on their accounts' partitions; waits while the client's queue is full."""
        keys, places = placed(events.accounts, self.partitions)
        produce = self._producer.produce
        for value, key, partition in zip(events.values, keys, places, strict=True):
            while True:
                try:
                    produce(INPUT, value, key, partition)
                except BufferError:
                    self._producer.poll(0.1)
                else:
                    break
        self.sent += len(events.values)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has everything. Raises Fault if it refused something."""
        if self._producer.flush(120) or self._failed:
            raise Fault(f"Kafka did not take everything: {self._failed[:1] or 'no answer within 120 s'}")

    def send_all(self, batches: Iterable[Framed], total: int | None, rate: float | None, title: str) -> None:
        """Send all batches with a progress bar, at most `rate` events a second, until Kafka has them."""
        began, before = time.monotonic(), self.sent
        with progress() as bar:
            task = bar.add_task(title, total=total, rate="")
            for batch in batches if rate is None else _paced(batches, rate):
                self.send_batch(batch)
                self.events_per_s = (self.sent - before) / (time.monotonic() - began)
                bar.update(task, completed=self.sent - before, rate=f"{self.events_per_s:,.0f}/s")
            self.flush()
        self.events_per_s = (self.sent - before) / (time.monotonic() - began)

    def outcomes(self, *, wait: bool, as_json: bool) -> None:
        """Print what became of what was sent, as the last line; with `wait` once it is in ClickHouse."""
        ends = self._ends()
        counts: Counter[str] = Counter()
        if wait:
            counts = self._await_charged(ends)
            self._await_stored(ends)
        summary: dict[str, Any] = {"sent": self.sent, "events_per_s": round(self.events_per_s)}
        if wait:
            summary |= {
                "charged": counts["CHARGED"],
                "unrated": counts["UNRATED"],
                "duplicates": counts["DUPLICATE"],
                "conflicts": counts["CONFLICT"],
                "dead_letters": counts["DEAD_LETTER"],
            }
        if as_json:
            print_json(summary)
        else:
            sys.stdout.write(" ".join(f"{name}={value}" for name, value in summary.items()) + "\n")

    def wait(self) -> None:
        """Return when everything that was sent is charged and in ClickHouse."""
        ends = self._ends()
        self._await_charged(ends)
        self._await_stored(ends)

    def _await_charged(self, ends: dict[int, int]) -> Counter[str]:
        """Counts of the units after the start; other producers of the same moment are counted too."""
        reader = KafkaLogReader(self._stack.kafka)
        deadline = time.monotonic() + _WAIT_S
        counts: Counter[str] = Counter()
        for partition, end in ends.items():
            if end == self._starts[partition]:
                continue
            while True:
                found = _patiently(partial(units, reader, partition, self._starts[partition]))
                if found and found[-1].end >= end:
                    break
                if time.monotonic() > deadline:
                    raise Refused(
                        "NOT_CHARGED", f"partition {partition} was not charged in {_WAIT_S:.0f} s: see status"
                    )
                time.sleep(0.2)
            for unit in found:
                counts.update(unit.outcomes)
        reader.close()
        return counts

    def _await_stored(self, ends: dict[int, int]) -> None:
        warehouse = ClickHouse(self._stack.clickhouse_url, self._stack.clickhouse_user, self._stack.clickhouse_password)
        reader = KafkaLogReader(self._stack.kafka)
        deadline = time.monotonic() + _WAIT_S
        for partition, end in ends.items():
            found = _patiently(partial(units, reader, partition))
            expected = sum(unit.outcomes["CHARGED"] + unit.outcomes["UNRATED"] for unit in found if unit.end <= end)
            while True:
                rows = _patiently(partial(warehouse.query, _STORED, {"p": partition, "e": end})).to_pylist()
                if rows[0]["n"] >= expected:
                    break
                if time.monotonic() > deadline:
                    raise Refused("NOT_STORED", f"ClickHouse lacks rows of partition {partition}: see the sink's log")
                time.sleep(0.2)
        reader.close()

    def _ends(self) -> dict[int, int]:
        reader = KafkaLogReader(self._stack.kafka)
        ends = {p: _patiently(partial(reader.bounds, INPUT, p))[1] for p in range(self.partitions)}
        reader.close()
        return ends

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)


def _patiently(call: Callable[[], T]) -> T:
    """Call again while a server is away: what was sent is not lost by its restart."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            return call()
        except TransientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def placed(accounts: pa.DictionaryArray, partitions: int) -> tuple[list[bytes], list[int]]:
    """The key and the partition of each event."""
    used, codes = np.unique(accounts.indices.to_numpy(), return_inverse=True)
    names = [account.encode() for account in accounts.dictionary.take(pa.array(used)).to_pylist()]
    lengths = np.array([len(name) for name in names], np.int64)
    data = np.frombuffer(b"".join(names) + bytes(PADDING), np.uint8)
    places = murmur2(data, np.cumsum(lengths) - lengths, lengths) % partitions
    return np.array(names, object)[codes].tolist(), places[codes].tolist()


def _paced(batches: Iterable[Framed], rate: float) -> Iterator[Framed]:
    """The same events in small batches, none of them before it is due."""
    began, number, step = time.monotonic(), 0, max(1, int(rate * _PACE_S))
    for batch in batches:
        for first in range(0, len(batch.values), step):
            part = Framed(batch.accounts[first : first + step], batch.values[first : first + step])
            number += len(part.values)
            time.sleep(max(0.0, number / rate - (time.monotonic() - began)))
            yield part
