"""While a part of what was polled waits for its unit the group is heard, and no record is lost or handed out twice."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from chargeline.domain.errors import TransientError
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Rules
from chargeline.pricer.intake import INPUT, Intake, Limits
from tests.unit.test_read_ahead import chain_of

POLLED = 5


class Consumer:
    """Hands out records that are no events; `before`: what happens inside a poll."""

    def __init__(self) -> None:
        self.next_offset, self.polls = 0, 0
        self.before = lambda: None

    def poll(self, max_records, timeout_s):
        self.polls += 1
        self.before()
        count = min(max_records, POLLED)
        offsets = np.arange(self.next_offset, self.next_offset + count)
        self.next_offset += count
        return [LogBatch(INPUT, 0, offsets, np.full(count, 5000), [b"none"] * count, self.next_offset)]

    def group_metadata(self):
        return self.polls


@pytest.fixture
def consumer():
    return Consumer()


@pytest.fixture
def intake(consumer):
    governance = SimpleNamespace(chain=chain_of(lambda call: call), view_ms=10_000)
    rules, limits = Rules(1, 60_000_000, 60_000_000, 300_000), Limits(margin_ms=0, unit_bytes=2 * len(b"none"))
    none = cast("Any", None)
    return Intake(consumer, cast("Any", governance), none, lambda _: None, rules, limits)


def offsets(unit):
    return unit.parts[0].batch.offsets.tolist()


def test_the_group_is_heard_before_every_unit_and_records_keep_their_order(intake, consumer):
    units = [intake.next() for _ in range(9)]
    assert [each for unit in units for each in offsets(unit)] == list(range(18))
    assert consumer.polls == 9


def test_a_unit_that_waited_keeps_the_membership_of_its_poll(intake):
    assert [intake.next().group_metadata for _ in range(3)] == [1, 1, 1]


def test_a_rebalance_inside_such_a_poll_drops_what_waits(intake, consumer):
    intake.next()
    consumer.before = intake.rebalanced
    assert intake.next() is None
    consumer.before = lambda: None
    assert offsets(intake.next()) == [6, 7]  # the consumer is started anew by whoever hears of it


def test_a_poll_that_fails_loses_nothing(intake, consumer):
    intake.next()

    def fail():
        raise TransientError("away")

    consumer.before = fail
    with pytest.raises(TransientError):
        intake.next()
    consumer.before = lambda: None
    assert offsets(intake.next()) == [2, 3]
