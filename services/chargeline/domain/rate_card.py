"""Rate cards: what they hold, how they are read from a document, and their canonical text.

In this version a rate is per_unit or threshold, and a card belongs to everybody or to one account; the rest of the
format is refused with NOT_SUPPORTED_YET. Source: spec/formats.md, section 2; spec/rating.md, sections 4.1, 4.8.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from chargeline.domain.currencies import is_currency
from chargeline.domain.documents import BadDocument, Place, Problem, read_document, read_json
from chargeline.domain.fields import Fields
from chargeline.domain.money import plain
from chargeline.domain.rate_card_format import (
    CARD_KEYS,
    FOCUS_KEYS,
    MATCH_ATTRIBUTES,
    MONEY_QUANTITIES,
    NEUTRAL,
    PARAMETERS,
    SKU_KEYS,
    STATUSES,
    SUPPORTED,
)
from chargeline.domain.rate_units import names_number, unit_size
from chargeline.domain.usage import LEAVES

_VERSION_MAX = 2**31 - 1  # an int of the governance record
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Texts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Alias:
    """Another name of a model of the same provider."""

    provider_name: str
    alias: str
    model: str
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)


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

    @property
    def text(self) -> str:
        """The canonical text."""
        return to_json(self)


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
    document: dict[str, Any] = {
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


def read_rate_card(text: str) -> RateCard:
    """The card of a YAML or JSON document. Raises BadDocument with every fault found."""
    return _read(read_document(text))


def from_json(text: str) -> RateCard:
    """The card of a canonical text. Raises BadDocument."""
    return _read(read_json(text))


def _read(document: Any) -> RateCard:
    reader = _Reader()
    card = reader.card(document)
    if reader.problems or card is None:
        raise BadDocument(sorted(reader.problems, key=lambda each: (each.line, each.column)))
    return card


class _Reader(Fields):
    """Collects all faults of a card before it gives up."""

    def card(self, document: Any) -> RateCard | None:
        if not isinstance(document, Place):
            self.problems.append(Problem("NOT_A_CARD", "a rate card is a mapping"))
            return None
        self.keys(document, CARD_KEYS, ("id", "version", "currency", "effective_from", "scope", "skus"))
        start, end = self.instant(document, "effective_from"), self.instant(document, "effective_to")
        if start is not None and end is not None and end <= start:
            self.fault(document, "effective_to", "BAD_PERIOD", "effective_to must lie after effective_from")
        currency = self.text(document, "currency")
        if currency and not is_currency(currency):
            self.fault(document, "currency", "UNKNOWN_CURRENCY", f"{currency} is neither ISO 4217 nor a credit unit")
        self._status_policy(document)
        card = RateCard(
            self.text(document, "id") or "",
            self.whole(document, "version", _VERSION_MAX) or 0,
            self.whole(document, "supersedes", _VERSION_MAX),
            self.flag(document, "correction"),
            currency or "",
            start or 0,
            end,
            self._account(document),
            tuple(self._alias(each) for each in self.places(document, "aliases")),
            tuple(sku for each in self.places(document, "skus") if (sku := self._sku(each)) is not None),
            self.text(document, "description"),
            self.texts(document, "focus", FOCUS_KEYS),
        )
        if card.supersedes is not None and card.supersedes == card.version:
            self.fault(document, "supersedes", "BAD_VALUE", "a version cannot supersede itself")
        if document.get("skus") == []:
            self.fault(document, "skus", "BAD_VALUE", "a card has at least one SKU")
        return card

    def _sku(self, document: Place) -> Sku | None:
        model = self.text(document, "charge_model")
        if model is not None and model not in PARAMETERS:
            self.fault(document, "charge_model", "BAD_VALUE", f"charge_model is one of {', '.join(PARAMETERS)}")
            return None
        self.keys(document, SKU_KEYS | PARAMETERS[model or "per_unit"], ("sku_id", "charge_model", "pricing_unit"))
        if model not in SUPPORTED:
            if model is not None:
                self.fault(document, "charge_model", "NOT_SUPPORTED_YET", f"charge model {model}")
            return None
        self._neutral(document)
        self._status_policy(document)
        measures, match = self._measures(document), self._match(document)
        prices = self._prices(document, model)
        unit = self.text(document, "pricing_unit")
        if measures is None or unit is None:
            return None
        divide_by = self._divide_by(document, unit, measures)
        if match is None or not prices:
            return None
        return Sku(
            self.text(document, "sku_id") or "",
            self.text(document, "variant"),
            match,
            measures,
            model,
            unit,
            divide_by,
            prices,
            self.texts(document, "focus", FOCUS_KEYS),
            self.texts(document, "source", frozenset({"url", "date"})),
            document.line,
            document.column,
        )

    def _measures(self, document: Place) -> str | None:
        given = [(key, document[key]) for key in ("leaf", "quantity") if document.get(key) is not None]
        if len(given) != 1:
            self.fault(document, "leaf", "BAD_VALUE", "a SKU names one leaf or one quantity")
            return None
        key, _ = given[0]
        name = self.text(document, key)
        if name in MONEY_QUANTITIES:
            self.fault(document, key, "NOT_SUPPORTED_YET", f"a price for {name}")
            return None
        if name is not None and (name in LEAVES) != (key == "leaf"):
            what = "is not a leaf" if key == "leaf" else "is a leaf"
            self.fault(document, key, "BAD_VALUE", f"{name} {what}; leaves are {', '.join(LEAVES)}")
            return None
        return name

    def _prices(self, document: Place, model: str) -> tuple[Threshold, ...]:
        base = self.price(document, "unit_price" if model == "per_unit" else "base")
        prices = [] if base is None else [Threshold(0, base)]
        if model == "per_unit":
            return tuple(prices)
        if not document.get("thresholds"):
            self.fault(document, "thresholds", "MISSING_KEY", "thresholds is required")
        last = 0
        for each in self.places(document, "thresholds"):
            self.keys(each, frozenset({"above", "price"}), ("above",))
            above, price = self.whole(each, "above"), self.price(each, "price")
            if above is not None and above <= last:
                self.fault(each, "above", "NOT_ASCENDING", "thresholds must be above 0 and ascending")
            if above is not None and price is not None:
                prices.append(Threshold(above, price))
                last = above
        return tuple(prices)

    def _match(self, document: Place) -> Match | None:
        match = document.get("match")
        if not isinstance(match, Place):
            code = "MISSING_KEY" if match is None else "BAD_VALUE"
            self.fault(document, "match", code, "match is required and is a mapping")
            return None
        known = frozenset({"provider_name", "models", "model_prefix", "labels", *MATCH_ATTRIBUTES})
        self.keys(match, known, ("provider_name",))
        models, prefix = match.get("models"), self.text(match, "model_prefix")
        if (models is None) == (prefix is None):
            self.fault(match, "models", "BAD_VALUE", "a match names either models or model_prefix")
        if models is not None and not isinstance(models, list):
            self.fault(match, "models", "BAD_VALUE", "models is a list of names")
            models = None
        return Match(
            self.text(match, "provider_name") or "",
            () if models is None else self.values(match, "models"),
            prefix,
            tuple((name, self.values(match, name)) for name in MATCH_ATTRIBUTES if match.get(name) is not None),
            self.texts(match, "labels"),
        )

    def _divide_by(self, document: Place, unit: str, measures: str) -> Decimal | None:
        """Base units in a pricing unit; None for GB-Months, whose size depends on the month."""
        size = unit_size(unit, measures)
        if size is None:
            self.fault(document, "pricing_unit", "UNKNOWN_UNIT", f"{unit} does not measure {measures}")
            return None
        if document.get("divide_by") is None:
            return size or None
        given = self.number(document, "divide_by")
        if given is None:
            return None
        if given == 0:
            self.fault(document, "divide_by", "ZERO_DIVISOR", "divide_by must not be 0")
        elif size == 0 or (names_number(unit) and given != size):
            self.fault(document, "divide_by", "BAD_VALUE", f"divide_by {plain(given)} does not agree with {unit}")
        return given

    def _neutral(self, document: Place) -> None:
        for key, neutral in NEUTRAL.items():
            if document.get(key) not in neutral:
                self.fault(document, key, "NOT_SUPPORTED_YET", f"{key} of a rate")
        if document.get("free_units") is not None and self.number(document, "free_units") != 0:
            self.fault(document, "free_units", "NOT_SUPPORTED_YET", "free_units of a rate")

    def _status_policy(self, document: Place) -> None:
        policy = document.get("status_policy")
        if policy is None:
            return
        if not isinstance(policy, Place):
            self.fault(document, "status_policy", "BAD_VALUE", "status_policy is a mapping")
            return
        self.keys(policy, frozenset(STATUSES), ())
        for status, value in policy.items():
            if value != "bill_full":
                self.fault(policy, status, "NOT_SUPPORTED_YET", "a status policy other than bill_full")

    def _account(self, document: Place) -> str | None:
        scope = document.get("scope")
        if scope == "default" or scope is None:
            return None
        if isinstance(scope, Place) and list(scope) == ["account"]:
            return self.text(scope, "account")
        known = isinstance(scope, Place) and len(scope) == 1 and set(scope) <= {"group", "contract"}
        code, message = "BAD_VALUE", "scope is default, {group: …}, {account: …} or {contract: …}"
        if known:
            code, message = "NOT_SUPPORTED_YET", f"a scope of a {next(iter(scope))}"
        self.fault(document, "scope", code, message)
        return None

    def _alias(self, place: Place) -> Alias:
        keys = ("provider_name", "alias", "model")
        self.keys(place, frozenset(keys), keys)
        provider, alias, model = (self.text(place, key) or "" for key in keys)
        return Alias(provider, alias, model, place.line, place.column)
