"""How far the consumers of this process are behind their topics, in records and in seconds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from chargeline.runtime.metrics import Metric, Metrics


@dataclass(frozen=True)
class _Place:
    """Where one partition stands. `done_ms`: nothing that was appended before it still waits; None: not known.

    `idle_ms`: when a poll last came back empty, after the record before next_offset; None: it has not.
    """

    next_offset: int
    done_ms: int | None = None
    idle_ms: int | None = None


@dataclass(frozen=True)
class _Look:
    """An end, and when it was asked for."""

    end: int
    at_ms: int


class Lag:
    """Keeps the place of every partition that this process owns. Safe to use from any thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._places: dict[tuple[str, int], _Place] = {}
        self._looks: dict[tuple[str, int], _Look] = {}

    def at(self, topic: str, partition: int, next_offset: int, append_ms: int | None = None) -> None:
        """Everything before `next_offset` is done; the last record of it was appended at `append_ms`."""
        self._places[topic, partition] = _Place(next_offset, append_ms)
        self._metrics.put(Metric.NEXT_OFFSET, next_offset, topic=topic, partition=partition)

    def caught_up(self, topic: str, now_ms: int) -> None:
        """There was nothing more to read of this topic."""
        for key, place in list(self._places.items()):
            if key[0] == topic:
                self._places[key] = replace(place, done_ms=now_ms, idle_ms=now_ms)

    def drop(self, topic: str, partition: int) -> None:
        """The partition is not ours any more."""
        self._places.pop((topic, partition), None)
        self._looks.pop((topic, partition), None)
        for metric in (Metric.NEXT_OFFSET, Metric.LAG_EVENTS, Metric.LAG_SECONDS):
            self._metrics.forget(metric, topic=topic, partition=partition)

    def measure(self, end_of: Callable[[str, int], int], now_ms: Callable[[], int]) -> None:
        """Ask for the ends and set the metrics; raises what `end_of` raises."""
        for key in list(self._places):
            look = _Look(end_of(*key), now_ms())
            place = self._places.get(key)
            if place is None:
                continue
            records = 0 if self._is_done(place, key, look) else max(0, look.end - place.next_offset)
            seconds = 0.0
            if records and place.done_ms is not None:
                seconds = max(0, look.at_ms - place.done_ms) / 1000
            self._metrics.put(Metric.LAG_EVENTS, records, topic=key[0], partition=key[1])
            self._metrics.put(Metric.LAG_SECONDS, seconds, topic=key[0], partition=key[1])
            self._looks[key] = look

    def _is_done(self, place: _Place, key: tuple[str, int], look: _Look) -> bool:
        """Whether only markers of transactions can lie before the end, which no consumer is given.

        Nothing was added since the last look, and a poll after that look came back empty.
        """
        before = self._looks.get(key)
        return (
            before is not None and before.end == look.end and place.idle_ms is not None and place.idle_ms > before.at_ms
        )
