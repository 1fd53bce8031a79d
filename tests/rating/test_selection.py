"""The rows of spec/rating.md 7, and the rules of versions in section 3."""

import pytest

from tests.support.rating import account_facts, card, costs, event, sku, tiers, token_sku, used, uses

LIST = [
    card(sku("per_unit", unit_price="3"), id="list", effective_from="2026-01-01T00:00:00Z"),
    card(sku("per_unit", unit_price="2.5"), id="list", version=2, supersedes=1, effective_from="2026-03-01T00:00:00Z"),
    card(sku("per_unit", unit_price="2.8"), id="group", scope={"group": "g"}),
    card(sku("per_unit", unit_price="2.6"), id="contract", scope={"contract": "C"},
         effective_from="2026-02-01T00:00:00Z", effective_to="2026-04-01T00:00:00Z"),
]  # fmt: skip
CONTRACT = {"contract": "C", "billing_account_id": "acme", "valid_from": "2026-01-01T00:00:00Z", "valid_to": None}
MEMBER = {"groups": [{"group": "g", "parent": None}], "accounts": [account_facts(group="g")], "contracts": [CONTRACT]}


@pytest.mark.parametrize(
    ("account", "time", "expected"),
    [
        ("acme", "2026-01-15T00:00:00Z", "2.8"),
        ("acme", "2026-02-01T00:00:00Z", "2.6"),
        ("acme", "2026-03-31T23:59:59.999000Z", "2.6"),
        ("acme", "2026-04-01T00:00:00Z", "2.8"),
        ("other", "2026-03-01T00:00:00Z", "2.5"),
        ("other", "2026-02-28T23:59:59.999999Z", "3"),
    ],
)
def test_the_nearest_level_with_a_valid_rate_decides(price, account, time, expected):
    results = price(LIST, MEMBER, None, [used("1", event_time=time, billing_account_id=account)], False)
    assert costs(results) == [expected]


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (["default", {"group": "far"}, {"group": "near"}, {"account": "acme"}, {"contract": "C"}], "5"),
        (["default", {"group": "far"}, {"group": "near"}, {"account": "acme"}], "4"),
        (["default", {"group": "far"}, {"group": "near"}], "3"),
        (["default", {"group": "far"}], "2"),
        (["default", {"group": "foreign"}, {"account": "foreign"}, {"contract": "foreign"}], "1"),
    ],
)
def test_contract_before_account_before_group_before_default(price, scopes, expected):
    cards = [card(sku("per_unit", unit_price=str(at)), id=f"c{at}", scope=each) for at, each in enumerate(scopes, 1)]
    facts = MEMBER | {
        "groups": [
            {"group": "far", "parent": None},
            {"group": "near", "parent": "far"},
            {"group": "foreign", "parent": None},
        ],
        "accounts": [account_facts(group="near")],
    }
    result = price(cards, facts, None, [used("1")], False)[0]
    assert result["contracted_cost"] == expected
    assert result["entries"][0]["list_unit_price"] == "1"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "1"),
        ({"region": "eu"}, "2"),
        ({"region": "eu", "service_tier": "batch"}, "3"),
        ({"service_tier": "batch"}, "1"),
        ({"labels": {"k": "v"}}, "4"),
        ({"labels": {"k": "w"}}, "1"),
    ],
)
def test_the_rate_that_names_more_attributes_decides(price, attributes, expected):
    matches = [{}, {"region": ["eu", "us"]}, {"region": "eu", "service_tier": "batch"}, {"labels": {"k": "v"}}]
    skus = [sku("per_unit", unit_price=str(at), variant=f"v{at}", match=each) for at, each in enumerate(matches, 1)]
    assert costs(price([card(*skus)], None, None, [used("1", **attributes)], False)) == [expected]


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ({"request_model": "m"}, "1"),
        ({"request_model": "x", "response_model": "m"}, "1"),
        ({"request_model": "other-name"}, "1"),
        ({"request_model": "m-mini"}, "2"),
        ({"request_model": "m-mini-2"}, "3"),
        ({"request_model": "n"}, None),
        ({"request_model": "m", "response_model": "n"}, None),
    ],
)
def test_exact_name_then_alias_then_longest_prefix(price, models, expected):
    skus = [
        sku("per_unit", unit_price="1"),
        sku("per_unit", unit_price="2", sku_id="b", match={"models": None, "model_prefix": "m-"}),
        sku("per_unit", unit_price="3", sku_id="c", match={"models": None, "model_prefix": "m-mini-"}),
    ]
    aliases = [{"provider_name": "p", "alias": "other-name", "model": "m"}]
    result = price([card(*skus, aliases=aliases)], None, None, [used("1", **models)], False)[0]
    assert result["contracted_cost"] == expected
    assert result["reason"] == (None if expected else "UNKNOWN_MODEL")


def test_a_leafs_own_price_beats_its_parents_at_a_higher_level(price):
    cards = [
        card(token_sku("input", "2"), token_sku("cache_read_input", "1")),
        card(token_sku("input", "1.5"), id="own", scope={"account": "acme"}),
    ]
    results = price(cards, None, None, [event(cache_read_input_tokens=1_000_000, input_tokens=1_000_000)], False)
    assert [entry["contracted_cost"] for entry in results[0]["entries"]] == ["1.5", "1"]
    assert [entry["list_cost"] for entry in results[0]["entries"]] == ["2", "1"]


OLD, NEW = tiers((None, "1", "0")), tiers((None, "2", "0"))


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ([card(sku("graduated", tiers=OLD))], ["1", "1", "2"]),
        ([], ["2", "2", "2"]),
        ([card(sku("per_unit", unit_price="1"))], ["1", "1", "2"]),
    ],
)
def test_a_version_of_an_accumulating_rate_waits_for_the_next_period(price, first, expected):
    new = card(sku("graduated", tiers=NEW), version=2, supersedes=1, effective_from="2026-06-02T00:00:00Z")
    events = [
        used("1", f"e{day}", event_time=day)
        for day in ("2026-06-10T00:00:00Z", "2026-06-11T00:00:00Z", "2026-07-01T00:00:00Z")
    ]
    assert costs(price([*first, new], None, None, events, False)) == expected


@pytest.mark.parametrize(
    ("end", "parts"),
    [
        ("2026-06-30T23:30:00Z", ["3.6"]),
        ("2026-07-01T01:00:00Z", ["1.8", "3.6"]),
        ("2026-06-30T23:00:00.000003Z", ["3.6"]),
    ],
)
def test_an_interval_is_split_where_the_price_changes(price, end, parts):
    rate = sku("per_unit", "gpu_ms", "GPU-Seconds", unit_price="1")
    dear = sku("per_unit", "gpu_ms", "GPU-Seconds", unit_price="2")
    cards = [card(rate), card(dear, version=2, supersedes=1, effective_from="2026-07-01T00:00:00Z")]
    interval = event(event_time="2026-06-30T23:00:00Z", charge_period_end=end, gpu_ms=3600)
    result = price(cards, None, None, [interval], False)[0]
    assert [entry["contracted_cost"] for entry in result["entries"]] == parts


def test_an_interval_is_split_at_time_bands_and_the_last_part_takes_the_rest(price):
    band = {"attribute": "time_band", "time_zone": "UTC",
            "bands": [{"weekdays": ["WED"], "from": "08:01", "to": "08:02", "factor": "10"}]}  # fmt: skip
    rate = sku("per_unit", "gpu_ms", "GPU-Seconds", unit_price="1000", modifiers=[band])
    interval = event(charge_period_end="2026-06-10T08:03:00Z", gpu_ms=10)
    assert [e["contracted_cost"] for e in price([card(rate)], None, None, [interval], False)[0]["entries"]] == [
        "3",
        "30",
        "4",
    ]


def test_windows_start_anew(price):
    rate = sku("graduated", tiers=tiers(("1", "1", "5"), (None, "2", "0")))
    times = ["2026-06-10T08:00:00Z", "2026-06-10T08:59:59Z", "2026-06-10T09:00:00Z", "2026-06-11T00:00:00Z"]
    events = [used("1", f"e{time}", event_time=time) for time in times]
    for window, expected in {
        "billing_period": ["6", "2", "2", "2"],
        "day": ["6", "2", "2", "6"],
        "hour": ["6", "2", "6", "6"],
        "event": ["6", "6", "6", "6"],
    }.items():
        assert costs(price([card(rate | {"window": window})], None, None, events, False)) == expected


def test_the_billing_period_begins_on_the_accounts_day(price):
    facts = {"accounts": [account_facts(billing_cycle_day=20)]}
    rate = sku("graduated", tiers=tiers(("1", "1", "0"), (None, "2", "0")))
    events = [used("1", day, event_time=f"2026-{day}T00:00:00Z") for day in ("06-19", "06-20", "07-19")]
    results = price([card(rate)], facts, None, events, False)
    assert [result["billing_period"] for result in results[:3]] == [
        "2026-05-20T00:00:00Z", "2026-06-20T00:00:00Z", "2026-06-20T00:00:00Z"]  # fmt: skip
    assert costs(results) == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("required", "rows", "outcome", "reason"),
    [
        (False, [], "CHARGED", None),
        (True, [], "UNRATED", "UNKNOWN_ACCOUNT"),
        (True, [account_facts()], "CHARGED", None),
        (True, [account_facts(valid_to="2026-06-01T00:00:00Z")], "UNRATED", "UNKNOWN_ACCOUNT"),
    ],
)
def test_an_account_without_facts_is_unrated_where_accounts_are_required(price, required, rows, outcome, reason):
    facts = {"accounts": rows}
    (result, _) = price([card(sku("per_unit", unit_price="1"))], facts, None, uses("1"), accounts_required=required)
    assert (result["outcome"], result["reason"]) == (outcome, reason)
