"""Parts of the state are lost while others are kept: a refusal that says what to do, or going on exactly."""

import shutil
from pathlib import Path

import pytest
import redis
from confluent_kafka.admin import AdminClient

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka import COMMON
from chargeline.runtime.stack import load_stack
from chargeline.sink.processor import TABLES
from tests.support.stack import (
    assert_billed,
    chargeline,
    committed,
    ends,
    generated,
    rows,
    running_stack,
    service,
    verified,
    wait_until,
)

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.timeout(600)]
CARD = "examples/rates/openai.yaml"
PRICER, SINK = ("-m", "chargeline.pricer"), ("-m", "chargeline.sink")


def forget_groups(data):
    """What the broker does after a week without members: the groups and their offsets are gone."""
    admin = AdminClient({**COMMON, "bootstrap.servers": load_stack(str(data)).kafka})
    groups = [each.group_id for each in admin.list_consumer_groups().result(10).valid
              if each.group_id.startswith("chargeline-") and "reader" not in each.group_id]  # fmt: skip
    assert len(groups) == 1 + len(TABLES)
    for deleted in admin.delete_consumer_groups(groups).values():
        deleted.result(10)


def test_without_group_offsets_it_goes_on_exactly_where_it_was(tmp_path):
    with running_stack(tmp_path / "data", "--no-services") as data:
        with service(data, *PRICER), service(data, *SINK):
            chargeline(data, "rates", "publish", CARD)
            _, first = generated(data, 21, 3000, "--duplicates", "0.05")
            before = committed(data)
        forget_groups(data)
        with service(data, *PRICER) as pricer, service(data, *SINK):
            for partition, offset in before.items():
                wait_until(lambda p=partition, o=offset: ready_at(pricer, p, o), f"partition {partition} goes on")
            assert_billed(data, 21, first)
            _, second = generated(data, 22, 3000)
            assert_billed(data, 22, second)
            verified(data)
            assert_billed(data, 21, first)


def ready_at(pricer, partition, offset):
    return pricer.said(f'"partition": {partition}, "next_offset": {offset}, ')


def test_kafka_wiped_under_kept_tables_and_redis_is_refused_with_what_to_do(tmp_path):
    data = tmp_path / "data"
    with running_stack(data, "--no-services"), service(data, *PRICER), service(data, *SINK):
        chargeline(data, "rates", "publish", CARD)
        generated(data, 31, 500)
    shutil.rmtree(Path(data) / "kafka" / "data")
    with running_stack(data, "--no-services"):
        stored = rows(data, "SELECT count() AS n FROM charges")
        with service(data, *PRICER) as pricer:
            wait_until(pricer.ended, "the pricer refuses")
            assert pricer.said("Redis is ahead of Kafka")
            assert pricer.said("flush the keys")
        with service(data, *SINK) as sink:
            wait_until(sink.ended, "the sink refuses")
            assert sink.said("Was Kafka wiped and ClickHouse kept? Then drop the tables, or restore the topics")
        assert rows(data, "SELECT count() AS n FROM charges") == stored
        assert set(ends(data, "charges").values()) == {0}
        do_as_told(data)
        with service(data, *PRICER), service(data, *SINK):
            chargeline(data, "rates", "publish", CARD)
            _, expected = generated(data, 32, 500)
            assert_billed(data, 32, expected)
            verified(data)


def do_as_told(data):
    where = load_stack(str(data))
    with redis.Redis.from_url(where.redis_url, username=where.redis_user, password=where.redis_password) as store:
        store.flushall()
    warehouse = ClickHouse(where.clickhouse_url, where.clickhouse_user, where.clickhouse_password)
    for table in ("charges", "cost_rollups", "performance_rollups", "dead_letters"):
        warehouse.command(f"TRUNCATE TABLE {table}")
    warehouse.close()
