"""Rate cards: what they hold and their canonical text. `rate_card_reader` reads them from a document.

In this version a rate is per_unit or threshold, and a card belongs to everybody or to one account; the rest of the
format is refused with NOT_SUPPORTED_YET. Source: spec/formats.md, section 2; spec/rating.md, sections 4.1, 4.8.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from chargeline.domain.money import plain
from chargeline.domain.rate_units import unit_size
from chargeline.domain.usage import LEAVES

MATCH_ATTRIBUTES = (
    "operation_name",
    "service_tier",
    "region",
    "accelerator",
    "criticality",
    "latency_class",
    "accuracy_class",
    "deployment",
    "resource_id",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Texts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Alias:
    """Another name of a model of the same provider."""

    provider_name: str
    alias: str
    model: str


@dataclass(frozen=True)
class Match:
    """Which events a rate is for; everything named must hold. Values and labels are sorted."""

    provider_name: str
    models: tuple[str, ...] = ()
    model_prefix: str | None = None
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    labels: Texts = ()

    @property
    def names(self) -> tuple[tuple[str, bool, str], ...]:
        """(provider, is a prefix, name) of everything that the model of an event may be found by."""
        if self.model_prefix is not None:
            return ((self.provider_name, True, self.model_prefix),)
        return tuple((self.provider_name, False, model) for model in self.models)

    @property
    def named_count(self) -> int:
        """How many attributes the rate names: more is nearer."""
        return len(self.attributes) + len(self.labels)


@dataclass(frozen=True)
class Threshold:
    """Above so many input tokens of the request the price is this one. `above` 0: the base price."""

    above: int
    price: Decimal


@dataclass(frozen=True)
class Sku:
    """One rate: a SKU with its price list.

    Attributes:
        measures: a token leaf or another quantity of the event.
        divide_by: base units in a pricing unit, > 0; None: GB-Months, whose size depends on the billing period.
        prices: base price first, then ascending thresholds; a per_unit rate has one.
        source: url and date of the price, where given.
        line, column: where it stands in the document, from 1.
    """

    sku_id: str
    variant: str | None
    match: Match
    measures: str
    charge_model: str
    pricing_unit: str
    divide_by: Decimal | None
    prices: tuple[Threshold, ...]
    focus: Texts = ()
    source: Texts = ()
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)

    @property
    def key(self) -> tuple[str, str | None]:
        return self.sku_id, self.variant


@dataclass(frozen=True)
class RateCard:
    """One immutable version of a card. Times are microseconds since 1970 UTC; `account` None: for everybody.

    Two cards are equal if they say the same, however it was written.
    """

    rate_card_id: str
    version: int
    supersedes: int | None
    correction: bool
    currency: str
    effective_from: int
    effective_to: int | None
    account: str | None
    aliases: tuple[Alias, ...]
    skus: tuple[Sku, ...]
    description: str | None = None
    focus: Texts = ()


def to_json(card: RateCard) -> str:
    """The canonical text: keys sorted, numbers as plain text, defaults left out. Equal cards have equal texts."""
    document = {
        "id": card.rate_card_id,
        "version": str(card.version),
        "supersedes": None if card.supersedes is None else str(card.supersedes),
        "correction": card.correction or None,
        "currency": card.currency,
        "effective_from": instant(card.effective_from),
        "effective_to": None if card.effective_to is None else instant(card.effective_to),
        "scope": "default" if card.account is None else {"account": card.account},
        "description": card.description,
        "aliases": [
            {"provider_name": each.provider_name, "alias": each.alias, "model": each.model} for each in card.aliases
        ],
        "focus": dict(card.focus),
        "skus": [_sku(sku) for sku in card.skus],
    }
    return json.dumps(_given(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _sku(sku: Sku) -> dict[str, Any]:
    sized = sku.divide_by is None or sku.divide_by == unit_size(sku.pricing_unit, sku.measures)
    document = {
        "sku_id": sku.sku_id,
        "variant": sku.variant,
        "match": _match(sku.match),
        "leaf" if sku.measures in LEAVES else "quantity": sku.measures,
        "charge_model": sku.charge_model,
        "pricing_unit": sku.pricing_unit,
        "divide_by": None if sized or sku.divide_by is None else plain(sku.divide_by),
        "focus": dict(sku.focus),
        "source": dict(sku.source),
    }
    base, *thresholds = sku.prices
    if sku.charge_model == "threshold":
        document["base"] = plain(base.price)
        document["thresholds"] = [{"above": str(each.above), "price": plain(each.price)} for each in thresholds]
    else:
        document["unit_price"] = plain(base.price)
    return _given(document)


def _match(match: Match) -> dict[str, Any]:
    return _given(
        {
            "provider_name": match.provider_name,
            "models": list(match.models),
            "model_prefix": match.model_prefix,
            "labels": dict(match.labels),
            **{name: values[0] if len(values) == 1 else list(values) for name, values in match.attributes},
        }
    )


def _given(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in (None, [], {})}


def instant(micros: int) -> str:
    """Microseconds since 1970 UTC as ISO 8601 with Z, as short as it can be."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
