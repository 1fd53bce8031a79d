"""What of a rate card can be read and cannot be priced yet: publication refuses it with NOT_SUPPORTED_YET."""

from chargeline.domain.rates.card import RateCard, Sku, Threshold


def unsupported(sku: Sku, card: RateCard) -> str | None:  # noqa: ARG001 - what is missing may lie in the card
    """What of a rate cannot be priced yet, in words; None: all of it can."""
    if isinstance(sku.model, Threshold) and sku.accumulates:
        return "a fixed discount of a threshold price"
    return None
