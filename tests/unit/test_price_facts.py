"""`chargeline price` with accounts and exchange rates."""

import json

import pytest
from typer.testing import CliRunner

from chargeline.cli.main import build

CARD = """
id: list
version: 1
currency: USD
effective_from: 2026-01-01T00:00:00Z
scope: {group: research}
status_policy: {ERROR: bill_zero}
skus:
  - sku_id: calls
    match: {provider_name: house, models: [planner]}
    quantity: tool_calls
    charge_model: graduated
    tiers: [{up_to: 40, unit_price: 0.7, flat_fee: 9}, {up_to: null, unit_price: 0.5}]
    pricing_unit: Calls
"""
ACCOUNTS = """
groups: [{group: research, parent: null}]
accounts:
  - {billing_account_id: acme, valid_from: 2026-01-01T00:00:00Z, group: research, billing_currency: EUR}
"""
FX = "date,from_currency,to_currency,rate,source\n2026-06-09,USD,EUR,0.9,ECB\n"


def event(number, calls, **more):
    base = {"event_id": f"e{number}", "source": "gw", "event_time": "2026-06-10T08:00:00Z", "operation_name": "tool",
            "billing_account_id": "acme", "provider_name": "house", "request_model": "planner"}  # fmt: skip
    return base | {"extra_quantities": {"tool_calls": calls * 1_000_000}} | more


def price(tmp_path, events, *options):
    names = {
        "card.yaml": CARD,
        "accounts.yaml": ACCOUNTS,
        "fx.csv": FX,
        "events.ndjson": "\n".join(map(json.dumps, events)),
    }
    for name, text in names.items():
        (tmp_path / name).write_text(text)
    given = ["price", "--rates", tmp_path / "card.yaml", "--events", tmp_path / "events.ndjson", *options]
    done = CliRunner().invoke(
        build(["price"]), [str(tmp_path / each) if "." in str(each) else str(each) for each in given]
    )
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_account_pays_the_rates_of_its_group_in_its_currency(tmp_path):
    events = [event(1, 30), event(2, 20), event(3, 10, status="ERROR"), event(4, 1, billing_account_id="other")]
    *found, waived, last = price(tmp_path, events, "--accounts", "accounts.yaml", "--fx", "fx.csv")
    assert [each["contracted_cost"] for each in found] == ["27", "10.8", "0", None]
    assert found[3]["reason"] == "NO_PRICE"
    kinds = [(each["entry_kind"], each["pricing_cost"], each["contracted_cost"]) for each in found[0]["entries"]]
    assert kinds == [("TIER_FLAT", "9", "8.1"), ("UNIT", "21", "18.9")]
    assert found[2]["entries"][0]["waived_cost"] == "4.5"
    assert waived["scope"]["billing_account_id"] == "platform"
    assert last["totals"] == {
        "acme": {"EUR": {"contracted_cost": "37.8", "billed_cost": "37.8"}},
        "platform": {"EUR": {"contracted_cost": "4.5", "billed_cost": "4.5"}},
    }


@pytest.mark.parametrize("option", ["--accounts", "--fx"])
def test_without_both_files_nothing_can_be_converted(tmp_path, option):
    name = "accounts.yaml" if option == "--accounts" else "fx.csv"
    found = price(tmp_path, [event(1, 30)], option, name)[0]
    assert (found["outcome"], found["reason"]) == ("UNRATED", "NO_FX_RATE" if option == "--accounts" else "NO_PRICE")
