"""Amends, cancels and re-ratings on real servers: before and after their originals, with the pricer killed between."""

import json
from decimal import Decimal

import pytest

from tests.support.stack import chargeline, pricer_restarted, rows, send, verified, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.long]
ACCOUNT = "corrected"
CARD = """
id: corrected-list
version: 1
scope: {account: corrected}
currency: USD
effective_from: 2026-01-01T00:00:00Z
skus:
  - sku_id: calls
    match: {provider_name: house, models: [m]}
    quantity: calls
    pricing_unit: Calls
    charge_model: graduated
    tiers: [{up_to: 30, unit_price: "1"}, {up_to: null, unit_price: "0.5"}]
"""
LATE = """
id: late-list
version: 1
scope: {account: corrected}
currency: USD
effective_from: 2026-01-01T00:00:00Z
skus:
  - sku_id: pages
    match: {provider_name: new, models: [m]}
    quantity: pages
    pricing_unit: Pages
    charge_model: per_unit
    unit_price: "0.25"
"""


def event(event_id, time, **fields):
    base = {"event_id": event_id, "source": "gw", "billing_account_id": ACCOUNT, "event_time": time,
            "provider_name": "house", "request_model": "m", "operation_name": "chat", "team": "a"}  # fmt: skip
    return base | fields


def about(kind, event_id, target, time, **fields):
    return event(event_id, time, event_kind=kind, amends_event_id=target, **fields)


def calls(count):
    return {"extra_quantities": {"calls": count * 1_000_000}}


def billed(stack, *teams):
    found = rows(stack, f"SELECT team AS k, sum(billed_cost) AS b FROM cost_rollups WHERE billing_account_id = '{ACCOUNT}' "
                        f"AND team IN {(*teams, '')} GROUP BY k HAVING b != 0 ORDER BY k")  # fmt: skip
    return {each["k"]: Decimal(each["b"]) for each in found}


def test_corrections_before_and_after_their_originals_are_billed_exactly_with_the_pricer_killed(stack, tmp_path):
    now = rows(stack, "SELECT formatDateTime(now('UTC') - 60, '%Y-%m-%dT%H:%i:%SZ') AS t")[0]["t"]
    (tmp_path / "card.yaml").write_text(CARD)
    chargeline(stack, "rates", "publish", tmp_path / "card.yaml")
    early = [about("CANCEL", "c0", "e0", now), about("AMEND", "a1", "e1", now, team="b", **calls(2))]
    send(stack, tmp_path, "early", early)
    pricer_restarted(stack)
    # 0 cancelled, 1 amended from 10 to 2 for team b, 2 to 4 stay: tiers see 32 calls.
    sent = send(stack, tmp_path, "events", [event(f"e{n}", now, **calls(10)) for n in range(5)])
    assert sent["charged"] == 5
    wait_until(lambda: billed(stack, "a", "b") == {"a": Decimal(29), "b": Decimal(2)}, "tiers are those of 32 calls")
    late = [about("CANCEL", "c2", "e2", now), about("CANCEL", "c2-again", "e2", now),
            about("AMEND", "a3", "e3", now, **calls(5)), about("CANCEL", "c-a1", "a1", now)]  # fmt: skip
    assert send(stack, tmp_path, "late", late)["duplicates"] == 1
    pricer_restarted(stack)
    assert send(stack, tmp_path, "again", late)["duplicates"] == 4
    wait_until(lambda: billed(stack, "a", "b") == {"a": Decimal(15)}, "15 calls are left")
    explained = json.loads(chargeline(stack, "explain", "e3", "--account", ACCOUNT, "--json"))
    assert [(each["event"]["event_kind"], each["billed_cost"]) for each in explained][-2:] == [
        ("AMEND", "-10"), ("AMEND", "5")]  # fmt: skip
    verified(stack)


def test_events_without_a_price_are_rated_anew_once(stack, tmp_path):
    now = rows(stack, "SELECT formatDateTime(now('UTC') - 60, '%Y-%m-%dT%H:%i:%SZ') AS t")[0]["t"]
    pages = {"provider_name": "new", "team": "c", "extra_quantities": {"pages": 4_000_000}}
    assert send(stack, tmp_path, "unrated", [event(f"u{n}", now, **pages) for n in range(3)])["unrated"] == 3
    (tmp_path / "late.yaml").write_text(LATE)
    chargeline(stack, "rates", "publish", tmp_path / "late.yaml")
    asked = ("rerate", "--from", "2026-01-02", "--to", "2100-01-01", "--account", ACCOUNT, "--reason", "late list")
    shown = json.loads(chargeline(stack, *asked, "--dry-run", "--json"))
    assert (shown["events"], shown["sent"]) == (3, 0)
    assert [(each["sku_id"], each["before"], each["after"]) for each in shown["impact"]] == [("pages", "0", "3")]
    first = json.loads(chargeline(stack, *asked, "--wait", "--json"))
    assert (first["run_id"], first["sent"]) == (shown["run_id"], 3)
    wait_until(lambda: billed(stack, "c").get("c") == Decimal(3), "the late price is billed")
    again = json.loads(chargeline(stack, *asked, "--wait", "--json"))
    assert again["sent"] == 0
    assert billed(stack, "c")["c"] == Decimal(3)
    verified(stack)
