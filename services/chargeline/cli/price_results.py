"""What `chargeline price` shows of charges.

Source: spec/formats.md, section 6.
"""

from collections.abc import Iterable
from decimal import Context, Decimal
from itertools import groupby
from typing import Any

from chargeline.domain.accounts import Accounts
from chargeline.domain.money import plain
from chargeline.domain.periods import billing_period
from chargeline.domain.rate_card import instant

_EXACT = Context(prec=80)  # sums of Decimal(38, 12), however many
PLATFORM = "platform"  # the account that bears what is waived
_ENTRY_KEYS = ("entry_kind", "sku_id", "sku_price_id", "rate_card_id", "rate_card_version", "leaf",
               "pricing_quantity", "pricing_unit", "list_unit_price", "contracted_unit_price", "contracted_cost",
               "list_cost")  # fmt: skip
Result = dict[str, Any]
Row = dict[str, Any]  # of `charges`, complete


def charged(row: Row) -> Result:
    """The object of an event that is charged or unrated."""
    found = {
        "event_id": row["event_id"],
        "outcome": row["outcome"],
        "reason": row["reason"],
        "billing_period": row["billing_period_start"],
        "contracted_cost": _plain(row["contracted_cost"]),
        "billed_cost": _plain(row["billed_cost"]),
        "billing_currency": row["billing_currency"],
        "entries": [_entry(entry, row) for entry in row["entries"]],
    }
    if row["estimated"] and row["outcome"] == "CHARGED":
        found["cost_variance"] = _plain(row["cost_variance"])
    return found


def without_charge(event_id: str | None, outcome: str, reason: str | None) -> Result:
    """The object of a record that is not charged."""
    costs = {"billing_period": None, "contracted_cost": None, "billed_cost": None, "billing_currency": None}
    return {"event_id": event_id, "outcome": outcome, "reason": reason, **costs, "entries": []}


def totals(objects: Iterable[tuple[str, Result]]) -> dict[str, dict[str, dict[str, str]]]:
    """Sums by account and currency of (account, object)."""
    sums: dict[str, dict[str, list[Decimal]]] = {}
    for account, result in objects:
        if result["billing_currency"] is not None:
            both = sums.setdefault(account, {}).setdefault(result["billing_currency"], [Decimal(0), Decimal(0)])
            both[0] = _EXACT.add(both[0], Decimal(result["contracted_cost"]))
            both[1] = _EXACT.add(both[1], Decimal(result["billed_cost"]))
    return {
        account: {
            currency: {"contracted_cost": plain(contracted), "billed_cost": plain(billed)}
            for currency, (contracted, billed) in sorted(by_currency.items())
        }
        for account, by_currency in sorted(sums.items())
    }


def waived_objects(rows: Iterable[Row], accounts: Accounts) -> list[Result]:
    """What the platform's own account pays of failed requests: one object for each period, SKU and currency."""
    found = [_waived(entry, row, accounts) for row in rows for entry in row["entries"] if _is_waived(entry)]

    def key(each: tuple[int, Row, Result, Row]) -> tuple[Any, ...]:
        start, entry, _, row = each
        return start, entry["sku_id"].encode(), (_variant(entry) or "").encode(), row["billing_currency"]

    objects = []
    for (start, *_), group in groupby(sorted(found, key=key), key):
        members = list(group)
        entry, row = members[0][1], members[0][3]
        total = Decimal(0)
        for _, waived, _, _ in members:
            total = _EXACT.add(total, waived["waived_cost"])
        cost = plain(total)
        scope = {"billing_account_id": PLATFORM, "sku_id": entry["sku_id"], "variant": _variant(entry), "by": {},
                 "window_start": None}  # fmt: skip
        objects.append({
            "scope": scope, "outcome": "CHARGED", "reason": None, "billing_period": instant(start),
            "contracted_cost": cost, "billed_cost": cost, "billing_currency": row["billing_currency"],
            "entries": [shown for _, _, shown, _ in members],
        })  # fmt: skip
    return objects


def _waived(entry: Row, row: Row, accounts: Accounts) -> tuple[int, Row, Result, Row]:
    """(start of the platform's billing period, entry, what is shown of it, its row)."""
    time = _micros(entry["charge_period_start"] or row["event_time"])
    start, _ = billing_period(time, accounts.at(PLATFORM, time).billing_cycle_day)
    full = entry | {"contracted_cost": entry["waived_cost"], "waived_cost": None}
    return start, entry, _entry(full, row) | {"event_id": row["event_id"]}, row


def _entry(entry: Row, row: Row) -> Result:
    found: Result = {name: entry[name] for name in _ENTRY_KEYS}
    waived = entry["waived_cost"]
    if waived is not None and entry["contracted_unit_price"] is not None:
        found["contracted_unit_price"] = Decimal(0)
    if entry["fx_rate"] is not None:
        found |= {name: entry[name] for name in ("pricing_currency", "pricing_cost", "fx_rate")}
        if waived is not None:
            found["pricing_cost"] = Decimal(0)
    found |= {name: entry[name] for name in ("charge_class", "pool") if entry[name] is not None}
    if waived is not None:
        found["waived_cost"] = waived
    if row["estimated"]:
        found["estimated"] = True
    return found


def _is_waived(entry: Row) -> bool:
    return entry["waived_cost"] is not None


def _variant(entry: Row) -> str | None:
    """The variant of a rate, from the name of its price point."""
    name = (entry["sku_price_id"] or "").removeprefix(entry["sku_id"]).rpartition("/")[0]
    return name[1:] or None


def _micros(time: Any) -> int:
    seconds = int(time.timestamp()) if time.microsecond == 0 else int(time.replace(microsecond=0).timestamp())
    return seconds * 1_000_000 + int(time.microsecond)


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
