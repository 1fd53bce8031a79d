"""The rows of spec/allocation.md 1: fees of a period by whole UTC days."""

import pytest

from tests.support.rating import account_facts, booked, card, event, scopes, sku, tiers, total, used

SEATS = {"sku_id": "seats", "charge_model": "flat", "amount": "310", "pricing_unit": "Seats"}
UNITS = sku("per_unit", "recurring_units", "Seats", unit_price="12", sku_id="seats")
MINE = {"scope": {"account": "acme"}}


def touch(time="2026-07-15T00:00:00Z"):
    return event(event_time=time, requests=0)


def contract(start, end):
    return {"contracts": [{"contract": "C", "billing_account_id": "acme", "valid_from": start, "valid_to": end}]}


def subscription(*changes):
    rows = [{"at": f"2026-{day}T00:00:00Z", "quantity": count} for day, count in changes]
    return {
        "subscriptions": [{"subscription_id": "S", "billing_account_id": "acme", "sku_id": "seats", "changes": rows}]
    }


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-07-09T00:00:00Z", None, "230"),
        ("2026-07-09T15:20:00Z", "2026-07-20T00:10:00Z", "110"),
        ("2026-07-09T08:00:00Z", "2026-07-09T19:00:00Z", "0"),
        ("2026-01-01T00:00:00Z", None, "310"),
    ],
)
@pytest.mark.parametrize("bill_in", ["arrears", "advance"])
def test_a_fee_is_due_for_the_days_in_use(price, start, end, expected, bill_in):
    rates = card(SEATS | {"bill_in": bill_in}, scope={"contract": "C"})
    results = price([rates, card(sku("per_unit", unit_price="1"), id="x")], contract(start, end), None,
                    [used("0", event_time="2026-07-15T00:00:00Z")], True)  # fmt: skip
    assert sum(float(cost) for _, cost in booked(results)) == float(expected)


@pytest.mark.parametrize(
    ("bill_in", "expected"),
    [
        ("arrears", [("STANDING_FEE", "16"), ("STANDING_FEE", "66")]),
        ("advance", [("STANDING_FEE", "60"), ("STANDING_FEE", "-44"), ("STANDING_FEE", "66")]),
    ],
)
def test_a_new_price_of_a_fee_counts_from_its_day(price, bill_in, expected):
    cards = [
        card(SEATS | {"amount": "60", "bill_in": bill_in}, **MINE),
        card(SEATS | {"amount": "90", "bill_in": bill_in}, version=2, supersedes=1,
             effective_from="2026-06-09T00:00:00Z", **MINE),
    ]  # fmt: skip
    assert booked(price(cards, None, None, [touch("2026-06-15T00:00:00Z")], True)) == expected


def test_the_divisor_is_the_accounts_own_period(price):
    facts = {"accounts": [account_facts(billing_cycle_day=20)]}
    cards = [card(SEATS | {"amount": "100"}, effective_from="2026-03-05T00:00:00Z", **MINE)]
    results = price(cards, facts, None, [touch("2026-03-10T00:00:00Z")], True)
    assert booked(results) == [("STANDING_FEE", "53.571428571429")]


def test_a_minimum_is_prorated_and_a_maximum_is_not(price):
    rate = sku("per_unit", unit_price="4", minimum="75", maximum="80")
    facts = contract("2026-01-01T00:00:00Z", "2026-04-11T00:00:00Z")
    results = price([card(rate, scope={"contract": "C"})], facts, None, [touch("2026-04-05T00:00:00Z")], True)
    assert booked(results) == [("TRUE_UP", "25")]
    results = price(
        [card(rate, scope={"contract": "C"})], facts, None, [used("30", event_time="2026-04-05T00:00:00Z")], True
    )
    assert total(results) == "80"


@pytest.mark.parametrize(
    ("rate", "changes", "time", "expected"),
    [
        (UNITS, [("05-01", 4), ("05-22", 6)], "2026-05-15T00:00:00Z", "71.225806451613"),
        (SEATS | {"amount": "12"}, [("05-01", 4), ("05-22", 6)], "2026-05-15T00:00:00Z", "71.225806451613"),
        (UNITS, [("05-01", 4), ("05-22", 6)], "2026-06-15T00:00:00Z", "120"),
        (sku("graduated", "recurring_units", "Seats", sku_id="seats", tiers=tiers(("4", "10", "20"), (None, "6", "5"))),
         [("06-01", 3), ("06-16", 3)], "2026-06-20T00:00:00Z", "66"),
        (sku("volume", "recurring_units", "Seats", sku_id="seats", tiers=tiers(("4", "10", "0"), (None, "6", "5"))),
         [("06-01", 3), ("06-16", 3)], "2026-06-20T00:00:00Z", "32"),
    ],
)  # fmt: skip
def test_recurring_units_count_from_their_day(price, rate, changes, time, expected):
    results = price([card(rate)], subscription(*changes), None, [touch(time)], True)
    assert total(results) == expected
    assert scopes(results)[0]["scope"] == {"billing_account_id": "acme", "subscription_id": "S"}


def test_a_default_fee_is_due_by_subscription_only(price):
    assert booked(price([card(SEATS)], None, None, [touch()], True)) == []
    assert booked(price([card(SEATS)], subscription(("07-01", 2)), None, [touch()], True)) == [("STANDING_FEE", "620")]


def test_a_subscription_without_a_price_is_unrated(price):
    (result,) = scopes(price([card(UNITS | {"sku_id": "other"})], subscription(("07-01", 2)), None, [touch()], True))
    assert (result["outcome"], result["reason"]) == ("UNRATED", "NO_PRICE")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("06-01", 4), ("06-16", 2)], ["240", "-120", "180"]),
        ([("06-01", 4), ("06-16", -4)], ["120"]),
        ([("06-01", 4), ("06-16", -4), ("06-21", 1)], ["120", "20"]),
    ],
)
def test_a_change_of_a_fee_in_advance_credits_the_old_and_charges_the_new(price, changes, expected):
    rates = card(SEATS | {"amount": "60", "bill_in": "advance"})
    results = price([rates], subscription(*changes), None, [touch("2026-06-15T00:00:00Z")], True)
    assert booked(results) == [("STANDING_FEE", cost) for cost in expected]


def test_units_with_one_price_are_one_entry_and_tiers_wait_for_the_next_period(price):
    tiered = sku("graduated", "recurring_units", "Seats", sku_id="seats", tiers=tiers((None, "100", "7")))
    cards = [card(UNITS), card(tiered, version=2, supersedes=1, effective_from="2026-06-09T00:00:00Z")]
    facts = subscription(("05-01", 4), ("06-16", 2))
    assert booked(price(cards, facts, None, [touch("2026-06-15T00:00:00Z")], True)) == [("UNIT", "60")]
    results = price(cards, facts, None, [touch("2026-07-15T00:00:00Z")], True)
    assert booked(results) == [("TIER_FLAT", "7"), ("UNIT", "600")]


def test_units_in_tiers_pay_for_the_days_of_their_contract(price):
    rate = sku(
        "volume",
        "recurring_units",
        "Seats",
        sku_id="seats",
        tiers=[{"up_to": None, "unit_price": "30", "block_size": "2"}],
    )
    facts = contract("2026-06-21T00:00:00Z", None) | subscription(("05-01", 9), ("06-11", -6))
    results = price([card(rate, scope={"contract": "C"})], facts, None, [touch("2026-06-25T00:00:00Z")], True)
    assert booked(results) == [("UNIT", "20")]


def test_an_account_that_ended_is_closed_in_its_currency(price):
    row = account_facts(
        billing_currency="EUR", valid_to="2026-06-16T00:00:00Z", fx={"policy": "fixed", "rates": {"USD": "0.5"}}
    )
    facts = {"accounts": [row]} | subscription(("05-01", 2))
    (result,) = scopes(price([card(SEATS | {"amount": "60"})], facts, None, [touch("2026-06-10T00:00:00Z")], True))
    assert (result["billing_currency"], result["billed_cost"]) == ("EUR", "30")
