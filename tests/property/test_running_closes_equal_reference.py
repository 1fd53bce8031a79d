"""The running pricer and the slow reference agree on what closes do to what comes after them, however it is cut."""

import random
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from chargeline.domain.errors import TransientError
from chargeline.verify.rating.price import price_document
from tests.support import corrected
from tests.support.closable import closable_case
from tests.support.closed_entries import of_objects, of_rows
from tests.support.corrected import Running, read_lines, used
from tests.support.pricing import engine
from tests.support.random_rating import RandomRating
from tests.support.rating import card, event, sku
from tests.support.same_entries import assert_same, entries


@cache
def case_of(seed, count=80):
    case = RandomRating(seed, count, closes=True)
    cards, events = closable_case(case)
    lines = [(each, line) for each in events if each is not None for line in read_lines([each])]
    return (cards, case.accounts, case.fx), [each for each, _ in lines], [line for _, line in lines]


def reference(documents, events):
    cards, accounts, fx = documents
    return price_document(cards, accounts, fx, events, False)


@cache
def reference_of(seed):
    documents, events, _ = case_of(seed)
    return reference(documents, events)


def run(documents, lines, cuts):
    running = Running(*documents)
    for start, stop in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        if start < stop:
            running.unit(lines[start:stop])
    return running


# 123: what waited takes back what a grant has paid in the same record.
@pytest.mark.parametrize("seed", [*range(24), 123])
def test_every_record_books_what_the_reference_says_wherever_a_unit_ends(seed):
    documents, events, lines = case_of(seed)
    wanted = reference_of(seed)
    closings = [each for each in wanted[len(events) : -1] if each["scope"]["billing_account_id"] != "platform"]
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, len(lines)), chance.choice([0, 3, 12])))
    running = run(documents, lines, cuts)
    outcomes: Counter[str] = Counter()
    for unit in running.computed:
        outcomes.update(unit.booked.outcomes)
    assert +outcomes == Counter(each["outcome"] for each in wanted[: len(events)])
    for offset, other in enumerate(wanted[: len(events)]):
        one = running.object(offset, other["outcome"], other["reason"])
        different = {"entries": None, "event_id": None, "billing_period": None, "cost_variance": None}
        if not one["entries"]:
            different["billing_currency"] = None
        assert {**one, **different} == {**other, **different}, offset
        assert_same(entries(one), entries(other))
    assert of_rows(running.settled()) == of_objects(closings)


def test_the_cases_reach_corrections_of_closed_periods():
    kinds: Counter[str] = Counter()
    for seed in range(24):
        _, events, _ = case_of(seed)
        for each in reference_of(seed)[: len(events)]:
            kinds.update(entry["entry_kind"] for entry in each["entries"] if entry.get("charge_class") == "CORRECTION")
    assert min(kinds[name] for name in ("UNIT", "REVERSAL", "TIER_FLAT", "CAP", "DISCOUNT")) >= 5, kinds
    assert kinds["TIER_SHIFT"]


def test_the_cases_reach_everything_that_closes_book():
    kinds: Counter[Any] = Counter()
    for seed in range(24):
        _, events, _ = case_of(seed)
        for each in reference_of(seed)[len(events) : -1]:
            if each["scope"]["billing_account_id"] != "platform":
                named = min(set(each["scope"]) - {"billing_account_id"})
                kinds.update((named, entry["entry_kind"], entry.get("charge_class")) for entry in each["entries"])
    wanted = {("subscription_id", "STANDING_FEE"), ("subscription_id", "UNIT"), ("subscription_id", "TIER_FLAT"),
              ("by", "STANDING_FEE"), ("by", "TIER_FLAT"), ("by", "TIER_SETTLEMENT"), ("by", "TRUE_UP"),
              ("commitment_id", "STANDING_FEE"), ("commitment_id", "COVER"), ("commitment_id", "OVERAGE"),
              ("commitment_id", "TRUE_UP"), ("account_minimum", "TRUE_UP"),
              ("grant_id", "COVER"), ("grant_id", "CREDIT"), ("grant_id", "FORFEIT")}  # fmt: skip
    assert wanted <= {(named, kind) for named, kind, _ in kinds}
    late = {(named, kind) for named, kind, charge_class in kinds if charge_class == "CORRECTION"}
    assert {("by", "TRUE_UP"), ("commitment_id", "OVERAGE"), ("grant_id", "CREDIT")} <= late


def test_a_close_that_cannot_be_booked_is_refused_as_a_whole_and_the_period_stays_open():
    closing = event(
        "close", source="chargeline", event_kind="PERIOD_CLOSE", event_time="2026-06-15T00:00:00Z", requests=0
    )
    events = [event("e", event_time="2026-06-10T00:00:00Z", extra_quantities={"units": 3_000_000}),
              closing, event("late", event_time="2026-06-10T00:00:00Z", extra_quantities={"units": 1_000_000})]  # fmt: skip
    seats = {"sku_id": "seats", "charge_model": "flat", "amount": "9" * 20, "pricing_unit": "Seats"}
    bought = [{"at": "2026-01-01T00:00:00Z", "quantity": "9" * 20}]
    subscription = {"subscription_id": "S", "billing_account_id": "acme", "sku_id": "seats", "changes": bought}
    documents = [card(sku("per_unit", unit_price="2", minimum="9"), seats)], {"subscriptions": [subscription]}, None
    wanted = reference(documents, events)
    running = run(documents, read_lines(events), [1, 2])
    assert [each["outcome"] for each in wanted[:3]] == ["CHARGED", "DEAD_LETTER", "CHARGED"]
    assert running.outcomes == {1: "AMOUNT_OVERFLOW"}
    assert engine(*documents, events, False)[1]["reason"] == wanted[1]["reason"] == "AMOUNT_OVERFLOW"
    assert [each["charge_class"] for each in running.rows[2][0]["entries"]] == [None]


def test_a_close_that_reads_more_rows_than_it_may_waits(monkeypatch):
    documents, _, lines = case_of(0)
    monkeypatch.setattr(corrected, "RULES", replace(corrected.RULES, close_rows_max=3))
    with pytest.raises(TransientError, match=r"CLOSE_TOO_LARGE.* 3 charges"):
        run(documents, lines, [])


@pytest.mark.parametrize("seed", range(100, 104))
def test_units_of_one_record_each_give_the_same_rows_as_one_unit(seed):
    documents, _, lines = case_of(seed, 70)
    one = run(documents, lines, [])
    other = run(documents, lines, list(range(1, len(lines))))
    assert one.rows.keys() == other.rows.keys()
    for offset, rows in one.rows.items():
        for row, wanted in zip(rows, other.rows[offset], strict=True):
            assert {name: value for name, value in row.items() if value != wanted[name]} == {}, offset
    assert (used(one.scopes), one.corrections) == (used(other.scopes), other.corrections)
