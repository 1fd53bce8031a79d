"""What every warehouse keeps, the fake and the real ClickHouse alike: a block counts once under its token."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pyarrow as pa
import pytest

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.memory_warehouse import MemoryWarehouse
from chargeline.domain.errors import Fault, TransientError
from chargeline.runtime.stack import load_stack
from tests.support.containers import clickhouse_container

TABLE = "contract_blocks"
DDL = f"""CREATE OR REPLACE TABLE {TABLE} (log_topic LowCardinality(String), log_partition Int32, log_offset Int64,
amount Decimal(38, 12)) ENGINE = MergeTree ORDER BY log_offset SETTINGS non_replicated_deduplication_window = 100000"""


@pytest.fixture(scope="module")
def embedded(stack):
    where = load_stack(str(stack))
    real = ClickHouse(where.clickhouse_url, where.clickhouse_user, where.clickhouse_password)
    yield real
    real.command(f"DROP TABLE IF EXISTS {TABLE}")
    real.close()


@pytest.fixture(scope="module")
def container(docker):
    with clickhouse_container() as url:
        real = ClickHouse(url, "chargeline", "secret")
        yield real
        real.close()


@pytest.fixture(params=["memory", pytest.param("embedded", marks=pytest.mark.stack), "container"])
def warehouse(request):
    if request.param == "memory":
        return MemoryWarehouse()
    real = request.getfixturevalue(request.param)
    real.command(DDL)
    return real


@pytest.fixture(params=[pytest.param("embedded", marks=pytest.mark.stack), "container"])
def real(request):
    found = request.getfixturevalue(request.param)
    found.command(DDL)
    return found


def block(offset, *, topic="charges", partition=0, rows=5, amount="0.000000000001"):
    return pa.table(
        {
            "log_topic": pa.array([topic] * rows),
            "log_partition": pa.array([partition] * rows, pa.int32()),
            "log_offset": pa.array([offset] * rows, pa.int64()),
            "amount": pa.array([Decimal(amount)] * rows, pa.decimal128(38, 12)),
        }
    )


def count(warehouse):
    if isinstance(warehouse, MemoryWarehouse):
        return warehouse.rows(TABLE)
    return warehouse.query(f"SELECT count() AS n FROM {TABLE}").to_pylist()[0]["n"]


def token():
    return f"charges/0/{uuid.uuid4()}"


def test_a_block_is_inserted_once_under_its_token(warehouse):
    one, other = token(), token()
    for _ in range(3):
        warehouse.insert(TABLE, block(7), one)
    assert count(warehouse) == 5
    warehouse.insert(TABLE, block(8), other)
    warehouse.insert(TABLE, block(7), one)
    assert count(warehouse) == 10


def test_equal_blocks_under_two_tokens_are_two_blocks(warehouse):
    warehouse.insert(TABLE, block(7), token())
    warehouse.insert(TABLE, block(7), token())
    assert count(warehouse) == 10


def test_the_stored_maximum_is_by_topic_and_partition(warehouse):
    assert warehouse.stored_maximum(TABLE, "charges") == {}
    for offset, topic, partition in ((7, "charges", 0), (3, "charges", 0), (9, "charges", 4), (50, "other", 0)):
        warehouse.insert(TABLE, block(offset, topic=topic, partition=partition), token())
    assert warehouse.stored_maximum(TABLE, "charges") == {0: 7, 4: 9}
    assert warehouse.stored_maximum(TABLE, "other") == {0: 50}
    assert warehouse.stored_maximum(TABLE, "none") == {}


def test_a_token_that_arrives_twice_at_the_same_moment_counts_once(real, stack):
    where = real._url, real._user, real._password
    same, rows = token(), block(7, rows=2000)

    def send(_):
        client = ClickHouse(*where)  # one connection is not to be shared by threads
        client.insert(TABLE, rows, same)
        client.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(send, range(8)))
    assert count(real) == 2000


def test_amounts_and_parameters_come_back_exactly(real):
    real.insert(TABLE, block(7, rows=1, amount="12345678901234567890123456.123456789012"), token())
    real.insert(TABLE, block(8, rows=1, amount="-0.000000000001"), token())
    sql = f"SELECT amount FROM {TABLE} WHERE log_offset = {{o:Int64}} AND log_topic = {{t:String}}"
    found = [real.query(sql, {"o": offset, "t": "charges"}).to_pylist() for offset in (7, 8, 9)]
    assert found == [
        [{"amount": Decimal("12345678901234567890123456.123456789012")}],
        [{"amount": Decimal("-0.000000000001")}],
        [],
    ]


def test_what_waiting_cannot_mend_is_a_fault(real):
    with pytest.raises(Fault):
        real.query("SELECT no_such_column FROM contract_blocks")
    with pytest.raises(Fault):
        real.insert("no_such_table", block(1), token())


def test_a_warehouse_that_is_away_is_transient():
    away = ClickHouse("http://127.0.0.1:1", "chargeline", "secret")
    with pytest.raises(TransientError):
        away.insert(TABLE, block(1), token())


def test_half_a_block_is_made_whole_by_sending_it_again():
    fake = MemoryWarehouse()
    same = token()
    fake.half = True
    with pytest.raises(TransientError):
        fake.insert(TABLE, block(7, rows=5), same)
    assert count(fake) == 2
    fake.insert(TABLE, block(7, rows=5), same)
    assert count(fake) == 5
