"""How many panes a second the anomaly service takes, with how many series, in how much memory.

Everything of one process but Kafka: a message is decoded, its panes are kept, windows are judged by the detectors of
all series, incidents are updated, and the state is written. A few windows make groups, series and the largest of them
known; then all are given a learned state (full histories, profiles that do not compress), and the windows after that
are measured: a calm one, and two in which a few teams run away. Seconds are those of the processor; one core is used.
Usage: python -m bench.anomaly.panes [groups] [panes a unit] [windows]
"""

import json
import resource
import sys
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.anomaly.processor import COST, PERFORMANCE, Partition
from chargeline.domain.anomaly import stored
from chargeline.domain.anomaly.detector import Detector
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_bytes, due_bases
from chargeline.wire._arrow import COST_ROLLUP, PERFORMANCE_ROLLUP
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

START, WINDOW_US = 1_767_225_600_000_000, 60_000_000
NEW_WINDOWS, NEW_UNITS = 4, 10  # until all is known; units of a window
UNITS = 60
ODD_TEAMS = 5
DAY_S = 86_400
BASES = 100  # full detectors stored with a snapshot, as the service does by default


def measured(groups: int = 50_000, unit_panes: int = 5_000, windows: int = 3, full_max: int = 2_000) -> dict[str, Any]:
    """Measure; the messages are made while the clock stands."""
    rules = Rules(
        window_us=WINDOW_US, bound_us=WINDOW_US, minimum_impact=Decimal(100), full_max=full_max, series_max=200_000
    )
    partition = Partition(Watch(0, rules, shipped_parameters("cost")))
    random, names = np.random.default_rng(1), _names(groups)
    new = _run(partition, names, random, range(NEW_WINDOWS), NEW_UNITS, unit_panes)
    _learn(partition.watch, random)
    known = _run(partition, names, random, range(NEW_WINDOWS, NEW_WINDOWS + windows), UNITS, unit_panes)
    began = time.process_time()
    core = core_bytes(partition.watch)
    core_s = time.process_time() - began
    bases = dict(due_bases(partition.watch, BASES))
    snapshot_s = time.process_time() - began
    return {
        "panes_per_s": round(2 * unit_panes * len(known) / (sum(known) + snapshot_s)),
        "panes_per_s_new_series": round(2 * unit_panes * NEW_UNITS / sum(new[:NEW_UNITS])),
        "live_series": len(partition.watch.table),
        "full_detectors": len(partition.watch.scorer.full),
        "slowest_unit_s": round(max(known), 2),
        "snapshot_s": round(snapshot_s, 2),
        "core_s": round(core_s, 2),
        "core_mb": round(len(core) / 1e6, 1),
        "bases_mb": round(sum(map(len, bases.values())) / 1e6, 1),
        "service_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "incidents": len(partition.watch.incidents),
    }


def _run(
    partition: Partition, names: dict, random: np.random.Generator, windows: range, units: int, unit_panes: int
) -> list[float]:
    """Seconds that each unit took; `units` of each window, which together bring as much in every window."""
    took, groups = [], len(names["project"][1])
    for number in range(windows.start * units, windows.stop * units):
        window, unit = divmod(number, units)
        group = (np.arange(unit_panes) + unit * unit_panes) % groups
        end = partition.watch.counted + 1000
        watermark = START + (window - 1) * WINDOW_US + unit * WINDOW_US // units
        header = UnitHeader(0, end - 1000, end, 0, 1, {}, watermark, 0, -1)
        share = NEW_UNITS / units
        messages = [
            (COST, encode(_cost(names, group, window, random, share))),
            (PERFORMANCE, encode(_performance(names, group, window))),
        ]
        began = time.process_time()
        for topic, slices in messages:
            for index, value in enumerate(slices):
                headers = header.slice(index, len(slices)).encode()
                partition.record(topic, end + index, headers, value)
        took.append(time.process_time() - began)
    return took


def _learn(watch: Watch, random: np.random.Generator) -> None:
    """Weeks of usual spend for every series, and full histories, as if they had been seen."""
    light, table = watch.scorer.light, watch.table
    start = watch.windows.starts()[0]
    cells = watch.windows.of(start)
    usual = table.totals(cells.group, cells.spend())
    for name, column in light.state.items():
        if name in ("day", "week", "size", "largest"):
            column[:] = usual * random.uniform(0.9, 1.1, column.shape) * (3 if name == "largest" else 1)
        elif "deviation" in name:
            column[:] = usual * random.uniform(0.3, 0.5, column.shape)
        elif name in ("day_rows", "week_rows", "rows", "active"):
            column[:] = {"day_rows": 200, "week_rows": 50}.get(name, 8_000)
        elif name == "begun":
            column[:] = start / 1e6 - 28 * DAY_S
        elif column.dtype == np.float32:
            column[:] = (
                random.uniform(0.8, 1.2, column.shape)
                if name in ("quantile", "excess")
                else random.normal(0, 0.01, column.shape)
            )
    states: dict[tuple[str, ...], bytes] = {}  # series of one set of dimensions spend about the same
    for number, full in watch.scorer.full.items():
        names = tuple(name for name, _ in table.name(number).dimensions)
        if names not in states:
            states[names] = _full(watch.parameters, start / 1e6, usual[number], random)
        full.detector = stored.from_bytes(states[names], watch.parameters)


def _full(parameters: Parameters, end_s: float, usual: float, random: np.random.Generator) -> bytes:
    detector = Detector(parameters)
    rows = parameters.history_rows + 100
    for row in range(rows):
        detector.step(end_s - 60 * (rows - row), usual * float(random.gamma(10, 0.1)))
    return stored.to_bytes(detector)


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
        elif field.nullable:
            columns[field.name] = pa.nulls(count, field.type)
        else:
            columns[field.name] = pa.array(np.full(count, 10)).cast(field.type)
    start = pa.array(np.full(count, START + window * WINDOW_US)).cast(pa.timestamp("us", "UTC"))
    return columns | {"window_start": start, "pane_index": pa.array(np.arange(count, dtype=np.int32))}


def _cost(names: dict, group: np.ndarray, window: int, random: np.random.Generator, share: float) -> pa.Table:
    columns = _common(COST_ROLLUP, names, group, window)
    # A few teams spend thirty times the usual from the second measured window on.
    is_odd = (names["team"][0][group] < ODD_TEAMS) & (window > NEW_WINDOWS)
    amounts = np.rint(random.integers(40, 60, len(group)) * share * np.where(is_odd, 30, 1)).astype(np.int64)
    columns["billed_cost"] = pa.array(amounts).cast(pa.decimal128(38, 12))
    return pa.table([columns[field.name] for field in COST_ROLLUP], schema=COST_ROLLUP)


def _performance(names: dict, group: np.ndarray, window: int) -> pa.Table:
    columns = _common(PERFORMANCE_ROLLUP, names, group, window)
    return pa.table([columns[field.name] for field in PERFORMANCE_ROLLUP], schema=PERFORMANCE_ROLLUP)


if __name__ == "__main__":
    print(json.dumps(measured(*map(int, sys.argv[1:]))))
