"""Made-up but realistic usage: a function of its seed, with the exact totals that it must be billed.

Skewed tenants, a daily rhythm with bursts, retries, errors, cached prefixes, and on request duplicates, malformed
records, records out of order and spikes. It is made in columns, a batch of events at a time; the totals are worked
out here, by the written rates alone.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from chargeline.sdk.columns import Int64Array, coded, numbered
from chargeline.wire.usage_encoder import Framed, framed

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "o3", "o4-mini", "gpt-5", "gpt-5-mini",
          "gpt-5-nano")  # fmt: skip
BATCH = 20_000  # events; the first one of a batch is never a duplicate
FEATURES = ("search", "assistant", "summaries")
LATE_PLACES = 5_000  # a record out of order comes so many places late at most, and within its batch
_DAY_US = 86_400_000_000
_SLICES = 600
_BLOCK = 512  # tokens of a cached block
_PICO = 10**12


@dataclass(frozen=True)
class Spike:
    """From `at` (share of the run, 0 to 1) on, a team's requests carry `factor` times the tokens."""

    team: str
    factor: int
    at: float


@dataclass(frozen=True)
class Traffic:
    """What to make. Shares are in [0, 1]; times in microseconds since 1970 UTC.

    Attributes:
        even: event times are evenly spaced, as for events that are sent live at a rate; else they follow the time of
            day and come in bursts.
    """

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
    even: bool = False


@dataclass
class Expected:
    """What the events made so far must come to."""

    events: int = 0
    unique: int = 0
    duplicates: int = 0
    malformed: int = 0
    quantities: Counter[str] = field(default_factory=Counter)
    billed_picos: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "unique": self.unique,
            "duplicates": self.duplicates,
            "malformed": self.malformed,
            "quantities": dict(sorted(self.quantities.items())),
            "billed_cost": {
                currency: format(Decimal(picos).scaleb(-12).normalize(), "f")
                for currency, picos in self.billed_picos.items()
            },
        }


class PriceList:
    """Picos a token by (provider, model) and leaf, from rate cards: per_unit rates of default cards only."""

    def __init__(self, files: list[Path]) -> None:
        self._prices: dict[tuple[str, str], dict[str, tuple[Fraction, str]]] = {}
        for file in files:
            card = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - texts only, builds no objects
            for sku in card["skus"]:
                if card["scope"] != "default" or sku["charge_model"] != "per_unit" or "leaf" not in sku:
                    continue
                price = Fraction(sku["unit_price"]) / Fraction(sku["pricing_unit"].split()[0]) * _PICO
                for model in sku["match"].get("models", ()):
                    leaves = self._prices.setdefault((sku["match"]["provider_name"], model), {})
                    leaves[sku["leaf"]] = (price, card["currency"])

    def picos(self, provider: str, model: str, tokens: Mapping[str, Int64Array]) -> tuple[int, str] | None:
        """What events of one model cost together, each leaf of each rounded by itself; None: it has no price.

        Args:
            tokens: counts of each event, by leaf. An event with tokens of a leaf without a price costs nothing.
        """
        leaves = self._prices.get((provider, model))
        if leaves is None or "input" not in leaves:
            return None
        prices = {
            leaf: leaves.get(leaf, leaves.get("input" if leaf.endswith("input") else "output")) for leaf in tokens
        }
        unpriced = [tokens[leaf] > 0 for leaf, price in prices.items() if price is None]
        priced: Any = ~np.any(unpriced, axis=0) if unpriced else slice(None)
        return sum(_cost(tokens[leaf][priced], price[0]) for leaf, price in prices.items() if price), leaves["input"][1]


def generate(traffic: Traffic, schema_id: int, expected: Expected, prices: PriceList | None = None) -> Iterator[Framed]:
    """The records in the order in which to send them, batch by batch; fills `expected`."""
    times = _times(traffic)
    for number, first in enumerate(range(0, traffic.events, BATCH), start=1):
        chance = np.random.default_rng([traffic.seed, number])
        numbers = np.arange(first, min(first + BATCH, traffic.events))
        yield _Batch(traffic, numbers, chance, times).sent(schema_id, expected, prices)


class _Batch:
    """Some events in the order in which they happened."""

    def __init__(
        self, traffic: Traffic, numbers: Int64Array, chance: np.random.Generator, times: tuple[Any, Any]
    ) -> None:
        self.traffic, self.numbers, self.chance, self.length = traffic, numbers, chance, len(numbers)
        share = numbers / traffic.events
        # A few tenants make most of the traffic; the square of a uniform number is a simple skew.
        self.account = self._skewed(traffic.accounts)
        self.model = self._skewed(len(traffic.models))
        self.team = self.account % 7 * 3 + self._below(3)
        prompt = chance.exponential(900, self.length).astype(np.int64) + 20
        for spike in traffic.spikes:
            if spike.team in _TEAMS:
                prompt[(self.team == _TEAMS.index(spike.team)) & (share >= spike.at)] *= spike.factor
        cached = np.where(chance.random(self.length) < 0.3, prompt // _BLOCK * _BLOCK, 0)
        self.failed = chance.random(self.length) < 0.02
        output = np.where(self.failed, 0, chance.exponential(200, self.length).astype(np.int64) + 1)
        self.tokens = {"input": prompt - cached, "cache_read_input": cached, "output": output}
        self.event_time = traffic.start + np.rint(np.interp(share, *times)).astype(np.int64)

    def sent(self, schema_id: int, expected: Expected, prices: PriceList | None) -> Framed:
        """What is sent of them: some twice, some broken, some late."""
        draw = self.chance.random(self.length)
        repeat = draw < self.traffic.duplicates
        repeat[0] = False
        broken = ~repeat & (draw >= 1 - self.traffic.malformed)
        # What is sent again is the last good record before it.
        last = np.maximum.accumulate(np.where(repeat | broken, -1, np.arange(self.length)))
        again = repeat & (last >= 0)
        self._expect(np.flatnonzero(~broken & ~again), expected, prices)
        expected.events += self.length
        expected.duplicates += int(again.sum())
        expected.malformed += int(broken.sum())
        events = framed(self._columns(), self.length, schema_id)
        for row in np.flatnonzero(broken).tolist():
            events.values[row] = _broken(events.values[row], self.chance)
        late = (self.chance.random(self.length) < self.traffic.disorder) & ~broken
        places = np.arange(self.length) + np.where(late, self._below(LATE_PLACES), 0)
        order = np.where(again, last, np.arange(self.length))[np.argsort(places, kind="stable")]
        values = [events.values[row] for row in order.tolist()]
        return Framed(events.accounts.take(pa.array(order)), values)

    def _columns(self) -> dict[str, Any]:
        traffic, tokens = self.traffic, self.tokens
        retried = self.chance.random(self.length) < 0.03
        return {
            "event_id": numbered(f"g{traffic.seed:x}-", self.numbers),
            "source": "generate",
            "billing_account_id": coded(self.account, [f"account-{n:04d}" for n in range(traffic.accounts)]),
            "event_time": pa.array(self.event_time),
            "provider_name": traffic.provider,
            "request_model": coded(self.model, traffic.models),
            "operation_name": "chat",
            "team": coded(self.team, _TEAMS),
            "project": coded(self.team * 2 + self._below(2), [f"{team}-{n}" for team in _TEAMS for n in range(2)]),
            "environment": "production",
            "feature": coded(self._below(len(FEATURES)), FEATURES),
            **{f"{leaf}_tokens": pa.array(counts) for leaf, counts in tokens.items()},
            "duration_ms": pa.array(80 + tokens["output"] * 9 + self._below(200)),
            "time_to_first_token_ms": pa.array(60 + (tokens["input"] + tokens["cache_read_input"]) // 40),
            "status": coded(self.failed.astype(np.int64), ("OK", "ERROR")),
            "error_type": coded(np.zeros(self.length, np.int64), ("timeout",), ~self.failed),
            "attempt": pa.array(np.full(self.length, 2), mask=~retried),
        }

    def _expect(self, rows: Int64Array, expected: Expected, prices: PriceList | None) -> None:
        expected.unique += len(rows)
        for leaf, counts in self.tokens.items():
            expected.quantities[f"{leaf}_tokens"] += int(counts[rows].sum())
        if prices is None:
            return
        for number in np.unique(self.model[rows]).tolist():
            model = self.traffic.models[number]
            of_model = rows[self.model[rows] == number]
            tokens = {leaf: counts[of_model] for leaf, counts in self.tokens.items()}
            cost = prices.picos(self.traffic.provider, model, tokens)
            if cost is not None:
                expected.billed_picos[cost[1]] += cost[0]

    def _skewed(self, count: int) -> Int64Array:
        return (self.chance.random(self.length) ** 2 * count).astype(np.int64)

    def _below(self, count: int) -> Int64Array:
        return self.chance.integers(0, count, self.length)


_TEAMS = tuple(f"team-{tribe}-{squad}" for tribe in range(7) for squad in range(3))


def _times(traffic: Traffic) -> tuple[Any, Any]:
    """Share of the events and microseconds from the start at which so many have happened."""
    edges = np.linspace(0, traffic.duration_us, 2 if traffic.even else _SLICES + 1)
    middle = (edges[1:] + edges[:-1]) / 2 + traffic.start
    day = 1 - 0.4 * np.cos(2 * np.pi * (middle % _DAY_US) / _DAY_US)
    bursts = np.random.default_rng([traffic.seed]).gamma(2.0, size=len(middle))
    density = np.concatenate([[0.0], np.cumsum(day * bursts)])
    return density / density[-1], edges


def _cost(tokens: Int64Array, price: Fraction) -> int:
    """Picos, each event's rounded half up."""
    if price.denominator == 1:
        return int(tokens.sum()) * price.numerator
    counts, repeats = np.unique(tokens, return_counts=True)
    halves = [2 * count * price.numerator + price.denominator for count in counts.tolist()]
    return sum(half // (2 * price.denominator) * repeat for half, repeat in zip(halves, repeats.tolist(), strict=True))


def _broken(value: bytes, chance: np.random.Generator) -> bytes:
    """A record that no decoder accepts: cut off, with a wrong magic byte, or with bytes left over."""
    kind = int(chance.integers(3))
    if kind == 0:
        return value[: int(chance.integers(5, len(value) - 1))]
    return b"\x07" + value[1:] if kind == 1 else value + b"\x00"
