"""Which closes the running pricer takes: those that book settlements and minimums of rates at the most.

What else a close books (fees, openings, commitments, account minimums, credits) is worked out over a whole log by
`chargeline price`; a record that may book it is refused, and nothing of it is billed wrongly.

Source: docs/rating.md (Closes).
"""

from collections.abc import Iterable

from chargeline.domain.accounts import Accounts
from chargeline.domain.closing.facts import RECURRING
from chargeline.domain.rate_card import RateCard, Sku, Standing, Tiered, status_rule

_FAILED = ("ERROR", "CANCELLED", "PARTIAL")


def may_book(billing_account_id: str, accounts: Accounts, cards: Iterable[RateCard]) -> bool:
    """Whether a close of an account may book more than that: by its facts and the visible cards, not by its usage.

    Args:
        cards: every version, also those that do not count: re-ratings may use them.
    """
    has_terms = any(
        each.billing_account_id == billing_account_id
        for rows in (accounts.subscriptions, accounts.commitments, accounts.credits)
        for each in rows
    ) or any(each.billing_account_id == billing_account_id and each.minimum for each in accounts.accounts)
    return has_terms or any(_may_book(card, billing_account_id) for card in cards)


def _may_book(card: RateCard, billing_account_id: str) -> bool:
    scope = card.scope
    if scope.kind == "account" and scope.name != billing_account_id:
        return False
    is_explicit = scope.kind in ("account", "contract")
    return any(_is_not_settled(card, sku) or (is_explicit and _is_due_unused(sku)) for sku in card.skus)


def is_settled(sku: Sku) -> bool:
    """Whether a close settles the rate's scopes: volume tiers, or a minimum."""
    return bool(sku.minimum) or (isinstance(sku.model, Tiered) and sku.model.kind == "volume")


def _is_not_settled(card: RateCard, sku: Sku) -> bool:
    """Whether its scopes should be settled and cannot be: single events, which no row names, or with waived usage."""
    is_waived = any(status_rule(card, sku, status).policy == "bill_zero" for status in _FAILED)
    return is_settled(sku) and (sku.window == "event" or is_waived)


def _is_due_unused(sku: Sku) -> bool:
    """Whether it costs something without an event: a standing fee, recurring units, or the first tier's flat fee."""
    has_opening = isinstance(sku.model, Tiered) and sku.model.tiers[0].flat_fee > 0
    return isinstance(sku.model, Standing) or sku.measures == RECURRING or has_opening
