"""How fast `chargeline price` is offline: events a second from and to JSON lines, with a card of 2,000 SKUs.

    python bench/price.py [EVENTS]

The card has aliases, thresholds, modifiers and five graduated rates. Nothing but the command runs.
"""

import io
import json
import sys
import time
from decimal import Decimal
from typing import Any

import numpy as np

from chargeline.cli.price import run
from chargeline.cli.price_files import Documents
from chargeline.domain.accounts import Accounts
from chargeline.domain.fx import FxTable
from chargeline.domain.rate_book import PublishedCard
from chargeline.domain.rate_card_reader import from_json

SKUS, GRADUATED, ACCOUNTS = 2_000, 5, 50


def card() -> dict[str, Any]:
    """Half of the models have an input and an output rate; every fourth input rate has thresholds."""
    skus: list[dict[str, Any]] = []
    for number in range((SKUS - GRADUATED) // 2):
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
    aliases = [{"provider_name": "openai", "alias": f"nickname-{n}", "model": f"model-{n}"} for n in range(200)]
    return {"id": "bench", "version": 1, "currency": "USD", "effective_from": "2026-01-01T00:00:00Z",
            "scope": "default", "aliases": aliases, "skus": skus}  # fmt: skip


def lines(events: int) -> bytes:
    """Made-up events of every kind of rate of the card."""
    made = np.random.default_rng(7)
    model = made.integers(0, (SKUS - GRADUATED) // 2, events).tolist()
    tokens, account = made.integers(1, 200_000, (events, 2)).tolist(), made.integers(0, ACCOUNTS, events).tolist()
    found = []
    for at in range(events):
        second = at * 20 * 86_400 // events
        event = {
            "event_id": f"e-{at:09d}", "source": "gateway",
            "event_time": _instant(second),
            "billing_account_id": f"account-{account[at]}", "provider_name": "openai", "operation_name": "chat",
            "request_model": f"model-{model[at]}" if at % 5 or model[at] >= 200 else f"nickname-{model[at]}",
            "input_tokens": tokens[at][0], "output_tokens": tokens[at][1] % 4000 + 1, "project": f"project-{at % 40}",
            "service_tier": "batch" if at % 3 == 0 else "standard",
        }  # fmt: skip
        if at % 20 == 0:
            event |= {"provider_name": "house", "request_model": f"agent-{at % 5}", "operation_name": "tool",
                      "input_tokens": 0, "output_tokens": 0,
                      "extra_quantities": {"tool_calls": 1_000_000}}  # fmt: skip
        found.append(json.dumps(event))
    return ("\n".join(found) + "\n").encode()


def _instant(second: int) -> str:
    return f"2026-06-{second // 86_400 + 1:02d}T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:00.000Z"


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    published = (PublishedCard(from_json(json.dumps(card())), 0, 0),)
    source = lines(events)
    sink = io.BytesIO()
    started, worked = time.perf_counter(), time.process_time()
    run(Documents(published, Accounts(), FxTable()), io.BytesIO(source), sink, close_period=False)
    seconds, busy = time.perf_counter() - started, time.process_time() - worked
    sys.stdout.write(json.dumps({
        "events": events, "seconds": round(seconds, 2), "cpu_seconds": round(busy, 2),
        "events_a_second": int(events / seconds), "events_a_cpu_second": int(events / busy),
        "bytes_in": len(source), "bytes_out": sink.tell(),
    }) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
