"""Random cases for the closes of periods: what differs in the rating of single events is left out of them."""

from typing import Any

from tests.support.publishable import publishable_case
from tests.support.random_rating import RandomRating

Document = dict[str, Any]


def closable_case(case: RandomRating) -> tuple[list[Document], list[Any]]:
    """(cards, events of every kind) of a case.

    A late event of a volume rate with windows of single events has no settlement in the command, and an amend that may
    not give its own price is refused when it comes in the one and when it acts in the other.
    """
    cards, events = publishable_case(case)
    cards = [each | {"skus": [_sku(sku) for sku in each["skus"]]} for each in cards]
    return cards, [each for each in events if not _is_refused(each)]


def _sku(sku: Document) -> Document:
    return sku | {"window": "day"} if sku["charge_model"] == "volume" and sku.get("window") == "event" else sku


def _is_refused(event: Document | None) -> bool:
    return event is not None and event.get("event_kind") == "AMEND" and event.get("request_model") == "routed"
