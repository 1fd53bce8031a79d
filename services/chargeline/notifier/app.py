"""Builds the notifier from its settings; the only place of this service that makes adapters."""

import os
import threading
from collections.abc import Callable, Mapping

from chargeline.adapters.clock import SystemClock, chance
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader
from chargeline.adapters.kafka_writer import KafkaLogWriter
from chargeline.adapters.notifiers.channels import make_notifier
from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.alert_routes import AlertsConfig, channels_of, read_alerts
from chargeline.domain.alert_text import notification
from chargeline.domain.alerts import Alert
from chargeline.domain.errors import TransientError
from chargeline.notifier.metrics import NotifierMetrics
from chargeline.notifier.processor import TOPIC, Delivery
from chargeline.notifier.settings import NotifierSettings
from chargeline.runtime.telemetry import Telemetry
from chargeline.wire.cost_anomalies import AnomalyDecoder


class NotifierService:
    """All channels, a thread each: a channel that is dead holds up nobody else."""

    def __init__(self, deliveries: list[Delivery], told: Callable[[Exception], None]) -> None:
        self._told = told
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(each,), name=each.channel) for each in deliveries]
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

    def _run(self, delivery: Delivery) -> None:
        try:
            while not self._stop.is_set():
                try:
                    delivery.step()
                except TransientError as error:
                    self._told(error)
                    self._stop.wait(0.5)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self._failed.append(error)
        finally:
            delivery.close()


def build(
    settings: NotifierSettings, telemetry: Telemetry, environment: Mapping[str, str] = os.environ
) -> NotifierService:
    """The notifier, connected and running."""
    config = read_alerts(settings.notifier_config.read_text(encoding="utf-8"))
    clock = SystemClock()
    observer = NotifierMetrics(telemetry)
    registry = SchemaRegistry(settings.registry)
    writer = KafkaLogWriter(settings.kafka)
    # Every secret is looked up before anything connects: one that is missing ends the process at once.
    notifiers = {each.channel: make_notifier(each, environment, clock) for each in config.channels}
    deliveries = [
        Delivery(
            channel=name,
            consumer=KafkaLogConsumer(
                settings.kafka,
                f"{settings.notifier_group}-{name}",
                session_timeout_ms=settings.notifier_session_timeout_ms,
            ),
            notifier=notifier,
            dead_letters=writer,
            read=AnomalyDecoder(registry.schema_of).decode,
            is_ours=_is_for(name, config),
            say=lambda alert: notification(alert, config.link),
            clock=clock,
            chance=chance,
            park_after_ms=settings.notifier_park_after_s * 1000,
            observer=observer,
        )
        for name, notifier in notifiers.items()
    ]
    reader = KafkaLogReader(settings.kafka)

    def look() -> None:
        reader.partitions(TOPIC)

    telemetry.watch({"kafka": look, "registry": registry.ping})
    return NotifierService(deliveries, observer.failed)


def _is_for(channel: str, config: AlertsConfig) -> Callable[[Alert], bool]:
    return lambda alert: channel in channels_of(alert, config)
