"""What every log keeps, the fake and the real Kafka alike: the rules that the commit protocol leans on."""

import uuid

import pytest

import chargeline.adapters.kafka as kafka_adapter
from chargeline.domain.errors import Fenced, LogTruncated, OutcomePending
from chargeline.ports import LogBatch
from chargeline.runtime.stack import load_stack
from tests.support.containers import kafka_container
from tests.support.logs import KafkaHarness, MemoryHarness
from tests.support.stack import wait_until


@pytest.fixture(scope="module")
def kafka_in_a_container(docker):
    with kafka_container() as bootstrap:
        yield bootstrap


@pytest.fixture(params=["memory", pytest.param("embedded", marks=pytest.mark.stack), "container"])
def log(request):
    if request.param == "memory":
        harness: MemoryHarness | KafkaHarness = MemoryHarness()
    elif request.param == "embedded":
        harness = KafkaHarness(load_stack(str(request.getfixturevalue("stack"))).kafka)
    else:
        harness = KafkaHarness(request.getfixturevalue("kafka_in_a_container"))
    yield harness
    harness.close()


class Member:
    """A consumer with what its callbacks told, as an owner of a loop keeps it."""

    def __init__(self, log, group, topic):
        self.consumer = log.consumer(group)
        self.assigned = None
        self.revoked = []
        self.consumer.subscribe(topic, self._assign, self._revoke)

    def _assign(self, partitions):
        self.assigned = partitions

    def _revoke(self, partitions):
        self.assigned = None
        self.revoked += partitions


def settle(*members, partitions):
    """Poll until every partition has exactly one owner."""

    def settled():
        for member in members:
            member.consumer.poll(10, 0.1)
        return sorted(p for member in members for p in member.assigned or []) == list(range(partitions)) and all(
            member.assigned is not None for member in members
        )

    wait_until(settled, "everybody has an assignment")


def values(records):
    return [record.value for record in records]


def received(consumer, count):
    """The next `count` values of a consumer."""
    found: list[tuple[int, bytes]] = []

    def enough():
        for batch in consumer.poll(100, 0.2):
            found.extend(zip(batch.offsets.tolist(), batch.values, strict=True))
        return len(found) >= count

    wait_until(enough, f"{count} records")
    return found


def write(log, producer, topic, *payload):
    producer.begin()
    for value in payload:
        producer.produce(topic, 0, b"key", value, [("name", b"text")])
    log.sent(producer)


def name():
    return f"contract-{uuid.uuid4()}"


def test_a_reader_sees_what_was_committed_and_markers_take_offsets(log):
    topic, producer, reader = log.topic(), log.producer(name()), log.reader()
    write(log, producer, topic, b"a", b"b")
    assert producer.commit() == {(topic, 0): 2}
    write(log, producer, topic, b"lost")
    producer.abort()
    write(log, producer, topic, b"c")
    assert producer.commit() == {(topic, 0): 6}
    wait_until(lambda: reader.bounds(topic, 0) == (0, 7), "the marker of the last commit has reached the partition")
    records = list(reader.read(topic, 0, 0, 7))
    assert [(record.offset, record.value) for record in records] == [(0, b"a"), (1, b"b"), (5, b"c")]
    assert (records[0].key, records[0].headers) == (b"key", (("name", b"text"),))
    assert values(reader.read(topic, 0, 1, 5)) == [b"b"]
    assert values(reader.read(topic, 0, 6, 7)) == []


def test_nothing_behind_an_open_transaction_is_seen_before_it_ends(log):
    topic, producer, reader = log.topic(), log.producer(name()), log.reader()
    log.append(topic, b"a")
    write(log, producer, topic, b"open")
    log.append(topic, b"later")
    member = Member(log, name(), topic)
    settle(member, partitions=1)
    member.consumer.start({0: 0})
    assert [value for _, value in received(member.consumer, 1)] == [b"a"]
    assert values(reader.read(topic, 0, *reader.bounds(topic, 0))) == [b"a"]
    producer.commit()
    assert [value for _, value in received(member.consumer, 2)] == [b"open", b"later"]
    assert values(reader.read(topic, 0, *reader.bounds(topic, 0))) == [b"a", b"open", b"later"]


def test_a_newer_producer_of_the_slot_fences_the_older_one(log):
    topic, slot, reader = log.topic(), name(), log.reader()
    older = log.producer(slot)
    write(log, older, topic, b"old")
    newer = log.producer(slot)
    with pytest.raises(Fenced):
        older.commit()
    write(log, newer, topic, b"new")
    newer.commit()
    wait_until(lambda: values(reader.read(topic, 0, *reader.bounds(topic, 0))) == [b"new"], "the new record is seen")


def test_offsets_and_records_become_visible_together(log):
    topic, out, group, producer = log.topic(), log.topic(), name(), log.producer(name())
    log.append(topic, b"a", b"b")
    member = Member(log, group, topic)
    settle(member, partitions=1)
    assert member.consumer.committed([0]) == {0: None}
    write(log, producer, out, b"priced")
    producer.send_offsets(topic, {0: 2}, member.consumer.group_metadata())
    producer.abort()
    assert member.consumer.committed([0]) == {0: None}
    write(log, producer, out, b"priced")
    producer.send_offsets(topic, {0: 2}, member.consumer.group_metadata())
    producer.commit()
    assert member.consumer.committed([0]) == {0: 2}
    assert member.consumer.bounds(0) == (0, 2)


def test_committed_offsets_are_pending_while_a_transaction_may_move_them(log, monkeypatch):
    monkeypatch.setattr(kafka_adapter, "REQUEST_TIMEOUT_S", 2.0)
    topic, out, producer = log.topic(), log.topic(), log.producer(name())
    log.append(topic, b"a")
    member = Member(log, name(), topic)
    settle(member, partitions=1)
    write(log, producer, out, b"priced")
    producer.send_offsets(topic, {0: 1}, member.consumer.group_metadata())
    with pytest.raises(OutcomePending):
        member.consumer.committed([0])
    producer.commit()
    assert member.consumer.committed([0]) == {0: 1}


def test_offsets_of_a_membership_that_ended_are_refused(log):
    topic, out, group, producer = log.topic(2), log.topic(), name(), log.producer(name())
    log.append(topic, b"a")
    first = Member(log, group, topic)
    settle(first, partitions=2)
    captured = first.consumer.group_metadata()
    second = Member(log, group, topic)
    settle(first, second, partitions=2)
    assert first.revoked == [0, 1]
    write(log, producer, out, b"doubled")
    with pytest.raises(Fenced):
        producer.send_offsets(topic, {0: 1}, captured)
    producer.abort()
    assert first.consumer.committed([0]) == {0: None}
    reader = log.reader()
    assert values(reader.read(out, 0, *reader.bounds(out, 0))) == []


def test_nothing_is_fetched_before_start_names_the_place_and_start_goes_back(log):
    topic = log.topic()
    log.append(topic, b"a", b"b", b"c")
    member = Member(log, name(), topic)
    settle(member, partitions=1)
    assert member.consumer.poll(10, 0.3) == []
    member.consumer.start({0: 1})
    assert received(member.consumer, 2) == [(1, b"b"), (2, b"c")]
    member.consumer.start({0: 0})
    assert received(member.consumer, 3) == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_a_pause_outlives_start_and_a_resume_reaches_what_is_not_assigned(log):
    topic = log.topic()
    log.append(topic, b"a")
    member = Member(log, name(), topic)
    settle(member, partitions=1)
    member.consumer.start({0: 0})
    member.consumer.pause([0])
    member.consumer.start({0: 0})
    assert member.consumer.poll(10, 0.3) == []
    member.consumer.start({})
    member.consumer.resume([0])
    member.consumer.start({0: 0})
    assert received(member.consumer, 1) == [(0, b"a")]


def test_a_consumer_commits_outside_transactions_for_its_group(log):
    topic, group = log.topic(), name()
    log.append(topic, b"a", b"b")
    member = Member(log, group, topic)
    settle(member, partitions=1)
    member.consumer.commit({0: 1})
    assert member.consumer.committed([0]) == {0: 1}
    member.consumer.close()
    other = Member(log, group, topic)
    settle(other, partitions=1)
    assert other.consumer.committed([0]) == {0: 1}


def test_records_come_in_columns_with_the_append_time(log):
    topic = log.topic()
    log.append(topic, b"a", None, b"")
    member = Member(log, name(), topic)
    settle(member, partitions=1)
    member.consumer.start({0: 0})
    batches: list[LogBatch] = []

    def polled():
        batches.extend(member.consumer.poll(10, 0.2))
        return batches

    wait_until(polled, "a batch")
    (batch,) = batches
    assert (batch.topic, batch.partition, batch.next_offset) == (topic, 0, 3)
    assert batch.values == [b"a", b"", b""]
    times = [record.append_time for record in log.reader().read(topic, 0, 0, 3)]
    assert batch.append_times.tolist() == times


def test_a_range_below_the_log_start_is_refused_and_not_read_from_elsewhere(log):
    topic, reader = log.topic(), log.reader()
    log.append(topic, b"a", b"b", b"c")
    log.truncate(topic, 2)
    assert reader.bounds(topic, 0) == (2, 3)
    with pytest.raises(LogTruncated):
        list(reader.read(topic, 0, 1, 3))
    assert values(reader.read(topic, 0, 2, 3)) == [b"c"]
