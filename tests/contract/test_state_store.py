"""What every state store keeps, the fake and the real Redis alike."""

import time

import pytest

from chargeline.adapters.memory_state import MemoryStateStore
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.domain.errors import StateIncomplete, TransientError
from chargeline.embedded.servers import Ports, Secrets, free_ports, redis_server
from chargeline.embedded.supervisor import Supervised
from chargeline.state_ports import ApplyOutcome, Segment, StateDelta, StateHead
from tests.support.containers import redis_container


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


@pytest.fixture(scope="module")
def redis_in_a_container(docker):
    with redis_container() as url:
        yield url


@pytest.fixture(params=["memory", "redis", "container"])
def store(request):
    if request.param == "memory":
        yield MemoryStateStore()
        return
    url = request.getfixturevalue("redis" if request.param == "redis" else "redis_in_a_container")
    real = RedisStateStore(url, username="chargeline", password="secret")
    real._redis.flushall()
    yield real
    real.close()


def delta(start, end, identities=b"", *, live=None, watermark=None, scopes=b""):
    return StateDelta(start, end, end * 2, identities, 1000 + end, live or {}, 60, watermark, scopes)


def scope(name, state):
    """One scope as stored: 16 bytes of name, 41 of state."""
    return name * 16 + state * 41


def scopes(store, partition=0):
    stored = store.scopes(partition)
    return sorted(stored[at : at + 57] for at in range(0, len(stored), 57))


def identities(store, partition=0):
    return b"".join(segment.identities for segment in store.segments(partition))


def test_nothing_is_stored_before_a_snapshot_and_a_unit_is_behind(store):
    assert store.head(0) is None
    assert store.apply(0, delta(0, 5)) is ApplyOutcome.BEHIND
    assert store.head(0) is None


def test_a_unit_is_applied_once_and_only_where_the_last_one_ended(store):
    store.replace(0, StateHead(0, 0), [], {}, b"")
    unit = delta(0, 5, b"a" * 24, watermark=-7)
    assert store.apply(0, unit) is ApplyOutcome.APPLIED
    assert store.apply(0, unit) is ApplyOutcome.AHEAD
    assert store.apply(0, delta(9, 12, b"b" * 24)) is ApplyOutcome.BEHIND
    assert store.head(0) == StateHead(5, 10, -7)
    assert identities(store) == b"a" * 24


def test_identities_come_back_in_the_order_of_the_log(store):
    store.replace(0, StateHead(0, 0), [], {}, b"")
    for number in range(20):
        blob = bytes([number]) * 24
        assert store.apply(0, delta(number, number + 1, blob)) is ApplyOutcome.APPLIED
    assert identities(store) == b"".join(bytes([number]) * 24 for number in range(20))


def test_partitions_do_not_touch_each_other(store):
    store.replace(0, StateHead(0, 0), [], {}, b"")
    store.replace(1, StateHead(0, 0), [], {}, b"")
    store.apply(0, delta(0, 5, b"a" * 24))
    assert store.head(1) == StateHead(0, 0)
    assert identities(store, 1) == b""


def test_a_snapshot_takes_the_place_of_everything(store):
    store.replace(0, StateHead(0, 0), [], {}, b"")
    store.apply(0, delta(0, 5, b"a" * 24, live={60: b"old"}))
    store.replace(0, StateHead(9, 18, 3), [Segment(0, b"c" * 48, 77)], {120: b"new"}, b"")
    assert store.head(0) == StateHead(9, 18, 3)
    assert identities(store) == b"c" * 48
    assert store.live(0)[120] == b"new"
    assert store.apply(0, delta(9, 10, b"d" * 24)) is ApplyOutcome.APPLIED
    assert identities(store) == b"c" * 48 + b"d" * 24


def test_live_windows_are_replaced_as_a_whole(store):
    store.replace(0, StateHead(0, 0), [], {}, b"")
    store.apply(0, delta(0, 1, live={60: b"one", 120: b"two"}))
    store.apply(0, delta(1, 2, live={60: b"more"}))
    assert store.live(0) == {60: b"more", 120: b"two"}


def test_segments_beyond_the_horizon_are_dropped_and_the_others_are_not(store):
    segments = [Segment(0, b"a" * 24, 100), Segment(1, b"b" * 24, 200)]
    store.replace(0, StateHead(5, 5), segments, {}, b"")
    store.drop_segments(0, 150)
    assert identities(store) == b"b" * 24


def test_sizes_are_those_of_what_was_written(store):
    assert store.sizes(0).identities == 0
    store.replace(0, StateHead(0, 0), [Segment(0, b"a" * 48, 100), Segment(1, b"b" * 24, 100)], {60: b"seven77"}, b"")
    store.apply(0, delta(0, 5, b"c" * 24, live={120: b"123"}))
    sizes = store.sizes(0)
    assert (sizes.identities, sizes.bytes, sizes.live_windows, sizes.damaged) == (4, 4 * 24 + 10, 2, 0)


def test_a_state_made_void_is_behind_whatever_comes_and_a_snapshot_mends_it(store):
    store.replace(0, StateHead(0, 0), [Segment(0, b"a" * 24, 100)], {}, b"")
    store.replace(1, StateHead(3, 3), [Segment(0, b"x" * 24, 100)], {}, b"")
    store.invalidate(0)
    assert store.head(0) is None
    assert store.apply(0, delta(0, 5, b"b" * 24)) is ApplyOutcome.BEHIND
    store.replace(0, StateHead(5, 10), [Segment(0, b"a" * 24 + b"b" * 24, 105)], {}, b"")
    assert identities(store) == b"a" * 24 + b"b" * 24
    assert store.head(1) == StateHead(3, 3)


def test_a_segment_that_the_index_lost_is_not_appended_to(redis):
    real = RedisStateStore(redis, username="chargeline", password="secret")
    real._redis.set("{usage-events:4}:ids:1", b"z" * 24)
    real.replace(4, StateHead(5, 5), [Segment(0, b"a" * 24, 100), Segment(1, b"b" * 24, 100)], {}, b"")
    assert identities(real, 4) == b"a" * 24 + b"b" * 24
    real.close()


def test_a_damaged_segment_is_told_and_not_taken(redis):
    real = RedisStateStore(redis, username="chargeline", password="secret")
    real.replace(3, StateHead(5, 5), [Segment(0, b"a" * 48, 100)], {}, b"")
    real._redis.set("{usage-events:3}:ids:0", b"a" * 24)
    assert real.sizes(3).damaged == 1
    with pytest.raises(StateIncomplete):
        list(real.segments(3))
    real.close()


def test_a_store_that_is_away_is_transient():
    away = RedisStateStore("redis://127.0.0.1:1/0")
    with pytest.raises(TransientError):
        away.head(0)


def test_a_unit_changes_the_scopes_that_it_touched_and_no_other(store):
    store.replace(0, StateHead(0, 0), [], {}, scope(b"a", b"1") + scope(b"b", b"1"))
    store.replace(1, StateHead(0, 0), [], {}, scope(b"a", b"9"))
    assert store.apply(0, delta(0, 5, scopes=scope(b"c", b"2") + scope(b"a", b"2"))) is ApplyOutcome.APPLIED
    assert scopes(store) == [scope(b"a", b"2"), scope(b"b", b"1"), scope(b"c", b"2")]
    assert scopes(store, 1) == [scope(b"a", b"9")]
    assert store.sizes(0).scopes == 3


def test_a_unit_that_does_not_join_changes_no_scope(store):
    store.replace(0, StateHead(5, 10), [], {}, scope(b"a", b"1"))
    for start in (0, 7):
        assert store.apply(0, delta(start, 9, scopes=scope(b"a", b"2"))) is not ApplyOutcome.APPLIED
    assert scopes(store) == [scope(b"a", b"1")]


def test_a_snapshot_leaves_no_older_scope(store):
    store.replace(0, StateHead(0, 0), [], {}, b"".join(scope(bytes([name]), b"1") for name in range(200)))
    store.replace(0, StateHead(1, 1), [], {}, scope(b"z", b"3"))
    assert scopes(store) == [scope(b"z", b"3")]
