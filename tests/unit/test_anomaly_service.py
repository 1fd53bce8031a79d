"""The anomaly service over messages: pairing of topics, marks of the clock, notes, and what is published."""

from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.anomaly.processor import COST, DEAD_LETTERS, PERFORMANCE, Mark, Partition
from chargeline.anomaly.settings import AnomalySettings
from chargeline.domain.anomaly.notes import Notes, precision
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.errors import Fault
from chargeline.ports import Record
from chargeline.sink.rows import anomaly_rows
from chargeline.wire._arrow import COST_ROLLUP, PERFORMANCE_ROLLUP
from chargeline.wire.anomaly_records import anomaly_of, decode_anomaly, encode_update
from chargeline.wire.arrow_messages import encode
from chargeline.wire.rollup_columns import cost_panes
from chargeline.wire.units import UnitHeader
from tests.support.panes import MINUTE, START

RULES = Rules(window_us=MINUTE, bound_us=MINUTE, minimum_impact=Decimal("0.5"), full_max=2)


def partition(marks=()):
    return Partition(Watch(0, RULES, shipped_parameters("cost")), marks)


def table(schema, rows):
    """Rows of a message; what is not named is null, or nothing."""
    filled = []
    for index, row in enumerate(rows):
        known = {"billing_account_id": "a", "request_model": "m", "pane": "EARLY", "pane_index": index} | row
        known["window_end"] = known["window_start"] + MINUTE
        for field in schema:
            if field.name not in known and not field.nullable:
                known[field.name] = [] if pa.types.is_list(field.type) else 0
        filled.append(known)
    return pa.Table.from_pylist(filled, schema=schema)


def cost(window, amount, **more):
    return {"window_start": window, "billed_cost": Decimal(amount), "billing_currency": "USD", "event_count": 10} | more


def header(number, watermark, index=0, count=1):
    return UnitHeader(0, number * 10, number * 10 + 10, index, count, {}, watermark, watermark // 1000, 0)


def send(subject, number, amount, watermark=None, offset=None):
    """One unit on both topics."""
    window = START + number * MINUTE
    watermark = window if watermark is None else watermark
    made = []
    for topic, schema, rows in (
        (COST, COST_ROLLUP, [cost(window, amount)]),
        (PERFORMANCE, PERFORMANCE_ROLLUP, [{"window_start": window, "event_count": 10}]),
    ):
        value = encode(table(schema, rows))[0]
        made += subject.record(
            topic, 2 * number if offset is None else offset, header(number, watermark).encode(), value
        )
    return made


def spiked(subject=None):
    subject = subject or partition()
    made = []
    for number in range(12):
        made += send(subject, number, 100 if number in (8, 9) else 1)
    return made


def test_a_unit_counts_when_both_topics_have_it():
    subject = partition()
    value = encode(table(COST_ROLLUP, [cost(START, 1)]))[0]
    subject.record(COST, 0, header(0, START).encode(), value)
    assert subject.watch.counted == 0
    assert subject.is_waiting()
    send(subject, 0, 1)
    assert subject.watch.counted == 10
    assert subject.watch.windows.of(START).total() == 10**12


def test_slices_of_a_unit_are_put_together():
    subject = partition()
    parts = [encode(table(COST_ROLLUP, [cost(START, 1, team=team)]))[0] for team in ("x", "y")]
    for index, value in enumerate(parts):
        subject.record(COST, index, header(0, START, index, 2).encode(), value)
    value = encode(table(PERFORMANCE_ROLLUP, [{"window_start": START, "event_count": 3, "team": "y"}]))[0]
    subject.record(PERFORMANCE, 0, header(0, START).encode(), value)
    cells = subject.watch.windows.of(START)
    assert cells.total() == 2 * 10**12
    assert cells.measures[3].sum() == 3
    assert len(cells) == 2


@pytest.mark.parametrize("order", [(0, 0, 1), (0, 1, 0, 1), (0, 1, 1), (0, 1, 0)])
def test_slices_that_come_again_under_new_offsets_count_once(order):
    subject = partition()
    parts = [encode(table(COST_ROLLUP, [cost(START, 1, team=team)]))[0] for team in ("x", "y")]
    for offset, index in enumerate(order):
        subject.record(COST, offset, header(0, START, index, 2).encode(), parts[index])
    value = encode(table(PERFORMANCE_ROLLUP, [{"window_start": START, "event_count": 3}]))[0]
    subject.record(PERFORMANCE, 0, header(0, START).encode(), value)
    subject.record(PERFORMANCE, 1, header(1, START).encode(), value)
    subject.record(COST, len(order), header(1, START).encode(), encode(table(COST_ROLLUP, []))[0])
    assert subject.watch.windows.of(START).total() == 2 * 10**12
    assert subject.watch.counted == 20


def test_a_unit_of_which_only_part_was_taken_is_read_again_whole():
    """The process dies between two slices: where it goes on lies before the first of them."""
    subject = partition()
    send(subject, 0, 1)
    parts = [encode(table(COST_ROLLUP, [cost(START, 1, team=team)]))[0] for team in ("x", "y")]
    subject.record(COST, 1, header(1, START, 0, 2).encode(), parts[0])
    again = Partition(subject.watch, next_offsets=subject.next_offsets)
    assert again.next_offsets[COST] == 1
    for index, value in enumerate(parts):
        again.record(COST, 1 + index, header(1, START, index, 2).encode(), value)
    value = encode(table(PERFORMANCE_ROLLUP, []))[0]
    again.record(PERFORMANCE, 1, header(1, START).encode(), value)
    assert again.watch.windows.of(START).total() == 3 * 10**12


@pytest.mark.parametrize("come", [(1, 2), (0, 2), (2,), (0,), (0, 1)])
def test_a_unit_without_some_of_its_slices_is_never_counted(come):
    """The client has lost them: whoever reads again from the stored state has them all."""
    subject = partition()
    send(subject, 0, 1)
    value = encode(table(COST_ROLLUP, [cost(START, 1)]))[0]
    messages = [(4 + index, header(1, START, index, 3)) for index in come] + [(8, header(2, START))]
    with pytest.raises(Fault, match="ends at 20 were not handed over"):
        [subject.record(COST, offset, head.encode(), value) for offset, head in messages]
    assert subject.watch.counted == 10
    assert subject.next_offsets[COST] == 1


@pytest.mark.parametrize(("begins", "come", "is_taken"), [(5, (1, 2), True), (6, (2,), True), (4, (1, 2), False),
                                                          (5, (2,), False), (5, (0, 2), False)])  # fmt: skip
def test_a_unit_whose_first_slices_retention_has_taken_is_counted(begins, come, is_taken):
    subject = partition()
    subject.log_begins = {COST: begins}
    value = encode(table(COST_ROLLUP, [cost(START, 1)]))[0]
    with nullcontext() if is_taken else pytest.raises(Fault, match="not handed over"):
        [subject.record(COST, 4 + index, header(1, START, index, 3).encode(), value) for index in come]


def test_the_order_in_which_the_topics_are_read_does_not_matter():
    apart = partition()
    messages: dict[str, list[Any]] = {COST: [], PERFORMANCE: []}
    for number in range(12):
        window, amount = START + number * MINUTE, 100 if number in (8, 9) else 1
        rows = {COST: (COST_ROLLUP, [cost(window, amount)]),
                PERFORMANCE: (PERFORMANCE_ROLLUP, [{"window_start": window, "event_count": 10}])}  # fmt: skip
        for topic, (schema, each) in rows.items():
            messages[topic].append((2 * number, header(number, window).encode(), encode(table(schema, each))[0]))
    made = [
        update
        for topic in (PERFORMANCE, COST)
        for message in messages[topic]
        for update in apart.record(topic, *message)
    ]
    assert made == spiked()
    assert made


def test_what_the_client_reads_twice_is_taken_once():
    subject = partition()
    send(subject, 0, 1)
    assert send(subject, 0, 1) == []
    assert subject.watch.windows.of(START).total() == 10**12


def test_a_log_that_begins_anew_stops_the_service():
    subject = partition()
    for number in range(3):
        send(subject, number, 1)
    with pytest.raises(Fault, match="created anew"):
        send(subject, 0, 1, offset=100)


@pytest.mark.parametrize("value", [b"", b"no arrow", b"\0" * 40])
def test_what_is_no_message_of_ours_stops_the_service(value):
    with pytest.raises(Fault, match="no message of ours"):
        partition().record(COST, 0, header(0, START).encode(), value)


def test_dead_letters_are_counted_by_their_source_offset():
    subject = partition()
    for offset in (4, 4, 7):
        subject.record(DEAD_LETTERS, offset, [("x-chargeline-offset", str(offset).encode())], b"?")
    assert subject.watch.dead == 2


def test_a_mark_acts_at_its_place_when_units_are_read_again():
    first = partition()
    wanted = []
    for number in range(9):
        wanted += send(first, number, 100 if number == 8 else 1)
    mark = first.idle_mark(START + 9 * MINUTE + 1, MINUTE)
    assert mark is not None
    wanted += first.advance(mark)
    wanted += send(first, 9, 1)
    again = partition([mark])
    made = [update for number in range(10) for update in send(again, number, 100 if number == 8 else 1)]
    assert made == wanted
    assert made


def test_the_clock_says_nothing_of_older_days_but_completes_what_has_panes():
    subject = partition()
    send(subject, 0, 1)
    year = 365 * 24 * 60 * MINUTE
    assert subject.idle_mark(START + year, MINUTE) == Mark(10, START + MINUTE)
    subject.advance(Mark(10, START + MINUTE))
    assert subject.idle_mark(START + year, MINUTE) is None


def test_an_update_is_the_same_after_avro_and_makes_a_row():
    update = spiked()[0]
    value = encode_update(update, 7)
    assert decode_anomaly(value) == anomaly_of(update)
    rows = anomaly_rows([Record("cost-anomalies", 1, 5, 1_767_225_600_000, b"a", value)])
    assert rows["anomaly_id"].to_pylist() == [update.anomaly_id]
    assert rows["log_offset"].to_pylist() == [5]
    assert rows["impact"].to_pylist() == [update.impact]


def test_panes_keep_money_beyond_64_bits():
    huge = Decimal("98765432109876543210.123456789012")
    found = cost_panes(
        encode(table(COST_ROLLUP, [cost(START, huge), cost(START, huge.copy_negate()), cost(START, -1)]))[0]
    )
    picos = 98765432109876543210123456789012
    assert [found.cost.at(row) for row in range(3)] == [picos, -picos, -(10**12)]


def note(**changed):
    usual: dict[str, Any] = {"kind": "MUTE", "anomaly_id": None, "billing_account_id": None, "dimensions": {}, "anomaly_kind": None,
             "label": None}  # fmt: skip
    return usual | changed


@pytest.mark.parametrize(
    ("changed", "times", "muted"),
    [
        ({}, (None, None), True),
        ({"billing_account_id": "a"}, (None, None), True),
        ({"billing_account_id": "b"}, (None, None), False),
        ({"dimensions": {"team": "x"}}, (None, None), False),
        ({"anomaly_kind": "UNRATED"}, (None, None), False),
        ({}, (START, START + 9 * MINUTE), True),
        ({}, (START, START + 8 * MINUTE), False),
        ({}, (START + 60 * MINUTE, None), False),
    ],
)
def test_a_mute_covers_what_it_names(changed, times, muted):
    notes = Notes()
    notes.put("mute/m", note(**changed), times)
    update = spiked()[0]
    assert update.window_start == START + 8 * MINUTE
    assert notes.is_muted(update) is muted
    notes.put("mute/m", None)
    assert not notes.is_muted(update)


def test_precision_is_of_what_was_labelled():
    assert precision([]) is None
    assert precision(["TRUE_POSITIVE", "FALSE_POSITIVE", "EXPECTED", "UNKNOWN"]) == pytest.approx(2 / 3)


def test_settings_refuse_dimensions_that_panes_do_not_have(monkeypatch):
    for name in ("KAFKA", "REGISTRY", "REDIS_URL", "CLICKHOUSE_URL"):
        monkeypatch.setenv(f"CHARGELINE_{name}", "x")
    monkeypatch.setenv("CHARGELINE_ANOMALY_DIMENSIONS", "team;team,request_model")
    assert AnomalySettings().sets() == (("team",), ("team", "request_model"))  # type: ignore[call-arg]
    monkeypatch.setenv("CHARGELINE_ANOMALY_DIMENSIONS", "squad")
    with pytest.raises(ValueError, match="squad"):
        AnomalySettings()  # type: ignore[call-arg]


def test_a_set_of_dimensions_may_be_watched_besides_the_usual_ones():
    rules = replace(RULES, sets=(("team", "request_model"),))
    subject = Partition(Watch(0, rules, shipped_parameters("cost")))
    value = encode(table(COST_ROLLUP, [cost(START, 1, team="x")]))[0]
    subject.record(COST, 0, header(0, START).encode(), value)
    subject.record(PERFORMANCE, 0, header(0, START).encode(),
                   encode(table(PERFORMANCE_ROLLUP, [{"window_start": START, "team": "x"}]))[0])  # fmt: skip
    names = {str(subject.watch.table.name(number)) for number in subject.watch.table.live()}
    assert names == {"a account (USD)", "a team=x, request_model=m (USD)"}
