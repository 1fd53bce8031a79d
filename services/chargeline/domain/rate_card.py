"""Rate cards: what they hold, how they are read from a document, and their canonical text.

In this version a rate is per_unit or threshold, and a card belongs to everybody or to one account; the rest of the
format is refused with NOT_SUPPORTED_YET. Source: spec/formats.md, section 2; spec/rating.md, sections 4.1, 4.8.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from chargeline.domain.documents import BadDocument, Place, Problem, read_document
from chargeline.domain.money import NotANumber, parse_decimal, plain
from chargeline.domain.usage import COUNTED, LEAVES

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
_CARD_KEYS = {
    "id", "version", "supersedes", "correction", "currency", "effective_from", "effective_to", "scope", "description",
    "aliases", "status_policy", "focus", "skus",
}  # fmt: skip
_CARD_REQUIRED = ("id", "version", "currency", "effective_from", "scope", "skus")
_SKU_KEYS = {
    "sku_id", "variant", "match", "leaf", "quantity", "charge_model", "pricing_unit", "divide_by", "round",
    "unit_price", "base", "thresholds", "source", "focus", "status_policy",
    "free_units", "discounts", "minimum", "maximum", "window", "scope_by", "modifiers", "amount", "bill_in", "tiers",
    "package_price", "package_size", "package_round", "rate_percent", "fixed", "free_events", "free_amount",
    "per_event_min", "per_event_max", "dynamic", "price_sources", "multiplier",
}  # fmt: skip
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "free_units": (None, "0"),
    "discounts": (None, []),
    "minimum": (None,),
    "maximum": (None,),
    "window": (None, "billing_period"),
    "scope_by": (None, []),
    "modifiers": (None, []),
    "round": (None, "none"),
}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


@dataclass(frozen=True)
class Alias:
    provider_name: str
    alias: str
    model: str


@dataclass(frozen=True)
class Match:
    """Which events a rate is for; everything named must hold."""

    provider_name: str
    models: tuple[str, ...] = ()
    model_prefix: str | None = None
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Threshold:
    """Above so many input tokens of the request the price is this one. `above` 0: the base price."""

    above: int
    price: Decimal


@dataclass(frozen=True)
class Sku:
    """One rate: a SKU with its price list. `measures` is a token leaf or another quantity of the event."""

    sku_id: str
    variant: str | None
    match: Match
    measures: str
    pricing_unit: str
    divide_by: Decimal | None
    prices: tuple[Threshold, ...]
    line: int = field(default=1, compare=False)

    @property
    def key(self) -> tuple[str, str | None]:
        return self.sku_id, self.variant


@dataclass(frozen=True)
class RateCard:
    """One immutable version of a card. Times are microseconds since 1970 UTC; `account` None: for everybody."""

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
    text: str = field(compare=False)


def read_rate_card(text: str) -> RateCard:
    """The card of a YAML or JSON document.

    Raises:
        BadDocument: with every fault found.
    """
    document = read_document(text)
    reader = _Reader()
    card = reader.card(document)
    if reader.problems or card is None:
        raise BadDocument(reader.problems)
    return card


def canonical(document: Any) -> str:
    """JSON with sorted keys and every number as text: equal cards have equal texts."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class _Reader:
    """Collects all faults of a card before it gives up."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def card(self, document: Any) -> RateCard | None:
        if not isinstance(document, Place):
            self.problems.append(Problem("NOT_A_CARD", "a rate card is a mapping"))
            return None
        self._keys(document, _CARD_KEYS, _CARD_REQUIRED)
        if self.problems:
            return None
        skus = document["skus"]
        if not isinstance(skus, list) or not all(isinstance(each, Place) for each in skus):
            self._fault(document, "skus", "BAD_VALUE", "skus must be a list of mappings")
            return None
        found = [self.sku(each) for each in skus]
        account = self._account(document)
        start, end = self._instant(document, "effective_from"), self._instant(document, "effective_to")
        if start is not None and end is not None and end <= start:
            self._fault(document, "effective_to", "BAD_PERIOD", "effective_to must lie after effective_from")
        if not re.fullmatch(r"[A-Z]{3}|[A-Z][A-Z0-9_-]{3,29}", str(document["currency"])):
            self._fault(document, "currency", "UNKNOWN_CURRENCY", f"{document['currency']} is no currency code")
        version = self._whole(document, "version")
        if self.problems or start is None or version is None:
            return None
        return RateCard(
            str(document["id"]),
            version,
            self._whole(document, "supersedes"),
            bool(document.get("correction")),
            str(document["currency"]),
            start,
            end,
            account,
            tuple(self._aliases(document)),
            tuple(sku for sku in found if sku is not None),
            canonical(document),
        )

    def sku(self, document: Place) -> Sku | None:
        before = len(self.problems)
        self._keys(document, _SKU_KEYS, ("sku_id", "charge_model", "pricing_unit"))
        if len(self.problems) > before:
            return None
        model = document["charge_model"]
        if model not in {"per_unit", "threshold"}:
            self._fault(document, "charge_model", "NOT_SUPPORTED_YET", f"charge model {model}")
            return None
        for key, neutral in _NEUTRAL.items():
            if document.get(key) not in neutral:
                self._fault(document, key, "NOT_SUPPORTED_YET", f"{key} of a rate")
        measures = [document[key] for key in ("leaf", "quantity") if document.get(key) is not None]
        if len(measures) != 1 or ("leaf" in document and measures[0] not in LEAVES):
            self._fault(document, "leaf", "BAD_VALUE", f"a SKU names one leaf ({', '.join(LEAVES)}) or one quantity")
            return None
        match = self._match(document)
        prices = self._prices(document)
        divide_by = self._divide_by(document, str(measures[0]))
        if len(self.problems) > before or match is None:
            return None
        return Sku(
            str(document["sku_id"]),
            document.get("variant"),
            match,
            str(measures[0]),
            str(document["pricing_unit"]),
            divide_by,
            prices,
            document.line,
        )

    def _prices(self, document: Place) -> tuple[Threshold, ...]:
        if document["charge_model"] == "per_unit":
            price = self._number(document, "unit_price")
            return () if price is None else (Threshold(0, price),)
        base = self._number(document, "base")
        prices = [] if base is None else [Threshold(0, base)]
        for each in document.get("thresholds") or ():
            above, price = self._number(each, "above"), self._number(each, "price")
            if above is None or price is None:
                continue
            if above <= prices[-1].above or above != int(above):
                self._fault(each, "above", "NOT_ASCENDING", "thresholds must be whole, above 0 and ascending")
            prices.append(Threshold(int(above), price))
        return tuple(prices)

    def _match(self, document: Place) -> Match | None:
        match = document.get("match")
        if not isinstance(match, Place):
            self._fault(document, "sku_id", "MISSING_KEY", "match is required")
            return None
        self._keys(match, {"provider_name", "models", "model_prefix", "labels", *MATCH_ATTRIBUTES}, ("provider_name",))
        models, prefix = match.get("models"), match.get("model_prefix")
        if (models is None) == (prefix is None):
            self._fault(document, "match", "BAD_VALUE", "a match names either models or model_prefix")
        attributes = []
        for name in MATCH_ATTRIBUTES:
            if match.get(name) is not None:
                values = match[name] if isinstance(match[name], list) else [match[name]]
                attributes.append((name, tuple(map(str, values))))
        return Match(
            str(match.get("provider_name")),
            tuple(map(str, models or ())),
            prefix,
            tuple(attributes),
            tuple(sorted((str(k), str(v)) for k, v in (match.get("labels") or {}).items())),
        )

    def _divide_by(self, document: Place, measures: str) -> Decimal | None:
        """Base units in a pricing unit; None for GB-Months, whose size depends on the month."""
        unit = str(document["pricing_unit"])
        size = unit_size(unit, measures)
        if size is None:
            self._fault(document, "pricing_unit", "UNKNOWN_UNIT", f"{unit} does not measure {measures}")
            return Decimal(1)
        if document.get("divide_by") is None:
            return None if size == 0 else size
        given = self._number(document, "divide_by")
        if given is not None and (given == 0 or (unit[0].isdigit() and given != size)):
            self._fault(document, "divide_by", "BAD_VALUE", f"divide_by {plain(given)} does not agree with {unit}")
        return given

    def _account(self, document: Place) -> str | None:
        scope = document["scope"]
        if scope == "default":
            return None
        if isinstance(scope, dict) and list(scope) == ["account"]:
            return str(scope["account"])
        code = "NOT_SUPPORTED_YET" if isinstance(scope, dict) and set(scope) <= {"group", "contract"} else "BAD_VALUE"
        self._fault(document, "scope", code, f"scope {scope}")
        return None

    def _aliases(self, document: Place) -> list[Alias]:
        aliases = []
        for each in document.get("aliases") or ():
            self._keys(each, {"provider_name", "alias", "model"}, ("provider_name", "alias", "model"))
            aliases.append(Alias(str(each["provider_name"]), str(each["alias"]), str(each["model"])))
        names = {(alias.provider_name, alias.alias) for alias in aliases}
        if any((alias.provider_name, alias.model) in names for alias in aliases):
            self._fault(document, "aliases", "ALIAS_TO_ALIAS", "an alias must name a model")
        return aliases

    def _keys(self, place: Place, known: set[str], required: tuple[str, ...]) -> None:
        for key in place:
            if key not in known:
                self._fault(place, key, "UNKNOWN_KEY", f"{key} is not a key here")
        for key in required:
            if place.get(key) is None:
                self._fault(place, key, "MISSING_KEY", f"{key} is required")

    def _number(self, place: Place, key: str) -> Decimal | None:
        try:
            number = parse_decimal(str(place.get(key)))
        except NotANumber:
            self._fault(place, key, "BAD_NUMBER", f"{key} must be a plain decimal number")
            return None
        if number < 0:
            self._fault(place, key, "NEGATIVE", f"{key} must not be negative")
        if -int(number.as_tuple().exponent) > 18:
            self._fault(place, key, "BAD_NUMBER", f"{key} has more than 18 decimals")
        return number

    def _whole(self, place: Place, key: str) -> int | None:
        value = place.get(key)
        if value is None:
            return None
        if not str(value).isdigit():
            self._fault(place, key, "BAD_NUMBER", f"{key} must be a whole number")
            return None
        return int(value)

    def _instant(self, place: Place, key: str) -> int | None:
        value = place.get(key)
        if value is None:
            return None
        if not _INSTANT.fullmatch(str(value)):
            self._fault(place, key, "BAD_TIME", f"{key} must be an instant such as 2026-01-01T00:00:00Z")
            return None
        moment = datetime.fromisoformat(str(value))
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

    def _fault(self, place: Place, key: str, code: str, message: str) -> None:
        line, column = place.at.get(key, (place.line, place.column))
        self.problems.append(Problem(code, message, line, column))


_TIME_UNITS = {
    "gpu_ms": {"GPU-Hours": 3_600_000, "GPU-Seconds": 1000},
    "cpu_ms": {"CPU-Hours": 3_600_000, "CPU-Seconds": 1000},
    "memory_mib_s": {"GiB-Hours": 3_686_400},
    "storage_mib_s": {"GB-Months": 0},
    "io_bytes": {"Bytes": 1, "GB": 10**9, "GiB": 2**30},
    "requests": {"Requests": 1},
    "audio_s": {"Seconds": 1, "Minutes": 60},
    "web_searches": {"Searches": 1},
    "tool_calls": {"Calls": 1},
    "images": {"Images": 1},
    "characters": {"Characters": 1},
    "pages": {"Pages": 1},
    "training_tokens": {"Tokens": 1},
    "provisioned_unit_s": {"Unit-Hours": 3600},
}


def unit_size(unit: str, measures: str) -> Decimal | None:
    """Base units of a quantity in a pricing unit such as `1000000 Tokens`; 0: GB-Months; None: not a unit of it."""
    count, _, name = unit.partition(" ") if unit[:1].isdigit() else ("1", " ", unit)
    if not count.isdigit() or int(count) == 0 or not name:
        return None
    if measures in LEAVES:
        sizes = {"Tokens": 1}
    elif measures in _TIME_UNITS:
        sizes = _TIME_UNITS[measures]
    elif measures in COUNTED:
        return None
    else:
        sizes = {name: 1} if re.fullmatch(r"[A-Z][A-Za-z-]*s", name) else {}
    return Decimal(sizes[name] * int(count)) if name in sizes else None


def consumed_unit(pricing_unit: str, measures: str) -> str:
    """The unit in which a quantity is measured: Tokens, Requests, GPU-Milliseconds …; extra quantities in their own."""
    named = {
        "gpu_ms": "GPU-Milliseconds",
        "cpu_ms": "CPU-Milliseconds",
        "memory_mib_s": "MiB-Seconds",
        "storage_mib_s": "MiB-Seconds",
        "io_bytes": "Bytes",
        "requests": "Requests",
        "audio_s": "Seconds",
        "provisioned_unit_s": "Unit-Seconds",
    }
    if measures in LEAVES:
        return "Tokens"
    return named.get(measures, pricing_unit.partition(" ")[2] or pricing_unit)
