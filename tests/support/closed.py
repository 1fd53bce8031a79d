"""What closes have booked, written so that two implementations can be compared."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

Document = dict[str, Any]
_OF_CHARGES = {"COVER", "CREDIT", "OVERAGE"}
_AMOUNTS = ("contracted_cost", "list_cost", "billed_cost", "effective_cost")


def closed_objects(results: Sequence[Document], events: Sequence[Any]) -> list[Document]:
    """The objects of scopes by name; windows of single events have none, so that they are in order of their amounts.

    Commitments and credits stand beside the entries of a charge in one implementation, beside the whole charge in the
    other: here they are summed for each charge, apart by sign. An amend that came first acts in the row of its original
    and is named by either. What is waived is no matter of a close.
    """
    rows: dict[str, str] = {}
    for event, result in zip(events, results, strict=False):
        if result["outcome"] == "WAITING" and event["event_kind"] == "AMEND":
            rows[event["event_id"]] = event["amends_event_id"]
    mine = [each for each in results if "scope" in each and each["scope"]["billing_account_id"] != "platform"]
    return sorted((each | {"entries": _entries(each["entries"], rows)} for each in mine), key=_name)


def _name(found: Document) -> str:
    kinds = [each["entry_kind"] for each in found["entries"]]
    costs = [str(found["contracted_cost"]), str(found["billed_cost"])]
    return json.dumps([found["billing_period"], sorted(map(str, found["scope"].items())), kinds, costs])


def _entries(entries: list[Document], rows: dict[str, str]) -> list[Document]:
    sums: dict[tuple[Any, ...], Document] = {}
    alone = []
    for entry in entries:
        if entry["entry_kind"] not in _OF_CHARGES:
            alone.append(entry)
            continue
        sign, name = entry["billed_cost"].startswith("-"), entry.get("event_id")
        while name in rows:
            name = rows[name]
        if name is not None:
            entry = entry | {"event_id": name}  # noqa: PLW2901 - the same entry under the name of its row
        key = (entry["entry_kind"], name or "", entry["sku_id"] or "", sign)
        before = sums.get(key)
        sums[key] = entry if before is None else entry | {
            name: _text(Decimal(before[name]) + Decimal(entry[name])) for name in _AMOUNTS if name in entry
        }  # fmt: skip
    return alone + [sums[key] for key in sorted(sums)]


def _text(amount: Decimal) -> str:
    return f"{amount.normalize():f}" if amount else "0"
