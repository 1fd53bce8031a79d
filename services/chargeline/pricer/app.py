"""Builds the pricer from its settings; the only place of this service that makes adapters."""

import numpy as np
import pyarrow as pa

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader, KafkaTransactionalProducer
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.adapters.registry import SchemaRegistry
from chargeline.pricer.compute import Rules
from chargeline.pricer.processor import Limits, Pricer
from chargeline.pricer.settings import PricerSettings


def build(settings: PricerSettings) -> Pricer:
    """The pricer, connected. Making its producer fences an older process of the same slot."""
    pa.array(np.zeros(0))  # Arrow looks for pandas at its first NumPy array: a second that no unit shall wait for
    clock = SystemClock()
    reader = KafkaLogReader(settings.kafka)
    governance = GovernanceReader(reader, clock, max_clock_skew_ms=settings.max_clock_skew_ms)
    governance.refresh()
    topic = governance.chain.input_topic()
    password = settings.redis_password
    return Pricer(
        consumer=KafkaLogConsumer(
            settings.kafka,
            settings.pricer_group,
            session_timeout_ms=settings.pricer_session_timeout_ms,
            client_id=f"{settings.pricer_group}-{settings.pricer_slot}",
        ),
        producer=KafkaTransactionalProducer(settings.kafka, f"{settings.pricer_group}-{settings.pricer_slot}"),
        reader=reader,
        store=RedisStateStore(
            settings.redis_url,
            username=settings.redis_user,
            password=password.get_secret_value() if password else None,
        ),
        governance=governance,
        clock=clock,
        schema_of=SchemaRegistry(settings.registry).schema_of,
        rules=Rules(
            topic.partitions,
            settings.window_s * 1_000_000,
            settings.watermark_bound_s * 1_000_000,
            settings.future_bound_ms,
        ),
        limits=Limits(
            unit_records=settings.pricer_unit_records,
            poll_s=settings.pricer_poll_s,
            identities_max=settings.pricer_dedupe_max_ids,
            margin_ms=settings.governance_margin_ms,
        ),
    )
