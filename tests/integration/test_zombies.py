"""A process that stands still past its session time-out, is replaced, and wakes in the middle of its unit."""

import random

import pytest
from confluent_kafka.admin import AdminClient

from chargeline.adapters.kafka import COMMON
from chargeline.runtime.stack import load_stack
from tests.support.stack import SHORT, STOPPING, assert_billed, committed, ends, generated, rows, service, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.long]
EVENTS = 3000


@pytest.fixture
def seed():
    number = random.randrange(10**6) + 10**7
    print(f"seed {number}")
    return number


def members(stack, group):
    """How many members the broker counts in a group."""
    admin = AdminClient({**COMMON, "bootstrap.servers": load_stack(str(stack)).kafka})
    return len(admin.describe_consumer_groups([group])[group].result(10).members)


@pytest.mark.parametrize("point", ["book", "send_offsets", "committed"])
def test_a_pricer_that_wakes_in_its_unit_is_fenced_and_nothing_is_doubled(stack, seed, point):
    """Stopped in compute, between the offsets and the end of the transaction, or after it, before its state is kept."""
    with service(stack, STOPPING, "pricer", point, CHARGELINE_PRICER_SLOT="7", **SHORT) as zombie:
        wait_until(lambda: zombie.said("partition_ready"), "the second pricer has a partition")
        # `generate --wait` returns once the others have charged and stored all of it.
        sent, expected = generated(stack, seed, EVENTS)
        assert zombie.stopped()
        wait_until(lambda: members(stack, "chargeline-pricer") == 1, "the zombie is expelled")
        assert committed(stack) == ends(stack)
        zombie.go_on()
        if point == "committed":  # its unit stands; it learns at the next poll that the partition has moved
            _, more = generated(stack, seed + 1, EVENTS)
            assert_billed(stack, seed + 1, more)
        else:
            wait_until(zombie.ended, "the zombie has found out")
            assert zombie.said("Fenced")
    assert sent["charged"] == expected["unique"]
    assert_billed(stack, seed, expected)


@pytest.mark.parametrize("point", ["insert", "inserted"])
def test_a_sink_that_wakes_with_an_insert_in_hand_doubles_nothing(stack, seed, point):
    with service(stack, STOPPING, "sink", point, **SHORT) as zombie:
        wait_until(lambda: zombie.said("topic=charges") or zombie.said('"charges"'), "the second sink has a partition")
        _, expected = generated(stack, seed, EVENTS)
        assert zombie.stopped()
        wait_until(lambda: members(stack, "chargeline-sink-charges") == 1, "the zombie is expelled")
        assert_billed(stack, seed, expected)
        assignments = zombie.times("topic_ready")
        zombie.go_on()
        # It has lost its partitions, drops what it has in hand, and begins anew with what it is given.
        wait_until(lambda: zombie.times("topic_ready") > assignments, "the zombie has found out")
        assert not zombie.ended()
        _, more = generated(stack, seed + 1, EVENTS)
        assert_billed(stack, seed + 1, more)
    assert_billed(stack, seed, expected)
    found = rows(
        stack, "SELECT count() = uniqExact(source_partition, source_offset, source_index) AS once FROM charges"
    )
    assert found == [{"once": 1}]
