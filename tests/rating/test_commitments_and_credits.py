"""The rows of spec/rating.md 8, 9 and 13."""

import pytest

from tests.support.rating import (
    account_facts,
    booked,
    cancel,
    card,
    close_record,
    costs,
    kinds,
    scopes,
    sku,
    tiers,
    token_sku,
    total,
    used,
    uses,
)
from tests.support.rating import event as an_event

ONE = card(sku("per_unit", unit_price="1"))
TERM = {"commitment_id": "K", "billing_account_id": "acme", "amount": "1000", "currency": "USD", "overage_factor": "1.25",
        "paid_up_front": False, "from": "2026-06-01T00:00:00Z", "to": "2026-07-01T00:00:00Z", "sku_ids": ["*"],
        "priority": "1"}  # fmt: skip
GRANT = {"grant_id": "G", "billing_account_id": "acme", "kind": "granted", "amount": "30", "currency": "USD",
         "priority": "1", "sku_ids": ["*"], "effective_at": "2026-01-01T00:00:00Z", "expires_at": None,
         "covers_minimum": False}  # fmt: skip


@pytest.mark.parametrize(
    ("term", "quantities", "entries", "billed"),
    [
        ({}, ["640"], [("TRUE_UP", "360")], "1000"),
        ({}, ["1000"], [], "1000"),
        ({}, ["1180"], [("OVERAGE", "45")], "1225"),
        ({}, ["960", "80"], [("OVERAGE", "10")], "1050"),
        ({"to": "2026-06-13T00:00:00Z"}, ["390"], [("TRUE_UP", "10")], "400"),
        ({"to": "2026-06-13T00:00:00Z"}, ["480"], [("OVERAGE", "20")], "500"),
        ({"sku_ids": ["other"]}, ["640"], [("TRUE_UP", "1000")], "1640"),
        ({"paid_up_front": True}, ["640"], [("STANDING_FEE", "1000"), ("COVER", "-640"), ("TRUE_UP", "0")], "1000"),
        ({"paid_up_front": True}, ["1180"], [("STANDING_FEE", "1000"), ("COVER", "-1000"), ("OVERAGE", "45")], "1225"),
    ],
)
def test_a_commitment_bills_overage_or_a_true_up(price, term, quantities, entries, billed):
    results = price([ONE], {"commitments": [TERM | term]}, None, uses(*quantities), True)
    assert booked(results) == entries
    assert total(results, "billed_cost") == billed
    assert total(results) == str(sum(int(each) for each in quantities))


def test_a_charge_fills_the_commitments_in_their_order(price):
    terms = [
        TERM | {"commitment_id": "second", "amount": "50", "priority": "2", "overage_factor": "1.1"},
        TERM | {"commitment_id": "first", "amount": "100"},
    ]
    results = price([ONE], {"commitments": terms}, None, uses("170"), True)
    assert [(scope["scope"]["commitment_id"], kinds(scope, "billed_cost")) for scope in scopes(results)] == [
        ("second", [("OVERAGE", "2")])]  # fmt: skip


def test_a_cancel_takes_overage_back(price):
    results = price([ONE], {"commitments": [TERM]}, None, [*uses("1180", "10"), cancel("e1")], True)
    assert booked(results) == [("OVERAGE", "45"), ("OVERAGE", "2.5"), ("OVERAGE", "-47.5"), ("TRUE_UP", "990")]
    assert total(results, "billed_cost") == "1000"


@pytest.mark.parametrize(
    ("minimum", "more", "quantity", "expected"),
    [
        ("75", {}, "14", [("TRUE_UP", "61")]),
        ("75", {}, "80", []),
        ("75", {"valid_to": "2026-06-11T00:00:00Z"}, "14", [("TRUE_UP", "11")]),
    ],
)
def test_the_account_minimum_comes_last(price, minimum, more, quantity, expected):
    facts = {"accounts": [account_facts(minimum=minimum, billing_currency="USD") | more]}
    assert booked(price([ONE], facts, None, uses(quantity), True)) == expected


A = GRANT | {"grant_id": "A", "expires_at": "2026-06-01T00:00:00Z"}
B = GRANT | {"grant_id": "B", "amount": "20", "expires_at": "2026-05-01T00:00:00Z"}
C = GRANT | {"grant_id": "C", "amount": "5", "priority": "0"}


@pytest.mark.parametrize(
    ("time", "drawn", "billed"),
    [
        ("2026-04-10T00:00:00Z", {"C": "-5", "B": "-20", "A": "-15"}, "0"),
        ("2026-05-10T00:00:00Z", {"C": "-5", "A": "-30"}, "5"),
        ("2026-05-01T00:00:00Z", {"C": "-5", "A": "-30"}, "5"),
    ],
)
def test_grants_are_used_in_their_order(price, time, drawn, billed):
    results = price([ONE], {"credits": [A, B, C]}, None, [used("40", event_time=time)], True)
    found = {
        scope["scope"]["grant_id"]: entry["billed_cost"]
        for scope in scopes(results)
        for entry in scope["entries"]
        if entry["entry_kind"] == "CREDIT"
    }
    assert found == drawn
    assert total(results, "billed_cost") == billed


@pytest.mark.parametrize(("kind", "entry"), [("granted", "CREDIT"), ("prepaid", "COVER")])
def test_a_credit_entry_names_its_charge(price, kind, entry):
    results = price([ONE], {"credits": [GRANT | {"kind": kind}]}, None, uses("40"), True)
    (scope,) = scopes(results)
    assert (scope["contracted_cost"], scope["billed_cost"]) == ("0", "-30")
    assert [(each["entry_kind"], each["event_id"]) for each in scope["entries"]] == [(entry, "e1")]


def test_a_cancel_gives_the_credit_back_last_drawn_first(price):
    events = [used("40", event_time="2026-04-10T00:00:00Z"), cancel("e1", event_time="2026-04-11T00:00:00Z"),
              used("7", "e3", event_time="2026-04-12T00:00:00Z")]  # fmt: skip
    results = price([ONE], {"credits": [A, B, C]}, None, events, True)
    found = {scope["scope"]["grant_id"]: [cost for _, cost in kinds(scope, "billed_cost")] for scope in scopes(results)}
    assert found == {"C": ["-5", "5", "-5"], "B": ["-20", "20", "-2", "0"], "A": ["-15", "15"]}
    assert total(results, "billed_cost") == "0"


@pytest.mark.parametrize(("covers", "expected"), [(False, "75"), (True, "45")])
def test_a_minimum_draws_credits_only_where_the_grant_says_so(price, covers, expected):
    rate = sku("per_unit", unit_price="4", minimum="75")
    facts = {"credits": [GRANT | {"covers_minimum": covers}]}
    other = an_event(requests=0)
    results = price([card(rate, scope={"account": "acme"})], facts, None, [other], True)
    assert total(results, "billed_cost") == expected


def test_an_expired_rest_is_taken_when_its_period_closes(price):
    results = price([ONE], {"credits": [B]}, None, [used("3", event_time="2026-04-10T00:00:00Z")], True)
    assert booked(results) == [("CREDIT", "-3"), ("FORFEIT", "0")]
    assert scopes(results)[0]["entries"][1]["pricing_quantity"] == "17"


def one_charge():
    rate = token_sku("output", "0", free_units="1", maximum="200", discounts=[{"percent": "10"}, {"fixed": "5"}])
    rate |= {"charge_model": "graduated", "tiers": tiers(("50", "4", "0"), (None, "3", "0"))}
    facts = {
        "accounts": [account_facts(billing_currency="EUR", fx={"policy": "fixed", "rates": {"USD": "0.92"}})],
        "commitments": [TERM | {"amount": "100", "currency": "EUR", "overage_factor": "1.1"}],
        "credits": [GRANT | {"currency": "EUR"}],
    }
    return [card(rate)], facts


def test_one_charge_through_all_steps(price):
    results = price(*one_charge(), None, [an_event(output_tokens=61_000_000)], True)
    assert [(e["entry_kind"], e["pricing_cost"], e["contracted_cost"]) for e in results[0]["entries"]] == [
        ("FREE_UNITS", "0", "0"), ("UNIT", "180", "165.6"), ("UNIT", "27", "24.84"), ("DISCOUNT", "-5", "-4.6"),
        ("CAP", "-2", "-1.84")]  # fmt: skip
    assert costs(results) == ["184"]
    assert booked(results) == [("OVERAGE", "8.4"), ("CREDIT", "-30")]
    assert total(results, "billed_cost") == "162.4"


def test_one_charge_in_two_events_is_the_same_sum(price):
    events = [an_event(name, output_tokens=30_500_000) for name in ("e1", "e2")]
    results = price(*one_charge(), None, events, True)
    assert [sum(float(e["pricing_cost"]) for e in result["entries"]) for result in results[:2]] == [101.2, 98.8]
    assert total(results, "billed_cost") == "162.4"


def test_a_late_event_shrinks_the_true_up_of_a_commitment(price):
    late = used("100", "late", event_time="2026-06-20T00:00:00Z")
    results = price([ONE], {"commitments": [TERM]}, None, [*uses("640"), close_record(), late], True)
    assert booked(results) == [("TRUE_UP", "360"), ("TRUE_UP", "-100")]
    assert scopes(results)[1]["entries"][0]["charge_class"] == "CORRECTION"


def test_a_grant_buys_no_commitment(price):
    facts = {"commitments": [TERM | {"paid_up_front": True, "amount": "50"}], "credits": [GRANT]}
    results = price([ONE], facts, None, uses("60"), True)
    assert booked(results)[:3] == [("STANDING_FEE", "50"), ("COVER", "-50"), ("OVERAGE", "2.5")]
    assert {kind for kind, _ in booked(results)[3:]} == {"CREDIT"}
    assert scopes(results)[1]["billed_cost"] == "-12.5"


def test_what_goes_down_leaves_commitments_as_if_it_had_never_been(price):
    terms = [
        TERM | {"commitment_id": "A", "amount": "100"},
        TERM | {"commitment_id": "B", "amount": "50", "priority": "2"},
    ]
    results = price([ONE], {"commitments": terms}, None, [*uses("100", "30"), cancel("e1")], True)
    assert booked(results) == [("TRUE_UP", "70"), ("TRUE_UP", "50")]


def test_the_account_minimum_counts_what_was_paid_up_front_when_it_is_used(price):
    facts = {
        "accounts": [account_facts(minimum="75", billing_currency="USD")],
        "commitments": [TERM | {"paid_up_front": True, "amount": "200", "to": "2026-08-01T00:00:00Z"}],
    }
    events = [used("100", event_time="2026-06-10T00:00:00Z"), used("60", "e2", event_time="2026-07-10T00:00:00Z")]
    results = price([ONE], facts, None, events, True)
    minimum = [scope for scope in scopes(results) if "account_minimum" in scope["scope"]]
    assert minimum == []  # July's usage of 60 and the rest of 40


def test_late_usage_of_a_closed_period_gives_its_credits_back_as_corrections(price):
    late = used("5", "late", event_time="2026-06-20T00:00:00Z")
    events = [*uses("7"), close_record(), late, cancel("late", event_time="2026-06-21T00:00:00Z")]
    results = price([ONE], {"credits": [GRANT]}, None, events, True)
    assert booked(results) == [("CREDIT", "-7"), ("CREDIT", "-5"), ("CREDIT", "5")]
    assert [each.get("charge_class") for each in scopes(results)[1]["entries"]] == ["CORRECTION", "CORRECTION"]


def test_a_waiting_amend_that_cannot_be_rated_leaves_its_original_to_commitments(price):
    amend = used("9", "a1", event_kind="AMEND", amends_event_id="e1", request_model="nobody")
    results = price([ONE], {"commitments": [TERM | {"amount": "10"}]}, None, [amend, *uses("14")], True)
    assert booked(results) == [("OVERAGE", "1")]
