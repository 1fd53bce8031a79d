"""The observer of a running budgets service: metrics and health."""

from collections.abc import Mapping

from chargeline.budgets.observer import Observer
from chargeline.budgets.processor import TOPIC
from chargeline.domain.budgets.state import EXCEEDED, OK, WARN
from chargeline.ports import Clock
from chargeline.runtime.metrics import Metric
from chargeline.runtime.telemetry import Telemetry


class BudgetsMetrics(Observer):
    """Counts what it is told of."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        telemetry.health.wait_for(TOPIC, "no partition was assigned yet")

    def idle(self) -> None:
        self._telemetry.lag.caught_up(TOPIC, self._clock.now_ms())

    def counted(self, partition: int, next_offset: int, append_time: int) -> None:
        self._telemetry.lag.at(TOPIC, partition, next_offset, append_time)

    def judged(self, states: Mapping[str, int]) -> None:
        for state in (OK, WARN, EXCEEDED):
            self._telemetry.metrics.put(Metric.BUDGETS, states.get(state, 0), state=state)

    def assigned(self) -> None:
        self._telemetry.health.wait_for(TOPIC, "assigned; the spend so far is not known yet")

    def revoked(self, partitions: list[int]) -> None:
        self._telemetry.health.wait_for(TOPIC, "partitions are being assigned anew")
        for partition in partitions:
            self._telemetry.lag.drop(TOPIC, partition)

    def ready(self, next_offsets: Mapping[int, int]) -> None:
        for partition, next_offset in next_offsets.items():
            self._telemetry.lag.at(TOPIC, partition, next_offset)
        self._telemetry.health.go(TOPIC)
