"""From the text of a rate card to the card, with every fault found and its place.

Source: spec/formats.md, sections 1 and 2.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from chargeline.domain.currencies import is_currency
from chargeline.domain.documents import BadDocument, Place, Problem, read_document, read_json
from chargeline.domain.money import NotANumber, parse_decimal, plain
from chargeline.domain.rate_card import MATCH_ATTRIBUTES, Alias, Match, RateCard, Sku, Texts, Threshold
from chargeline.domain.rate_units import names_number, unit_size
from chargeline.domain.usage import LEAVES, TEXT_BYTES_MAX

CARD_KEYS = frozenset(
    "id version supersedes correction currency effective_from effective_to scope description aliases status_policy "
    "focus skus".split()
)
SKU_KEYS = frozenset(
    "sku_id variant match leaf quantity charge_model pricing_unit divide_by round free_units discounts minimum maximum "
    "window scope_by modifiers source focus status_policy".split()
)
FOCUS_KEYS = frozenset(
    "service_name service_category service_subcategory service_provider_name host_provider_name".split()
)
# The parameters of each charge model; those that this version can work out have theirs read below.
PARAMETERS = {
    "per_unit": frozenset({"unit_price"}),
    "threshold": frozenset({"base", "thresholds"}),
    "flat": frozenset({"amount", "bill_in"}),
    "package": frozenset({"package_price", "package_size", "package_round"}),
    "graduated": frozenset({"tiers"}),
    "volume": frozenset({"tiers"}),
    "percentage": frozenset(
        {"rate_percent", "fixed", "free_events", "free_amount", "per_event_min", "per_event_max"},
    ),
    "graduated_percentage": frozenset({"tiers"}),
    "dynamic": frozenset({"dynamic", "price_sources"}),
    "cost_plus": frozenset({"multiplier"}),
}
_SUPPORTED = ("per_unit", "threshold")
_STATUSES = ("OK", "ERROR", "CANCELLED", "PARTIAL")
_MONEY_QUANTITIES = ("reported_cost", "transaction_amount", "recurring_units")
# Keys of a rate that this version reads only where they change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "discounts": (None, []),
    "minimum": (None,),
    "maximum": (None,),
    "window": (None, "billing_period"),
    "scope_by": (None, []),
    "modifiers": (None, []),
    "round": (None, "none"),
}
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_WHOLE = re.compile(r"[0-9]{1,18}")
_VERSION_MAX = 2**31 - 1  # an int of the governance record
_PRICE_DECIMALS, _PRICE_LIMIT = 18, Decimal(10**20)  # Decimal(38, 18)


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


class _Reader:
    """Collects all faults of a card before it gives up."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def card(self, document: Any) -> RateCard | None:
        if not isinstance(document, Place):
            self.problems.append(Problem("NOT_A_CARD", "a rate card is a mapping"))
            return None
        self._keys(document, CARD_KEYS, ("id", "version", "currency", "effective_from", "scope", "skus"))
        start, end = self._instant(document, "effective_from"), self._instant(document, "effective_to")
        if start is not None and end is not None and end <= start:
            self._fault(document, "effective_to", "BAD_PERIOD", "effective_to must lie after effective_from")
        currency = self._text(document, "currency")
        if currency and not is_currency(currency):
            self._fault(document, "currency", "UNKNOWN_CURRENCY", f"{currency} is neither ISO 4217 nor a credit unit")
        self._status_policy(document)
        card = RateCard(
            self._text(document, "id") or "",
            self._whole(document, "version", _VERSION_MAX) or 0,
            self._whole(document, "supersedes", _VERSION_MAX),
            self._flag(document, "correction"),
            currency or "",
            start or 0,
            end,
            self._account(document),
            tuple(self._alias(each) for each in self._places(document, "aliases")),
            tuple(sku for each in self._places(document, "skus") if (sku := self._sku(each)) is not None),
            self._text(document, "description"),
            self._texts(document, "focus", FOCUS_KEYS),
        )
        if card.supersedes is not None and card.supersedes == card.version:
            self._fault(document, "supersedes", "BAD_VALUE", "a version cannot supersede itself")
        if not card.skus:
            self._fault(document, "skus", "BAD_VALUE", "a card has at least one SKU")
        return card

    def _sku(self, document: Place) -> Sku | None:
        model = self._text(document, "charge_model")
        if model is not None and model not in PARAMETERS:
            self._fault(document, "charge_model", "BAD_VALUE", f"charge_model is one of {', '.join(PARAMETERS)}")
            return None
        self._keys(document, SKU_KEYS | PARAMETERS[model or "per_unit"], ("sku_id", "charge_model", "pricing_unit"))
        if model not in _SUPPORTED:
            if model is not None:
                self._fault(document, "charge_model", "NOT_SUPPORTED_YET", f"charge model {model}")
            return None
        self._neutral(document)
        self._status_policy(document)
        measures, match = self._measures(document), self._match(document)
        prices = self._prices(document, model)
        unit = self._text(document, "pricing_unit")
        if measures is None or match is None or unit is None or not prices:
            return None
        return Sku(
            self._text(document, "sku_id") or "",
            self._text(document, "variant"),
            match,
            measures,
            model,
            unit,
            self._divide_by(document, unit, measures),
            prices,
            self._texts(document, "focus", FOCUS_KEYS),
            self._texts(document, "source", frozenset({"url", "date"})),
            document.line,
            document.column,
        )

    def _measures(self, document: Place) -> str | None:
        given = [(key, document[key]) for key in ("leaf", "quantity") if document.get(key) is not None]
        if len(given) != 1:
            self._fault(document, "leaf", "BAD_VALUE", "a SKU names one leaf or one quantity")
            return None
        key, _ = given[0]
        name = self._text(document, key)
        if name in _MONEY_QUANTITIES:
            self._fault(document, key, "NOT_SUPPORTED_YET", f"a price for {name}")
            return None
        if name is not None and (name in LEAVES) != (key == "leaf"):
            what = "is not a leaf" if key == "leaf" else "is a leaf"
            self._fault(document, key, "BAD_VALUE", f"{name} {what}; leaves are {', '.join(LEAVES)}")
            return None
        return name

    def _prices(self, document: Place, model: str) -> tuple[Threshold, ...]:
        base = self._price(document, "unit_price" if model == "per_unit" else "base")
        prices = [] if base is None else [Threshold(0, base)]
        if model == "per_unit":
            return tuple(prices)
        if not document.get("thresholds"):
            self._fault(document, "thresholds", "MISSING_KEY", "thresholds is required")
        last = 0
        for each in self._places(document, "thresholds"):
            self._keys(each, frozenset({"above", "price"}), ("above", "price"))
            above, price = self._whole(each, "above"), self._price(each, "price")
            if above is not None and above <= last:
                self._fault(each, "above", "NOT_ASCENDING", "thresholds must be above 0 and ascending")
            if above is not None and price is not None:
                prices.append(Threshold(above, price))
                last = above
        return tuple(prices)

    def _match(self, document: Place) -> Match | None:
        match = document.get("match")
        if not isinstance(match, Place):
            code = "MISSING_KEY" if match is None else "BAD_VALUE"
            self._fault(document, "match", code, "match is required and is a mapping")
            return None
        known = frozenset({"provider_name", "models", "model_prefix", "labels", *MATCH_ATTRIBUTES})
        self._keys(match, known, ("provider_name",))
        models, prefix = match.get("models"), self._text(match, "model_prefix")
        if (models is None) == (prefix is None):
            self._fault(match, "models", "BAD_VALUE", "a match names either models or model_prefix")
        if models is not None and not isinstance(models, list):
            self._fault(match, "models", "BAD_VALUE", "models is a list of names")
            models = None
        return Match(
            self._text(match, "provider_name") or "",
            () if models is None else self._values(match, "models"),
            prefix,
            tuple((name, self._values(match, name)) for name in MATCH_ATTRIBUTES if match.get(name) is not None),
            self._texts(match, "labels"),
        )

    def _divide_by(self, document: Place, unit: str, measures: str) -> Decimal | None:
        """Base units in a pricing unit; None for GB-Months, whose size depends on the month."""
        size = unit_size(unit, measures)
        if size is None:
            self._fault(document, "pricing_unit", "UNKNOWN_UNIT", f"{unit} does not measure {measures}")
            return None
        if document.get("divide_by") is None:
            return size or None
        given = self._number(document, "divide_by")
        if given is None:
            return None
        if given == 0:
            self._fault(document, "divide_by", "ZERO_DIVISOR", "divide_by must not be 0")
        elif size == 0 or (names_number(unit) and given != size):
            self._fault(document, "divide_by", "BAD_VALUE", f"divide_by {plain(given)} does not agree with {unit}")
        return given

    def _neutral(self, document: Place) -> None:
        for key, neutral in _NEUTRAL.items():
            if document.get(key) not in neutral:
                self._fault(document, key, "NOT_SUPPORTED_YET", f"{key} of a rate")
        if document.get("free_units") is not None and self._number(document, "free_units") != 0:
            self._fault(document, "free_units", "NOT_SUPPORTED_YET", "free_units of a rate")

    def _status_policy(self, document: Place) -> None:
        policy = document.get("status_policy")
        if policy is None:
            return
        if not isinstance(policy, Place):
            self._fault(document, "status_policy", "BAD_VALUE", "status_policy is a mapping")
            return
        self._keys(policy, frozenset(_STATUSES), ())
        for status, value in policy.items():
            if value != "bill_full":
                self._fault(policy, status, "NOT_SUPPORTED_YET", "a status policy other than bill_full")

    def _account(self, document: Place) -> str | None:
        scope = document.get("scope")
        if scope == "default" or scope is None:
            return None
        if isinstance(scope, Place) and list(scope) == ["account"]:
            return self._text(scope, "account")
        known = isinstance(scope, Place) and len(scope) == 1 and set(scope) <= {"group", "contract"}
        code, message = "BAD_VALUE", "scope is default, {group: …}, {account: …} or {contract: …}"
        if known:
            code, message = "NOT_SUPPORTED_YET", f"a scope of a {next(iter(scope))}"
        self._fault(document, "scope", code, message)
        return None

    def _alias(self, place: Place) -> Alias:
        keys = ("provider_name", "alias", "model")
        self._keys(place, frozenset(keys), keys)
        return Alias(*(self._text(place, key) or "" for key in keys))

    def _keys(self, place: Place, known: frozenset[str], required: tuple[str, ...]) -> None:
        for key in place:
            if key not in known:
                self._fault(place, key, "UNKNOWN_KEY", f"{key} is not a key here")
        for key in required:
            if place.get(key) is None:
                self._fault(place, key, "MISSING_KEY", f"{key} is required")

    def _places(self, place: Place, key: str) -> list[Place]:
        value = place.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, Place) for each in value):
            self._fault(place, key, "BAD_VALUE", f"{key} is a list of mappings")
            return []
        return value

    def _values(self, place: Place, key: str) -> tuple[str, ...]:
        """One text or a list of them, as a sorted tuple."""
        value = place[key] if isinstance(place[key], list) else [place[key]]
        if not value or not all(isinstance(each, str) and self._fits(each) for each in value):
            self._fault(place, key, "BAD_VALUE", f"{key} is a text or a list of texts")
            return ()
        if len(set(value)) < len(value):
            self._fault(place, key, "BAD_VALUE", f"{key} names a value twice")
        return tuple(sorted(value))

    def _texts(self, place: Place, key: str, known: frozenset[str] | None = None) -> Texts:
        value = place.get(key)
        if value is None:
            return ()
        if not isinstance(value, Place):
            self._fault(place, key, "BAD_VALUE", f"{key} is a mapping")
            return ()
        if known is not None:
            self._keys(value, known, ())
        return tuple(sorted((name, text) for name in value if (text := self._text(value, name)) is not None))

    def _text(self, place: Place, key: str) -> str | None:
        value = place.get(key)
        if value is None or (isinstance(value, str) and self._fits(value)):
            return value
        self._fault(place, key, "BAD_VALUE", f"{key} is a text of 1 to {TEXT_BYTES_MAX} bytes")
        return None

    def _fits(self, text: str) -> bool:
        return 0 < len(text.encode()) <= TEXT_BYTES_MAX

    def _flag(self, place: Place, key: str) -> bool:
        value = place.get(key)
        if value not in (None, True, False):
            self._fault(place, key, "BAD_VALUE", f"{key} is true or false")
        return value is True

    def _number(self, place: Place, key: str) -> Decimal | None:
        value = place.get(key)
        try:
            number = parse_decimal(value if isinstance(value, str) else "")
        except NotANumber:
            self._fault(place, key, "BAD_NUMBER", f"{key} must be a plain decimal number")
            return None
        if number < 0:
            self._fault(place, key, "NEGATIVE", f"{key} must not be negative")
            return None
        return number

    def _price(self, place: Place, key: str) -> Decimal | None:
        if place.get(key) is None:
            self._fault(place, key, "MISSING_KEY", f"{key} is required")
            return None
        number = self._number(place, key)
        if number is None:
            return None
        if -int(number.as_tuple().exponent) > _PRICE_DECIMALS or number >= _PRICE_LIMIT:
            self._fault(place, key, "BAD_NUMBER", f"{key} has more than 18 decimals or 20 digits before the point")
        return number

    def _whole(self, place: Place, key: str, limit: int = 10**18) -> int | None:
        value = place.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not _WHOLE.fullmatch(value) or int(value) > limit:
            self._fault(place, key, "BAD_NUMBER", f"{key} must be a whole number from 0 to {limit}")
            return None
        return int(value)

    def _instant(self, place: Place, key: str) -> int | None:
        value = place.get(key)
        if value is None:
            return None
        try:
            if not isinstance(value, str) or not _INSTANT.fullmatch(value):
                raise ValueError(value)
            since = datetime.fromisoformat(value) - datetime(1970, 1, 1, tzinfo=UTC)
        except ValueError:
            self._fault(place, key, "BAD_TIME", f"{key} must be an instant such as 2026-01-01T00:00:00Z")
            return None
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

    def _fault(self, place: Place, key: str, code: str, message: str) -> None:
        line, column = place.place(key)
        self.problems.append(Problem(code, message, line, column))
