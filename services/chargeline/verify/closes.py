"""What a close has booked, written so that its rows can be held against the objects of the reference.

Rows of a close have an order of their own, and are cut as messages need it. COVER, CREDIT and OVERAGE stand beside the
single entries of a charge in the one, beside the whole charge in the other: they are summed by charge, apart by sign.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chargeline.verify.rating.entries import Entry, Row
from chargeline.verify.rating.numbers import PICOS, picos, rounded

_OF_CHARGES = {"COVER", "CREDIT", "OVERAGE"}
_COSTS = ("contracted_cost", "list_cost", "effective_cost", "billed_cost")
_SAME = (
    "entry_kind",
    "sku_id",
    "sku_price_id",
    "rate_card_id",
    "rate_card_version",
    "leaf",
    "pricing_unit",
    "event_id",
)
Name = tuple[Any, ...]


def rule_id(row: Row) -> str | None:
    """What an object is due to, as rows of charges name it."""
    scope = row.scope or {}
    for name in ("subscription", "commitment", "grant"):
        if f"{name}_id" in scope:
            return f"{name}:{scope[f'{name}_id']}"
    return "minimum" if scope.get("account_minimum") else None


def attributes_of(row: Row) -> list[tuple[dict[str, Any], Row]]:
    """The parts of an object with other attributes than the control record: settlements and scopes, and by project."""
    scope = row.scope or {}
    if "commitment_id" not in scope and "grant_id" not in scope:
        return [(dict(scope.get("by", {})), row)]
    by_project: dict[str | None, list[Entry]] = {}
    for entry in row.entries:
        by_project.setdefault(entry.project, []).append(entry)
    return [
        ({"project": project}, Row(row.account, row.period, row.currency, tuple(entries), scope=scope))
        for project, entries in by_project.items()
    ]


class Sums:
    """Entries of a close by what names them, and how often each stands there."""

    def __init__(self) -> None:
        self._alone: Counter[Name] = Counter()
        self._summed: dict[Name, list[int]] = {}

    def add(self, about: Name, entry: Mapping[str, Any], costs: Sequence[int]) -> None:
        """`about`: the row; `costs`: picounits, as `_COSTS` names them."""
        same = (*about, *(entry[name] or None for name in _SAME), entry["charge_class"])
        if entry["entry_kind"] not in _OF_CHARGES:
            self._alone[(*same, entry["pricing_quantity"], *costs)] += 1
            return
        sums = self._summed.setdefault((*same, costs[-1] < 0), [0] * len(costs))
        for at, cost in enumerate(costs):
            sums[at] += cost

    def unrated(self, about: Name) -> None:
        self._alone[about] += 1

    def texts(self) -> list[str]:
        """One for each entry, in an order of their own."""
        summed = Counter({(*name, *costs): 1 for name, costs in self._summed.items()})
        return sorted(map(repr, (self._alone + summed).elements()))


def booked(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """The entries of a close's rows; `names`: of the columns that are compared."""
    found = Sums()
    for row in rows:
        about = (*(row[name] or None for name in names), row["rule_id"], row["reason"], row["billing_currency"])
        if row["reason"] is not None:
            found.unrated(about)
        for entry in row["entries"]:
            charge_class = entry["charge_class"] or row["charge_class"]
            period = entry["billing_period_start"] or row["billing_period_start"]
            quantity = entry["pricing_quantity"]
            exact = None if quantity is None else picos(quantity)
            named = {**entry, "charge_class": charge_class, "pricing_quantity": exact}
            found.add((*about, period), named, [picos(entry[name]) for name in _COSTS])
    return found.texts()


def wanted(rows: Iterable[tuple[Mapping[str, Any], Row]], names: Sequence[str]) -> list[str]:
    """Likewise of the (attributes, object) of the reference."""
    found = Sums()
    for event, row in rows:
        currency = row.currency if row.reason is None else None
        about = (*(event[name] or None for name in names), rule_id(row), row.reason, currency)
        if row.reason is not None:
            found.unrated(about)
        for each in row.entries if row.reason is None else ():
            quantity = None if each.pricing_quantity is None else rounded(each.pricing_quantity * PICOS)
            entry = {"entry_kind": each.kind, "pricing_quantity": quantity} | {
                name: getattr(each, name) for name in (*_SAME[1:], "charge_class")
            }
            costs = (each.contracted, each.listed, each.effective_cost, each.billed_cost)
            found.add((*about, each.period.start), entry, costs)
    return found.texts()
