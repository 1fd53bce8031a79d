"""What of a rate card can be read and cannot be priced yet: publication refuses it with NOT_SUPPORTED_YET."""

from chargeline.domain.rate_card import PerUnit, RateCard, Sku, Threshold


def unsupported(sku: Sku, card: RateCard) -> str | None:
    """What of a rate cannot be priced yet, in words; None: all of it can."""
    if not isinstance(sku.model, PerUnit | Threshold):
        return f"charge model {sku.charge_model}"
    if card.scope.kind not in {"default", "account"}:
        return f"a scope of a {card.scope.kind}"
    if sku.measures in {"reported_cost", "transaction_amount", "recurring_units"}:
        return f"a price for {sku.measures}"
    if any(rule.policy != "bill_full" for rule in (*card.status_policy, *sku.status_policy)):
        return "a status policy other than bill_full"
    terms = {
        "round": sku.round_up,
        "free_units": sku.free_units,
        "discounts": sku.discounts,
        "minimum": sku.minimum is not None,
        "maximum": sku.maximum is not None,
        "window": sku.window != "billing_period",
        "scope_by": sku.scope_by,
        "modifiers": sku.modifiers,
    }
    return next((f"{name} of a rate" for name, given in terms.items() if given), None)
