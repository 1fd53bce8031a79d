"""Made-up but realistic usage: a function of its seed, with the exact totals that it must be billed.

Skewed tenants, a daily rhythm with bursts, retries, errors, cached prefixes, and on request duplicates, malformed
records, records out of order and spikes. The totals are worked out here, by the written rates alone.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from math import cos, pi
from pathlib import Path
from typing import Any

import yaml

from chargeline.sdk.encode import encode

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "o3", "o4-mini", "gpt-5", "gpt-5-mini",
          "gpt-5-nano")  # fmt: skip
_DAY_US = 86_400_000_000
_PICO = Decimal("1E-12")


@dataclass(frozen=True)
class Spike:
    """From `at` (share of the run, 0 to 1) on, a team's requests carry `factor` times the tokens."""

    team: str
    factor: int
    at: float


@dataclass(frozen=True)
class Traffic:
    """What to make. Shares are in [0, 1]; times in microseconds since 1970 UTC."""

    seed: int
    events: int
    start: int
    duration_us: int = 600_000_000
    accounts: int = 50
    duplicates: float = 0.01
    malformed: float = 0.001
    disorder: float = 0.0
    provider: str = "openai"
    models: tuple[str, ...] = MODELS
    spikes: tuple[Spike, ...] = ()


@dataclass
class Expected:
    """What the events made so far must come to."""

    events: int = 0
    unique: int = 0
    duplicates: int = 0
    malformed: int = 0
    quantities: Counter[str] = field(default_factory=Counter)
    billed_cost: dict[str, Decimal] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "unique": self.unique,
            "duplicates": self.duplicates,
            "malformed": self.malformed,
            "quantities": dict(sorted(self.quantities.items())),
            "billed_cost": {currency: format(amount.normalize(), "f") for currency, amount in self.billed_cost.items()},
        }


class PriceList:
    """Prices of one token by (provider, model) and leaf, from rate cards: per_unit rates of default cards only."""

    def __init__(self, files: list[Path]) -> None:
        self._prices: dict[tuple[str, str], dict[str, tuple[Decimal, str]]] = {}
        for file in files:
            card = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - texts only, builds no objects
            for sku in card["skus"]:
                if card["scope"] != "default" or sku["charge_model"] != "per_unit" or "leaf" not in sku:
                    continue
                price = Decimal(sku["unit_price"]) / Decimal(sku["pricing_unit"].split()[0])
                for model in sku["match"].get("models", ()):
                    leaves = self._prices.setdefault((sku["match"]["provider_name"], model), {})
                    leaves[sku["leaf"]] = (price, card["currency"])

    def cost(self, event: Mapping[str, Any]) -> tuple[Decimal, str] | None:
        """What an event costs; None: it has no price."""
        leaves = self._prices.get((event["provider_name"], event["request_model"]))
        if leaves is None or "input" not in leaves:
            return None
        total, currency = Decimal(0), leaves["input"][1]
        for leaf, parent in (("input", "input"), ("cache_read_input", "input"), ("output", "output")):
            tokens = event.get(f"{leaf}_tokens", 0)
            price = leaves.get(leaf) or leaves.get(parent)
            if tokens and price is None:
                return None
            if price is not None:
                total += (tokens * price[0]).quantize(_PICO, ROUND_HALF_UP)
        return total, currency


def generate(
    traffic: Traffic, schema_id: int, expected: Expected, prices: PriceList | None = None
) -> Iterator[tuple[str, bytes]]:
    """(billing_account_id, framed value) of each record, in the order in which to send them; fills `expected`."""
    chance = random.Random(traffic.seed)  # noqa: S311 - repeatable on purpose
    held: list[tuple[str, bytes]] = []
    last: tuple[str, bytes] | None = None
    for number in range(traffic.events):
        expected.events += 1
        draw = chance.random()
        if last is not None and draw < traffic.duplicates:
            expected.duplicates += 1
            yield last
            continue
        event = _event(traffic, number, chance)
        value = encode(event, schema_id)
        account = event["billing_account_id"]
        if draw > 1 - traffic.malformed:
            expected.malformed += 1
            yield account, _broken(value, chance)
            continue
        _count(event, expected, prices)
        if chance.random() < traffic.disorder:
            held.append((account, value))
            if len(held) < 500:
                continue
            yield held.pop(chance.randrange(len(held)))
            continue
        last = (account, value)
        yield last
    yield from held


def _event(traffic: Traffic, number: int, chance: random.Random) -> dict[str, Any]:
    share = number / traffic.events
    time = traffic.start + int(share * traffic.duration_us)
    # A few tenants make most of the traffic; the square of a uniform number is a simple skew.
    account = int(chance.random() ** 2 * traffic.accounts)
    team = f"team-{account % 7}-{chance.randrange(3)}"
    day = 1 - 0.4 * cos(2 * pi * (time % _DAY_US) / _DAY_US)
    prompt = int(chance.expovariate(1 / 900) * day) + 20
    for spike in traffic.spikes:
        if spike.team == team and share >= spike.at:
            prompt *= spike.factor
    cached = prompt // 512 * 512 if chance.random() < 0.3 else 0
    failed = chance.random() < 0.02
    output = 0 if failed else int(chance.expovariate(1 / 200)) + 1
    event = {
        "event_id": f"g{traffic.seed:x}-{number:x}",
        "source": "generate",
        "billing_account_id": f"account-{account:04d}",
        "event_time": time,
        "provider_name": traffic.provider,
        "request_model": traffic.models[int(chance.random() ** 2 * len(traffic.models))],
        "operation_name": "chat",
        "team": team,
        "project": f"{team}-{chance.randrange(2)}",
        "environment": "production",
        "feature": ("search", "assistant", "summaries")[chance.randrange(3)],
        "input_tokens": prompt - cached,
        "cache_read_input_tokens": cached,
        "output_tokens": output,
        "duration_ms": 80 + output * 9 + chance.randrange(200),
        "time_to_first_token_ms": 60 + prompt // 40,
    }
    if failed:
        event |= {"status": "ERROR", "error_type": "timeout"}
    if chance.random() < 0.03:
        event["attempt"] = 2
    return event


def _count(event: Mapping[str, Any], expected: Expected, prices: PriceList | None) -> None:
    expected.unique += 1
    for name in ("input_tokens", "cache_read_input_tokens", "output_tokens"):
        expected.quantities[name] += event[name]
    priced = None if prices is None else prices.cost(event)
    if priced is not None:
        amount, currency = priced
        expected.billed_cost[currency] = expected.billed_cost.get(currency, Decimal(0)) + amount


def _broken(value: bytes, chance: random.Random) -> bytes:
    """A record that no decoder accepts: cut off, with a wrong magic byte, or with bytes left over."""
    kind = chance.randrange(3)
    if kind == 0:
        return value[: chance.randrange(5, len(value) - 1)]
    return b"\x07" + value[1:] if kind == 1 else value + b"\x00"
