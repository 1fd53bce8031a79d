"""Finding what is to be corrected, wherever it lies; and what a repeat is whose content has no price."""

import random

import pyarrow as pa
import pytest

from chargeline.adapters.memory import FakeClock, MemoryLog, MemoryLogReader
from chargeline.domain.errors import TransientError
from chargeline.pricer.correction_state import CorrectionFields
from chargeline.pricer.originals import Originals, UnitPlaces
from chargeline.pricer.rerating import changes, newest, records, run_id
from chargeline.verify.rating.price import price_document
from chargeline.wire import arrow_messages
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader
from tests.property.test_corrections_equal_reference import case_of
from tests.support.archive import is_about
from tests.support.corrected import RULES, Running, read_lines
from tests.support.rating import card, close_record, event, sku
from tests.support.same_entries import assert_same, entries

CARD = card(sku("graduated", "calls", "Calls", tiers=[{"up_to": "30", "unit_price": "1"}, {"up_to": None, "unit_price": "0.5"}]),
            sku("dynamic", "reported_cost", "USD", dynamic=True, price_sources=["gw"], match={"models": ["routed"]}),
            id="list")  # fmt: skip


def used(event_id, calls, **fields):
    return event(event_id, extra_quantities={"calls": calls * 1_000_000}, **fields)


def about(kind, event_id, target, **fields):
    return event(event_id, event_kind=kind, amends_event_id=target, **fields)


class Rows:
    """An archive of the rows of a run."""

    def __init__(self, running):
        self.running, self.asked = running, []

    def find(self, partition, identities, before, held):
        assert held <= before
        self.asked.append({event_id for _, _, event_id in identities})
        rows = [row for rows in self.running.rows.values() for row in rows if row["source_offset"] < before]
        return [row for row in rows if any(is_about(row, identity) for identity in identities)]

    def rows(self, partition, offset):
        return self.running.rows.get(offset, [])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("seen", [False, True])
def test_the_rows_of_a_record_are_found_wherever_messages_end(monkeypatch, seed, seen):
    monkeypatch.setattr(arrow_messages, "_WANTED", 100)  # a row or two a message
    case, cards, _, lines = case_of(seed, 60)
    running, places = Running(cards, case.accounts, case.fx), UnitPlaces()
    log = MemoryLog(FakeClock(0), {"charges": 1})
    reader = MemoryLogReader(log)
    chance, start = random.Random(seed), 0
    while start < len(lines):
        stop = min(len(lines), start + chance.randrange(1, 30))
        running.unit(lines[start:stop])
        messages = encode(running.computed[-1].charges)
        header = UnitHeader(0, start, stop, 0, 1, {}, None, 0, 0)
        for index, value in enumerate(messages):
            log.append("charges", 0, None, value, header.slice(index, len(messages)).encode())
        if seen and chance.random() < 0.7:
            places.add(stop, reader.bounds("charges", 0)[1])
        start = stop
    originals = Originals(reader, None, FakeClock(0))
    end = reader.bounds("charges", 0)[1]
    for step in (1, 7, len(lines)):  # all at once, some, one at a time
        originals = Originals(reader, None, FakeClock(0))
        for first in range(step):
            some = range(first, len(lines), step)
            assert originals.rows(0, some, places, end) == {each: running.rows.get(each, []) for each in some}


class Trimmed(MemoryLogReader):
    """Retention has deleted what lies below `low`; `looked_at`: the messages that were read."""

    low, looked_at = 0, 0

    def bounds(self, topic, partition):
        return self.low, super().bounds(topic, partition)[1]

    def read(self, topic, partition, start, end):
        for record in super().read(topic, partition, start, end):
            self.looked_at += 1
            yield record


def test_the_archive_has_to_hold_the_last_unit_that_booked_rows():
    """Units of 3 source offsets; what was looked at once is not read again."""
    log = MemoryLog(FakeClock(0), {"charges": 1})
    reader = Trimmed(log)
    rows = pa.table({"source_offset": pa.array([0], pa.int64())})
    originals, units = Originals(reader, None, FakeClock(0)), 0

    def booked_end(booked=False, count=1):
        nonlocal units
        for _ in range(count):
            header = UnitHeader(0, 3 * units, 3 * units + 3, 0, 1, {}, None, 0, 0)
            log.append("charges", 0, None, encode(rows if booked else rows.slice(1))[0], header.encode())
            units += 1
        reader.looked_at = 0
        return originals.booked_end(0, units)

    assert booked_end(count=0) == 0
    assert booked_end(count=5) == 0
    assert booked_end(booked=True) == 18
    assert (booked_end(count=500), reader.looked_at) == (18, 500)
    assert (booked_end(count=2), reader.looked_at) == (18, 2)
    assert (booked_end(count=0), reader.looked_at) == (18, 0)
    assert booked_end(booked=True) == 3 * units
    reader.low = units
    assert Originals(reader, None, FakeClock(0)).booked_end(0, units) == 0
    assert booked_end(count=3) == 3 * (units - 3)


def test_a_commit_that_is_not_to_be_seen_yet_is_waited_for():
    log = MemoryLog(FakeClock(0), {"charges": 1})
    with pytest.raises(TransientError):
        Originals(MemoryLogReader(log), None, FakeClock(0)).rows(0, [0], UnitPlaces(), 5)


@pytest.mark.parametrize("is_state_lost", [False, True])
def test_an_event_beyond_the_horizon_is_taken_back_once(is_state_lost):
    running = Running([CARD], None, None)
    running.archive = Rows(running)
    running.unit(read_lines([used("e0", 20), used("e1", 20), used("e2", 1)]))
    running.identities.forget_before(2)
    running.unit(read_lines([about("CANCEL", "c0", "e0")]))
    assert [entry["entry_kind"] for entry in running.rows[3][0]["entries"]] == ["REVERSAL", "TIER_SHIFT"]
    running.identities.forget_before(4)
    if is_state_lost:
        running.corrections = CorrectionFields()
    running.unit(read_lines([about("CANCEL", "c1", "e0"), about("CANCEL", "c2", "never")]))
    assert running.computed[-1].booked.outcomes | {"DEAD_LETTER": 0} == {"DUPLICATE": 1, "WAITING": 1, "DEAD_LETTER": 0}


def test_events_beyond_the_horizon_are_asked_for_at_once():
    """Of what the unit itself brings the archive is not asked, nor of what it has cancelled already."""
    right = card(sku("graduated", "calls", "Calls", tiers=[{"up_to": None, "unit_price": "2"}]), version=2,
                 correction=True)  # fmt: skip
    running = Running([CARD, right], None, None)
    running.archive = archive = Rows(running)
    events = [used(f"e{n}", 10) for n in range(8)] + [about("CANCEL", "gone", "e7")]
    later = [about("RERATE", f"r{n}", f"e{n}") for n in range(5)] + [about("RERATE", "again", "e3")]
    later += [about("CANCEL", "c4", "e4"), about("CANCEL", "c5", "e5"), about("AMEND", "a6", "e6")]
    later += [about("CANCEL", "c7", "e7"), used("new", 3), about("CANCEL", "c", "new"), about("CANCEL", "w", "never")]
    running.unit(read_lines(events))
    running.identities.forget_before(100)
    running.unit(read_lines(later))
    assert archive.asked == [{"never", *(f"e{n}" for n in range(7))}]
    wanted = price_document([CARD, right], None, None, [*events, *later], False)
    for offset, other in enumerate(wanted[: len(events) + len(later)]):
        assert_same(entries(running.object(offset, other["outcome"], other["reason"])), entries(other))


@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize(("model", "kind"), [("graduated", "TIER_SHIFT"), ("volume", "TIER_SETTLEMENT")])
def test_what_puts_a_scope_right_without_a_sampled_event_is_no_estimate(model, kind, is_closed):
    rates = card(
        sku(model, "calls", "Calls", tiers=[{"up_to": "30", "unit_price": "1"}, {"up_to": None, "unit_price": "0.5"}])
    )
    events = [
        used("e0", 20, sample_weight=2),
        used("e1", 20),
        *[close_record()] * is_closed,
        about("CANCEL", "c0", "e0"),
    ]
    running = Running([rates], None, None)
    running.unit(read_lines(events))
    expected = {"REVERSAL": True} | ({kind: False} if is_closed or model == "graduated" else {})
    taken = running.object(len(events) - 1, "CHARGED", None)["entries"]
    assert {each["entry_kind"]: each.get("estimated", False) for each in taken} == expected
    wanted = price_document([rates], None, None, events, False)[len(events) - 1]["entries"]
    assert_same(taken, wanted)


@pytest.mark.parametrize("cuts", [[3], [1, 2]])
def test_a_repeat_whose_content_has_no_price_is_a_conflict_and_no_dead_letter(cuts):
    lines = read_lines([used("e0", 1, source="other"),
                        event("e0", source="other", request_model="routed", reported_cost_picos=5),
                        event("e1", source="other", request_model="routed", reported_cost_picos=5)])  # fmt: skip
    running = Running([CARD], None, None)
    for start, stop in zip([0, *cuts], [*cuts, 3], strict=True):
        if start < stop:
            running.unit(lines[start:stop])
    assert sum(unit.booked.outcomes["CONFLICT"] for unit in running.computed) == 1
    assert running.outcomes == {2: "PRICE_NOT_ALLOWED"}


def test_a_run_asks_for_each_event_that_another_price_changes_once_it_counts():
    running = Running([CARD], None, None)
    running.unit(read_lines([event(f"u{n}", extra_quantities={"pages": 1_000_000}) for n in range(4)] + [used("e", 1)]))
    running.unit(
        read_lines([about("CANCEL", "c", "u1"), about("AMEND", "a", "u2", extra_quantities={"pages": 5_000_000})])
    )
    late = Running([CARD, card(sku("per_unit", "pages", "Pages", unit_price="2"), id="late")], None, None)
    rows = [row for _, each in sorted(running.rows.items()) for row in each]
    found = changes(newest(rows), late.facts, RULES, 1_783_000_000_000)
    assert {each.event_id: dict(each.after) for each in found} == {
        "u0": {"pages": 2 * 10**12}, "u2": {"pages": 2 * 10**12}, "u3": {"pages": 2 * 10**12}, "a": {"pages": 10**13}}  # fmt: skip
    run = run_id(0, 1, [], "late", 7)
    assert (run, records(run, "late", found, 1).values) == (
        run_id(0, 1, [], "late", 7),
        records(run, "late", found, 1).values,
    )
    assert run != run_id(0, 1, [], "late", 8)


def test_places_of_units_are_found_again_in_bounded_memory():
    """Units of 3 source offsets and 2 messages, more than are kept."""
    places = UnitPlaces()
    for unit in range(20_000):
        places.add(3 * unit + 3, 2 * unit + 2)
    for offset in (0, 1, 2, 3, 29_999, 30_000, 59_998, 59_999):
        start, stop = places.range(offset, 0, 40_000)
        assert start <= offset // 3 * 2 < offset // 3 * 2 + 2 <= stop <= 40_000
        assert stop - start <= 4_000
    assert places.range(59_999, 0, 40_000) == (39_998, 40_000)
    assert len(places) <= 4096
