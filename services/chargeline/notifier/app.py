"""Builds the notifier from its settings; the only place of this service that makes adapters."""

import os
from collections.abc import Callable, Mapping

from chargeline.adapters.clock import SystemClock, chance
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader
from chargeline.adapters.kafka_writer import KafkaLogWriter
from chargeline.adapters.notifiers.channels import make_notifier
from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.alerts.alert import Alert
from chargeline.domain.alerts.routes import AlertsConfig, channels_of, read_alerts
from chargeline.domain.alerts.text import notification
from chargeline.notifier.metrics import NotifierMetrics
from chargeline.notifier.processor import TOPIC, Delivery
from chargeline.notifier.settings import NotifierSettings
from chargeline.runtime.loops import Loops
from chargeline.runtime.telemetry import Telemetry
from chargeline.wire.cost_anomalies import AnomalyDecoder


def build(settings: NotifierSettings, telemetry: Telemetry, environment: Mapping[str, str] = os.environ) -> Loops:
    """The notifier, connected and running: a channel that is dead holds up nobody else."""
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
    return Loops({each.channel: each for each in deliveries}, observer.failed)


def _is_for(channel: str, config: AlertsConfig) -> Callable[[Alert], bool]:
    return lambda alert: channel in channels_of(alert, config)
