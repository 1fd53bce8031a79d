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


def _is_left_out(event: Document | None) -> bool:
    if event is None:
        return False
    is_priced_amend = event.get("event_kind") == "AMEND" and event.get("request_model") == "routed"
    return is_priced_amend or (event.get("charge_period_end") or "") > "2026-07"
