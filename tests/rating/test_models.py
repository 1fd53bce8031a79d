"""The rows of spec/rating.md 2 and 4: a rate, events, and what each of them costs."""

import pytest

from tests.support.rating import (
    account_facts,
    booked,
    card,
    costs,
    event,
    kinds,
    scopes,
    sku,
    tiers,
    token_sku,
    total,
    used,
    uses,
)

THREE = tiers(("40", "0.7", "9"), ("90", "0.55", "4"), (None, "0.3", "1.5"))
BLOCKS = [{"up_to": "300", "unit_price": "2", "block_size": "25"}, {"unit_price": "6", "block_size": "100"}]
MIX = sku("per_unit", unit_price="3", divide_by="250", round="up")
PACKS = sku("package", package_price="7", package_size="48", package_round="up", free_units="12")
CALLS = sku("graduated", tiers=THREE)
PERCENT = sku(
    "percentage", "transaction_amount", "USD", rate_percent="2.4", fixed="0.30", free_events="2", free_amount="120"
)
SHARES = [{"up_to": "500", "rate_percent": "1.5", "flat_fee": "3"}, {"rate_percent": "0.8", "flat_fee": "2"}]
CAPPED = sku("per_unit", unit_price="4", maximum="50")


@pytest.mark.parametrize(
    ("rate", "quantities", "expected"),
    [
        (MIX, ["1001"], ["15"]),
        (MIX, ["1000"], ["12"]),
        (MIX, ["0"], ["0"]),
        (MIX, ["1100", "100"], ["15", "0"]),
        (MIX | {"free_units": "1.25"}, ["1001"], ["11.25"]),
        (PACKS, ["0"], ["0"]),
        (PACKS, ["12"], ["0"]),
        (PACKS, ["13"], ["7"]),
        (PACKS, ["60"], ["7"]),
        (PACKS, ["61"], ["14"]),
        (PACKS, ["50", "20"], ["7", "7"]),
        (PACKS | {"package_round": "down"}, ["59"], ["0"]),
        (PACKS | {"package_round": "down"}, ["61"], ["7"]),
        (PACKS | {"window": "event"}, ["20", "20", "20"], ["7", "7", "7"]),
        (CALLS, ["1"], ["9.7"]),
        (CALLS, ["40"], ["37"]),
        (CALLS, ["40.000001"], ["41.00000055"]),
        (CALLS, ["90"], ["68.5"]),
        (CALLS, ["130"], ["82"]),
        (CALLS, ["35", "15"], ["33.5", "13"]),
        (sku("graduated", tiers=BLOCKS), ["1"], ["2"]),
        (sku("graduated", tiers=BLOCKS), ["300"], ["24"]),
        (sku("graduated", tiers=BLOCKS), ["301"], ["30"]),
        (sku("graduated", tiers=BLOCKS), ["455"], ["36"]),
        (sku("graduated", tiers=tiers(("2", "0", "0"), (None, "12.5", "0"))), ["1.5"], ["0"]),
        (sku("graduated", tiers=tiers(("2", "0", "0"), (None, "12.5", "0"))), ["2"], ["0"]),
        (sku("graduated", tiers=tiers(("2", "0", "0"), (None, "12.5", "0"))), ["2.5"], ["6.25"]),
        (CAPPED, ["11", "3", "5"], ["44", "6", "0"]),
        (sku("per_unit", unit_price="4", discounts=[{"percent": "15"}, {"percent": "10"}, {"fixed": "20"}], maximum="70"),
         ["30"], ["70"]),
    ],
)  # fmt: skip
def test_a_quantity_costs_what_its_model_says(price, rate, quantities, expected):
    assert costs(price([card(rate)], None, None, uses(*quantities), False)) == expected


@pytest.mark.parametrize(
    ("rate", "amounts", "expected"),
    [
        (PERCENT, ["70", "90", "60", "15"], ["0", "1.26", "1.74", "0.66"]),
        (PERCENT | {"per_event_min": "0.50", "per_event_max": "1.50"}, ["70", "90", "60", "15"], ["0", "1.26", "1.5", "0.66"]),
        (PERCENT | {"free_events": None, "free_amount": "0"}, ["0", "25"], ["0", "0.9"]),
        (PERCENT | {"free_events": None, "fixed": None, "free_amount": "100"}, ["130"], ["0.72"]),
        (sku("graduated_percentage", "transaction_amount", "USD", tiers=SHARES), ["500"], ["10.5"]),
        (sku("graduated_percentage", "transaction_amount", "USD", tiers=SHARES), ["501"], ["12.508"]),
        (sku("graduated_percentage", "transaction_amount", "USD", tiers=SHARES), ["2000"], ["24.5"]),
    ],
)  # fmt: skip
def test_a_transaction_costs_its_share(price, rate, amounts, expected):
    assert costs(price([card(rate)], None, None, uses(*amounts, quantity="transaction_amount"), False)) == expected


@pytest.mark.parametrize(
    ("unit_price", "tokens", "expected"),
    [("2.75", 1_234_567, "3.39505925"), ("2.75", 0, "0"), ("0.1234567", 1, "0.000000123457")],
)
def test_tokens_cost_their_unit_price(price, unit_price, tokens, expected):
    assert costs(price([card(token_sku("input", unit_price))], None, None, [event(input_tokens=tokens)], False)) == [
        expected
    ]


@pytest.mark.parametrize(
    ("rate", "quantities", "provisional", "final"),
    [
        (sku("volume", tiers=THREE), ["40"], ["28"], "37"),
        (sku("volume", tiers=THREE), ["40.5"], ["22.275"], "26.275"),
        (sku("volume", tiers=THREE), ["41"], ["22.55"], "26.55"),
        (sku("volume", tiers=THREE), ["90"], ["49.5"], "53.5"),
        (sku("volume", tiers=THREE), ["130"], ["39"], "40.5"),
        (sku("volume", tiers=BLOCKS), ["300"], ["24"], "24"),
        (sku("volume", tiers=BLOCKS), ["301"], ["18.06"], "24"),
        (sku("volume", tiers=BLOCKS), ["455"], ["27.3"], "30"),
    ],
)
def test_a_volume_rate_is_settled_at_close(price, rate, quantities, provisional, final):
    results = price([card(rate)], None, None, uses(*quantities), True)
    assert costs(results) == provisional
    assert total(results) == final


def test_a_volume_settlement_is_shared_by_project(price):
    events = [used("30", "e1", project="a"), used("60", "e2", project="b")]
    results = price([card(sku("volume", tiers=THREE))], None, None, events, True)
    assert costs(results) == ["21", "33"]
    assert booked(results) == [("TIER_SETTLEMENT", "-3.166666666667"), ("TIER_SETTLEMENT", "2.666666666667")]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (CALLS, [("TIER_FLAT", "9")]),
        (sku("volume", tiers=THREE), [("TIER_SETTLEMENT", "9")]),
        (sku("graduated_percentage", "transaction_amount", "USD", tiers=SHARES), [("TIER_FLAT", "3")]),
        (PACKS, []),
        (sku("graduated", tiers=BLOCKS), []),
        (sku("per_unit", unit_price="4", minimum="75"), [("TRUE_UP", "75")]),
        (CALLS | {"scope_by": ["project"]}, []),
        (CALLS | {"window": "day"}, []),
    ],
)
def test_a_rate_that_the_account_has_by_name_is_due_without_events(price, rate, expected):
    other = event(requests=0)
    assert booked(price([card(rate, scope={"account": "acme"})], None, None, [other], True)) == expected
    assert booked(price([card(rate)], None, None, [other], True)) == []


@pytest.mark.parametrize(
    ("quantity", "expected"), [("14", [("TRUE_UP", "19")]), ("20", []), ("18.75", [])]
)  # fmt: skip
def test_a_minimum_is_reached_at_close(price, quantity, expected):
    rate = sku("per_unit", unit_price="4", minimum="75")
    assert booked(price([card(rate)], None, None, uses(quantity), True)) == expected


def test_an_event_that_crosses_a_bound_has_an_entry_for_each_tier(price):
    results = price([card(CALLS)], None, None, uses("35", "15"), False)
    assert kinds(results[0]) == [("TIER_FLAT", "9"), ("UNIT", "24.5")]
    assert kinds(results[1]) == [("UNIT", "3.5"), ("TIER_FLAT", "4"), ("UNIT", "5.5")]
    assert [entry["sku_price_id"] for entry in results[1]["entries"]] == ["units/1", "units/2", "units/2"]


def test_what_the_maximum_takes_off_is_an_entry(price):
    results = price([card(CAPPED)], None, None, uses("11", "3", "5"), False)
    assert kinds(results[1]) == [("UNIT", "12"), ("CAP", "-6")]
    assert kinds(results[2]) == [("UNIT", "20"), ("CAP", "-20")]
    assert results[1]["entries"][1]["sku_price_id"] is None


def test_free_units_are_an_entry_of_price_zero(price):
    (result, _) = price([card(PACKS)], None, None, uses("13"), False)
    assert kinds(result) == [("FREE_UNITS", "0"), ("UNIT", "7")]
    assert [(e["sku_price_id"], e["pricing_quantity"]) for e in result["entries"]] == [
        ("units/0", "12"),
        ("units/1", "1"),
    ]


LONG = [
    token_sku("input", "0")
    | {"charge_model": "threshold", "base": "1.2", "thresholds": [{"above": 128000, "price": "2.4"}]},
    token_sku("cache_read_input", "0")
    | {"charge_model": "threshold", "base": "0.12", "thresholds": [{"above": 128000, "price": "0.24"}]},
]
ANSWER = token_sku("output", "0") | {
    "charge_model": "threshold",
    "base": "6",
    "thresholds": [{"above": 128000, "price": "9"}],
}


@pytest.mark.parametrize(
    ("output", "total_input", "expected"),
    [
        (ANSWER, 128_000, "0.138"),
        (ANSWER, 128_001, "0.2730024"),
        (ANSWER | {"thresholds": []}, 128_001, "0.2700024"),
        (token_sku("output", "6"), 128_001, "0.2700024"),
    ],
)
def test_a_long_request_pays_the_long_price_for_every_token(price, output, total_input, expected):
    tokens = {"input_tokens": total_input - 20_000, "cache_read_input_tokens": 20_000, "output_tokens": 1000}
    assert costs(price([card(*LONG, output)], None, None, [event(**tokens)], False)) == [expected]


def test_a_markup_multiplies_the_reported_cost(price):
    rate = sku("cost_plus", "reported_cost", "USD", multiplier="1.15")
    reported = event(reported_cost_picos=17_300_000_000, input_tokens=5)
    assert costs(price([card(rate, token_sku("input", "9"))], None, None, [reported], False)) == ["0.019895"]


@pytest.mark.parametrize(
    ("source", "currency", "expected"),
    [
        ("gw", None, ("CHARGED", None, "0.25")),
        ("gw", "USD", ("CHARGED", None, "0.25")),
        ("gw", "EUR", ("UNRATED", "CURRENCY_MISMATCH", None)),
        ("other", None, ("DEAD_LETTER", "PRICE_NOT_ALLOWED", None)),
    ],
)
def test_a_dynamic_price_comes_from_its_sources_only(price, source, currency, expected):
    rate = sku("dynamic", "reported_cost", "USD", dynamic=True, price_sources=["gw"])
    reported = event(source=source, reported_cost_picos=250_000_000_000, reported_cost_currency=currency)
    result = price([card(rate)], None, None, [reported], False)[0]
    assert (result["outcome"], result["reason"], result["contracted_cost"]) == expected


def test_two_halves_in_a_scope_by_project_do_not_share_tiers(price):
    events = [used("40", "e1", project="a"), used("40", "e2", project="b")]
    results = price([card(CALLS | {"scope_by": ["project"], "minimum": "50"})], None, None, events, True)
    assert costs(results) == ["37", "37"]
    assert [scope["scope"]["by"] for scope in scopes(results)] == [{"project": "a"}, {"project": "b"}]
    assert booked(results) == [("TRUE_UP", "13"), ("TRUE_UP", "13")]


def test_a_day_in_two_billing_periods_accumulates_in_each(price):
    # spec/rating.md 1: a scope has one billing period; the account's cycle day ends within the day
    rate = sku("graduated", tiers=tiers(("40", "0.7", "0"), (None, "0.55", "0")), window="day")
    accounts = {"accounts": [account_facts(billing_cycle_day=20, valid_to="2026-06-23T12:00:00Z")]}
    times = ["2026-06-23T11:00:00Z", "2026-06-23T13:00:00Z", "2026-06-23T14:00:00Z"]
    events = [used("30", f"e{at}", event_time=time) for at, time in enumerate(times)]
    results = price([card(rate)], accounts, None, events, False)
    assert [each["billing_period"][:10] for each in results[:3]] == ["2026-06-20", "2026-06-01", "2026-06-01"]
    assert costs(results) == ["21", "21", "18"]


@pytest.mark.parametrize("free", [{}, {"free_amount": "1"}])
def test_a_fee_that_is_discounted_as_a_whole_is_an_entry_of_cost_zero(price, free):
    rate = sku("percentage", "transaction_amount", "USD", rate_percent="2.4", fixed="0.30", per_event_min="0.5",
               discounts=[{"percent": "100"}], **free)  # fmt: skip
    results = price([card(rate)], None, None, [used("25", quantity="transaction_amount")], False)
    assert [each for each in kinds(results[0]) if each[0] != "FREE_UNITS"] == [("UNIT", "0"), ("PER_EVENT_FEE", "0")]


def test_a_maximum_of_a_single_event_counts_towards_its_minimum(price):
    batch = sku("per_unit", unit_price="4", window="event", minimum="10", maximum="70", variant="batch",
                match={"service_tier": "batch"})  # fmt: skip
    results = price([card(batch)], None, None, uses("30", "1", service_tier="batch"), True)
    assert kinds(results[0]) == [("UNIT", "120"), ("CAP", "-50")]
    assert booked(results) == [("TRUE_UP", "6")]
