"""Builds the budgets service from its settings; the only place of this service that makes adapters."""

from collections.abc import Mapping

import numpy as np

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader
from chargeline.adapters.kafka_writer import KafkaLogWriter
from chargeline.adapters.redis_budgets import RedisSpendStore
from chargeline.adapters.registry import SchemaRegistry
from chargeline.budgets.metrics import BudgetsMetrics
from chargeline.budgets.processor import ALERTS, TOPIC, BudgetKeeper
from chargeline.budgets.settings import BudgetsSettings
from chargeline.domain.alerts.alert import Alert
from chargeline.domain.budgets.budget import Budget, valid_budgets
from chargeline.domain.errors import TransientError
from chargeline.runtime.telemetry import Telemetry
from chargeline.sdk.partitioner import partition_of
from chargeline.wire.cost_anomalies import encode_budget_alert

_SUBJECT = f"{ALERTS}-value"


def build(settings: BudgetsSettings, telemetry: Telemetry) -> BudgetKeeper:
    """The service, connected and subscribed."""
    clock = SystemClock()
    reader = KafkaLogReader(settings.kafka)
    registry = SchemaRegistry(settings.registry)
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    store = RedisSpendStore(settings.redis_url, username=settings.redis_user, password=password)
    governance = GovernanceReader(reader, clock, max_clock_skew_ms=settings.max_clock_skew_ms)
    partitions = reader.partitions(TOPIC)
    schema_ids: list[int] = []

    def budgets(now: int) -> Mapping[str, Budget]:
        governance.refresh()
        seen = governance.chain.visible_count(np.array([now // 1000], np.int64), settings.governance_margin_ms)
        return valid_budgets(governance.chain.budgets(int(seen[0])), now)

    def encode(alert: Alert, partition: int) -> bytes:
        if not schema_ids:
            number = registry.id_of(_SUBJECT)
            if number is None:
                raise TransientError(f"{_SUBJECT} is not in the schema registry yet")
            schema_ids.append(number)
        return encode_budget_alert(alert, partition, schema_ids[0])

    def look() -> None:
        telemetry.lag.measure(lambda topic, partition: reader.bounds(topic, partition)[1], clock.now_ms)

    telemetry.watch({"kafka": look, "redis": store.ping, "registry": registry.ping})
    return BudgetKeeper(
        consumer=KafkaLogConsumer(
            settings.kafka, settings.budgets_group, session_timeout_ms=settings.budgets_session_timeout_ms
        ),
        store=store,
        alerts=KafkaLogWriter(settings.kafka),
        budgets=budgets,
        partition_of=lambda account: partition_of(account, partitions),
        encode=encode,
        clock=clock,
        future_bound_ms=settings.future_bound_ms,
        messages=settings.budgets_messages,
        every_ms=settings.budgets_every_ms,
        observer=BudgetsMetrics(telemetry, clock),
    )
