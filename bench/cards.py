"""Cards and events for benchmarks: a card of 2,000 SKUs, and usage that meets every kind of its rates."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

SKUS, GRADUATED, ACCOUNTS = 2_000, 5, 50
MODELS = (SKUS - GRADUATED) // 2
ALIASES = 200
_START = 1_780_272_000_000_000  # 2026-06-01: a file is priced as of its own time
_DAYS = 20
_PROVIDERS = pa.array(["openai", "house"])


def card() -> dict[str, Any]:
    """Half of the models have an input and an output rate; every fourth input rate has thresholds."""
    skus: list[dict[str, Any]] = []
    for number in range(MODELS):
        match = {"provider_name": "openai", "models": [f"model-{number}"]}
        price = str(Decimal(number % 97 + 1) / 16)
        rate: dict[str, Any] = {"charge_model": "per_unit", "unit_price": price}
        if number % 4 == 0:
            rate = {"charge_model": "threshold", "base": price, "thresholds": [{"above": 128_000, "price": price}]}
        modifiers = [{"attribute": "service_tier", "factors": {"batch": "0.5", "*": "1"}}] if number % 2 else []
        both = {"pricing_unit": "1000000 Tokens", "match": match, "modifiers": modifiers}
        skus.append({"sku_id": f"model-{number}/input", "leaf": "input", **both, **rate})
        skus.append({"sku_id": f"model-{number}/output", "leaf": "output", **both, "charge_model": "per_unit",
                     "unit_price": price})  # fmt: skip
    tiers = [{"up_to": "1000", "unit_price": "0.7", "flat_fee": "9"}, {"up_to": None, "unit_price": "0.5"}]
    skus += [
        {"sku_id": f"calls-{number}", "quantity": "tool_calls", "charge_model": "graduated", "tiers": tiers,
         "pricing_unit": "Calls", "match": {"provider_name": "house", "models": [f"agent-{number}"]}}
        for number in range(GRADUATED)
    ]  # fmt: skip
    aliases = [{"provider_name": "openai", "alias": f"nickname-{n}", "model": f"model-{n}"} for n in range(ALIASES)]
    return {"id": "bench", "version": 1, "currency": "USD", "effective_from": "2026-01-01T00:00:00Z",
            "scope": "default", "aliases": aliases, "skus": skus}  # fmt: skip


def events(count: int, *, start: int = _START, days: float = _DAYS) -> pa.Table:
    """Made-up events with the names of UsageEvent, in the order of their times; every twentieth is a tool's.

    Args:
        start: of the first, microseconds; they are spread evenly over so many days.
    """
    made = np.random.default_rng(7)
    at = np.arange(count)
    model, account = made.integers(0, MODELS, count), made.integers(0, ACCOUNTS, count)
    tokens = made.integers(1, 200_000, (2, count))
    is_tool = at % 20 == 0
    name = np.where(is_tool, MODELS + ALIASES + at // 20 % GRADUATED, model)
    name = np.where(~is_tool & (at % 5 == 0) & (model < ALIASES), MODELS + model, name)
    names = [*(f"model-{n}" for n in range(MODELS)), *(f"nickname-{n}" for n in range(ALIASES)),
             *(f"agent-{n}" for n in range(GRADUATED))]  # fmt: skip
    calls = pa.MapArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(is_tool)]), pa.int32()),
        pa.array(["tool_calls"]).take(pa.array(np.zeros(int(is_tool.sum()), np.int32))),
        pa.array(np.full(int(is_tool.sum()), 1_000_000)),
    )
    columns = {
        "event_id": pa.array([f"e-{n:09d}" for n in range(count)]),
        "source": pa.array(["gateway"] * count),
        "event_time": pa.array(start + at * int(days * 86_400_000_000) // count).cast(pa.timestamp("us", "UTC")),
        "billing_account_id": _named("account", ACCOUNTS, account),
        "provider_name": _PROVIDERS.take(pa.array(is_tool.astype(np.int8))),
        "operation_name": pa.array(["chat", "tool"]).take(pa.array(is_tool.astype(np.int8))),
        "request_model": pa.array(names).take(pa.array(name)),
        "input_tokens": pa.array(np.where(is_tool, 0, tokens[0])),
        "output_tokens": pa.array(np.where(is_tool, 0, tokens[1] % 4000 + 1)),
        "project": _named("project", 40, at % 40),
        "service_tier": pa.array(["batch", "standard", "standard"]).take(pa.array(at % 3)),
        "extra_quantities": calls,
    }
    return pa.table(columns)


def _named(prefix: str, count: int, numbers: Any) -> pa.Array:
    return pa.array([f"{prefix}-{n}" for n in range(count)]).take(pa.array(numbers))
