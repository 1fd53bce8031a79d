"""Builds the sink from its settings; the only place of this service that makes adapters."""

from functools import partial

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader
from chargeline.runtime.loops import Loops
from chargeline.runtime.telemetry import Telemetry
from chargeline.sink.metrics import SinkMetrics
from chargeline.sink.processor import TABLES, TopicSink
from chargeline.sink.settings import SinkSettings

_PREFETCH_KIB = 16_384  # of each topic; what waits for its insert is kept besides


def build(settings: SinkSettings, telemetry: Telemetry) -> Loops:
    """The sink, connected and running: a slow table does not hold up the others."""
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
    return Loops({each.topic: each for each in sinks}, observer.failed)


def _warehouse(settings: SinkSettings) -> ClickHouse:
    password = settings.clickhouse_password.get_secret_value()
    return ClickHouse(settings.clickhouse_url, settings.clickhouse_user, password)
