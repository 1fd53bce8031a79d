"""Rate cards as the governance log holds them, and which price an event pays: plain, slow, one event at a time.

Source: spec/rating.md, sections 4.1, 4.8, 6, 7; spec/formats.md, section 2.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

_ATTRIBUTES = ("operation_name", "service_tier", "region", "accelerator", "criticality", "latency_class",
               "accuracy_class", "deployment", "resource_id")  # fmt: skip
_PARENT = {
    "cache_read_input": ["input"], "cache_write_input": ["input"],
    "cache_write_1h_input": ["cache_write_input", "input"], "input_audio": ["input"], "input_image": ["input"],
    "cache_read_audio": ["cache_read_input", "input_audio", "input"], "reasoning_output": ["output"],
    "output_audio": ["output"], "output_image": ["output"],
}  # fmt: skip
_UNITS = {"Tokens": 1, "Requests": 1, "GPU-Hours": 3_600_000, "GPU-Seconds": 1000, "CPU-Hours": 3_600_000,
          "CPU-Seconds": 1000, "GiB-Hours": 3_686_400, "Bytes": 1, "GB": 10**9, "GiB": 2**30, "Minutes": 60,
          "Unit-Hours": 3600}  # fmt: skip
_FIXED = {"requests", "gpu_ms", "cpu_ms", "memory_mib_s", "storage_mib_s", "io_bytes"}


@dataclass
class Rate:
    """One SKU of one card; times in microseconds, half-open."""

    card: dict[str, Any]
    sku: dict[str, Any]
    start: int
    end: int | None

    @property
    def owner(self) -> str | None:
        scope = self.card["scope"]
        return scope["account"] if isinstance(scope, dict) else None

    @property
    def measures(self) -> str:
        return str(self.sku.get("leaf") or self.sku["quantity"])

    def place(self) -> str:
        named = {name: self.sku["match"].get(name) for name in (*_ATTRIBUTES, "labels")}
        return json.dumps([self.owner, self.sku["sku_id"], self.sku.get("variant"), named], sort_keys=True)

    def fits(self, event: dict[str, Any]) -> bool:
        match = self.sku["match"]
        for name in _ATTRIBUTES:
            wanted = match.get(name)
            if wanted is not None and event[name] not in (wanted if isinstance(wanted, list) else [wanted]):
                return False
        return all(event["labels"].get(key) == value for key, value in (match.get("labels") or {}).items())

    def named(self) -> int:
        match = self.sku["match"]
        return sum(match.get(name) is not None for name in _ATTRIBUTES) + len(match.get("labels") or {})

    def price(self, total_input: int) -> tuple[int, Decimal]:
        """(number of the price point, unit price) for a request of so many input tokens."""
        if self.sku["charge_model"] == "per_unit":
            return 1, Decimal(self.sku["unit_price"])
        number, price = 1, Decimal(self.sku["base"])
        for at, each in enumerate(self.sku.get("thresholds") or [], start=2):
            if int(each["above"]) < total_input:
                number, price = at, Decimal(each["price"])
        return number, price

    def base_units(self, period_us: int) -> Fraction:
        """Base units of the event's quantity in one pricing unit."""
        extra = 1 if self.sku.get("leaf") or self.measures in _FIXED else 10**6
        if self.sku.get("divide_by") is not None:
            return Fraction(self.sku["divide_by"]) * extra
        unit = self.sku["pricing_unit"]
        count, name = unit.split(" ", 1) if unit[0].isdigit() else ("1", unit)
        if name == "GB-Months":
            return Fraction(10**9 * period_us, 10**6 * 1_048_576) * int(count)
        return Fraction(_UNITS.get(name, 1) * int(count) * extra)


@dataclass
class Alias:
    """An alias of one card; times in microseconds, half-open."""

    card: dict[str, Any]
    alias: dict[str, str]
    start: int
    end: int | None


class Cards:
    """The cards that count, in the order of the log."""

    def __init__(self, margin_ms: int, future_bound_ms: int) -> None:
        self._wait_us = (margin_ms + future_bound_ms) * 1000
        self.rates: list[Rate] = []
        self.aliases: list[Alias] = []
        self._versions: set[tuple[str, str]] = set()

    def add(self, text: str, recorded_time: int) -> None:
        card = json.loads(text)
        version = (card["id"], str(card["version"]))
        start, end = _micros(card["effective_from"]), _micros(card.get("effective_to"))
        assert start is not None
        if version in self._versions:
            return
        rates, aliases = self.rates, self.aliases
        if card.get("correction"):
            self._versions.add(version)
            return
        if card.get("supersedes") is not None and start >= recorded_time * 1000 + self._wait_us:
            rates = [replace(rate, end=_shortened(rate, card, start)) for rate in rates]
            aliases = [replace(alias, end=_shortened(alias, card, start)) for alias in aliases]
        fresh = [Rate(card, sku, start, end) for sku in card["skus"]]
        for rate in fresh:
            for other in rates:
                apart = (other.end is not None and other.end <= start) or (end is not None and end <= other.start)
                if not apart and other.place() == rate.place():
                    return
        self._versions.add(version)
        self.rates = [rate for rate in rates if rate.end is None or rate.end > rate.start] + fresh
        self.aliases = aliases + [Alias(card, alias, start, end) for alias in card.get("aliases") or []]

    def choose(self, event: dict[str, Any]) -> tuple[str, dict[str, tuple[Rate, Rate]]]:
        """(how the model was found, by leaf or quantity the rate and the list rate)."""
        kind, found = self._named(event)
        account, time = event["billing_account_id"], event["event_time"]
        rates = [
            rate
            for rate in found
            if rate.owner in (None, account)
            and rate.start <= time
            and (rate.end is None or time < rate.end)
            and rate.fits(event)
        ]
        chosen: dict[str, tuple[Rate, Rate]] = {}
        for name in {rate.measures for rate in rates}:
            mine = [rate for rate in rates if rate.measures == name]
            own = [rate for rate in mine if rate.owner == account] or mine
            default = [rate for rate in mine if rate.owner is None]
            best = max(own, key=Rate.named)
            chosen[name] = (best, max(default, key=Rate.named) if default else best)
        for leaf, parents in _PARENT.items():
            for parent in parents:
                if leaf not in chosen and parent in chosen and any(rate.measures == parent for rate in rates):
                    chosen[leaf] = chosen[parent]
        return kind, chosen

    def _named(self, event: dict[str, Any]) -> tuple[str, list[Rate]]:
        provider = event["provider_name"]
        model = event["request_model"] if event["response_model"] is None else event["response_model"]
        mine = [rate for rate in self.rates if rate.sku["match"]["provider_name"] == provider]
        exact = [rate for rate in mine if model in (rate.sku["match"].get("models") or [])]
        if exact:
            return "EXACT", exact
        for each in self.aliases:
            time, alias = event["event_time"], each.alias
            same = (alias["provider_name"], alias["alias"]) == (provider, model)
            if same and each.start <= time and (each.end is None or time < each.end):
                return "ALIAS", [rate for rate in mine if alias["model"] in (rate.sku["match"].get("models") or [])]
        prefixes = {rate.sku["match"].get("model_prefix") for rate in mine} - {None}
        fitting = [prefix for prefix in prefixes if model.startswith(prefix)]
        if fitting:
            longest = max(fitting, key=len)
            return "PREFIX", [rate for rate in mine if rate.sku["match"].get("model_prefix") == longest]
        return "NONE", []


def _shortened(each: Rate | Alias, card: dict[str, Any], start: int) -> int | None:
    if (each.card["id"], str(each.card["version"])) != (card["id"], str(card["supersedes"])):
        return each.end
    return start if each.end is None else min(each.end, start)


def _micros(text: str | None) -> int | None:
    if text is None:
        return None
    since = datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01T00:00:00Z")
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
