"""Which closes a running system takes: those that book settlements and minimums of rates at the most.

Source: docs/rating.md (Closes).
"""

from typing import Any

from chargeline.verify.rating.charges import View
from chargeline.verify.rating.numbers import number

_FAILED = ("ERROR", "CANCELLED", "PARTIAL")


def may_book(account: str, view: View) -> bool:
    """By its facts and the cards that are visible, not by its usage."""
    return view.accounts.has_terms(account) or any(_may_book(card, account) for card in view.cards.seen)


def _may_book(card: dict[str, Any], account: str) -> bool:
    owner = card.get("scope", "default")
    named = owner if isinstance(owner, dict) else {}
    if named.get("account", account) != account:
        return False
    is_explicit = "account" in named or "contract" in named
    return any(_is_not_settled(card, sku) or (is_explicit and _is_due_unused(sku)) for sku in card["skus"])


def _is_not_settled(card: dict[str, Any], sku: dict[str, Any]) -> bool:
    own, whole = sku.get("status_policy") or {}, card.get("status_policy") or {}
    is_waived = any((own.get(status) or whole.get(status)) == "bill_zero" for status in _FAILED)
    is_settled = sku["charge_model"] == "volume" or number(sku.get("minimum"), 0) != 0
    return is_settled and (sku.get("window") == "event" or is_waived)


def _is_due_unused(sku: dict[str, Any]) -> bool:
    has_opening = bool(sku.get("tiers")) and number(sku["tiers"][0].get("flat_fee"), 0) > 0
    return sku["charge_model"] == "flat" or sku.get("quantity") == "recurring_units" or has_opening
