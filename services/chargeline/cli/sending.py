"""Sending many events from a command: partitions from the account, a progress bar, and what became of them."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka import COMMON, KafkaLogReader
from chargeline.adapters.pipeline import INPUT, units
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import print_json, progress
from chargeline.domain.errors import Fault, Refused
from chargeline.runtime.stack import Stack
from chargeline.sdk.partitioner import partition_of

_WAIT_S = 120.0
_REPORT_EVERY = 5_000


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
                "queue.buffering.max.messages": 500_000,
                "queue.buffering.max.kbytes": 262_144,
            }
        )
        topics = AdminClient({**COMMON, "bootstrap.servers": stack.kafka}).list_topics(INPUT, timeout=10)
        self.partitions = len(topics.topics[INPUT].partitions)
        number = SchemaRegistry(stack.registry).id_of("usage-events-value")
        if not self.partitions or number is None:
            raise Refused("NOT_PREPARED", "usage-events or its schema does not exist: run `chargeline up`")
        self.schema_id = number
        self._places: dict[str, int] = {}
        self._starts = self._ends()
        self.sent = 0
        self._failed: list[KafkaError] = []

    def send(self, account: str, value: bytes) -> None:
        """Put one value on its account's partition."""
        partition = self._places.get(account)
        if partition is None:
            partition = self._places[account] = partition_of(account, self.partitions)
        while True:
            try:
                self._producer.produce(INPUT, value, account.encode(), partition, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self.sent += 1
        if self.sent % 10_000 == 0:
            self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has everything. Raises Fault if it refused something."""
        if self._producer.flush(120) or self._failed:
            raise Fault(f"Kafka did not take everything: {self._failed[:1] or 'no answer within 120 s'}")

    def send_all(self, values: Iterable[tuple[str, bytes]], total: int | None, rate: float | None, title: str) -> None:
        """Send (account, value) pairs with a progress bar, at most `rate` a second."""
        began = time.monotonic()
        with progress() as bar:
            task = bar.add_task(title, total=total, rate="")
            for number, (account, value) in enumerate(values, start=1):
                self.send(account, value)
                if rate and number / rate > time.monotonic() - began:
                    self._producer.poll(0)
                    time.sleep(max(0.0, number / rate - (time.monotonic() - began)))
                if number % _REPORT_EVERY == 0:
                    speed = number / (time.monotonic() - began)
                    bar.update(task, completed=number, rate=f"{speed:,.0f}/s")
        self.flush()

    def outcomes(self, *, wait: bool, as_json: bool) -> None:
        """Print what became of what was sent, as the last line; with `wait` once it is in ClickHouse."""
        ends = self._ends()
        counts: Counter[str] = Counter()
        if wait:
            counts = self._await_charged(ends)
            self._await_stored(ends)
        summary: dict[str, Any] = {"sent": self.sent}
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

    def _await_charged(self, ends: dict[int, int]) -> Counter[str]:
        """Counts of the units after the start; other producers of the same moment are counted too."""
        reader = KafkaLogReader(self._stack.kafka)
        deadline = time.monotonic() + _WAIT_S
        counts: Counter[str] = Counter()
        for partition, end in ends.items():
            if end == self._starts[partition]:
                continue
            while True:
                found = units(reader, partition, self._starts[partition])
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
            expected = sum(
                unit.outcomes["CHARGED"] + unit.outcomes["UNRATED"]
                for unit in units(reader, partition)
                if unit.end <= end
            )
            while True:
                rows = warehouse.query(
                    "SELECT count() AS n FROM charges WHERE source_partition = {p:Int32} AND source_offset < {e:Int64}",
                    {"p": partition, "e": end},
                ).to_pylist()
                if rows[0]["n"] >= expected:
                    break
                if time.monotonic() > deadline:
                    raise Refused("NOT_STORED", f"ClickHouse lacks rows of partition {partition}: see the sink's log")
                time.sleep(0.2)
        reader.close()

    def _ends(self) -> dict[int, int]:
        reader = KafkaLogReader(self._stack.kafka)
        ends = {partition: reader.bounds(INPUT, partition)[1] for partition in range(self.partitions)}
        reader.close()
        return ends

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)
