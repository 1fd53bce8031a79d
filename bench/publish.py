"""What it costs to publish a card of 5,000 SKUs under load: `python bench/publish.py` writes results/publish.json.

Real servers and services. Events come at a steady rate; one in a hundred is of a model that only the new card prices.
Measured from the log alone, by append times of the broker:

    beyond_margin_s   from the fact's append time + governance margin to the first unit that is priced by it
    from_command_s    likewise from the start of `chargeline rates publish`
    gap_before_ms     the longest time between two committed units of a partition before the card was published
    gap_after_ms      the longest one from then on, so what the command takes of the cores, and taking in the card, add
    gap_taking_in_ms  the longest one from the fact's append time on
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.cli.publishing import governance_log
from chargeline.cli.sending import Sender
from chargeline.domain.rates.card import RateCard
from chargeline.runtime.stack import Stack
from chargeline.sdk.columns import coded
from chargeline.wire.arrow_messages import decode
from chargeline.wire.units import UnitHeader
from chargeline.wire.usage_encoder import Framed, framed

sys.path.insert(0, str(Path(__file__).parent))
from commands import publish, running
from traffic import MODELS, card, columns

SKUS = 5_000
FRESH = "fresh-0"
RATE = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
BEFORE_S, AFTER_S = 15.0, 25.0
BATCH = 2_000
PARTITIONS = 2


def large_card() -> str:
    """Two SKUs a model."""
    skus = []
    for number in range(SKUS // 2):
        for leaf in ("input", "output"):
            price = f'charge_model: per_unit, unit_price: "{1 + number * 0.001:.3f}"'
            skus.append(f"  - {{sku_id: fresh-{number}/{leaf}, match: {{provider_name: openai, models: "
                        f"[fresh-{number}]}}, leaf: {leaf}, {price}, pricing_unit: 1000000 Tokens}}")  # fmt: skip
    head = "id: large\nversion: 1\ncurrency: USD\neffective_from: 2023-01-01T00:00:00Z\nscope: default\nskus:\n"
    return head + "\n".join(skus) + "\n"


def events(schema_id: int) -> Iterator[Framed]:
    """Without end; event times are now."""
    chance, first = np.random.default_rng(1), 0
    while True:
        numbers = np.arange(first, first + BATCH)
        made = columns(numbers, chance)
        now = time.time_ns() // 1000
        made["event_time"] = pa.array(np.full(BATCH, now) + np.arange(BATCH))
        model = np.where(numbers % 100 == 0, len(MODELS), numbers % len(MODELS))
        made["request_model"] = coded(model, [*MODELS, FRESH])
        yield framed(made, BATCH, schema_id)
        first += BATCH


class Load(threading.Thread):
    """Sends at the rate until it is told to stop."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self._sender = Sender(stack)

    def run(self) -> None:
        began = time.monotonic()
        for batch in events(self._sender.schema_id):
            if self.stop.is_set():
                break
            self._sender.send_batch(batch)
            self.stop.wait(max(0.0, began + self._sender.sent / RATE - time.monotonic()))
        self._sender.flush()
        self._sender.close()


def commits(stack: Stack) -> list[list[tuple[int, bool]]]:
    """By partition the units in order: (append time of the first slice in `charges`, whether the card priced in it)."""
    reader = KafkaLogReader(stack.kafka)
    found = []
    for partition in range(PARTITIONS):
        low, end = reader.bounds("charges", partition)
        units: list[tuple[int, bool]] = []
        for record in reader.read("charges", partition, low, end):
            priced = "large" in _cards(record.value or b"")
            if UnitHeader.decode(record.headers).slice_index == 0:
                units.append((record.append_time, priced))
            elif priced:
                units[-1] = (units[-1][0], True)
        found.append(units)
    reader.close()
    return found


def _cards(value: bytes) -> set[str]:
    entries = decode(value)["entries"].combine_chunks()
    column = entries.flatten().field("rate_card_id")
    return set(column.dictionary.to_pylist()) if len(column) else set()


def measured(stack: Stack, published: int, recorded: int, stopped: int) -> dict[str, float]:
    """All times in milliseconds since 1970."""
    units = commits(stack)
    first = min(time for each in units for time, priced in each if priced)
    warm = published - int((BEFORE_S - 5) * 1000)  # the first seconds are those of a process that starts
    before = [gap for each in units for at, gap in _gaps(each) if warm <= at < published]
    after = [gap for each in units for at, gap in _gaps(each) if published <= at < stopped]
    taking_in = [gap for each in units for at, gap in _gaps(each) if recorded <= at < stopped]
    margin = stack.governance_margin_ms
    if "VERBOSE" in os.environ:
        for each in units:
            sys.stderr.write(f"{[(at - recorded, gap) for at, gap in _gaps(each) if gap > max(before) * 0.7]}\n")
    return {
        "skus": SKUS,
        "events_per_s": RATE,
        "margin_s": margin / 1000,
        "beyond_margin_s": (first - recorded - margin) / 1000,
        "from_command_s": (first - published - margin) / 1000,
        "gap_before_ms": max(before),
        "gap_after_ms": max(after),
        "gap_taking_in_ms": max(taking_in),
        "gap_before_p99_ms": float(np.percentile(before, 99)),
        "gap_after_p99_ms": float(np.percentile(after, 99)),
        "pause_ms": max(after) - max(before),
    }


def _gaps(units: list[tuple[int, bool]]) -> list[tuple[int, int]]:
    return [(at, at - earlier) for (earlier, _), (at, _) in pairwise(units)]


def recorded_time(stack: Stack) -> int:
    with governance_log(stack, SystemClock()) as governance:
        facts = governance.chain.facts
        return next(f.recorded_time for f in facts if isinstance(f.body, RateCard) and f.body.rate_card_id == "large")


def main() -> None:
    with running(card(), "--partitions", PARTITIONS) as stack:
        load = Load(stack)
        load.start()
        time.sleep(BEFORE_S)
        published = time.time_ns() // 1_000_000
        publish(large_card(), stack.data_dir)
        returned = time.time_ns() // 1_000_000
        time.sleep(max(0.0, AFTER_S - (returned - published) / 1000))
        stopped = time.time_ns() // 1_000_000
        load.stop.set()
        load.join()
        time.sleep(3)
        result = measured(stack, published, recorded_time(stack), stopped)
        result["command_s"] = (returned - published) / 1000
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    path = Path(__file__).parent / "results" / "publish.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
