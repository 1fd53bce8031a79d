"""The card of spec/formats.md 2 with every charge model, and the results in its comments."""

import json

import pytest

from tests.support.documents import document
from tests.support.full_card import FULL_CARD
from tests.support.rating import JUNE, costs, total, used

CARD = document(FULL_CARD)

EVENTS = [json.loads(line) for line in """
{"event_id":"e1","source":"gw","event_time":"2026-06-10T08:00:00Z","billing_account_id":"acme","provider_name":"openai","request_model":"gpt-4o","operation_name":"chat","token_convention":"INCLUSIVE","input_tokens":1000,"cache_read_input_tokens":400,"output_tokens":200,"project":"search"}
{"event_id":"e2","source":"gw","event_time":"2026-06-10T08:00:01Z","billing_account_id":"acme","provider_name":"house","request_model":"planner","operation_name":"tool","extra_quantities":{"tool_calls":35500000}}
{"event_id":"p1","source":"chargeline","event_kind":"PERIOD_CLOSE","event_time":"2026-06-01T00:00:00Z","billing_account_id":"acme","provider_name":"chargeline","request_model":"none","operation_name":"control","requests":0}
""".strip().splitlines()]  # fmt: skip


def test_the_published_events_give_the_published_objects(price):
    results = price([CARD], None, None, EVENTS[:1], False)
    common = {
        "entry_kind": "UNIT",
        "rate_card_id": "house-list",
        "rate_card_version": 1,
        "pricing_unit": "1000000 Tokens",
    }
    expected = [
        common | {"sku_id": sku, "sku_price_id": f"{sku}/1", "leaf": leaf, "pricing_quantity": quantity,
                  "list_unit_price": price_, "contracted_unit_price": price_, "contracted_cost": cost, "list_cost": cost}
        for sku, leaf, quantity, price_, cost in (
            ("gpt-4o/input", "input", "0.0006", "2.5", "0.0015"),
            ("gpt-4o/input", "cache_read_input", "0.0004", "2.5", "0.001"),
            ("gpt-4o/output", "output", "0.0002", "9", "0.0018"),
        )
    ]  # fmt: skip
    assert results == [
        {"event_id": "e1", "outcome": "CHARGED", "reason": None, "billing_period": "2026-06-01T00:00:00Z",
         "contracted_cost": "0.0043", "billed_cost": "0.0043", "billing_currency": "USD", "entries": expected},
        {"totals": {"acme": {"USD": {"contracted_cost": "0.0043", "billed_cost": "0.0043"}}}, "outcomes": {"CHARGED": 1}},
    ]  # fmt: skip


def test_the_control_record_closes_the_period(price):
    results = price([CARD], None, None, EVENTS, False)
    assert [result["outcome"] for result in results[:3]] == ["CHARGED", "CHARGED", "CONTROL"]
    assert costs(results) == ["0.0043", "33.85", None]
    assert total(results) == "96.8543"  # + seats 60, + opening of marketplace 3
    assert price([CARD], None, None, EVENTS[:2], True)[2:-1] == results[3:-1]


@pytest.mark.parametrize(
    ("provider", "model", "quantity", "numbers", "expected"),
    [
        ("house", "ocr", "pages", ["13"], ["7"]),
        ("house", "ocr", "pages", ["61"], ["14"]),
        ("house", "planner", "tool_calls", ["40"], ["37"]),
        ("house", "planner", "tool_calls", ["90"], ["68.5"]),
        ("house", "planner", "tool_calls", ["130"], ["82"]),
        ("house", "planner", "tool_calls", ["1000"], ["100"]),
        ("house", "checkout", "transaction_amount", ["70", "90", "60", "15"], ["0", "1.26", "1.74", "0.66"]),
        ("house", "market", "transaction_amount", ["501"], ["12.508"]),
    ],
)
def test_an_extra_quantity_costs_what_the_comment_says(price, provider, model, quantity, numbers, expected):
    events = [
        used(number, f"e{at}", quantity, provider_name=provider, request_model=model)
        for at, number in enumerate(numbers)
    ]
    assert costs(price([CARD], None, None, events, False)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"provider_name": "openai", "request_model": "gpt-4o", "input_tokens": 1000}, "0.0025"),
        ({"provider_name": "openai", "request_model": "gpt-4o-2024-08-06", "input_tokens": 1000}, "0.0025"),
        (
            {"provider_name": "openai", "request_model": "gpt-4o", "input_tokens": 1000, "service_tier": "batch"},
            "0.00125",
        ),
        (
            {"provider_name": "openai", "request_model": "gpt-4o", "input_tokens": 1000, "service_tier": "priority"},
            "0.00375",
        ),
        ({"provider_name": "openai", "request_model": "long-1", "input_tokens": 128_001}, "0.3072024"),
        ({"provider_name": "reseller", "request_model": "any", "reported_cost_picos": 17_300_000_000}, "0.019895"),
        ({"provider_name": "house", "request_model": "h100-job", "accelerator": "h100", "gpu_ms": 16_200_000}, "9.9"),
    ],
)
def test_a_request_costs_what_the_comment_says(price, fields, expected):
    one = {"event_id": "e", "source": "gw", "event_time": JUNE, "billing_account_id": "acme", "operation_name": "o"}
    assert costs(price([CARD], None, None, [one | fields], False)) == [expected]


@pytest.mark.parametrize(("number", "expected"), [("300", "24"), ("301", "24"), ("455", "30")])
def test_images_are_settled_at_close(price, number, expected):
    events = [used(number, "e", "images", provider_name="house", request_model="draw")]
    skus = [sku for sku in CARD["skus"] if sku["sku_id"] == "images"]
    assert total(price([CARD | {"skus": skus}], None, None, events, True)) == expected
