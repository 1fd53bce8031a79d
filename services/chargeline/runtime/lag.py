"""How far the consumers of this process are behind their topics, in records and in seconds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from chargeline.runtime.metrics import Metric, Metrics


@dataclass(frozen=True)
class _Place:
    """Where one partition stands. `done_ms`: nothing that was appended before it still waits; None: not known."""

    next_offset: int
    done_ms: int | None = None


class Lag:
    """Keeps the place of every partition that this process owns. Safe to use from any thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._places: dict[tuple[str, int], _Place] = {}

    def at(self, topic: str, partition: int, next_offset: int, append_ms: int | None = None) -> None:
        """Everything before `next_offset` is done; the last record of it was appended at `append_ms`."""
        self._places[topic, partition] = _Place(next_offset, append_ms)
        self._metrics.put(Metric.NEXT_OFFSET, next_offset, topic=topic, partition=partition)

    def caught_up(self, topic: str, now_ms: int) -> None:
        """There was nothing more to read of this topic."""
        for key, place in list(self._places.items()):
            if key[0] == topic:
                self._places[key] = replace(place, done_ms=now_ms)

    def drop(self, topic: str, partition: int) -> None:
        """The partition is not ours any more."""
        self._places.pop((topic, partition), None)
        for metric in (Metric.NEXT_OFFSET, Metric.LAG_EVENTS, Metric.LAG_SECONDS):
            self._metrics.forget(metric, topic=topic, partition=partition)

    def measure(self, end_of: Callable[[str, int], int], now_ms: Callable[[], int]) -> None:
        """Ask for the ends and set the metrics; raises what `end_of` raises."""
        for topic, partition in list(self._places):
            end = end_of(topic, partition)
            place = self._places.get((topic, partition))
            if place is None:
                continue
            records = max(0, end - place.next_offset)
            self._metrics.put(Metric.LAG_EVENTS, records, topic=topic, partition=partition)
            if not records or place.done_ms is not None:
                seconds = max(0, now_ms() - place.done_ms) / 1000 if records and place.done_ms is not None else 0.0
                self._metrics.put(Metric.LAG_SECONDS, seconds, topic=topic, partition=partition)
