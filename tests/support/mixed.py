"""Events of accumulating rates with amends and cancels among them, and what must be left of them in the end."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

ACCOUNT = "mixed"
CARD = """
id: mixed-list
version: 1
scope: {account: mixed}
currency: USD
effective_from: 2026-01-01T00:00:00Z
skus:
  - sku_id: calls
    match: {provider_name: house, models: [m]}
    quantity: calls
    pricing_unit: Calls
    charge_model: graduated
    tiers: [{up_to: 2000, unit_price: "1"}, {up_to: null, unit_price: "0.5"}]
  - sku_id: payments
    match: {provider_name: house, models: [m]}
    quantity: transaction_amount
    pricing_unit: USD
    charge_model: percentage
    rate_percent: "2.4"
    fixed: "0.30"
    free_events: 40
"""


@dataclass
class Mixed:
    """Events of one part in the order of the log.

    Attributes:
        calls: how many are left after all corrections.
        outcomes: what must become of each record.
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


def mixed(number, chance, time, count=60):
    """So many originals of part `number`; half of them are corrected, some before they come, some corrections twice.

    Args:
        time: event_time of all, microseconds: one billing period, whatever the date.
    """
    found = Mixed()
    placed: list[tuple[float, dict[str, Any]]] = []
    for n in range(count):
        name, quantity = f"m{number}-{n}", chance.choice(["calls", "calls", "transaction_amount"])
        size = chance.randrange(1, 60)
        placed.append((n, _event(name, time, {quantity: size})))
        found.outcomes["CHARGED"] += 1
        kind = chance.choice(["CANCEL", "AMEND", None, None])
        left = {"CANCEL": 0, "AMEND": chance.randrange(1, 60), None: size}[kind]
        found.calls += left if quantity == "calls" else 0
        if kind is None:
            continue
        what = {"event_kind": kind, "amends_event_id": name}
        correction = _event(f"{name}-{kind}", time, {quantity: left} if kind == "AMEND" else {}) | what
        is_early = chance.random() < 0.3
        placed.append((n - 6.5 if is_early else n + 6.5, correction))
        found.outcomes["WAITING" if is_early else "CHARGED"] += 1
        if not is_early and chance.random() < 0.3:
            placed.append((n + 9.5, correction))
            found.outcomes["DUPLICATE"] += 1
    found.events = [each for _, each in sorted(placed, key=lambda pair: pair[0])]
    return found


def due(calls):
    """What so many calls cost, in whichever order they came and went: T(Q)."""
    return min(calls, 2000) * Decimal(1) + max(0, calls - 2000) * Decimal("0.5")


def _event(event_id, time, quantities):
    return {
        "event_id": event_id,
        "source": "gw",
        "billing_account_id": ACCOUNT,
        "event_time": time,
        "provider_name": "house",
        "request_model": "m",
        "operation_name": "chat",
        "extra_quantities": {name: size * 1_000_000 for name, size in quantities.items()},
    }
