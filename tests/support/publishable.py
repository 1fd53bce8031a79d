"""Random cases as publication lets them through: the reference also prices what our readers refuse."""

from typing import Any

from tests.support.random_rating import RandomRating

Document = dict[str, Any]
_ACCUMULATING = ("round", "minimum", "maximum", "free_units")


def publishable(case: RandomRating) -> tuple[list[Document], list[Any]]:
    """(cards, usage events) of a case."""
    cards, events = publishable_case(case)
    return cards, [each for each in events if each is None or each.get("event_kind", "USAGE") == "USAGE"]


def publishable_case(case: RandomRating) -> tuple[list[Document], list[Any]]:
    """(cards, events of every kind) of a case.

    A threshold price keeps nothing that would accumulate; graduated percentages are of the transactions of a model of
    their own; money is priced in the currency of its card.
    """
    cards = [card | {"skus": [_sku(each, card["currency"]) for each in card["skus"]]} for card in case.cards]
    return cards, [_event(each) for each in case.events]


def _sku(sku: Document, currency: str) -> Document:
    found = dict(sku)
    if found["charge_model"] == "threshold":
        found = {key: value for key, value in found.items() if key not in _ACCUMULATING}
        found["discounts"] = [each for each in found.get("discounts", ()) if "percent" in each]
    if found["charge_model"] == "graduated_percentage":
        found |= {"quantity": "transaction_amount", "match": found["match"] | {"models": ["market"]}}
    if found.get("quantity") in ("transaction_amount", "reported_cost"):
        found["pricing_unit"] = currency
    found["modifiers"] = [each for each in found.get("modifiers", ()) if each.get("factors") != {}]
    return found


def _event(event: Document | None) -> Document | None:
    extras = (event or {}).get("extra_quantities", {})
    if event is None or "fees" not in extras:
        return event
    extras = {name: value for name, value in extras.items() if name != "transaction_amount"}
    extras["transaction_amount"] = extras.pop("fees")
    return event | {"request_model": "market", "response_model": None, "extra_quantities": extras}
