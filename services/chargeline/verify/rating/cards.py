"""Rate cards as readers of the governance log see them: which versions count, and from when to when.

Source: spec/rating.md, sections 4, 6 and 7; spec/formats.md, section 2.
"""

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from chargeline.verify.events import COUNTED
from chargeline.verify.rating.models import Terms, accumulates
from chargeline.verify.rating.numbers import PICOS, number
from chargeline.verify.rating.times import SECOND, Period, micros, open_micros

ATTRIBUTES = ("operation_name", "service_tier", "region", "accelerator", "criticality", "latency_class",
              "accuracy_class", "deployment", "resource_id")  # fmt: skip
_UNITS = {"GPU-Hours": 3_600_000, "GPU-Seconds": 1000, "CPU-Hours": 3_600_000, "CPU-Seconds": 1000,
          "GiB-Hours": 3_686_400, "GB": 10**9, "GiB": 2**30, "Minutes": 60, "Unit-Hours": 3600}  # fmt: skip
_MIB = 1_048_576
Card = dict[str, Any]


@dataclass(frozen=True)
class Rate:
    """One SKU of one version of a card; times in microseconds, half-open."""

    card: Card
    sku: dict[str, Any]
    start: int
    end: int | None

    @property
    def owner(self) -> Any:
        return self.card.get("scope", "default")

    @property
    def is_explicit(self) -> bool:
        """The account has it by name: on a card of its own or of its contract."""
        return isinstance(self.owner, dict) and "group" not in self.owner

    @property
    def rate_id(self) -> tuple[str, str, str | None]:
        return (self.card["id"], self.sku["sku_id"], self.sku.get("variant"))

    @property
    def version(self) -> int:
        return int(self.card["version"])

    @property
    def price_name(self) -> str:
        variant = self.sku.get("variant")
        return self.sku["sku_id"] if variant is None else f"{self.sku['sku_id']}/{variant}"

    @cached_property
    def measures(self) -> str | None:
        return self.sku.get("leaf") or self.sku.get("quantity")

    @cached_property
    def match(self) -> dict[str, Any]:
        return self.sku.get("match") or {}

    @cached_property
    def accumulates(self) -> bool:
        return accumulates(self.sku)

    def holds(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)

    def place(self) -> str:
        """What no two versions may cover at one time: level, owner, SKU and attributes."""
        named = {name: self.match.get(name) for name in (*ATTRIBUTES, "labels")}
        return json.dumps([self.owner, *self.rate_id[1:], named], sort_keys=True)

    @cached_property
    def wanted(self) -> dict[str, list[Any]]:
        """The attributes that the rate names, with the values that fit."""
        named = {name: self.match.get(name) for name in ATTRIBUTES}
        return {name: each if isinstance(each, list) else [each] for name, each in named.items() if each is not None}

    @cached_property
    def declared(self) -> set[tuple[str, str | None]]:
        """(kind, name) of the models that it is for."""
        models = {("model", model) for model in self.match.get("models") or []}
        return models | {("prefix", self.match.get("model_prefix"))}

    def fits(self, event: dict[str, Any]) -> bool:
        if any(event[name] not in values for name, values in self.wanted.items()):
            return False
        return all(event["labels"].get(key) == value for key, value in (self.match.get("labels") or {}).items())

    def named(self) -> int:
        """How many attributes the rate names."""
        return len(self.wanted) + len(self.match.get("labels") or {})

    def base_units(self, period: Period) -> Fraction:
        """Base units (of the event's own field) in a pricing unit; those of GB-Months depend on the period's hours."""
        if self.measures == "reported_cost":
            return Fraction(PICOS)
        is_extra = not self.sku.get("leaf") and self.measures not in (*COUNTED, "recurring_units")
        field_units = 10**6 if is_extra else 1
        if self.sku.get("divide_by") is not None:
            return number(self.sku["divide_by"]) * field_units
        unit = self.sku["pricing_unit"]
        count, name = unit.split(" ", 1) if unit[0].isdigit() else ("1", unit)
        if name == "GB-Months":
            return Fraction(10**9 * (period.end - period.start), SECOND * _MIB) * int(count)
        return Fraction(_UNITS.get(name, 1) * int(count) * field_units)

    def terms(self, period: Period, total_input: int) -> Terms:
        """Its parameters in a period, for a request of so many input tokens; only thresholds look at them."""
        if self.sku["charge_model"] == "threshold":
            return Terms(self.sku, self.base_units(period), total_input)
        if period not in self._terms:
            self._terms[period] = Terms(self.sku, self.base_units(period))
        return self._terms[period]

    @cached_property
    def _terms(self) -> dict[Period, Terms]:
        return {}


@dataclass(frozen=True)
class Alias:
    """Another name of a model; times in microseconds, half-open."""

    card: Card
    names: dict[str, str]
    start: int
    end: int | None

    def holds(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


class Cards:
    """The cards that count, in the order of the log."""

    def __init__(self, margin_ms: int = 0, future_bound_ms: int = 0) -> None:
        self._wait_us = (margin_ms + future_bound_ms) * 1000
        self._versions: set[tuple[str, str]] = set()
        self.seen: list[Card] = []  # also those that do not count
        self.rates: list[Rate] = []
        self.corrections: list[Rate] = []
        self.aliases: list[Alias] = []

    def add(self, card: Card, recorded_time: int = 0) -> None:
        """Takes a card of the log; one that another version of a SKU stands against is ignored as a whole.

        Args:
            recorded_time: the append time of its fact, milliseconds.
        """
        self.seen.append(card)
        version = (card["id"], str(card["version"]))
        if version in self._versions:
            return
        start, end = micros(card["effective_from"]), open_micros(card.get("effective_to"))
        fresh = [Rate(card, sku, start, end) for sku in card["skus"]]
        if card.get("correction"):
            self._versions.add(version)
            self.corrections += fresh
            return
        rates, aliases = self.rates, self.aliases
        if card.get("supersedes") is not None and start >= recorded_time * 1000 + self._wait_us:
            rates = [replace(rate, end=_shortened(rate, card, start)) for rate in rates]
            aliases = [replace(alias, end=_shortened(alias, card, start)) for alias in aliases]
        if any(_overlap(rate, other) and rate.place() == other.place() for rate in fresh for other in rates):
            return
        self._versions.add(version)
        self.rates = [rate for rate in rates if rate.end is None or rate.end > rate.start] + fresh
        self.aliases = aliases + [Alias(card, names, start, end) for names in card.get("aliases") or []]

    def edges(self) -> set[int]:
        """The instants at which a version of a rate or an alias begins or ends."""
        rates = [(each.start, each.end) for each in self.rates + self.corrections]
        aliases = [(each.start, each.end) for each in self.aliases]
        return {time for span in rates + aliases for time in span if time is not None}

    def naming(self, event: dict[str, Any], time: int) -> tuple[str, set[tuple[str, str]]]:
        """How the model was found, and the (kind, name) that rates must declare: before any level is looked at."""
        provider = event["provider_name"]
        model = event["request_model"] if event["response_model"] is None else event["response_model"]
        matches = [rate.match for rate in self.rates + self.corrections if rate.match.get("provider_name") == provider]
        if any(model in (match.get("models") or []) for match in matches):
            return "EXACT", {("model", model)}
        for alias in self.aliases:
            if (alias.names["provider_name"], alias.names["alias"]) == (provider, model) and alias.holds(time):
                return "ALIAS", {("model", alias.names["model"])}
        prefixes = [match["model_prefix"] for match in matches if match.get("model_prefix") is not None]
        fitting = [prefix for prefix in prefixes if model.startswith(prefix)]
        return ("PREFIX", {("prefix", max(fitting, key=len))}) if fitting else ("NONE", set())

    def versions(self, rate: Rate) -> list[Rate]:
        """All versions of a rate that count."""
        return [other for other in self.rates if other.rate_id == rate.rate_id]


def declares(rate: Rate, provider: str, names: set[tuple[str, str]]) -> bool:
    return rate.match.get("provider_name") == provider and not names.isdisjoint(rate.declared)


def _overlap(one: Rate, other: Rate) -> bool:
    apart = (other.end is not None and other.end <= one.start) or (one.end is not None and one.end <= other.start)
    return not apart


def _shortened(each: Rate | Alias, card: Card, start: int) -> int | None:
    if (each.card["id"], str(each.card["version"])) != (card["id"], str(card["supersedes"])):
        return each.end
    return start if each.end is None else min(each.end, start)
