"""How many panes a second the anomaly detection takes, with how many series, in how much memory.

Everything of one process but Kafka: decoding, windows, detectors of all series, incidents, and writing the state.
Usage: python bench/anomaly/panes.py [groups] [panes a unit] [windows]
"""

import json
import resource
import sys
import time
from decimal import Decimal

import numpy as np
import pyarrow as pa

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.anomaly.processor import COST, PERFORMANCE, Partition
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_bytes, due_bases
from chargeline.wire._arrow import COST_ROLLUP, PERFORMANCE_ROLLUP
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

START, WINDOW_US = 1_767_225_600_000_000, 60_000_000
UNITS = 60  # of a window


def panes_per_s(groups: int = 50_000, unit_panes: int = 5_000, windows: int = 4, full_max: int = 2_000) -> dict:
    """Measure; the messages are made before the clock runs."""
    rules = Rules(
        window_us=WINDOW_US, bound_us=WINDOW_US, minimum_impact=Decimal(100), full_max=full_max, series_max=200_000
    )
    partition = Partition(Watch(0, rules, shipped_parameters("cost")))
    random = np.random.default_rng(1)
    names = _names(groups)
    taken, panes, slowest, updates = 0.0, 0, 0.0, 0
    for unit in range(windows * UNITS):
        group = (np.arange(unit_panes) + unit * unit_panes) % groups
        window = unit // UNITS
        header = UnitHeader(0, unit * 1000, (unit + 1) * 1000, 0, 1, {}, START + (window - 1) * WINDOW_US + unit, 0, -1)
        messages = [
            (topic, encode(table))
            for topic, table in (
                (COST, _cost(names, group, window, random)),
                (PERFORMANCE, _performance(names, group, window)),
            )
        ]
        began = time.perf_counter()
        for topic, slices in messages:
            for index, value in enumerate(slices):
                headers = header.slice(index, len(slices)).encode()
                updates += len(partition.record(topic, unit * 10 + index, headers, value))
        took = time.perf_counter() - began
        taken, panes, slowest = taken + took, panes + 2 * unit_panes, max(slowest, took)
    began = time.perf_counter()
    core = core_bytes(partition.watch)
    stored_s = time.perf_counter() - began
    began = time.perf_counter()
    bases = due_bases(partition.watch, 100)
    return {
        "panes_per_s": round(panes / taken),
        "series": len(partition.watch.table),
        "full_detectors": len(partition.watch.scorer.full),
        "slowest_unit_s": round(slowest, 3),
        "updates": updates,
        "core_mb": round(len(core) / 1e6, 1),
        "core_s": round(stored_s, 2),
        "bases_mb": round(sum(map(len, bases.values())) / 1e6, 1),
        "bases_s": round(time.perf_counter() - began, 2),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _names(groups: int) -> dict:
    number = np.arange(groups)
    return {
        "billing_account_id": (number % 10, [f"account-{n}" for n in range(10)]),
        "team": (number % 1000, [f"team-{n}" for n in range(1000)]),
        "project": (number, [f"project-{n}" for n in range(groups)]),
        "feature": (number % 50, [f"feature-{n}" for n in range(50)]),
        "experiment_id": (number, [f"experiment-{n}" for n in range(groups)]),
        "request_model": (number % 10, [f"model-{n}" for n in range(10)]),
    }


def _common(schema: pa.Schema, names: dict, group: np.ndarray, window: int) -> dict:
    count = len(group)
    columns = {}
    for field in schema:
        if field.name in names:
            codes, values = names[field.name]
            used = pa.array([values[code] for code in codes[group]])
            columns[field.name] = used.dictionary_encode().cast(field.type)
        elif pa.types.is_list(field.type):
            columns[field.name] = pa.array([[]] * count, field.type)
        elif pa.types.is_dictionary(field.type):
            value = {"pane": "EARLY", "billing_currency": "USD", "sku_id": "sku"}.get(field.name)
            columns[field.name] = pa.array([value] * count, pa.string()).dictionary_encode().cast(field.type)
        else:
            columns[field.name] = pa.array(np.full(count, 10)).cast(field.type)
    start = pa.array(np.full(count, START + window * WINDOW_US)).cast(pa.timestamp("us", "UTC"))
    return columns | {"window_start": start, "pane_index": pa.array(np.arange(count, dtype=np.int32))}


def _cost(names: dict, group: np.ndarray, window: int, random: np.random.Generator) -> pa.Table:
    columns = _common(COST_ROLLUP, names, group, window)
    cents = pa.array(random.integers(1, 100, len(group))).cast(pa.decimal128(38, 0))
    columns["billed_cost"] = cents.cast(pa.decimal128(38, 12))
    return pa.table([columns[field.name] for field in COST_ROLLUP], schema=COST_ROLLUP)


def _performance(names: dict, group: np.ndarray, window: int) -> pa.Table:
    columns = _common(PERFORMANCE_ROLLUP, names, group, window)
    return pa.table([columns[field.name] for field in PERFORMANCE_ROLLUP], schema=PERFORMANCE_ROLLUP)


if __name__ == "__main__":
    print(json.dumps(panes_per_s(*map(int, sys.argv[1:]))))
