"""Reading a rate card from a document: strict, exact, with the place of every fault.

Source: spec/formats.md, sections 1 and 2; spec/rating.md, section 14.
"""

from decimal import Decimal
from typing import Any, Literal, cast

from chargeline.domain.collector import nothing_collected
from chargeline.domain.currencies import is_currency
from chargeline.domain.documents import BadDocument, Place, Problem, read_document, read_json
from chargeline.domain.fields import AMOUNT, Fields
from chargeline.domain.money import plain
from chargeline.domain.rates.card import DEFAULT, NO_EVENT, Alias, Match, PerUnit, RateCard, Scope, Sku, Tiered, Window
from chargeline.domain.rates.card_format import (
    CARD_KEYS,
    FOCUS_KEYS,
    MATCH_ATTRIBUTES,
    MEASURED_BY,
    MONEY_QUANTITIES,
    PARAMETERS,
    RECURRING,
    SCOPE_ATTRIBUTES,
    SCOPES,
    SKU_KEYS,
    WINDOWS,
)
from chargeline.domain.rates.model_reader import read_model
from chargeline.domain.rates.terms_reader import read_discounts, read_modifiers, read_status_policy
from chargeline.domain.rates.units import names_number, unit_size
from chargeline.domain.usage import LEAVES

_VERSION_MAX = 2**31 - 1  # an int of the governance record
_STAND_IN = PerUnit(Decimal(0))


def read_rate_card(text: str) -> RateCard:
    """The card of a YAML or JSON document; warnings are its `remarks`. Raises BadDocument with every fault found."""
    with nothing_collected():
        return _read(read_document(text))


def from_json(text: str) -> RateCard:
    """The card of a canonical text. Raises BadDocument."""
    return _read(read_json(text))


def _read(document: Any) -> RateCard:
    reader = _Reader()
    card = reader.card(document)
    problems = sorted(reader.problems, key=lambda each: (each.line, each.column))
    if card is None or any(not each.warning for each in problems):
        raise BadDocument(problems)
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
        version, supersedes = (self.whole(document, key, _VERSION_MAX) for key in ("version", "supersedes"))
        if supersedes is not None and supersedes == version:
            self.fault(document, "supersedes", "BAD_VALUE", "a version cannot supersede itself")
        if document.get("skus") == []:
            self.fault(document, "skus", "BAD_VALUE", "a card has at least one SKU")
        policy = read_status_policy(self, document)
        return RateCard(
            self.text(document, "id") or "",
            version or 0,
            supersedes,
            self.flag(document, "correction"),
            currency or "",
            start or 0,
            end,
            self._scope(document),
            tuple(self._alias(each) for each in self.places(document, "aliases")),
            tuple(
                sku for each in self.places(document, "skus") if (sku := self._sku(each, currency or "")) is not None
            ),
            self.text(document, "description"),
            tuple(rule for rule in policy if rule.policy != "bill_full"),
            self.texts(document, "focus", FOCUS_KEYS),
            tuple(each for each in self.problems if each.warning),
        )

    def _sku(self, document: Place, currency: str) -> Sku | None:
        name = self.choice(document, "charge_model", tuple(PARAMETERS))
        parameters = frozenset[str]().union(*PARAMETERS.values()) if name is None else PARAMETERS[name]
        self.keys(document, SKU_KEYS | parameters, ("sku_id", "charge_model", "pricing_unit"))
        if name is None:
            return None
        measures, unit = self._measures(document, name), self.text(document, "pricing_unit")
        match, model = self._match(document, measures or ""), read_model(self, document, name)
        divide_by = None
        if measures is not None and unit is not None:
            divide_by = self._divide_by(document, unit, measures, currency)
        minimum, maximum = self._bounds(document)
        modifiers = read_modifiers(self, document)
        if isinstance(model, Tiered) and model.kind == "volume" and modifiers:
            text = "a volume rate has no modifiers: use one rate for each value of the attribute"
            self.fault(document, "modifiers", "VOLUME_WITH_MODIFIERS", text)
        if name == "threshold":
            self._no_accumulation(document)
        # Where a fault was noted something stands in: such a card is refused as a whole.
        return Sku(
            self.text(document, "sku_id") or "",
            self.text(document, "variant"),
            match or NO_EVENT,
            measures or "",
            model or _STAND_IN,
            unit or "",
            divide_by,
            self.choice(document, "round", ("none", "up")) == "up",
            self.exact(document, "free_units", AMOUNT) or Decimal(0),
            read_discounts(self, document),
            minimum,
            maximum,
            cast("Window", self.choice(document, "window", WINDOWS) or "billing_period"),
            self._scope_by(document),
            modifiers,
            read_status_policy(self, document),
            self.texts(document, "focus", FOCUS_KEYS),
            self.texts(document, "source", frozenset({"url", "date"})),
            document.line,
            document.column,
        )

    def _measures(self, document: Place, model: str) -> str | None:
        """What the rate measures; empty for a standing fee."""
        given = [key for key in ("leaf", "quantity") if document.get(key) is not None]
        if model == "flat":
            for key in given:
                self.fault(document, key, "BAD_VALUE", "a standing fee measures nothing")
            return None if given else ""
        if len(given) != 1:
            self.fault(document, "leaf", "BAD_VALUE", "a SKU names one leaf or one quantity")
            return None
        key = given[0]
        name = self.text(document, key)
        if name is not None and (name in LEAVES) != (key == "leaf"):
            what = "is not a leaf" if key == "leaf" else "is a leaf"
            self.fault(document, key, "BAD_VALUE", f"{name} {what}; leaves are {', '.join(LEAVES)}")
            return None
        needed = MEASURED_BY.get(model, name)
        if name is not None and (name != needed or (name == "reported_cost" and model not in MEASURED_BY)):
            fitting = f"is worked out on {needed}" if name != needed else "cannot be worked out on reported_cost"
            self.fault(document, key, "BAD_VALUE", f"{model} {fitting}")
            return None
        return name

    def _match(self, document: Place, measures: str) -> Match | None:
        match = document.get("match")
        if document.get("charge_model") == "flat" or measures == RECURRING:
            if match is not None:
                self.fault(document, "match", "BAD_VALUE", "this rate is of subscriptions, not of events: no match")
            return NO_EVENT
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

    def _divide_by(self, document: Place, unit: str, measures: str, currency: str) -> Decimal | None:
        """Base units in a pricing unit; None for GB-Months, whose size depends on the month."""
        size = unit_size(unit, measures)
        if measures in MONEY_QUANTITIES:
            size = Decimal(1) if unit == currency else None
        if size is None:
            what = f"{unit} does not measure {measures or 'a standing fee'}"
            if measures in MONEY_QUANTITIES:
                what = f"the unit of {measures} is the currency of the card, {currency}"
            self.fault(document, "pricing_unit", "UNKNOWN_UNIT", what)
            return None
        if document.get("divide_by") is None:
            return size or None
        given = self.number(document, "divide_by")
        if given is None:
            return None
        fixed = size == 0 or names_number(unit) or measures in MONEY_QUANTITIES
        if given == 0:
            self.fault(document, "divide_by", "ZERO_DIVISOR", "divide_by must not be 0")
        elif fixed and given != size:
            self.fault(document, "divide_by", "BAD_VALUE", f"divide_by {plain(given)} does not agree with {unit}")
        return given

    def _bounds(self, document: Place) -> tuple[Decimal | None, Decimal | None]:
        minimum, maximum = self.exact(document, "minimum", AMOUNT), self.exact(document, "maximum", AMOUNT)
        if minimum is not None and maximum is not None and minimum > maximum:
            self.fault(document, "minimum", "MINIMUM_ABOVE_MAXIMUM", f"{plain(minimum)} is above {plain(maximum)}")
        return minimum, maximum

    def _scope_by(self, document: Place) -> tuple[str, ...]:
        if document.get("scope_by") in (None, []):
            return ()
        names = self.values(document, "scope_by")
        for name in names:
            if name not in SCOPE_ATTRIBUTES:
                self.fault(document, "scope_by", "BAD_VALUE", f"{name} is no attribute that splits a scope")
        return names

    def _no_accumulation(self, document: Place) -> None:
        """A threshold price looks at one request alone, so nothing about it may add up (spec/rating.md 4.8)."""
        neutral = {"round": (None, "none"), "minimum": (None,), "maximum": (None,)}
        for key, values in neutral.items():
            if document.get(key) not in values:
                self.fault(document, key, "BAD_VALUE", f"a threshold price has no {key}: it never accumulates")
        if document.get("free_units") is not None and self.number(document, "free_units") != 0:
            self.fault(document, "free_units", "BAD_VALUE", "a threshold price has no free_units: it never accumulates")

    def _scope(self, document: Place) -> Scope:
        scope = document.get("scope")
        if scope == "default" or scope is None:
            return DEFAULT
        if isinstance(scope, Place) and len(scope) == 1 and next(iter(scope)) in SCOPES:
            kind = next(iter(scope))
            name = self.text(scope, kind)
            if name is None:
                self.keys(scope, frozenset(SCOPES), (kind,))
            return Scope(cast("Literal['group', 'account', 'contract']", kind), name)
        message = "scope is default, {group: …}, {account: …} or {contract: …}"
        self.fault(document, "scope", "BAD_VALUE", message)
        return DEFAULT

    def _alias(self, place: Place) -> Alias:
        keys = ("provider_name", "alias", "model")
        self.keys(place, frozenset(keys), keys)
        provider, alias, model = (self.text(place, key) or "" for key in keys)
        return Alias(provider, alias, model, place.line, place.column)
