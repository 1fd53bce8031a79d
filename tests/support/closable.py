"""Random cases for the closes of periods: what differs in the rating of single events is left out of them."""

from typing import Any

from tests.support.publishable import publishable_case
from tests.support.random_rating import RandomRating

Document = dict[str, Any]


def closable_case(case: RandomRating) -> tuple[list[Document], list[Any]]:
    """(cards, events of every kind) of a case.

    An amend that may not give its own price is refused when it comes in the one and when it acts in the other. An
    interval over days touches the period that begins where the account's cycle changes within it in the reference alone.
    """
    cards, events = publishable_case(case)
    return cards, [each for each in events if not _is_left_out(each)]


def only_closing_case(
    case: RandomRating, *, settles: bool = False
) -> tuple[list[Document], Document | None, list[Any]]:
    """(cards, accounts, events of every kind) of a case whose closes the running pricer takes: docs/rating.md (Closes).

    `settles`: they book settlements of volume rates and minimums of rates; else nothing.
    """
    cards, events = publishable_case(case)
    cards = [
        each | {"skus": [_unsettled(sku, settles=settles) for sku in each["skus"] if sku["charge_model"] != "flat"]}
        for each in cards
    ]
    nothing: Document = {"subscriptions": [], "commitments": [], "credits": []}
    accounts = case.accounts
    if accounts is not None:
        accounts = accounts | nothing | {"accounts": [row | {"minimum": None} for row in accounts["accounts"]]}
    return (
        [card | {"skus": [s for s in card["skus"] if s.get("quantity") != "recurring_units"]} for card in cards],
        accounts,
        events,
    )


def _unsettled(sku: Document, *, settles: bool) -> Document:
    found = sku | {"window": "day"} if sku["charge_model"] == "volume" and sku.get("window") == "event" else sku
    if not settles or found.get("window") == "event":
        found = {name: value for name, value in found.items() if name != "minimum"}
    if settles and (found["charge_model"] == "volume" or found.get("minimum")):
        found["status_policy"] = dict.fromkeys(("ERROR", "CANCELLED", "PARTIAL"), "bill_full")
    if found["charge_model"] == "volume" and not settles:
        found["charge_model"] = "graduated"
    if "tiers" in found:
        found["tiers"] = [found["tiers"][0] | {"flat_fee": "0"}, *found["tiers"][1:]]
    return found


def _is_left_out(event: Document | None) -> bool:
    if event is None:
        return False
    is_priced_amend = event.get("event_kind") == "AMEND" and event.get("request_model") == "routed"
    return is_priced_amend or (event.get("charge_period_end") or "") > "2026-07"
