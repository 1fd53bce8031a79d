"""`explain`: the lines of one charge, and the question to ClickHouse."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from chargeline.cli.explain import arithmetic, explanation, in_all, of_event, question, told

ENTRY = {
    "entry_kind": "UNIT", "sku_id": "gpt-4o/input", "sku_price_id": "gpt-4o/input/1", "rate_card_id": "list",
    "rate_card_version": 3, "leaf": "input", "consumed_quantity": Decimal(600), "consumed_unit": "Tokens",
    "pricing_quantity": Decimal("0.0006"), "pricing_unit": "1000000 Tokens", "list_unit_price": Decimal(3),
    "contracted_unit_price": Decimal("2.5"), "list_cost": Decimal("0.0018"), "contracted_cost": Decimal("0.0015"),
}  # fmt: skip


def row(*entries, **changes):
    base = {
        "event_id": "e1", "source": "gw", "billing_account_id": "acme", "event_kind": "USAGE", "amends_event_id": None,
        "event_time": datetime(2026, 6, 10, 8, tzinfo=UTC), "provider_name": "openai", "request_model": "gpt-4o",
        "response_model": None, "operation_name": "chat", "status": "OK", "sample_weight": 1, "source_partition": 0,
        "source_offset": 7, "source_index": 0, "governance_sequence": 4, "token_convention": "INCLUSIVE",
        "outcome": "CHARGED", "reason": None, "match_kind": "EXACT",
        "billing_period_start": datetime(2026, 6, 1, tzinfo=UTC), "billing_period_end": datetime(2026, 7, 1, tzinfo=UTC),
        "list_cost": Decimal("0.0018"), "contracted_cost": Decimal("0.0015"), "effective_cost": Decimal("0.0015"),
        "billed_cost": Decimal("0.0015"), "billing_currency": "USD", "input_tokens": 600, "output_tokens": 0,
        "requests": 1, "extra_quantities": [("pages", 2_000_000)], "reported_cost_picos": None,
    }  # fmt: skip
    return base | {f"entries.{name}": [each[name] for each in entries] for name in ENTRY} | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "600 Tokens = 0.0006 x 1000000 Tokens, at 2.5 = 0.0015 USD"),
        ({"pricing_unit": "", "contracted_cost": Decimal(-2)}, "-2 USD"),
        ({"pricing_currency": "EUR", "pricing_cost": Decimal("0.001"), "fx_rate": Decimal("1.5")},
         "600 Tokens = 0.0006 x 1000000 Tokens, at 2.5 = 0.001 EUR x 1.5 = 0.0015 USD"),
    ],
)  # fmt: skip
def test_an_entry_shows_its_calculation(changes, expected):
    assert arithmetic(ENTRY | changes, "USD") == expected


def test_a_charge_is_told_from_the_event_to_the_bill():
    lines = "\n".join(told(explanation(row(ENTRY))))
    for part in ("event e1 of gw, account acme", "input_tokens 600, requests 1, pages 2000000 (INCLUSIVE)",
                 "gpt-4o/input/1 of list@3, list price 3", "billed 0.0015 USD", "record 0/7/0"):  # fmt: skip
        assert part in lines


def test_an_unrated_event_says_why():
    lines = list(told(explanation(row(outcome="UNRATED", reason="NO_PRICE", billed_cost=None, contracted_cost=None))))
    assert "  UNRATED: NO_PRICE" in lines
    assert not any("billed" in line for line in lines)


def test_a_correction_names_what_it_corrects():
    assert "  CANCEL of e0" in list(told(explanation(row(event_kind="CANCEL", amends_event_id="e0"))))


def test_values_are_parameters_never_part_of_the_statement():
    sql, parameters = question("x' OR 1=1 --", "acme", None)
    assert "OR 1=1" not in sql
    assert parameters == {"event_id": "x' OR 1=1 --", "billing_account_id": "acme"}


def test_of_a_close_the_part_of_the_event_is_told_and_counts_in_what_it_costs_in_all():
    nothing = {"list_cost": Decimal(0), "contracted_cost": Decimal(0), "effective_cost": Decimal(0)}
    given = [ENTRY | nothing | {"event_id": name, "entry_kind": "CREDIT", "billed_cost": Decimal(cost)}
               for name, cost in (("e1", "-0.001"), ("e2", "-5"))]  # fmt: skip
    columns = {f"entries.{name}": [each[name] for each in given] for name in given[0]}
    close = row(event_id="close", event_kind="PERIOD_CLOSE", billed_cost=Decimal("-5.001")) | columns
    found = [explanation(row(ENTRY)), explanation(of_event(close, "e1"))]
    assert found[1]["billed_cost"] == Decimal("-0.001")
    assert [each["arithmetic"] for each in found[1]["entries"]] == ["billed -0.001 USD"]
    assert in_all(found) == "in all: billed 0.0005 USD"
    assert of_event(close, "close") is close
