"""What a large card adds to the pricer: its functions on recorded records, without servers, a step at a time.

    python bench/price_step.py [UNITS]

Three cases: the events of bench/run.py with its card of 60 SKUs, the same events with the card of 2,000 SKUs
(cards.py), and events that meet all of that card: 1,200 names of models, aliases, thresholds, modifiers, graduated
rates. One partition, 50,000 records a unit. Prints microseconds of CPU an event, the least of all units; `first_ms` is
what the first unit costs more, when every question is new.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import cards
import traffic

from chargeline.domain.identities import Identities
from chargeline.domain.rates.book import PublishedCard, RateBook
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import aggregate
from chargeline.pricer.compute import Rules, book, prepare
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.event_lines import event_columns
from chargeline.wire.usage_encoder import encode

PART = 50_000
RULES = Rules(partitions=1, window_us=60_000_000, watermark_bound_us=60_000_000, future_bound_ms=10**13)


def spine(parts: int) -> list[list[bytes]]:
    """The values of bench/run.py, by unit."""
    made = traffic.batches(parts * PART, 1)
    values = [value for batch in made for value in batch.values]
    return [values[at : at + PART] for at in range(0, len(values), PART)]


def whole(parts: int) -> list[list[bytes]]:
    """Events that meet every rate of the large card, of now."""
    table = cards.events(parts * PART, start=traffic.START, days=1 / 24)
    found = []
    for batch in table.to_batches(max_chunksize=PART):
        columns = event_columns(dict(zip(batch.schema.names, batch.columns, strict=True)))
        found.append(encode(columns, batch.num_rows, 1))
    return found


def measured(card: str, units: list[list[bytes]]) -> dict[str, float]:
    """Microseconds an event by step."""
    published = PublishedCard(read_rate_card(card), 0, 0)
    table = RateTable(RateBook([published], margin_ms=0, future_bound_ms=0))
    known, scopes = Identities(), ScopeStates.empty()
    took: dict[str, list[float]] = {"prepare": [], "book": [], "aggregate": []}

    def timed(step: str, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        started = time.thread_time()
        found = call(*given, **named)
        took[step].append((time.thread_time() - started) / PART * 1e6)
        return found

    for number, values in enumerate(units):
        offsets = np.arange(number * PART, number * PART + len(values))
        times = np.full(len(values), traffic.START // 1000 + 7_200_000)
        batch = LogBatch("usage-events", 0, offsets, times, values, int(offsets[-1]) + 1)
        prepared = timed("prepare", prepare, batch, table, RULES, lambda _: USAGE_EVENT_SCHEMA)
        booked = timed("book", book, batch, prepared, known=known, scopes=scopes, watermark=None, rules=RULES)
        timed("aggregate", aggregate, booked, 0, RULES)
        known.add(booked.keys)
        if len(booked.scopes):
            scopes = scopes.apply(booked.scopes)
    least = {step: round(min(each), 2) for step, each in took.items()}
    first = sum(each[0] for each in took.values()) - sum(least.values())
    return {**least, "sum": round(sum(least.values()), 2), "first_ms": round(first * PART / 1000)}


def main() -> None:
    units = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    large = json.dumps(cards.card())
    sys.stdout.write(json.dumps({
        "spine": measured(traffic.card(), spine(units)), "spine_large_card": measured(large, spine(units)),
        "whole_large_card": measured(large, whole(units)),
    }) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
