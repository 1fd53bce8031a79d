"""The observer of a running sink: metrics and health."""

from collections.abc import Mapping

from chargeline.ports import Clock, Record
from chargeline.runtime.metrics import Metric
from chargeline.runtime.telemetry import Telemetry
from chargeline.sink.observer import Observer


class SinkMetrics(Observer):
    """Counts what it is told of; shared by the threads of all topics."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._metrics, self._health, self._lag = telemetry.metrics, telemetry.health, telemetry.lag
        self._clock = clock
        self._begun: set[str] = set()

    def began(self, topic: str) -> None:
        if topic not in self._begun:
            self._health.wait_for(topic, "no partition was assigned yet")
            self._begun.add(topic)
        self._health.beat(topic)

    def idle(self, topic: str) -> None:
        self._lag.caught_up(topic, self._clock.now_ms())

    def inserted(self, table: str, rows: int, seconds: float) -> None:
        self._metrics.add(Metric.ROWS, rows, table=table)
        self._metrics.observe(Metric.INSERT_SECONDS, seconds, table=table)

    def stored(self, record: Record) -> None:
        self._lag.at(record.topic, record.partition, record.offset + 1, record.append_time)

    def failed(self, error: Exception) -> None:
        self._telemetry.failed(error)

    def assigned(self, topic: str) -> None:
        self._health.wait_for(topic, "assigned; the place in the table is not known yet")

    def revoked(self, topic: str, partitions: list[int]) -> None:
        self._health.wait_for(topic, "partitions are being assigned anew")
        for partition in partitions:
            self._lag.drop(topic, partition)

    def ready(self, topic: str, next_offsets: Mapping[int, int]) -> None:
        for partition, next_offset in next_offsets.items():
            self._lag.at(topic, partition, next_offset)
        self._health.go(topic)
