"""The sink on the fakes: each message once, whatever breaks.

Inserts run in threads; a step starts or takes back an insert, so every test steps until what it waits for is true.
"""

import random
import threading

import pyarrow as pa
import pytest

from chargeline.adapters.memory import FakeClock, MemoryLog, MemoryLogConsumer
from chargeline.adapters.memory_warehouse import MemoryWarehouse
from chargeline.domain.errors import Fault, TransientError
from chargeline.sink.processor import TopicSink
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

TOPIC = "cost-rollups"
STEPS = 2_000


class Killed(BaseException):
    """SIGKILL, as far as the process itself can tell."""


def world(messages=3, rows=4, partitions=1):
    log = MemoryLog(FakeClock(1_700_000_000_000), {TOPIC: partitions})
    for number in range(messages):
        header = UnitHeader(0, number * 10, number * 10 + 10, 0, 1, {}, None, 5, 0)
        table = pa.table({"billed_cost": pa.array(range(number * rows, number * rows + rows))})
        log.append(TOPIC, number % partitions, b"0", encode(table)[0], header.encode())
    return log, MemoryWarehouse(log.clock)


def sink(log, warehouse, faults=lambda _: None):
    return TopicSink(TOPIC, MemoryLogConsumer(log, "sinks", faults), lambda: warehouse, log.clock)


def step_until(topic_sink, condition):
    for _ in range(STEPS):
        if condition():
            return
        topic_sink.step()
    message = f"not true after {STEPS} steps"
    raise AssertionError(message)


def drain(topic_sink):
    """Until everything is acknowledged."""
    log = topic_sink.consumer._log
    step_until(topic_sink, lambda: committed(log) == ends(log))


def tokens_of(warehouse):
    return [token for _, token in warehouse.tokens]


def committed(log):
    return log.groups["sinks"].committed if "sinks" in log.groups else {}


def ends(log):
    return {p: len(log.logs[TOPIC, p]) for p in range(log.counts[TOPIC]) if log.logs[TOPIC, p]}


def kill(log, topic_sink):
    """The broker forgets the member; the process writes nothing more."""
    log.groups["sinks"].members.pop(topic_sink.consumer.member)
    log.rebalance("sinks", TOPIC)


def test_every_message_is_one_block_under_the_token_of_its_place():
    log, warehouse = world()
    drain(sink(log, warehouse))
    assert tokens_of(warehouse) == [f"{TOPIC}/0/{offset}" for offset in range(3)]
    assert warehouse.rows("cost_rollups") == 12
    assert committed(log) == {0: 3}


def test_a_row_carries_its_place_and_the_end_of_its_unit():
    log, warehouse = world()
    drain(sink(log, warehouse))
    rows = warehouse.tables["cost_rollups"][1]
    places = rows.select(["log_topic", "log_partition", "log_offset", "unit_end"]).to_pylist()
    assert places == [{"log_topic": TOPIC, "log_partition": 0, "log_offset": 1, "unit_end": 20}] * 4


def test_a_unit_without_rows_is_passed_over():
    log, warehouse = world(messages=1)
    header = UnitHeader(0, 10, 20, 0, 1, {}, None, 5, 0)
    log.append(TOPIC, 0, b"0", encode(pa.table({"billed_cost": pa.array([], pa.int64())}))[0], header.encode())
    drain(sink(log, warehouse))
    assert tokens_of(warehouse) == [f"{TOPIC}/0/0"]


def test_partitions_are_inserted_side_by_side_and_each_of_them_in_order():
    log, warehouse = world(messages=6, partitions=2)
    together = threading.Barrier(2, timeout=30)
    meetings: list[str] = []

    def meet(point):
        if point == "insert.before" and not meetings:
            together.wait()  # passes only if both partitions have an insert in flight
            meetings.append(point)

    warehouse.faults = meet
    drain(sink(log, warehouse))
    assert meetings
    for partition in (0, 1):
        tokens = [token for token in tokens_of(warehouse) if token.startswith(f"{TOPIC}/{partition}/")]
        assert tokens == [f"{TOPIC}/{partition}/{offset}" for offset in range(3)]


def test_a_restart_sends_the_last_stored_message_again_which_completes_a_block_that_broke():
    log, warehouse = world()
    first = sink(log, warehouse)

    def die(point):
        warehouse.half = point == "insert.before" and len(warehouse.tokens) == 2
        if point == "insert.before" and len(warehouse.tokens) == 3:
            raise Killed

    warehouse.faults = die
    with pytest.raises(Killed):
        step_until(first, lambda: False)
    assert warehouse.rows("cost_rollups") == 10  # half of the last block
    kill(log, first)
    warehouse.faults = lambda _: None
    drain(sink(log, warehouse))
    assert warehouse.rows("cost_rollups") == 12


def test_an_acknowledged_block_is_never_sent_again():
    log, warehouse = world()
    first = sink(log, warehouse)
    drain(first)
    kill(log, first)
    sent: list[str] = []
    warehouse.faults = sent.append
    second = sink(log, warehouse)
    log.append(TOPIC, 0, b"0", encode(pa.table({"billed_cost": [1]}))[0], log.logs[TOPIC, 0][0].record.headers)
    drain(second)
    assert sent == ["insert.before", "insert.after"]


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
    tried = []

    def moved(point):
        if point == "insert.before":
            tried.append(point)
            log.join("sinks", TOPIC)
            log.groups["sinks"].members = {n: [] for n in log.groups["sinks"].members}
            raise TransientError("away")

    warehouse.faults = moved
    first = sink(log, warehouse)
    step_until(first, lambda: tried)
    for _ in range(20):
        first.step()
    assert len(tried) == 1
    assert warehouse.rows("cost_rollups") == 0
    assert committed(log) == {}


def test_a_sink_that_was_stopped_with_an_insert_in_hand_writes_only_what_is_there_already():
    log, warehouse = world(messages=3)
    stopped, woken = threading.Event(), threading.Event()
    tokens: list[str] = []

    class Pausing(MemoryWarehouse):
        """SIGSTOP at the second insert of the first sink."""

        def insert(self, table, rows, token):
            tokens.append(token)
            if len(tokens) == 2:
                stopped.set()
                assert woken.wait(60)
            warehouse.insert(table, rows, token)

        def stored_maximum(self, table, topic):
            return warehouse.stored_maximum(table, topic)

    first = sink(log, Pausing())
    step_until(first, stopped.is_set)
    kill(log, first)
    drain(sink(log, warehouse))
    woken.set()
    step_until(first, lambda: not first.step())
    assert tokens == [f"{TOPIC}/0/0", f"{TOPIC}/0/1"]  # nothing after the one in hand
    assert warehouse.rows("cost_rollups") == 12
    assert committed(log) == {0: 3}


@pytest.mark.parametrize("seed", range(60))
def test_a_sink_killed_at_random_moments_loses_and_doubles_nothing(seed):
    chance = random.Random(seed)
    log, warehouse = world(messages=12, rows=3, partitions=2)
    deaths = 0

    def perhaps(_point):
        nonlocal deaths
        if deaths < 5 and chance.random() < 0.15:
            deaths += 1
            raise Killed

    while committed(log) != ends(log):
        warehouse.faults = perhaps
        life = sink(log, warehouse, perhaps)
        try:
            step_until(life, lambda: committed(log) == ends(log))
        except Killed:
            warehouse.half = chance.random() < 0.3
            kill(log, life)
    assert deaths
    assert warehouse.rows("cost_rollups") == 36
    assert sorted(tokens_of(warehouse)) == [f"{TOPIC}/{p}/{offset}" for p in (0, 1) for offset in range(6)]


@pytest.mark.parametrize("seed", range(60))
def test_a_warehouse_killed_under_load_loses_and_doubles_nothing(seed):
    chance = random.Random(seed)
    log, warehouse = world(messages=12, rows=3, partitions=2)
    acknowledged = {0: 0, 1: 0}

    def away(point):
        draw = chance.random()
        if draw < 0.1:
            warehouse.half = True
        if draw < 0.4:
            raise TransientError(f"killed at {point}")

    warehouse.faults = away
    topic_sink = sink(log, warehouse)

    def done():
        for partition, offset in committed(log).items():
            assert offset >= acknowledged[partition]
            acknowledged[partition] = offset
            stored = [warehouse.tokens["cost_rollups", f"{TOPIC}/{partition}/{n}"].rows for n in range(offset)]
            assert stored == [3] * offset  # what Kafka was told is whole in the table
        return committed(log) == ends(log)

    step_until(topic_sink, done)
    assert warehouse.rows("cost_rollups") == 36


def test_a_table_ahead_of_the_log_is_refused_with_what_to_do():
    log, warehouse = world(messages=5)
    drain(sink(log, warehouse))
    fresh, _ = world(messages=1)
    with pytest.raises(Fault, match="wiped"):
        step_until(sink(fresh, warehouse), lambda: False)


def test_a_partition_that_moved_away_during_an_outage_and_came_back_goes_on():
    log, warehouse = world(messages=1)
    moved = []

    def move(point):
        if point == "insert.before":
            other = log.join("sinks", TOPIC)
            log.groups["sinks"].members = {n: [0] if n == other else [] for n in log.groups["sinks"].members}
            moved.append(other)
            warehouse.faults = lambda _: None
            raise TransientError("away")

    warehouse.faults = move
    first = sink(log, warehouse)
    step_until(first, lambda: moved)
    for _ in range(20):
        first.step()
    assert warehouse.rows("cost_rollups") == 0
    log.leave("sinks", TOPIC, moved[0])
    drain(first)
    assert warehouse.rows("cost_rollups") == 4


def test_a_message_that_is_not_ours_stops_the_sink_and_names_its_place():
    log, warehouse = world(messages=1)
    log.append(TOPIC, 0, None, b"garbage")
    with pytest.raises(Fault, match=f"{TOPIC}/0/1"):
        step_until(sink(log, warehouse), lambda: False)
    assert committed(log) == {0: 1}
