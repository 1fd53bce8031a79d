"""Builds the sink from its settings; the only place of this service that makes adapters."""

import threading
from collections.abc import Callable
from functools import partial

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader
from chargeline.domain.errors import TransientError
from chargeline.runtime.telemetry import Telemetry
from chargeline.sink.metrics import SinkMetrics
from chargeline.sink.processor import TABLES, TopicSink
from chargeline.sink.settings import SinkSettings

_PREFETCH_KIB = 16_384  # of each topic; what waits for its insert is kept besides


class Sink:
    """All topics, a thread each: a slow table does not hold up the others."""

    def __init__(self, sinks: list[TopicSink], told: Callable[[Exception], None]) -> None:
        self._sinks = sinks
        self._told = told
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(each,), name=each.topic) for each in sinks]
        for thread in self._threads:
            thread.start()

    def step(self) -> bool:
        """Wait a little; raise what a thread raised."""
        self._stop.wait(0.2)
        if self._failed:
            raise self._failed[0]
        return True

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, sink: TopicSink) -> None:
        try:
            while not self._stop.is_set():
                try:
                    sink.step()
                except TransientError as error:
                    self._told(error)
                    self._stop.wait(0.5)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self._failed.append(error)
        finally:
            sink.close()


def build(settings: SinkSettings, telemetry: Telemetry) -> Sink:
    """The sink, connected and running."""
    clock = SystemClock()
    observer = SinkMetrics(telemetry, clock)
    sinks = [
        TopicSink(
            topic,
            KafkaLogConsumer(
                settings.kafka,
                f"{settings.sink_group}-{topic}",
                session_timeout_ms=settings.sink_session_timeout_ms,
                prefetch_kib=_PREFETCH_KIB,
            ),
            partial(_warehouse, settings),
            clock,
            settings.sink_messages,
            observer,
            settings.sink_inserts,
        )
        for topic in TABLES
    ]
    reader, warehouse = KafkaLogReader(settings.kafka), _warehouse(settings)

    def look() -> None:
        reader.partitions("charges")
        telemetry.lag.measure(lambda topic, partition: reader.bounds(topic, partition)[1], clock.now_ms)

    telemetry.watch({"kafka": look, "clickhouse": lambda: warehouse.command("SELECT 1")})
    return Sink(sinks, observer.failed)


def _warehouse(settings: SinkSettings) -> ClickHouse:
    password = settings.clickhouse_password.get_secret_value()
    return ClickHouse(settings.clickhouse_url, settings.clickhouse_user, password)
