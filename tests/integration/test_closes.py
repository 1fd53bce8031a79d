"""A billing period is closed on real servers: what comes later is a correction, also after the pricer was killed."""

import json
from decimal import Decimal

import pytest

from tests.support.stack import chargeline, pricer_restarted, rows, send, verified

pytestmark = pytest.mark.stack
ACCOUNT = "closing"
CARD = """
id: closing-list
version: 1
scope: {account: closing}
currency: USD
effective_from: 2026-01-01T00:00:00Z
skus:
  - sku_id: calls
    match: {provider_name: house, models: [m]}
    quantity: calls
    pricing_unit: Calls
    charge_model: graduated
    tiers: [{up_to: 30, unit_price: "1"}, {up_to: null, unit_price: "0.5"}]
  - sku_id: pages
    match: {provider_name: house, models: [m]}
    quantity: pages
    pricing_unit: Pages
    charge_model: volume
    minimum: 25
    tiers: [{up_to: 10, unit_price: "2"}, {up_to: null, unit_price: "1"}]
"""
# The last day of the month before, that month, and the first day of this one.
MONTHS = ("SELECT formatDateTime(toStartOfMonth(now('UTC')) - 1, '%Y-%m-%dT12:00:00Z') AS last, "
          "formatDateTime(toStartOfMonth(now('UTC')) - 1, '%Y-%m') AS month, "
          "formatDateTime(toStartOfMonth(now('UTC')), '%Y-%m-%d') AS open")  # fmt: skip


def event(event_id, time, count=0, **fields):
    base = {"event_id": event_id, "source": "gw", "billing_account_id": ACCOUNT, "event_time": time,
            "provider_name": "house", "request_model": "m", "operation_name": "chat",
            "extra_quantities": {"calls": count * 1_000_000}}  # fmt: skip
    return base | fields


def pages(event_id, time, count, project):
    return event(event_id, time, project=project, extra_quantities={"pages": count * 1_000_000})


def corrections(stack):
    found = rows(stack, "SELECT event_id AS e, toString(billing_period_start) AS p, charge_class AS c, billed_cost AS b, "
                        f"`entries.entry_kind` AS k FROM charges WHERE billing_account_id = '{ACCOUNT}' "
                        "AND charge_class IS NOT NULL ORDER BY source_offset")  # fmt: skip
    return [(each["e"], each["p"][:10], each["c"], Decimal(each["b"]), list(each["k"])) for each in found]


def settled(stack):
    """(project, period, kinds, amounts) of what the close booked."""
    found = rows(stack, "SELECT project AS j, toString(billing_period_start) AS p, `entries.entry_kind` AS k, "
                        f"billed_cost AS b FROM charges WHERE billing_account_id = '{ACCOUNT}' "
                        "AND event_kind = 'PERIOD_CLOSE' ORDER BY source_offset, source_index")  # fmt: skip
    return [(each["j"], each["p"][:7], list(each["k"]), Decimal(each["b"])) for each in found]


def test_what_comes_after_a_close_is_a_correction_in_the_open_period(stack, tmp_path):
    (when,) = rows(stack, MONTHS)
    (tmp_path / "card.yaml").write_text(CARD)
    chargeline(stack, "rates", "publish", tmp_path / "card.yaml")
    send(stack, tmp_path, "in-time", [event("e0", when["last"], 10), event("e1", when["last"], 25),
                                      pages("p0", when["last"], 8, "a"), pages("p1", when["last"], 4, "b")])  # fmt: skip
    close = ("accounts", "close-period", "--account", ACCOUNT, "--period", when["month"], "--json")
    assert json.loads(chargeline(stack, *close))["state"] == "closed"
    assert json.loads(chargeline(stack, *close))["state"] == "closed"
    # 12 pages at 1, booked as 8 at 2 and 4 at 1; then 25 less 12.
    month = when["month"]
    assert settled(stack) == [("a", month, ["TIER_SETTLEMENT"], Decimal(-8)), (None, month, ["TRUE_UP"], Decimal(13)),
                              (None, month, [], Decimal(0))]  # fmt: skip
    pricer_restarted(stack)
    late = [event("late", when["last"], 10),
            event("c0", when["last"], event_kind="CANCEL", amends_event_id="e0"),
            event("open", f"{when['open']}T00:00:00Z", 40)]  # fmt: skip
    assert send(stack, tmp_path, "late", late)["charged"] == 3
    open_period = when["open"]
    # 35 calls were closed: the late one pays the second tier, and the first one takes back what is above 35 with it.
    assert corrections(stack) == [
        ("late", open_period, "CORRECTION", Decimal(5), ["UNIT"]),
        ("c0", open_period, "CORRECTION", Decimal(-5), ["REVERSAL", "TIER_SHIFT"]),
    ]
    assert sum(counts.get("CONTROL", 0) for counts in verified(stack)["outcomes"].values()) >= 2
