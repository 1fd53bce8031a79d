"""What a correction costs the pricer: its whole loop on the in-memory log, without servers.

    python bench/rerate.py [EVENTS] [CASE ...]

So many events of bench/run.py are priced; then one record comes about each of them, in log order, as `chargeline
rerate` sends them. Cases: `rerate`, 60 flat rates, put right by a correction version; `scoped`, the same and every
event also moves a graduated rate; `same`, nothing was put right, so nothing is booked; `cancel`; `amend`, the same
usage again. Prints microseconds of CPU a record.
"""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent))
import traffic

from chargeline.adapters.governance import TOPIC, GovernanceReader, encode
from chargeline.adapters.memory import (
    FakeClock,
    MemoryLog,
    MemoryLogConsumer,
    MemoryLogReader,
    MemoryTransactionalProducer,
)
from chargeline.adapters.memory_state import MemoryStateStore
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.pricer.compute import Rules
from chargeline.pricer.intake import Limits
from chargeline.pricer.processor import Pricer
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.usage_encoder import framed

NAMES = ("usage-events", "charges", "cost-rollups", "performance-rollups", "usage-events-dlq", TOPIC)
MARGIN_MS = 2_000
RULES = Rules(1, 60_000_000, 60_000_000, 10**13, control_sources=frozenset({"chargeline"}))
CASES = ("rerate", "scoped", "same", "cancel", "amend")
_QUANTITIES = pa.map_(pa.string(), pa.int64())
_CALLS = f"""  - {{sku_id: calls, match: {{provider_name: openai, models: [{", ".join(traffic.MODELS)}]}},
     quantity: calls, pricing_unit: Calls, charge_model: graduated,
     tiers: [{{up_to: 4, unit_price: "PRICE"}}, {{up_to: null, unit_price: "0.005"}}]}}
"""


class Run:
    """One pricer and what it reads."""

    def __init__(self) -> None:
        self.clock = FakeClock(traffic.START // 1000 + 7_200_000)
        self.log = MemoryLog(self.clock, dict.fromkeys(NAMES, 1))
        self._facts, self._hash = 0, "0" * 64
        reader = MemoryLogReader(self.log)
        self.fact("InputTopicCreated", {"topic": "usage-events", "partitions": 1, "partitioner": "MURMUR2"})
        self.pricer = Pricer(
            MemoryLogConsumer(self.log, "pricers"), MemoryTransactionalProducer(self.log, "pricer-0"), reader,
            MemoryStateStore(24_000_000), GovernanceReader(reader, self.clock, max_clock_skew_ms=0), self.clock,
            lambda _: USAGE_EVENT_SCHEMA, RULES, Limits(margin_ms=MARGIN_MS),
        )  # fmt: skip

    def fact(self, name: str, fact: dict[str, Any]) -> None:
        """Published, and visible to the records that follow."""
        body = {"sequence": self._facts, "previous_hash": self._hash, "author": "bench",
                "fact": (f"chargeline.events.{name}", fact)}  # fmt: skip
        datum = encode(body)
        self.log.append(TOPIC, 0, None, b"\0\0\0\0\x02" + datum)
        self._facts, self._hash = self._facts + 1, hashlib.sha256(datum).hexdigest()
        self.clock.now += 2 * MARGIN_MS

    def publish(self, text: str) -> None:
        card = read_rate_card(text)
        self.fact(
            "RateCardPublished",
            {"rate_card_id": card.rate_card_id, "rate_card_version": card.version, "card": card.text},
        )

    def price(self, values: list[bytes]) -> float:
        """Seconds of CPU until so many records are committed."""
        for value in values:
            self.log.append("usage-events", 0, None, value)
        self.clock.now += 2 * MARGIN_MS  # the log of facts is read up to here
        started, wanted = time.process_time(), self.pricer.consumed + len(values)
        while self.pricer.consumed < wanted:
            self.pricer.step()
        return time.process_time() - started


def card(case: str, *, is_right: bool) -> str:
    """As it was published, or put right."""
    text = traffic.card() + _CALLS.replace("PRICE", "0.01" if is_right else "0.02") * (case == "scoped")
    if is_right:
        text = text.replace('unit_price: "1', 'unit_price: "2').replace("version: 1", "version: 2\ncorrection: true")
    return text


def events(count: int, *, with_calls: bool) -> dict[str, Any]:
    columns = traffic.columns(np.arange(count), np.random.default_rng(1))
    calls = [[("calls", (number % 3 + 1) * 1_000_000)] for number in range(count)]
    return columns | ({"extra_quantities": pa.array(calls, _QUANTITIES)} if with_calls else {})


def about(kind: str, usage: dict[str, Any]) -> dict[str, Any]:
    """One record about each event."""
    kept = ("billing_account_id", "source", "provider_name", "request_model", "operation_name", "event_time")
    columns = {name: usage[name] for name in kept}
    columns["event_id"] = pa.array([f"run/{each}" for each in usage["event_id"].to_pylist()])
    columns |= {"amends_event_id": usage["event_id"], "event_kind": kind, "run_id": "run"}
    return usage | columns if kind == "AMEND" else columns


def measured(case: str, count: int) -> tuple[Run, dict[str, float]]:
    """The run, and microseconds of CPU by record."""
    run, usage = Run(), events(count, with_calls=case == "scoped")
    run.publish(card(case, is_right=False))
    first = run.price(framed(usage, count, 1).values)
    if case != "same":
        run.publish(card(case, is_right=True))
    kind = {"cancel": "CANCEL", "amend": "AMEND"}.get(case, "RERATE")
    then = run.price(framed(about(kind, usage), count, 1).values)
    return run, {"usage": round(first / count * 1e6, 1), "record": round(then / count * 1e6, 1)}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    measured("rerate", 200)  # compiled code is loaded, prices are asked for
    found = {case: measured(case, count)[1] for case in sys.argv[2:] or CASES}
    sys.stdout.write(json.dumps({"events": count, **found}) + "\n")


if __name__ == "__main__":
    main()
