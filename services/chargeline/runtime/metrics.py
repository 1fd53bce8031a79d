"""The closed list of what the services measure, and one process's values of it.

A name is a member of `Metric`: a typo is a type error. `docs/operations.md` shows the same list; a test compares them.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

Kind = Literal["counter", "gauge", "histogram"]
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
# From a Redis call on an idle machine to a commit that waits for a broker's restart.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Definition:
    """One metric, as Prometheus sees it."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    meaning: str


class Metric(Enum):
    """Everything that a service exposes under `/metrics`, besides the `process_` metrics of the client library."""

    LAG_EVENTS = Definition(
        "chargeline_consumer_lag_events", "gauge", "records", ("topic", "partition"),
        "records from next_offset to the end at the last look (every 5 s); markers count until a poll comes back empty",
    )  # fmt: skip
    LAG_SECONDS = Definition(
        "chargeline_consumer_lag_seconds", "gauge", "seconds", ("topic", "partition"),
        "most that the oldest record not yet processed can have waited; 0 if none waits",
    )  # fmt: skip
    NEXT_OFFSET = Definition(
        "chargeline_next_offset", "gauge", "offset", ("topic", "partition"), "next offset to process"
    )
    UNITS = Definition("chargeline_units_total", "counter", "commit units", (), "committed units, of each partition")
    EVENTS = Definition(
        "chargeline_events_total", "counter", "events", ("outcome",),
        "events of committed units by outcome; DUPLICATE and UNRATED are two of them",
    )  # fmt: skip
    DEAD_LETTERS = Definition("chargeline_dead_letters_total", "counter", "events", ("code",), "dead letters by code")
    PANES = Definition(
        "chargeline_panes_total", "counter", "panes", ("pane",), "cost panes emitted: EARLY, or LATE by the watermark"
    )
    STEP_SECONDS = Definition(
        "chargeline_unit_step_seconds", "histogram", "seconds", ("step",),
        "time of a unit by step: poll, fresh, prepare, compute, settle, apply; meanwhile: produce, commit",
    )  # fmt: skip
    ABORTED = Definition(
        "chargeline_aborted_transactions_total", "counter", "transactions", (), "aborted; their units are read again"
    )
    WATERMARK = Definition(
        "chargeline_watermark_seconds", "gauge", "seconds since 1970", ("partition",), "watermark of the event time"
    )
    IDENTITIES = Definition(
        "chargeline_identities", "gauge", "identities", ("partition",), "event ids remembered against duplicates"
    )
    IDENTITIES_BYTES = Definition(
        "chargeline_identities_bytes", "gauge", "bytes", ("partition",), "memory of the remembered ids in this process"
    )
    LIVE_WINDOWS = Definition(
        "chargeline_live_windows", "gauge", "windows", ("partition",), "windows whose totals are kept for `top`"
    )
    UNSAVED_UNITS = Definition(
        "chargeline_unsaved_units", "gauge", "commit units", ("partition",), "committed units that Redis trails by"
    )
    ROWS = Definition("chargeline_rows_total", "counter", "rows", ("table",), "rows acknowledged by ClickHouse")
    INSERT_SECONDS = Definition(
        "chargeline_insert_seconds", "histogram", "seconds", ("table",), "time of one acknowledged insert"
    )
    ERRORS = Definition(
        "chargeline_transient_errors_total", "counter", "errors", ("peer",),
        "calls to kafka, redis, registry or clickhouse that failed and are made again",
    )  # fmt: skip
    ANOMALY_UPDATES = Definition(
        "chargeline_anomaly_updates_total", "counter", "updates", ("kind", "status"), "published updates of incidents"
    )
    ANOMALY_OPEN = Definition(
        "chargeline_anomaly_open_incidents", "gauge", "incidents", ("partition",), "incidents that are open"
    )
    ANOMALY_SERIES = Definition(
        "chargeline_anomaly_series", "gauge", "series", ("partition",), "series that are watched"
    )
    ANOMALY_EVICTED = Definition(
        "chargeline_anomaly_evicted_series", "gauge", "series", ("partition",), "series given up so far, least active"
    )
    ANOMALY_PANES = Definition(
        "chargeline_anomaly_panes_total", "counter", "panes", ("outcome",),
        "panes read: all of them, late ones that corrected a window, and those that came too late for that",
    )  # fmt: skip
    ANOMALY_WINDOWS = Definition(
        "chargeline_anomaly_windows_total", "counter", "windows", (), "detection windows that were judged"
    )
    ANOMALY_STORE_SECONDS = Definition(
        "chargeline_anomaly_store_seconds", "histogram", "seconds", (), "time to store the state of a partition"
    )
    ANOMALY_STORED_BYTES = Definition(
        "chargeline_anomaly_stored_bytes_total", "counter", "bytes", (), "state written to the changelog"
    )


class Metrics:
    """The values of this process. Safe to use from any thread."""

    def __init__(self) -> None:
        # Else every counter has a second series, which nobody asked for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._series = {metric: _series(metric.value, self._registry) for metric in Metric}
        ProcessCollector(registry=self._registry)

    def add(self, metric: Metric, amount: float = 1, **labels: str | int) -> None:
        """Count on a counter."""
        series = self._of(metric, labels)
        assert isinstance(series, Counter)
        series.inc(amount)

    def put(self, metric: Metric, value: float, **labels: str | int) -> None:
        """Set a gauge."""
        series = self._of(metric, labels)
        assert isinstance(series, Gauge)
        series.set(value)

    def observe(self, metric: Metric, value: float, **labels: str | int) -> None:
        """Add one observation to a histogram."""
        series = self._of(metric, labels)
        assert isinstance(series, Histogram)
        series.observe(value)

    def forget(self, metric: Metric, **labels: str | int) -> None:
        """Remove the series with these labels, and whatever others it has: what it measured is not ours any more."""
        self._series[metric].remove_by_labels({name: str(value) for name, value in labels.items()})

    def exposition(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)

    def _of(self, metric: Metric, labels: dict[str, str | int]) -> Counter | Gauge | Histogram:
        series = self._series[metric]
        return series.labels(**labels) if metric.value.labels else series


def _series(definition: Definition, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name, text, labels = definition.name, f"{definition.meaning} ({definition.unit})", definition.labels
    if definition.kind == "counter":
        return Counter(name, text, labels, registry=registry)
    if definition.kind == "gauge":
        return Gauge(name, text, labels, registry=registry)
    return Histogram(name, text, labels, registry=registry, buckets=_BUCKETS_S)
