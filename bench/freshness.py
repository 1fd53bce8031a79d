"""How old an event is when a ClickHouse query first shows its charge, at a steady rate, services running.
`python bench/freshness.py [SECONDS]` prints it.

Every event's produce time is noted as it is handed to the client. A probe asks all the time for the largest visible
offset of each partition: offsets of usage-events have no gaps, so the n-th event of a partition is visible once that
offset is n or more.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.registry import SchemaRegistry
from chargeline.runtime.stack import Stack
from chargeline.sdk.partitioner import partition_of

sys.path.insert(0, str(Path(__file__).parent))
from commands import running
from traffic import batches, card

PARTITIONS = 2
RATE = 5_000
BATCH_S = 0.02
PROBE_S = 0.05
WARM_S = 3.0
_VISIBLE_S = 60.0


def freshness(seconds: float) -> dict[str, float]:
    """Keys freshness_p50_s, freshness_p99_s over so many seconds after a warm-up; on a stack of its own."""
    with running(card(), "--partitions", PARTITIONS) as stack:
        ages = measure(stack, _prepared(int(RATE * (WARM_S + seconds)), stack))
    return {
        "freshness_p50_s": float(np.quantile(ages, 0.5)),
        "freshness_p99_s": float(np.quantile(ages, 0.99)),
    }


def measure(stack: Stack, prepared: list[tuple[int, str, bytes]]) -> Any:
    """Age in seconds of every event but those of the warm-up, when it became visible."""
    produced: list[list[float]] = [[] for _ in range(PARTITIONS)]
    probe = Probe(stack)
    probe.start()
    _send(stack, prepared, produced)
    probe.stop_at([len(each) - 1 for each in produced])
    ages = []
    for partition, times in enumerate(produced):
        asked, offsets = probe.seen(partition)
        first = np.searchsorted(offsets, np.arange(len(times)))
        age = asked[first] - np.array(times)
        ages.append(age[np.array(times) >= min(map(min, produced)) + WARM_S])
    return np.concatenate(ages)


class Probe(threading.Thread):
    """Notes the largest visible offset of each partition, and when it was asked for."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self._clickhouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password)
        self._answers: list[tuple[float, list[int]]] = []
        self._wanted: list[int] | None = None
        self._until = float("inf")

    def run(self) -> None:
        sql = "SELECT source_partition AS p, max(source_offset) AS o FROM charges GROUP BY p"
        while time.perf_counter() < self._until:
            asked = time.perf_counter()
            found = {row["p"]: row["o"] for row in self._clickhouse.query(sql).to_pylist()}
            offsets = [found.get(partition, -1) for partition in range(PARTITIONS)]
            # What is visible was visible at the latest when the answer was there.
            self._answers.append((time.perf_counter(), offsets))
            if self._wanted is not None and all(map(int.__ge__, offsets, self._wanted)):
                return
            time.sleep(max(0.0, asked + PROBE_S - time.perf_counter()))

    def stop_at(self, offsets: list[int]) -> None:
        """Wait until these are visible. The last events of a partition may be no charges: a second is enough."""
        self._wanted = [offset - 20 for offset in offsets]
        self._until = time.perf_counter() + _VISIBLE_S
        self.join()
        if not self._answers or any(map(int.__lt__, self._answers[-1][1], self._wanted)):
            message = f"not visible after {_VISIBLE_S} s: {self._answers[-1:]}, wanted {offsets}"
            raise AssertionError(message)

    def seen(self, partition: int) -> tuple[Any, Any]:
        """(times, offsets), both ascending; the last answer stands for the events after it too."""
        times = np.array([asked for asked, _ in self._answers] + [self._answers[-1][0]])
        offsets = np.array([each[partition] for _, each in self._answers] + [np.iinfo(np.int64).max])
        return times, offsets


def _send(stack: Stack, prepared: list[tuple[int, str, bytes]], produced: list[list[float]]) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka, "enable.idempotence": True, "linger.ms": 5,
                         "compression.type": "lz4"})  # fmt: skip
    began = time.perf_counter()
    batch = int(RATE * BATCH_S)
    for start in range(0, len(prepared), batch):
        time.sleep(max(0.0, began + start / RATE - time.perf_counter()))
        for partition, account, value in prepared[start : start + batch]:
            produced[partition].append(time.perf_counter())
            producer.produce("usage-events", value, account.encode(), partition)
        producer.poll(0)
    producer.flush()
    producer.close()


def _prepared(count: int, stack: Stack) -> list[tuple[int, str, bytes]]:
    number = SchemaRegistry(stack.registry).id_of("usage-events-value") or 0
    return [
        (partition_of(account, PARTITIONS), account, value)
        for batch in batches(count, number)
        for account, value in zip(batch.accounts.to_pylist(), batch.values, strict=True)
    ]


if __name__ == "__main__":
    print(freshness(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0))
