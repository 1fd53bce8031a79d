"""The observer of a running notifier: metrics and health."""

from chargeline.notifier.observer import Observer
from chargeline.runtime.metrics import Metric
from chargeline.runtime.telemetry import Telemetry


class NotifierMetrics(Observer):
    """Counts what it is told of; shared by the threads of all channels."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._begun: set[str] = set()

    def began(self, channel: str) -> None:
        if channel not in self._begun:
            self._telemetry.health.wait_for(channel, "no partition was assigned yet")
            self._begun.add(channel)
        self._telemetry.health.beat(channel)

    def outcome(self, channel: str, outcome: str) -> None:
        self._telemetry.metrics.add(Metric.DELIVERIES, channel=channel, outcome=outcome)

    def waits(self, channel: str, seconds: float) -> None:
        self._telemetry.metrics.put(Metric.ALERT_WAIT_SECONDS, seconds, channel=channel)

    def failed(self, error: Exception) -> None:
        self._telemetry.failed(error)

    def assigned(self, channel: str) -> None:
        self._telemetry.health.wait_for(channel, "assigned; the place in the log is not known yet")

    def ready(self, channel: str) -> None:
        self._telemetry.health.go(channel)
