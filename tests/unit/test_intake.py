"""While a part of what was polled waits for its unit the group is heard, and no record is lost or handed out twice."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from chargeline.domain.errors import TransientError
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Rules, prepare
from chargeline.pricer.intake import INPUT, Intake, Limits
from tests.support.corrected import RULES, schema_of
from tests.support.events import START, encoded, event
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


def test_a_unit_ends_before_it_has_too_many_corrections(consumer, intake, monkeypatch):
    """100 corrections, then usage; what is decoded for a unit does not grow with what waits."""
    kinds = ["RERATE"] * 100 + ["USAGE"] * 100
    values = [encoded(event(event_id=f"e{n}", event_kind=kind, amends_event_id="e")) for n, kind in enumerate(kinds)]
    whole = [LogBatch(INPUT, 0, np.arange(200), np.full(200, START // 1000), values, 200)]
    decoded = []

    def counted(batch, *rest):
        decoded.append(len(batch.values))
        return prepare(batch, *rest)

    monkeypatch.setattr(consumer, "poll", lambda *_: [whole.pop()] if whole else [])
    monkeypatch.setattr("chargeline.pricer.intake.prepare", counted)
    intake.governance.view_ms = START // 1000
    intake.rules, intake.schema_of, intake.limits = RULES, schema_of, Limits(margin_ms=0, unit_corrections=8)
    units: list[list[int]] = []
    while not units or units[-1][-1] < 199:
        units.append(offsets(intake.next()))
    assert [offset for unit in units for offset in unit] == list(range(200))
    assert [len(unit) for unit in units] == [8] * 12 + [16, 32, 56]
    assert decoded[0] == 200
    assert sum(decoded[1:]) < 3 * 200


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
