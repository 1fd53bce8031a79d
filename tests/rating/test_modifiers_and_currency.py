"""The rows of spec/rating.md 5: modifiers, time bands and currencies."""

import pytest

from tests.support.rating import JUNE, account_facts, card, costs, event, kinds, sku, tiers, token_sku, used

NIGHT = {"attribute": "time_band", "time_zone": "Europe/Berlin",
         "bands": [{"weekdays": ["MON", "TUE", "WED", "THU", "FRI"], "from": "22:00", "to": "06:00", "factor": "0.8"}]}  # fmt: skip
TIER = {"attribute": "service_tier", "factors": {"standard": "1", "batch": "0.5", "priority": "1.5"}}
FX = [{"date": "2026-06-05", "from_currency": "USD", "to_currency": "EUR", "rate": "0.9137", "source": "ECB"}]


@pytest.mark.parametrize(
    ("time", "factor"),
    [
        ("2026-01-10T03:30:00Z", "0.8"),
        ("2026-01-10T05:00:00Z", "1"),
        ("2026-01-10T04:59:59.999999Z", "0.8"),
        ("2026-01-09T21:00:00Z", "0.8"),
        ("2026-01-09T20:59:59Z", "1"),
        ("2026-01-12T03:00:00Z", "1"),  # Monday's night began on a Sunday
        ("2026-03-27T21:00:00Z", "0.8"),
        ("2026-06-09T20:00:00Z", "0.8"),  # 22:00 in summer time
    ],
)
def test_the_wall_clock_decides_the_time_band(price, time, factor):
    rate = sku("per_unit", unit_price="1", modifiers=[NIGHT])
    assert costs(price([card(rate)], None, None, [used("1", event_time=time)], False)) == [factor]


@pytest.mark.parametrize(
    ("modifiers", "match", "service_tier", "expected"),
    [
        ([TIER, NIGHT], {}, "batch", ("CHARGED", "0.6")),
        ([TIER], {}, None, ("CHARGED", "1.5")),
        ([TIER], {}, "flex", ("UNRATED", None)),
        ([TIER | {"factors": {"batch": "0.5", "*": "2"}}], {}, "flex", ("CHARGED", "3")),
        ([TIER], {"service_tier": "batch"}, "batch", ("CHARGED", "1.5")),
    ],
)
def test_factors_multiply_the_unit_price(price, modifiers, match, service_tier, expected):
    rate = token_sku("input", "6", modifiers=modifiers, match=match)
    tokens = event(event_time="2026-01-10T03:30:00Z", input_tokens=250_000, service_tier=service_tier)
    result = price([card(rate)], None, None, [tokens], False)[0]
    assert (result["outcome"], result["contracted_cost"]) == expected
    assert result["reason"] == ("UNKNOWN_MODIFIER_VALUE" if expected[0] == "UNRATED" else None)


def test_a_factor_holds_for_the_units_of_its_event_in_an_accumulating_rate(price):
    rate = sku("graduated", tiers=tiers(("40", "0.7", "0"), (None, "0.55", "0")), modifiers=[TIER])
    events = [used("35", "e1"), used("10", "e2", service_tier="priority")]
    results = price([card(rate)], None, None, events, False)
    assert costs(results) == ["24.5", "9.375"]
    assert kinds(results[1]) == [("UNIT", "5.25"), ("UNIT", "4.125")]


@pytest.mark.parametrize(
    ("time", "fx", "expected"),
    [
        ("2026-06-05T12:00:00Z", FX, ("11.42125", None)),
        ("2026-06-12T23:59:59Z", FX, ("11.42125", None)),
        ("2026-06-13T00:00:00Z", FX, (None, "NO_FX_RATE")),
        ("2026-06-04T23:59:59Z", FX, (None, "NO_FX_RATE")),
        ("2026-06-06T00:00:00Z", [*FX, FX[0] | {"date": "2026-06-06", "rate": "2"}], ("25", None)),
        ("2026-06-05T12:00:00Z", [FX[0] | {"from_currency": "EUR", "to_currency": "USD"}], (None, "NO_FX_RATE")),
    ],
)
def test_the_rate_of_the_day_converts_the_cost(price, time, fx, expected):
    facts = {"accounts": [account_facts(billing_currency="EUR")]}
    rate = sku("per_unit", unit_price="12.5")
    result = price([card(rate)], facts, fx, [used("1", event_time=time)], False)[0]
    assert (result["contracted_cost"], result["reason"]) == expected
    if result["outcome"] == "CHARGED":
        entry = result["entries"][0]
        assert (entry["pricing_currency"], entry["pricing_cost"]) == ("USD", "12.5")
        assert entry["contracted_unit_price"] == "12.5"


def test_a_fixed_rate_needs_no_table(price):
    facts = {"accounts": [account_facts(billing_currency="EUR", fx={"policy": "fixed", "rates": {"USD": "0.92"}})]}
    result = price([card(sku("per_unit", unit_price="10"))], facts, None, [used("1")], False)[0]
    assert (result["contracted_cost"], result["entries"][0]["fx_rate"]) == ("9.2", "0.92")


def test_one_event_in_two_currencies_needs_a_billing_currency(price):
    cards = [card(token_sku("input", "1")), card(token_sku("output", "1"), id="eur", currency="EUR")]
    tokens = event(event_time=JUNE, input_tokens=1, output_tokens=1)
    assert price(cards, None, None, [tokens], False)[0]["reason"] == "CURRENCY_MISMATCH"
