"""Small catalogues of our own in the form of the public ones; every name and price in them is invented."""

import json
from decimal import Decimal

from chargeline.domain.catalogues.cards import Origin, candidates

ORIGIN = Origin("litellm", "1.0", "2026-06-01", "https://catalogue.example")
BEGINNING = 1_577_836_800_000_000  # 2020-01-01
JUNE = 1_780_272_000_000_000  # 2026-06-01


def exact(document):
    """As the command reads it: through text, numbers as Decimal."""
    text = document if isinstance(document, str) else json.dumps(document)
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def made(catalogue, effective_from=BEGINNING):
    """(cards, findings as (entry, field, reason))."""
    cards, findings = candidates(catalogue, ORIGIN, effective_from)
    return [each.card for each in cards], [(each.entry, each.field, each.reason) for each in findings]


def prices(card):
    """By `sku_id`, or (`sku_id`, variant): the price, or the list by prompt length."""
    found = {}
    for sku in card.skus:
        name = sku.sku_id if sku.variant is None else (sku.sku_id, sku.variant)
        listed = {each.above: str(each.price) for each in sku.prices}
        found[name] = listed[0] if set(listed) == {0} else listed
    return found


def litellm(**entries):
    return exact({name: {"litellm_provider": "openai", "mode": "chat"} | fields for name, fields in entries.items()})


def genai(*models, provider="anthropic", **more):
    listed = [{"match": {"equals": model["id"]}} | model for model in models]
    return exact([{"id": provider, "pricing_urls": ["https://prices.example"], "models": listed, **more}])
