"""Builds the pricer from its settings; the only place of this service that makes adapters."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from chargeline.adapters.charge_archive import ClickHouseArchive
from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader
from chargeline.adapters.kafka_producer import KafkaTransactionalProducer
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.accounts import Accounts
from chargeline.domain.collector import kept_for_good
from chargeline.domain.identities import STORED, Identities, Keys
from chargeline.domain.rates.book import RateBook
from chargeline.domain.rating.rate_table import RateTable
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Rules, book, prepare
from chargeline.pricer.intake import INPUT, Limits
from chargeline.pricer.metrics import PricerMetrics
from chargeline.pricer.processor import Pricer
from chargeline.pricer.settings import PricerSettings
from chargeline.runtime.telemetry import Telemetry

_YIELDS_S = 0.00005
T = TypeVar("T")


def build(settings: PricerSettings, telemetry: Telemetry) -> Pricer:
    """The pricer, connected. Making its producer fences an older process of the same slot."""
    with kept_for_good():
        warm_up()
    clock = SystemClock()
    reader = KafkaLogReader(settings.kafka)
    ahead = ThreadPoolExecutor(1, "facts")  # one: a table is made after the facts that it waits for
    governance = GovernanceReader(
        reader,
        clock,
        max_clock_skew_ms=settings.max_clock_skew_ms,
        reading=lambda reading: ahead.submit(_yielding, reading).result,
    )
    governance.refresh()
    topic = governance.chain.input_topic()
    password = settings.redis_password
    store = RedisStateStore(
        settings.redis_url,
        username=settings.redis_user,
        password=password.get_secret_value() if password else None,
    )
    registry = SchemaRegistry(settings.registry)
    asker = KafkaLogReader(settings.kafka)  # of its own: the pricer's is busy while it recovers

    def look() -> None:
        asker.partitions(INPUT)
        telemetry.lag.measure(lambda topic, each: asker.bounds(topic, each)[1], clock.now_ms)

    telemetry.watch({"kafka": look, "redis": store.ping, "registry": registry.ping})
    return Pricer(
        consumer=KafkaLogConsumer(
            settings.kafka,
            settings.pricer_group,
            session_timeout_ms=settings.pricer_session_timeout_ms,
            client_id=f"{settings.pricer_group}-{settings.pricer_slot}",
        ),
        producer=KafkaTransactionalProducer(settings.kafka, f"{settings.pricer_group}-{settings.pricer_slot}"),
        reader=reader,
        store=store,
        governance=governance,
        clock=clock,
        schema_of=registry.schema_of,
        rules=Rules(
            topic.partitions,
            settings.window_s * 1_000_000,
            settings.watermark_bound_s * 1_000_000,
            settings.future_bound_ms,
            accounts_required=settings.accounts_required,
            control_sources=frozenset(settings.control_sources.split(",")),
            close_rows_max=settings.pricer_close_rows_max,
        ),
        limits=Limits(
            unit_records=settings.pricer_unit_records,
            poll_s=settings.pricer_poll_s,
            identities_max=settings.pricer_dedupe_max_ids,
            margin_ms=settings.governance_margin_ms,
        ),
        observer=PricerMetrics(telemetry, clock),
        archive=ClickHouseArchive(
            ClickHouse(
                settings.clickhouse_url, settings.clickhouse_user, settings.clickhouse_password.get_secret_value()
            )
        ),
        run_commit=ThreadPoolExecutor(1, "commit").submit,
        make_ahead=lambda making: ahead.submit(_yielding, making),
    )


def warm_up() -> None:
    """Take an empty unit: Arrow looks for its friends, and functions are compiled (domain/columns/compiled.py).

    That is about a second, and ten at the very first start, which no unit shall wait for.
    """
    none = np.zeros(0, np.int64)
    batch = LogBatch(INPUT, 0, none, none, [], 0)
    rules = Rules(partitions=1, window_us=1, watermark_bound_us=0, future_bound_ms=0)
    table = RateTable(RateBook([], margin_ms=0, future_bound_ms=0), Accounts())
    known = Identities()
    known.add(Keys.from_stored(bytes(STORED.itemsize)))
    known.find(known.keys())
    book(batch, prepare(batch, table, rules, lambda _: None), known=known, watermark=None, rules=rules)


def _yielding(call: Callable[[], T]) -> T:
    """Make a long call in pure Python beside the loop, which gets the interpreter back whenever it asks for it.

    With the usual 5 ms each of the loop's many array operations may wait as long, and a unit takes five times its time.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_YIELDS_S)
    try:
        with kept_for_good():
            return call()
    finally:
        sys.setswitchinterval(before)
