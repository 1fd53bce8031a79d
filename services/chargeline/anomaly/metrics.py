"""What the anomaly service tells of itself: metrics and health."""

from collections.abc import Iterable

from chargeline.anomaly.processor import TOPICS
from chargeline.domain.anomaly.update import Update
from chargeline.domain.anomaly.watch import Counts, Watch
from chargeline.runtime.metrics import Metric
from chargeline.runtime.telemetry import Telemetry

_OF_PARTITION = (Metric.ANOMALY_SERIES, Metric.ANOMALY_OPEN)


class AnomalyMetrics:
    """Counts what it is told of."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._metrics, self._health, self._lag = telemetry.metrics, telemetry.health, telemetry.lag
        self._before: dict[int, Counts] = {}
        self._bytes = 0
        self._health.wait_for("assignment", "no partition was assigned yet")
        self._health.wait_for("state", "the changelog is not read yet")

    def beat(self) -> None:
        """The event loop goes round."""
        self._health.beat("faust")

    def assigned(self, _partitions: Iterable[int]) -> None:
        """Partitions are ours; their state is being recovered."""
        self._health.go("assignment")

    def revoked(self, partitions: Iterable[int]) -> None:
        """These partitions are not ours any more."""
        self._health.wait_for("assignment", "partitions are being assigned anew")
        self._health.wait_for("state", "the changelog is read again")
        for partition in partitions:
            self._before.pop(partition, None)
            for topic in TOPICS:
                self._lag.drop(topic, partition)
            for metric in _OF_PARTITION:
                self._metrics.forget(metric, partition=partition)

    def recovered(self) -> None:
        """The table holds what was stored."""
        self._health.go("state")

    def took(self, topic: str, partition: int, offset: int, append_ms: int, watch: Watch) -> None:
        """A message is processed, and its updates are published."""
        self._lag.at(topic, partition, offset + 1, append_ms)
        self.looked(partition, watch)

    def idle(self, now_ms: int) -> None:
        """There was nothing to read for long."""
        for topic in TOPICS:
            self._lag.caught_up(topic, now_ms)

    def looked(self, partition: int, watch: Watch) -> None:
        """The state of a partition may have changed."""
        now = watch.counts
        before = self._before.get(partition) or now
        for outcome in ("panes", "late_panes", "dropped_panes"):
            more = getattr(now, outcome) - getattr(before, outcome)
            if more > 0:
                self._metrics.add(Metric.ANOMALY_PANES, more, outcome=outcome)
        if now.windows > before.windows:
            self._metrics.add(Metric.ANOMALY_WINDOWS, now.windows - before.windows)
        self._before[partition] = Counts(**vars(now))
        self._metrics.put(Metric.ANOMALY_SERIES, len(watch.table), partition=partition)
        open_ones = sum(each.status == "OPEN" for each in watch.incidents)
        self._metrics.put(Metric.ANOMALY_OPEN, open_ones, partition=partition)
        self._metrics.put(Metric.ANOMALY_EVICTED, watch.table.evicted, partition=partition)

    def published(self, update: Update) -> None:
        """An update is durable in the log."""
        self._metrics.add(Metric.ANOMALY_UPDATES, kind=update.kind, status=update.status)

    def stored(self, seconds: float, bytes_written: int) -> None:
        """A state is durable; `bytes_written` in all so far."""
        self._metrics.observe(Metric.ANOMALY_STORE_SECONDS, seconds)
        self._metrics.add(Metric.ANOMALY_STORED_BYTES, bytes_written - self._bytes)
        self._bytes = bytes_written
