"""The benchmark's events: 150 to 250 bytes; 500 accounts with 3 teams of 2 projects, each project using 7 of 20 models:
21,000 groups, nearly all of them active in every minute.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.sdk.columns import Int64Array, coded, numbered, random_hex
from chargeline.wire.usage_encoder import Framed, framed

BATCH = 20_000
_NOTHING = pa.scalar("", pa.large_string())
START = time.time_ns() // 3_600_000_000_000 * 3_600_000_000 - 3_600_000_000  # old events are TOO_LATE to be priced
MODELS = tuple(f"model-{n}" for n in range(20))


def card() -> str:
    """A rate card of 20 models with three leaves each."""
    skus = [
        f"""  - {{sku_id: {model}/{leaf}, match: {{provider_name: openai, models: [{model}]}}, leaf: {leaf},
     charge_model: per_unit, unit_price: "{1 + number * 0.25}", pricing_unit: 1000000 Tokens}}"""
        for model in MODELS
        for number, leaf in enumerate(("input", "cache_read_input", "output"))
    ]
    head = "id: bench\nversion: 1\ncurrency: USD\neffective_from: 2023-01-01T00:00:00Z\nscope: default\nskus:\n"
    return head + "\n".join(skus) + "\n"


def batches(count: int, schema_id: int, seed: int = 1) -> Iterator[Framed]:
    """The records, batch by batch: 1 % are the last good one once more, 0.1 % are cut off."""
    chance = np.random.default_rng(seed)
    for first in range(0, count, BATCH):
        numbers = np.arange(first, min(first + BATCH, count))
        draw = chance.random(len(numbers))
        again, cut = draw < 0.01, draw > 0.999
        again[0] = cut[0] = False
        last = np.maximum.accumulate(np.where(again | cut, 0, np.arange(len(numbers))))
        rows = np.where(again, last, np.arange(len(numbers)))
        made = framed(columns(numbers, chance), len(numbers), schema_id)
        for row in np.flatnonzero(cut).tolist():
            made.values[row] = made.values[row][:40]
        yield Framed(made.accounts.take(pa.array(rows)), [made.values[row] for row in rows.tolist()])


def write_ndjson(path: Path, count: int, seed: int = 2) -> None:
    """So many good events as JSON lines, for `chargeline replay`."""
    made = columns(np.arange(count), np.random.default_rng(seed))
    frame = pl.DataFrame({name: each if isinstance(each, str) else pl.from_arrow(each) for name, each in made.items()})
    time = pl.from_epoch("event_time", "us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    frame.with_columns(time).write_ndjson(path)


def columns(numbers: Int64Array, chance: np.random.Generator) -> dict[str, Any]:
    length = len(numbers)
    account, project = chance.integers(0, 500, length), chance.integers(0, 6, length)
    raw = chance.integers(0, 256, (length, 32), np.uint8)
    return {
        "event_id": pc.binary_join_element_wise(numbered("", numbers), random_hex("-", raw[:, :8]), _NOTHING),
        "source": "gateway-1",
        "billing_account_id": coded(account, [f"account-{n:03d}" for n in range(500)]),
        "event_time": pa.array(START + numbers * 100),
        "provider_name": "openai",
        "request_model": coded((3 * account + 7 * project + chance.integers(0, 7, length)) % 20, MODELS),
        "operation_name": "chat",
        "team": coded(project // 2, [f"team-{n}" for n in range(3)]),
        "project": coded(project, [f"project-{n}" for n in range(6)]),
        "environment": "production",
        "request_id": random_hex("req-", raw[:, 8:16]),
        "trace_id": random_hex("", raw[:, 16:]),
        "input_tokens": pa.array(chance.integers(20, 8000, length)),
        "cache_read_input_tokens": pa.array(chance.choice((0, 0, 512), length)),
        "output_tokens": pa.array(chance.integers(1, 900, length)),
        "duration_ms": pa.array(chance.integers(100, 5000, length)),
        "time_to_first_token_ms": pa.array(chance.integers(50, 500, length)),
    }
