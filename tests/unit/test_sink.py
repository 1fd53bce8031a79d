"""The sink on the fakes: each row once, in one block for each unit, whatever breaks.

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


def world(units=3, rows=4, partitions=1, slices=1):
    """`units` units in turn on the partitions, each of `rows` rows in as many messages as said."""
    log = MemoryLog(FakeClock(1_700_000_000_000), {TOPIC: partitions})
    for number in range(units):
        append(log, number, range(slices), slices, rows, number % partitions)
    return log, MemoryWarehouse(log.clock)


def append(log, number, indexes, slices, rows=4, partition=0):
    """Some slices of the unit that consumed offsets [10 number, 10 number + 10)."""
    header = UnitHeader(0, number * 10, number * 10 + 10, 0, 1, {}, None, 5, 0)
    for index in indexes:
        numbers = range(number * rows + index * rows // slices, number * rows + (index + 1) * rows // slices)
        # Every slice has a dictionary of its own.
        table = pa.table({"billed_cost": numbers, "team": pa.array([f"t{n}" for n in numbers]).dictionary_encode()})
        log.append(TOPIC, partition, b"0", encode(table)[0], header.slice(index, slices).encode())


def sink(log, warehouse, faults=lambda _: None, messages=128):
    return TopicSink(TOPIC, MemoryLogConsumer(log, "sinks", faults), lambda: warehouse, log.clock, messages)


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


def test_a_full_queue_lets_the_log_wait():
    log, warehouse = world(units=40)
    gate, begun = threading.Event(), threading.Event()
    insert = warehouse.insert

    def slow(*arguments):
        begun.set()
        assert gate.wait(10)
        insert(*arguments)

    warehouse.insert = slow
    one = sink(log, warehouse, messages=6)
    step_until(one, begun.is_set)
    for _ in range(30):
        one.step()
        assert sum(map(len, one._waiting.values())) <= 6
    gate.set()
    drain(one)
    assert warehouse.rows("cost_rollups") == 160


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("messages", [1, 2, 128])  # where a poll ends changes nothing
def test_a_unit_is_one_block_under_the_token_of_its_first_slice(slices, messages):
    log, warehouse = world(slices=slices)
    drain(sink(log, warehouse, messages=messages))
    assert tokens_of(warehouse) == [f"{TOPIC}/0/{unit * slices}" for unit in range(3)]
    blocks = [block.select(["billed_cost", "team"]).to_pylist() for block in warehouse.tables["cost_rollups"]]
    assert blocks == [[{"billed_cost": n, "team": f"t{n}"} for n in range(u * 4, u * 4 + 4)] for u in range(3)]
    assert committed(log) == {0: 3 * slices}


def test_a_row_carries_the_place_of_its_units_first_slice_and_the_end_of_its_unit():
    log, warehouse = world(slices=2)
    drain(sink(log, warehouse))
    rows = warehouse.tables["cost_rollups"][1]
    places = rows.select(["log_topic", "log_partition", "log_offset", "unit_end"]).to_pylist()
    assert places == [{"log_topic": TOPIC, "log_partition": 0, "log_offset": 2, "unit_end": 20}] * 4


def test_an_incomplete_unit_waits_for_its_rest():
    log, warehouse = world(units=1, slices=3)
    append(log, 1, [0, 1], 3)
    topic_sink = sink(log, warehouse)
    step_until(topic_sink, lambda: committed(log) == {0: 3})
    for _ in range(20):
        topic_sink.step()
    assert tokens_of(warehouse) == [f"{TOPIC}/0/0"]
    append(log, 1, [2], 3)
    drain(topic_sink)
    assert tokens_of(warehouse) == [f"{TOPIC}/0/0", f"{TOPIC}/0/3"]
    assert warehouse.rows("cost_rollups") == 8


def test_an_incomplete_unit_is_not_taken_for_the_end_of_the_topic():
    log, warehouse = world(units=0)
    append(log, 0, [0], 2)
    topic_sink = sink(log, warehouse)
    topic_sink.step()  # the assignment
    assert [topic_sink.step() for _ in range(3)] == [True] * 3
    append(log, 0, [1], 2)
    drain(topic_sink)
    assert topic_sink.step() is False


@pytest.mark.parametrize("indexes", [[0, 2], [0, 0], [0, 1, 1]])
def test_slices_that_do_not_continue_stop_the_sink_before_any_of_them_is_stored(indexes):
    log, warehouse = world(units=1)
    append(log, 1, indexes, 3)
    with pytest.raises(Fault, match=f"{TOPIC}/0/1.*slice {len(indexes) - 1} of 3.*ends at 20 is missing"):
        step_until(sink(log, warehouse), lambda: False)
    assert tokens_of(warehouse) == [f"{TOPIC}/0/0"]


def test_slices_of_another_unit_do_not_complete_one():
    log, warehouse = world(units=0)
    append(log, 0, [0], 2)
    append(log, 1, [1], 2)
    with pytest.raises(Fault, match="ends at 10 is missing"):
        step_until(sink(log, warehouse), lambda: False)
    assert not tokens_of(warehouse)


def test_a_place_inside_a_unit_is_refused():
    log, warehouse = world(units=2, slices=3)
    first = sink(log, warehouse)
    drain(first)
    kill(log, first)
    log.groups["sinks"].committed[0] = 4
    with pytest.raises(Fault, match="slice 1 of the unit that ends at 20, where a unit must begin"):
        step_until(sink(log, warehouse), lambda: False)


def test_the_rest_of_a_unit_whose_beginning_retention_deleted_is_a_block_for_an_empty_table():
    log, warehouse = world(units=2, slices=3)
    log.starts[TOPIC, 0] = 1
    first = sink(log, warehouse)
    step_until(first, lambda: len(tokens_of(warehouse)) == 1)
    kill(log, first)
    drain(sink(log, warehouse))  # the same block under the same token
    assert tokens_of(warehouse) == [f"{TOPIC}/0/1", f"{TOPIC}/0/3"]
    assert warehouse.rows("cost_rollups") == 7


def test_a_unit_without_rows_is_passed_over():
    log, warehouse = world(units=1)
    header = UnitHeader(0, 10, 20, 0, 1, {}, None, 5, 0)
    log.append(TOPIC, 0, b"0", encode(pa.table({"billed_cost": pa.array([], pa.int64())}))[0], header.encode())
    drain(sink(log, warehouse))
    assert tokens_of(warehouse) == [f"{TOPIC}/0/0"]


def test_partitions_are_inserted_side_by_side_and_each_of_them_in_order():
    log, warehouse = world(units=6, partitions=2)
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


@pytest.mark.parametrize("slices", [1, 3])
def test_a_restart_sends_the_last_stored_unit_again_which_completes_a_block_that_broke(slices):
    log, warehouse = world(slices=slices)
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
    log, warehouse = world(units=1)
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
    log, warehouse = world(units=1)
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
    log, warehouse = world(units=3)
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
@pytest.mark.parametrize(("slices", "messages"), [(1, 128), (3, 2)])
def test_a_sink_killed_at_random_moments_loses_and_doubles_nothing(seed, slices, messages):
    chance = random.Random(seed)
    log, warehouse = world(units=12, rows=3, partitions=2, slices=slices)
    deaths = 0

    def perhaps(_point):
        nonlocal deaths
        if deaths < 5 and chance.random() < 0.15:
            deaths += 1
            raise Killed

    while committed(log) != ends(log):
        warehouse.faults = perhaps
        life = sink(log, warehouse, perhaps, messages)
        try:
            step_until(life, lambda: committed(log) == ends(log))
        except Killed:
            warehouse.half = chance.random() < 0.3
            kill(log, life)
    assert deaths
    assert warehouse.rows("cost_rollups") == 36
    assert sorted(tokens_of(warehouse)) == sorted(f"{TOPIC}/{p}/{unit * slices}" for p in (0, 1) for unit in range(6))


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize(("slices", "messages"), [(1, 128), (3, 2)])
def test_a_warehouse_killed_under_load_loses_and_doubles_nothing(seed, slices, messages):
    chance = random.Random(seed)
    log, warehouse = world(units=12, rows=3, partitions=2, slices=slices)
    acknowledged = {0: 0, 1: 0}

    def away(point):
        draw = chance.random()
        if draw < 0.1:
            warehouse.half = True
        if draw < 0.4:
            raise TransientError(f"killed at {point}")

    warehouse.faults = away
    topic_sink = sink(log, warehouse, messages=messages)

    def done():
        for partition, offset in committed(log).items():
            assert offset >= acknowledged[partition]
            acknowledged[partition] = offset
            stored = [
                warehouse.tokens["cost_rollups", f"{TOPIC}/{partition}/{n}"].rows for n in range(0, offset, slices)
            ]
            assert stored == [3] * (offset // slices)  # what Kafka was told is whole in the table
        return committed(log) == ends(log)

    step_until(topic_sink, done)
    assert warehouse.rows("cost_rollups") == 36


def test_a_table_ahead_of_the_log_is_refused_with_what_to_do():
    log, warehouse = world(units=5)
    drain(sink(log, warehouse))
    fresh, _ = world(units=1)
    with pytest.raises(Fault, match="wiped"):
        step_until(sink(fresh, warehouse), lambda: False)


def test_a_partition_that_moved_away_during_an_outage_and_came_back_goes_on():
    log, warehouse = world(units=1)
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
    log, warehouse = world(units=1)
    log.append(TOPIC, 0, None, b"garbage")
    with pytest.raises(Fault, match=f"{TOPIC}/0/1"):
        step_until(sink(log, warehouse), lambda: False)
    assert committed(log) == {0: 1}
