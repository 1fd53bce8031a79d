"""Cards, events and readings of results for the tables of rating."""

import itertools
from typing import Any

YEAR = "2026-01-01T00:00:00Z"
JUNE = "2026-06-10T08:00:00Z"
Document = dict[str, Any]


def card(*skus: Document, **more: Any) -> Document:
    """A default card in USD, valid from 2026."""
    return {"id": "list", "version": 1, "currency": "USD", "effective_from": YEAR, "scope": "default"} | more | {
        "skus": list(skus)
    }  # fmt: skip


def sku(charge_model: str, quantity: str = "units", pricing_unit: str = "Units", **more: Any) -> Document:
    """A SKU of the model `m`, by default of a free quantity."""
    found = {"sku_id": more.pop("sku_id", quantity), "charge_model": charge_model, "pricing_unit": pricing_unit}
    found["match"] = {"provider_name": "p", "models": ["m"]} | more.pop("match", {})
    return found | {"quantity": quantity} | more


def token_sku(leaf: str, unit_price: str, **more: Any) -> Document:
    found = sku("per_unit", pricing_unit="1000000 Tokens", unit_price=unit_price, sku_id=f"m/{leaf}", **more)
    del found["quantity"]
    return found | {"leaf": leaf}


def tiers(*rows: tuple[str | None, str, str]) -> list[Document]:
    """(up_to, unit_price, flat_fee) of each tier."""
    return [{"up_to": up_to, "unit_price": price, "flat_fee": flat} for up_to, price, flat in rows]


def event(event_id: str = "e1", **more: Any) -> Document:
    return {"event_id": event_id, "source": "gw", "event_time": JUNE, "billing_account_id": "acme",
            "provider_name": "p", "request_model": "m", "operation_name": "o"} | more  # fmt: skip


def used(number: str, event_id: str = "e1", quantity: str = "units", **more: Any) -> Document:
    """An event that used so many units of an extra quantity, a decimal text."""
    return event(event_id, extra_quantities={quantity: millionths(number)}, **more)


def uses(*numbers: str, **more: Any) -> list[Document]:
    return [used(number, f"e{at}", **more) for number, at in zip(numbers, itertools.count(1), strict=False)]


def millionths(number: str) -> int:
    whole, _, rest = number.partition(".")
    assert len(rest) <= 6
    return int(whole + rest.ljust(6, "0"))


def close_record(time: str = JUNE, event_id: str = "close", account: str = "acme") -> Document:
    return event(event_id, source="chargeline", event_kind="PERIOD_CLOSE", event_time=time, requests=0,
                 billing_account_id=account)  # fmt: skip


def cancel(of: str, event_id: str = "cancel", **more: Any) -> Document:
    return event(event_id, event_kind="CANCEL", amends_event_id=of, **more)


def costs(results: list[Document]) -> list[str | None]:
    """contracted_cost of each event."""
    return [result["contracted_cost"] for result in results if "event_id" in result]


def scopes(results: list[Document]) -> list[Document]:
    return [result for result in results if "scope" in result]


def kinds(result: Document, cost: str = "contracted_cost") -> list[tuple[str, str]]:
    """(entry_kind, cost) of each entry."""
    return [(entry["entry_kind"], entry.get(cost, entry["contracted_cost"])) for entry in result["entries"]]


def booked(results: list[Document], cost: str = "billed_cost") -> list[tuple[str, str]]:
    """(entry_kind, billed cost) of each entry of the scopes."""
    return [pair for result in scopes(results) for pair in kinds(result, cost)]


def total(results: list[Document], cost: str = "contracted_cost", account: str = "acme") -> str:
    (sums,) = results[-1]["totals"][account].values()
    return str(sums[cost])


def account_facts(**more: Any) -> Document:
    return {"billing_account_id": "acme", "valid_from": YEAR, "valid_to": None, "group": None,
            "billing_currency": None, "billing_cycle_day": 1} | more  # fmt: skip
