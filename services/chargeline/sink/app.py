"""Builds the sink from its settings; the only place of this service that makes adapters."""

import threading

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogConsumer
from chargeline.domain.errors import TransientError
from chargeline.sink.processor import TABLES, TopicSink
from chargeline.sink.settings import SinkSettings


class Sink:
    """All topics, a thread each: a slow table does not hold up the others."""

    def __init__(self, sinks: list[TopicSink]) -> None:
        self._sinks = sinks
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
                except TransientError:
                    self._stop.wait(0.5)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self._failed.append(error)
        finally:
            sink.close()


def build(settings: SinkSettings) -> Sink:
    """The sink, connected and running."""
    password = settings.clickhouse_password.get_secret_value()
    return Sink(
        [
            TopicSink(
                topic,
                KafkaLogConsumer(
                    settings.kafka,
                    f"{settings.sink_group}-{topic}",
                    session_timeout_ms=settings.sink_session_timeout_ms,
                ),
                ClickHouse(settings.clickhouse_url, settings.clickhouse_user, password),
                SystemClock(),
                settings.sink_messages,
            )
            for topic in TABLES
        ]
    )
