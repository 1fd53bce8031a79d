"""What every store of spend keeps, the fake and the real Redis alike."""

import json
import time
from typing import Any

import pytest

from chargeline.adapters.memory_budgets import MemorySpendStore
from chargeline.adapters.redis_budgets import HEARTBEAT, RedisSpendStore, document_key
from chargeline.domain.budgets.spend import Cell, Spend, Totals
from chargeline.embedded.servers import Ports, Secrets, free_ports, redis_server
from chargeline.embedded.supervisor import Supervised
from chargeline.state_ports import ApplyOutcome, SpendDelta, SpendHead

SEARCH = Cell("acme", "search", None, 'é"1', "USD", 86_400_000_000)
ADS = Cell("acme", "ads", None, None, "EUR", 0)
HUGE = 10**37 + 1  # more than a number of Redis or Lua holds


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A real Redis of its own; it ends with the module."""
    data = tmp_path_factory.mktemp("redis")
    ports: Ports = free_ports()
    server = Supervised(redis_server(data, ports, Secrets("secret", "", "")), data)
    server.start()
    deadline = time.monotonic() + 20
    while not server.server.is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield server.server.address
    server.stop()


@pytest.fixture(params=["memory", "redis"])
def store(request):
    if request.param == "memory":
        yield MemorySpendStore()
        return
    real = RedisSpendStore(request.getfixturevalue("redis"), username="chargeline", password="secret")
    real._redis.flushall()
    yield real
    real.close()


def document_in(store, path) -> Any:
    if isinstance(store, MemorySpendStore):
        return store.documents.get(path)
    found = store._redis.get(document_key(path))
    return None if found is None else found.decode()


def delta(start, end, days=None, fives=None, complete_from=None):
    return SpendDelta(start, SpendHead(end, (end * 10, 3), complete_from), days or {}, fives or {})


def stored(store):
    head, spend = store.load(0)
    return head, dict(spend.days.items()), dict(spend.fives.items())


def test_nothing_is_stored_at_first(store):
    assert store.load(0) is None
    assert store.apply(0, delta(3, 5)) is ApplyOutcome.BEHIND
    assert store.load(0) is None


def test_totals_of_any_size_come_back_as_they_were(store):
    assert store.apply(0, delta(None, 5, {SEARCH: HUGE, ADS: -1}, {ADS: 0}, complete_from=-7)) is ApplyOutcome.APPLIED
    assert stored(store) == (SpendHead(5, (50, 3), -7), {SEARCH: HUGE, ADS: -1}, {ADS: 0})
    assert store.load(0)[1].mark == (50, 3)


def test_a_step_counts_once_and_only_where_the_last_one_ended(store):
    assert store.apply(0, delta(None, 5, {ADS: 1})) is ApplyOutcome.APPLIED
    assert store.apply(0, delta(None, 5, {ADS: 2})) is ApplyOutcome.AHEAD
    assert store.apply(0, delta(5, 8, {ADS: 3})) is ApplyOutcome.APPLIED
    assert store.apply(0, delta(5, 8, {ADS: 4})) is ApplyOutcome.AHEAD
    assert store.apply(0, delta(9, 12, {ADS: 5})) is ApplyOutcome.BEHIND
    assert stored(store) == (SpendHead(8, (80, 3)), {ADS: 3}, {})


def test_a_cell_that_is_gone_is_forgotten(store):
    store.apply(0, delta(None, 5, {ADS: 1, SEARCH: 2}, {ADS: 1}))
    store.apply(0, delta(5, 6, {ADS: None}, {ADS: None}))
    assert stored(store) == (SpendHead(6, (60, 3)), {SEARCH: 2}, {})


def test_a_snapshot_takes_the_place_of_everything(store):
    store.apply(0, delta(None, 5, {ADS: 1}, {ADS: 1}))
    store.replace(0, SpendHead(2, (1, 0)), Spend((1, 0), None, Totals({SEARCH: 7}), Totals()))
    assert stored(store) == (SpendHead(2, (1, 0)), {SEARCH: 7}, {})


def test_partitions_do_not_touch_each_other(store):
    store.apply(0, delta(None, 5, {ADS: 1}))
    assert store.load(1) is None
    store.publish(0, {"acme": '{"next_offset":1}'}, 1)
    store.publish(1, {"beta": '{"next_offset":1}'}, 1)
    store.publish(1, {}, 2)
    assert document_in(store, "acme") is not None
    assert document_in(store, "beta") is None


def test_a_document_is_never_replaced_by_an_older_one(store):
    store.publish(0, {"acme": '{"next_offset":5,"spent":"5"}'}, 5)
    store.publish(0, {"acme": '{"next_offset":4,"spent":"4"}'}, 4)
    assert json.loads(document_in(store, "acme"))["spent"] == "5"
    store.publish(0, {"acme": '{"next_offset":5,"spent":"6"}'}, 5)
    assert json.loads(document_in(store, "acme"))["spent"] == "6"


def test_what_was_told_is_kept_until_it_is_forgotten(store):
    store.tell(0, {"a": "1", "b": "2"})
    store.tell(0, {"a": None, "b": "3"})
    store.tell(0, {})
    assert store.told(0) == {"b": "3"}
    assert store.told(1) == {}


def test_the_heartbeat_is_what_gates_read(store: Any):
    store.beat(1_780_272_000_000_000)
    text: Any = store.heartbeat if isinstance(store, MemorySpendStore) else store._redis.get(HEARTBEAT)
    assert json.loads(text) == {"updated_at": "2026-06-01T00:00:00Z"}
