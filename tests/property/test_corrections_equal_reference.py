"""The running pricer and the slow reference agree on usage, amends, cancels and re-ratings, however they are cut."""

import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from chargeline.verify.rating.price import price_document
from tests.support.corrected import Running, read_lines
from tests.support.corrected import used as used_scopes
from tests.support.publishable import publishable_case
from tests.support.random_rating import RandomRating
from tests.support.rating import cancel, card, event, sku, tiers, used
from tests.support.same_entries import assert_same, entries


def case_of(seed, count=90):
    case = RandomRating(seed, count)
    cards, events = publishable_case(case)
    lines = [(each, line) for each in events if each is not None and each.get("event_kind") != "PERIOD_CLOSE"
             for line in read_lines([each])]  # fmt: skip
    return case, cards, [each for each, _ in lines], [line for _, line in lines]


def run(case, cards, lines, cuts):
    running = Running(cards, case.accounts, case.fx)
    for start, stop in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        if start < stop:
            running.unit(lines[start:stop])
    return running


@pytest.mark.parametrize("seed", range(24))
def test_every_record_books_what_the_reference_says_wherever_a_unit_ends(seed):
    case, cards, events, lines = case_of(seed)
    wanted = price_document(cards, case.accounts, case.fx, events, False)[: len(events)]
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, len(lines)), chance.choice([0, 3, 12])))
    running = run(case, cards, lines, cuts)
    outcomes: Counter[str] = Counter()
    for unit in running.computed:
        outcomes.update(unit.booked.outcomes)
    assert +outcomes == Counter(each["outcome"] for each in wanted)
    for offset, other in enumerate(wanted):
        one = running.object(offset, other["outcome"], other["reason"])
        different = {"entries": None, "event_id": None, "billing_period": None, "cost_variance": None}
        if not one["entries"]:
            different["billing_currency"] = None
        assert {**one, **different} == {**other, **different}, offset
        assert_same(entries(one), entries(other))


@pytest.mark.parametrize("seed", range(100, 106))
def test_units_of_one_record_each_give_the_same_rows_as_one_unit(seed):
    case, cards, _, lines = case_of(seed, 60)
    one = run(case, cards, lines, [])
    other = run(case, cards, lines, list(range(1, len(lines))))
    assert one.rows.keys() == other.rows.keys()
    for offset, rows in one.rows.items():
        for row, wanted in zip(rows, other.rows[offset], strict=True):
            assert {name: value for name, value in row.items() if value != wanted[name]} == {}, offset
    assert (used_scopes(one.scopes), one.corrections) == (used_scopes(other.scopes), other.corrections)


OLD = [sku("per_unit", unit_price="4"), sku("graduated", tiers=tiers(("40", "0.7", "0"), (None, "0.55", "0")))]
RIGHT = [sku("per_unit", unit_price="3"), sku("graduated", tiers=tiers(("60", "2", "1"), (None, "1", "0")))]


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("rate", OLD)
@pytest.mark.parametrize("seed", range(6))
def test_a_run_of_re_ratings_sees_what_records_of_its_unit_have_changed(seed, rate, right):
    """Events that are committed, then in one unit their re-ratings, some of them twice, between amends and cancels."""
    chance, cards = random.Random(seed), [card(rate), card(right, version=9, correction=True)]
    events = [used(str(chance.randint(1, 30)), f"e{n}") for n in range(20)]
    later: list[Any] = [event(f"r{n}", event_kind="RERATE", amends_event_id=f"e{n}", requests=0) for n in range(20)]
    again = [event(f"again{n}", event_kind="RERATE", amends_event_id=f"e{n}", requests=0) for n in range(0, 20, 3)]
    amends = [used("5", f"a{n}", event_kind="AMEND", amends_event_id=f"e{n}") for n in range(1, 20, 4)]
    of_amends = [event(f"ra{n}", event_kind="RERATE", amends_event_id=f"a{n}", requests=0) for n in range(1, 20, 4)]
    later += again + amends + of_amends + [cancel(f"e{n}", f"c{n}") for n in range(2, 20, 5)]
    chance.shuffle(later)
    wanted = price_document(cards, None, None, [*events, *later], False)
    running = Running(cards, None, None)
    running.unit(read_lines(events))
    running.unit(read_lines(later))
    for offset, other in enumerate(wanted[: len(events) + len(later)]):
        assert_same(entries(running.object(offset, other["outcome"], other["reason"])), entries(other))


def test_re_ratings_of_a_unit_meet_scopes_that_a_unit_before_has_moved():
    """The scope of the first one is new, that of the second one is not."""
    right = sku("graduated", tiers=tiers(("10", "2", "1"), (None, "1", "0")))
    cards = [card(OLD[0]), card(right, version=9, correction=True)]
    events = [used("8", "e0", billing_account_id="beta"), used("5", "e1"), used("6", "e2", billing_account_id="beta")]
    later = [
        event(f"r{n}", event_kind="RERATE", amends_event_id=each["event_id"], requests=0,
              billing_account_id=each["billing_account_id"]) for n, each in enumerate(events)
    ]  # fmt: skip
    wanted = price_document(cards, None, None, [*events, *later], False)
    running = Running(cards, None, None)
    for unit in (events, later[:1], later[1:]):
        running.unit(read_lines(unit))
    for offset, expected in enumerate(wanted[: len(events) + len(later)]):
        found = running.object(offset, expected["outcome"], expected["reason"])
        assert_same(entries(found), entries(expected))


@pytest.mark.parametrize("seed", range(6))
def test_panes_sum_to_the_charges_in_every_group(seed):
    case, cards, _, lines = case_of(seed)
    running = run(case, cards, lines, [20, 21, 50])
    charges: dict[Any, int] = defaultdict(int)
    panes: dict[Any, int] = defaultdict(int)
    for rows in running.rows.values():
        for row in rows:
            for entry in row["entries"]:
                charges[key(row, entry["sku_id"])] += entry["contracted_cost"]
    for unit in running.computed:
        table = unit.cost_rollups
        assert table is None or table.column("pane_index").to_pylist() == list(range(table.num_rows))
        for pane in [] if table is None else table.to_pylist():
            panes[key(pane, pane["sku_id"])] += pane["billed_cost"]
    assert {k: v for k, v in panes.items() if v} == {k: v for k, v in charges.items() if v}


def key(row, sku_id):
    return (row["billing_account_id"], row["project"], row["request_model"], row["window_start"],
            row["billing_currency"], sku_id)  # fmt: skip
