"""A billing period is closed on real servers: what comes later is a correction, also after the pricer was killed."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from chargeline.adapters import charge_archive
from chargeline.adapters.charge_archive import ClickHouseArchive
from chargeline.adapters.clickhouse import ClickHouse
from chargeline.ports import ClosingRows
from chargeline.runtime.stack import load_stack
from chargeline.verify.rating.times import micros
from chargeline.wire.event_rows import event_row
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
  - {sku_id: seats, charge_model: flat, amount: "5", pricing_unit: Seats}
"""
# Beside the account of the example, as a document takes the place of the one before.
TERMS = """
commitments:
  - {{commitment_id: K, billing_account_id: closing, amount: "50", currency: USD, overage_factor: "1.5",
      from: "{first}T00:00:00Z", to: "{open}T00:00:00Z", sku_ids: [calls], priority: 1}}
credits:
  - {{grant_id: G, billing_account_id: closing, kind: granted, amount: "20", currency: USD, priority: 1,
      sku_ids: [pages], effective_at: "2026-01-01T00:00:00Z", expires_at: null}}
"""
ACCOUNTS = Path(__file__).resolve().parents[2] / "examples" / "accounts.yaml"
# The first day of the month before last, the last day of the month before, both months, and the first day of this one.
MONTHS = ("SELECT formatDateTime(toStartOfMonth(now('UTC')) - INTERVAL 2 MONTH, '%Y-%m-%d') AS first, "
          "formatDateTime(toStartOfMonth(now('UTC')) - INTERVAL 2 MONTH, '%Y-%m') AS earlier, "
          "formatDateTime(toStartOfMonth(now('UTC')) - 1, '%Y-%m-%dT12:00:00Z') AS last, "
          "formatDateTime(toStartOfMonth(now('UTC')) - 1, '%Y-%m') AS month, "
          "formatDateTime(toStartOfMonth(now('UTC')), '%Y-%m-%d') AS open")  # fmt: skip


def event(event_id, time, count=0, **fields):
    base = {"event_id": event_id, "source": "gw", "billing_account_id": ACCOUNT, "event_time": time,
            "provider_name": "house", "request_model": "m", "operation_name": "chat",
            "extra_quantities": {"calls": count * 1_000_000}}  # fmt: skip
    return base | fields


def pages(event_id, time, count, project):
    return event(event_id, time, project=project, extra_quantities={"pages": count * 1_000_000})


def closed(stack, month):
    done = chargeline(stack, "accounts", "close-period", "--account", ACCOUNT, "--period", month, "--json")
    return json.loads(done)["state"]


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


def read_for_a_close(stack, period_start):
    """(offset, index, kind, entries) of what the archive says, below the newest row."""
    where = load_stack(str(stack))
    warehouse = ClickHouse(where.clickhouse_url, where.clickhouse_user, where.clickhouse_password)
    (last,) = rows(stack, "SELECT max(source_offset) AS o, any(source_partition) AS p FROM charges "
                          f"WHERE billing_account_id = '{ACCOUNT}'")  # fmt: skip
    wanted = ClosingRows(("pages",), period_start, frozenset({"region"}))
    found = ClickHouseArchive(warehouse).of_account(last["p"], ACCOUNT, wanted, last["o"], 0)
    return [(each["source_offset"], each["source_index"], each["event_kind"], len(event_row(each).entries))
            for each in found]  # fmt: skip


def test_what_comes_after_a_close_is_a_correction_in_the_open_period(stack, tmp_path, monkeypatch):
    (when,) = rows(stack, MONTHS)
    (tmp_path / "card.yaml").write_text(CARD)
    chargeline(stack, "rates", "publish", tmp_path / "card.yaml")
    (tmp_path / "accounts.yaml").write_text(ACCOUNTS.read_text() + TERMS.format(**when))
    chargeline(stack, "accounts", "publish", tmp_path / "accounts.yaml")
    earlier = f"{when['first']}T12:00:00Z"
    send(stack, tmp_path, "earlier", [event("m0", earlier, 30), pages("m1", earlier, 4, "a")])
    assert closed(stack, when["earlier"]) == "closed"
    pricer_restarted(stack)
    send(stack, tmp_path, "in-time", [event("e0", when["last"], 10), event("e1", when["last"], 25),
                                      pages("p0", when["last"], 8, "a"), pages("p1", when["last"], 4, "b")])  # fmt: skip
    month = when["month"]
    assert [closed(stack, month), closed(stack, month)] == ["closed", "closed"]
    # 4 pages of at least 25, 8 of them granted. Then 12 pages at 1, booked as 8 at 2 and 4 at 1, and 25 less 12; of 62.5
    # for calls 50 were promised; 12 were left of the grant, and the settlement gives 8 back.
    assert settled(stack) == [
        (None, when["earlier"], ["STANDING_FEE"], Decimal(5)),
        (None, when["earlier"], ["TRUE_UP"], Decimal(17)),
        ("a", when["earlier"], ["CREDIT"], Decimal(-8)),
        (None, when["earlier"], [], Decimal(0)),
        (None, month, ["STANDING_FEE"], Decimal(5)),
        (None, month, ["TRUE_UP"], Decimal(13)),
        ("a", month, ["TIER_SETTLEMENT"], Decimal(-8)),
        (None, month, ["OVERAGE"], Decimal("6.25")),
        ("a", month, ["CREDIT", "CREDIT"], Decimal(-4)),
        (None, month, [], Decimal(0)),
    ]
    own, of_close = json.loads(chargeline(stack, "explain", "m1", "--json"))
    assert [own["billed_cost"], of_close["billed_cost"]] == ["8", "-8"]  # of all that the close booked, its own part
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
    assert sum(counts.get("CONTROL", 0) for counts in verified(stack)["outcomes"].values()) >= 3
    whole = read_for_a_close(stack, micros(when["last"][:7] + "-01T00:00:00Z"))
    monkeypatch.setattr(charge_archive, "_PAGE", 2)
    assert read_for_a_close(stack, micros(when["last"][:7] + "-01T00:00:00Z")) == whole
    # The events of both months but the calls of the earlier one, and of the closes what belongs to no commitment or grant.
    assert [kind for _, _, kind, _ in whole] == ["USAGE", *["PERIOD_CLOSE"] * 3, *["USAGE"] * 4, *["PERIOD_CLOSE"] * 4]
