"""The entries of closes, written alike from the objects of the reference and from rows of `charges`."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from chargeline.verify.rating.times import micros
from chargeline.wire.event_rows import event_row

Document = dict[str, Any]
_OF_CHARGES = {"COVER", "CREDIT", "OVERAGE"}


def of_objects(found: Iterable[Document]) -> list[str]:
    """Of closes' objects as `chargeline price` writes them."""
    flat: list[Any] = []
    for each in found:
        scope = each["scope"]
        about = (scope["billing_account_id"], micros(each["billing_period"]), rule(scope), each["reason"])
        if each["reason"] is not None:
            flat.append((about, None))
        for entry in each["entries"]:
            contracted = entry["contracted_cost"]
            billed = entry.get("billed_cost", contracted)
            effective = entry.get("effective_cost", billed)
            costs = [Decimal(cost) for cost in (contracted, entry["list_cost"], billed, effective)]
            flat.append(((*about, each["billing_currency"]), named(entry, entry.get("charge_class"), costs)))
    return written(flat)


def rule(scope: Document) -> str | None:
    for name in ("subscription", "commitment", "grant"):
        if f"{name}_id" in scope:
            return f"{name}:{scope[f'{name}_id']}"
    return "minimum" if scope.get("account_minimum") else None


def of_rows(rows: Iterable[Document]) -> list[str]:
    """Of the rows that closes booked."""
    flat: list[Any] = []
    for row in rows:
        about = (row["billing_account_id"], event_row(row).period[0], row["rule_id"], row["reason"])
        if row["reason"] is not None:
            flat.append((about, None))
        for entry in row["entries"]:
            costs = [entry[name] for name in ("contracted_cost", "list_cost", "billed_cost", "effective_cost")]
            flat.append(((*about, row["billing_currency"]), named(entry, entry["charge_class"], costs)))
        sums = [
            sum(each[name] for each in row["entries"]) for name in ("contracted_cost", "billed_cost", "effective_cost")
        ]
        if row["reason"] is None:
            assert sums == [row["contracted_cost"], row["billed_cost"], row["effective_cost"]]
    return written(flat)


def named(entry: Document, charge_class: str | None, costs: list[Decimal]) -> Any:
    names = ("sku_id", "sku_price_id", "rate_card_id", "rate_card_version", "leaf", "pricing_unit", "event_id")
    quantity = None if entry["pricing_quantity"] is None else Decimal(entry["pricing_quantity"])
    return entry["entry_kind"], [entry.get(name) or None for name in names], charge_class, quantity, costs


def written(flat: list[Any]) -> list[str]:
    """Sorted; what is about a charge is summed by charge, apart by sign: either writes it in parts of its own."""
    alone: Counter[str] = Counter()
    sums: dict[str, list[Decimal]] = {}
    for about, entry in flat:
        if entry is None or entry[0] not in _OF_CHARGES:
            alone[repr((about, entry if entry is None else (*entry[:3], *map(text, (entry[3], *entry[4])))))] += 1
            continue
        costs = entry[4]
        before = sums.get(key := repr((about, entry[:3], costs[2] < 0)), [Decimal(0)] * len(costs))
        sums[key] = [one + other for one, other in zip(before, costs, strict=True)]
    return sorted([*alone.elements(), *(f"{key} {[text(cost) for cost in costs]}" for key, costs in sums.items())])


def text(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount.normalize():f}" if amount else "0"
