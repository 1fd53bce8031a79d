"""The sink on the fakes: each message once, whatever breaks."""

import pyarrow as pa
import pytest

from chargeline.adapters.memory import FakeClock, MemoryLog, MemoryLogConsumer
from chargeline.adapters.memory_warehouse import MemoryWarehouse
from chargeline.domain.errors import Fault, TransientError
from chargeline.sink.processor import TopicSink
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

TOPIC = "cost-rollups"


def world(messages=3, rows=4):
    log = MemoryLog(FakeClock(1_700_000_000_000), {TOPIC: 1})
    for number in range(messages):
        header = UnitHeader(0, number * 10, number * 10 + 10, 0, 1, {}, None, 5, 0)
        table = pa.table({"billed_cost": pa.array(range(number * rows, number * rows + rows))})
        log.append(TOPIC, 0, b"0", encode(table)[0], header.encode())
    return log, MemoryWarehouse()


def sink(log, warehouse):
    return TopicSink(TOPIC, MemoryLogConsumer(log, "sinks"), warehouse, log.clock)


def drain(topic_sink):
    for _ in range(8):  # the first step only joins the group
        topic_sink.step()


def test_every_message_is_one_block_under_the_token_of_its_place():
    log, warehouse = world()
    drain(sink(log, warehouse))
    assert [token for _, token in warehouse.tokens] == [f"{TOPIC}/0/{offset}" for offset in range(3)]
    assert warehouse.rows("cost_rollups") == 12
    assert log.groups["sinks"].committed == {0: 3}


def test_a_restart_sends_the_last_stored_message_again_which_completes_a_block_that_broke():
    log, warehouse = world()
    first = sink(log, warehouse)

    def die(point):
        warehouse.half = point == "insert.before" and len(warehouse.tokens) == 2
        if point == "insert.before" and len(warehouse.tokens) == 3:
            raise KeyboardInterrupt

    warehouse.faults = die
    with pytest.raises(KeyboardInterrupt):
        drain(first)
    assert warehouse.rows("cost_rollups") == 10  # half of the last block
    first.close()
    warehouse.faults = lambda _: None
    drain(sink(log, warehouse))
    assert warehouse.rows("cost_rollups") == 12


def test_an_acknowledged_block_is_never_sent_again():
    log, warehouse = world()
    drain(sink(log, warehouse))
    log.groups["sinks"].members.clear()
    sent: list[str] = []
    warehouse.faults = sent.append
    drain(sink(log, warehouse))
    assert sent == []


def test_an_insert_is_repeated_with_its_token_until_it_is_acknowledged():
    log, warehouse = world(messages=1)
    failures = iter([TransientError("away"), TransientError("away"), None])
    tried = []

    def fail(point):
        if point == "insert.before":
            tried.append(point)
            problem = next(failures)
            if problem is not None:
                raise problem

    warehouse.faults = fail
    drain(sink(log, warehouse))
    assert len(tried) == 3
    assert warehouse.rows("cost_rollups") == 4


def test_an_insert_in_hand_is_dropped_when_the_partition_has_moved():
    log, warehouse = world(messages=1)
    first = sink(log, warehouse)

    def moved(point):
        if point == "insert.before":
            log.join("sinks", TOPIC)
            log.groups["sinks"].members = {n: [] for n in log.groups["sinks"].members}
            warehouse.faults = lambda _: None
            raise TransientError("away")

    warehouse.faults = moved
    drain(first)
    assert warehouse.rows("cost_rollups") == 0
    assert log.groups["sinks"].committed == {}


def test_a_table_ahead_of_the_log_is_refused_with_what_to_do():
    log, warehouse = world(messages=5)
    drain(sink(log, warehouse))
    fresh, _ = world(messages=1)
    with pytest.raises(Fault, match="wiped"):
        drain(sink(fresh, warehouse))


def test_a_partition_that_moved_away_during_an_outage_and_came_back_goes_on():
    log, warehouse = world(messages=1)
    first = sink(log, warehouse)

    def moved(point):
        if point == "insert.before":
            other = log.join("sinks", TOPIC)
            log.groups["sinks"].members = {n: [0] if n == other else [] for n in log.groups["sinks"].members}
            warehouse.faults = lambda _: None
            raise TransientError("away")

    warehouse.faults = moved
    drain(first)
    assert warehouse.rows("cost_rollups") == 0
    for member in list(log.groups["sinks"].members)[1:]:
        log.leave("sinks", TOPIC, member)
    drain(first)
    assert warehouse.rows("cost_rollups") == 4
