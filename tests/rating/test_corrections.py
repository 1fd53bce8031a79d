"""The rows of spec/rating.md 12: cancels, amends, late events and re-rating."""

import pytest

from tests.support.rating import (
    account_facts,
    booked,
    cancel,
    card,
    close_record,
    costs,
    event,
    kinds,
    scopes,
    sku,
    tiers,
    total,
    used,
    uses,
)

TWO = tiers(("40", "0.7", "0"), (None, "0.55", "0"))
GRADUATED = card(sku("graduated", tiers=TWO))
VOLUME = card(sku("volume", tiers=TWO))
FOUR = card(sku("per_unit", unit_price="4", minimum="75"))
LATE = "2026-06-20T00:00:00Z"
AFTER = "2026-07-05T00:00:00Z"


def amend(of, number, event_id="amend", **more):
    return used(number, event_id, event_kind="AMEND", amends_event_id=of, **more)


def rerate(of, event_id="rerate", **more):
    return event(event_id, event_kind="RERATE", amends_event_id=of, requests=0, **more)


def test_a_cancel_reverses_and_shifts_the_tiers(price):
    results = price([GRADUATED], None, None, [*uses("30", "20"), cancel("e1")], False)
    assert costs(results) == ["21", "12.5", "-19.5"]
    assert kinds(results[2]) == [("REVERSAL", "-21"), ("TIER_SHIFT", "1.5")]
    assert total(results) == "14"


def test_cancelling_the_only_event_leaves_nothing(price):
    rate = sku("graduated", tiers=tiers(("40", "0.7", "9"), (None, "0.55", "4")))
    results = price([card(rate)], None, None, [*uses("30"), cancel("e1"), used("1", "e2")], False)
    assert costs(results) == ["30", "-30", "9.7"]


def test_an_amend_is_a_cancel_and_a_new_event(price):
    results = price([GRADUATED], None, None, [*uses("30", "20"), amend("e1", "10")], False)
    assert kinds(results[2]) == [("REVERSAL", "-21"), ("TIER_SHIFT", "1.5"), ("UNIT", "7")]
    assert total(results) == "21"


@pytest.mark.parametrize(
    ("events", "outcomes", "expected"),
    [
        ([cancel("e1"), *uses("30")], ["WAITING", "CHARGED"], "0"),
        ([cancel("e1"), cancel("e1", "again"), *uses("30")], ["WAITING", "DUPLICATE", "CHARGED"], "0"),
        ([*uses("30"), cancel("e1"), cancel("e1", "again")], ["CHARGED", "CHARGED", "DUPLICATE"], "0"),
        ([*uses("30"), cancel("e1"), cancel("e1")], ["CHARGED", "CHARGED", "DUPLICATE"], "0"),
        ([*uses("30"), cancel("e1"), cancel("e2", "cancel")], ["CHARGED", "CHARGED", "CONFLICT"], "0"),
        ([amend("e1", "10"), *uses("30")], ["WAITING", "CHARGED"], "7"),
        ([amend("e1", "10"), *uses("30"), cancel("amend")], ["WAITING", "CHARGED", "CHARGED"], "0"),
        ([cancel("amend"), amend("e1", "10"), *uses("30")], ["WAITING", "WAITING", "CHARGED"], "0"),
        ([*uses("30"), amend("e1", "10"), cancel("e1")], ["CHARGED", "CHARGED", "DUPLICATE"], "7"),
        ([*uses("30"), cancel("e1", source="other")], ["CHARGED", "WAITING"], "21"),
        ([*uses("30"), *uses("30")], ["CHARGED", "DUPLICATE"], "21"),
        ([*uses("30"), *uses("31")], ["CHARGED", "CONFLICT"], "21"),
    ],
)
def test_a_cancel_acts_once_whenever_it_comes(price, events, outcomes, expected):
    results = price([GRADUATED], None, None, events, False)
    assert [result["outcome"] for result in results[:-1]] == outcomes
    assert total(results) == expected


def test_an_amend_that_may_not_give_its_price_waits_like_any_other(price):
    rate = sku("dynamic", "reported_cost", "USD", dynamic=True, price_sources=["gateway"], match={"models": ["m"]})
    wrong = event("amend", event_kind="AMEND", amends_event_id="e1", reported_cost_picos=10**12)
    cards = [card(rate, GRADUATED["skus"][0])]
    results = price(cards, None, None, [wrong, *uses("30"), wrong | {"event_id": "again"}], False)
    assert [each["outcome"] for each in results[:-1]] == ["WAITING", "CHARGED", "DEAD_LETTER"]
    assert (results[2]["reason"], total(results)) == ("PRICE_NOT_ALLOWED", "21")


def test_a_waiting_cancel_acts_in_the_row_of_its_original(price):
    results = price([GRADUATED], None, None, [cancel("e1"), *uses("30")], False)
    assert kinds(results[1]) == [("UNIT", "21"), ("REVERSAL", "-21")]
    assert results[0]["entries"] == []


@pytest.mark.parametrize(
    ("rates", "before", "late", "expected"),
    [
        (GRADUATED, ["50"], "10", "5.5"),
        (GRADUATED, [], "10", "7"),
        (VOLUME, ["38"], "4", "-3.5"),
    ],
)
def test_a_late_event_of_a_closed_period_is_a_correction(price, rates, before, late, expected):
    results = price([rates], None, None, [*uses(*before), close_record(), used(late, "late", event_time=LATE)], False)
    result = next(result for result in results if result.get("event_id") == "late")
    assert result["contracted_cost"] == expected
    assert result["billing_period"] == "2026-07-01T00:00:00Z"
    assert {entry["charge_class"] for entry in result["entries"]} == {"CORRECTION"}


def test_a_late_charge_of_a_pool_is_settled_in_the_pool(price):
    rate = sku("volume", tiers=TWO, status_policy={"ERROR": {"amortise": "failures"}})
    late = used("4", "late", event_time=LATE, status="ERROR")
    results = price([card(rate)], None, None, [*uses("38"), close_record(), late], False)
    entries = next(result for result in results if result.get("event_id") == "late")["entries"]
    assert [(each["entry_kind"], each["contracted_cost"], each["pool"]) for each in entries] == [
        ("UNIT", "2.2", "failures"), ("TIER_SETTLEMENT", "-5.7", "failures")]  # fmt: skip


def test_a_late_event_shrinks_the_true_up(price):
    results = price([FOUR], None, None, [*uses("14"), close_record(), used("3", "late", event_time=LATE)], True)
    assert costs(results) == ["56", None, "12"]
    assert booked(results) == [("TRUE_UP", "19"), ("TRUE_UP", "-12")]
    assert scopes(results)[1]["billing_period"] == "2026-07-01T00:00:00Z"
    assert scopes(results)[1]["entries"][0]["charge_class"] == "CORRECTION"


@pytest.mark.parametrize(
    ("rates", "expected", "rest"),
    [
        (GRADUATED, [("REVERSAL", "-21"), ("TIER_SHIFT", "1.5")], "14"),
        (VOLUME, [("REVERSAL", "-21"), ("TIER_SETTLEMENT", "7.5")], "14"),
    ],
)
def test_a_cancel_of_a_closed_period_is_a_correction(price, rates, expected, rest):
    results = price([rates], None, None, [*uses("30", "20"), close_record(), cancel("e1", event_time=AFTER)], False)
    result = next(result for result in results if result.get("event_id") == "cancel")
    assert kinds(result) == expected
    assert {entry["charge_class"] for entry in result["entries"]} == {"CORRECTION"}
    assert result["billing_period"] == "2026-07-01T00:00:00Z"
    assert total(results) == rest


def test_a_cancel_uses_the_rate_of_exchange_of_its_original(price):
    facts = {"accounts": [account_facts(billing_currency="EUR")]}
    fx = [{"date": f"2026-06-{day}", "from_currency": "USD", "to_currency": "EUR", "rate": rate, "source": "x"}
          for day, rate in (("10", "0.9"), ("11", "0.8"))]  # fmt: skip
    events = [*uses("30"), cancel("e1", event_time="2026-06-11T00:00:00Z")]
    assert costs(price([GRADUATED], facts, fx, events, False)) == ["18.9", "-18.9"]


def test_a_percentage_scope_keeps_its_state_when_an_event_is_cancelled(price):
    rate = sku("percentage", "transaction_amount", "USD", rate_percent="10", free_events="1")
    events = [*uses("10", quantity="transaction_amount"), cancel("e1"), used("10", "e2", "transaction_amount")]
    assert costs(price([card(rate)], None, None, events, False)) == ["0", "0", "1"]


@pytest.mark.parametrize(
    ("time", "outcome"), [("2027-07-10T08:00:00Z", "CHARGED"), ("2027-07-10T08:00:00.000001Z", "UNRATED")]
)
def test_corrections_reach_back_for_so_many_months(price, time, outcome):
    result = price([GRADUATED], None, None, [*uses("30"), cancel("e1", event_time=time)], False)[1]
    assert (result["outcome"], result["reason"]) == (outcome, None if outcome == "CHARGED" else "TOO_LATE")


def test_the_second_period_close_changes_nothing(price):
    once = price([FOUR], None, None, [*uses("14"), close_record()], False)
    twice = price([FOUR], None, None, [*uses("14"), close_record(), close_record(event_id="again")], True)
    assert booked(once) == booked(twice) == [("TRUE_UP", "19")]


def test_a_cancelled_unrated_event_books_nothing(price):
    unknown = event("e1", request_model="unknown", input_tokens=1)
    results = price([GRADUATED], None, None, [unknown, cancel("e1"), rerate("e1")], False)
    assert [result["outcome"] for result in results[:-1]] == ["UNRATED", "CHARGED", "CONTROL"]
    assert costs(results) == [None, "0", None]


RIGHT = card(sku("per_unit", unit_price="3"), version=9, correction=True)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([card(sku("per_unit", unit_price="4"))], []),
        ([card(sku("per_unit", unit_price="3")), RIGHT], []),
        ([card(sku("per_unit", unit_price="4")), RIGHT], [("REVERSAL", "-8"), ("UNIT", "6")]),
        ([GRADUATED, RIGHT], [("REVERSAL", "-1.4"), ("UNIT", "6")]),
        ([GRADUATED, card(sku("graduated", tiers=tiers((None, "3", "1"))), version=9, correction=True)],
         [("REVERSAL", "-1.4"), ("TIER_FLAT", "1"), ("UNIT", "6")]),
    ],
)  # fmt: skip
def test_a_correction_version_holds_for_re_rating_only(price, cards, expected):
    results = price(cards, None, None, [*uses("2"), rerate("e1"), rerate("e1", "later")], False)
    assert results[1]["outcome"] == "CONTROL"
    assert kinds(results[1]) == expected
    assert results[2]["entries"] == []


def test_a_correction_version_for_a_gap_rates_what_was_unrated(price):
    unknown = used("2", "e1", request_model="gap")
    right = card(sku("per_unit", unit_price="3", match={"models": ["gap"]}), id="gap", correction=True)
    results = price([right], None, None, [unknown, rerate("e1"), cancel("e1")], False)
    assert [result["outcome"] for result in results[:-1]] == ["UNRATED", "CONTROL", "CHARGED"]
    assert costs(results) == [None, "6", "-6"]


SINGLE = card(sku("volume", tiers=tiers(("40", "0.7", "9"), (None, "0.55", "4")), window="event"))
INPUT = {"sku_id": "m/input", "leaf": "input", "charge_model": "graduated", "pricing_unit": "Tokens", "tiers": TWO,
         "match": {"provider_name": "p", "models": ["m"]}}  # fmt: skip


def of(results, event_id):
    return next(result for result in results if result.get("event_id") == event_id)


def test_a_late_event_of_a_rate_for_single_events_is_settled_with_it(price):
    late = used("50", "late", event_time=LATE)
    results = price([SINGLE], None, None, [*uses("50"), close_record(), late, cancel("late", event_time=AFTER)], False)
    assert kinds(of(results, "late")) == [("UNIT", "27.5"), ("TIER_SETTLEMENT", "4")]
    assert kinds(of(results, "cancel")) == [("REVERSAL", "-27.5"), ("REVERSAL", "-4")]


def test_taking_a_closed_single_event_back_takes_its_settlement_back(price):
    results = price([SINGLE], None, None, [*uses("50"), close_record(), cancel("e1", event_time=AFTER)], False)
    assert booked(results) == [("TIER_SETTLEMENT", "4")]
    assert kinds(of(results, "cancel")) == [("REVERSAL", "-27.5"), ("TIER_SETTLEMENT", "-4")]
    assert total(results) == "0"


def test_what_is_waived_of_a_late_single_event_is_not_settled(price):
    rate = SINGLE["skus"][0] | {"status_policy": {"ERROR": "bill_zero"}}
    late = used("50", "late", event_time=LATE, status="ERROR")
    results = price([card(rate)], None, None, [*uses("50"), close_record(), late], False)
    assert kinds(of(results, "late")) == [("UNIT", "0")]


def test_leaves_of_a_late_single_event_follow_each_other(price):
    rate = INPUT | {"charge_model": "volume", "tiers": SINGLE["skus"][0]["tiers"], "window": "event"}
    late = event("late", event_time=LATE, input_tokens=30, input_image_tokens=20)
    results = price([card(rate)], None, None, [close_record(), late], False)
    found = of(results, "late")["entries"]
    assert [(each["entry_kind"], each["leaf"], each["contracted_cost"]) for each in found] == [
        ("UNIT", "input", "21"), ("TIER_SETTLEMENT", "input", "9"),
        ("UNIT", "input_image", "11"), ("TIER_SETTLEMENT", "input_image", "-9.5")]  # fmt: skip


def test_a_shift_names_the_leaf_of_the_rate_and_not_of_the_event(price):
    first, last = event("e1", input_image_tokens=30), event("e2", input_image_tokens=20)
    results = price([card(INPUT)], None, None, [first, last, cancel("e1")], False)
    assert [(each["entry_kind"], each["leaf"], each["contracted_cost"]) for each in results[2]["entries"]] == [
        ("REVERSAL", "input_image", "-21"), ("TIER_SHIFT", "input", "1.5")]  # fmt: skip
