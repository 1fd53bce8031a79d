"""How many panes a second the anomaly service takes, with how many series, in how much memory.

Everything of one process but Kafka: a message is decoded, its panes are kept, windows are judged by the detectors of
all series, incidents are updated, and the state is written by the service's own `StateTable`; a folder stands for the
changelog. A few windows make groups, series and the largest of them known; then all are given a learned state (full
histories, profiles that do not compress) and a base, and the windows after that are measured: a calm one, and two in
which a few teams run away. Then a snapshot, and another process that loads the state. Seconds are those of the
processor; one core is used. Memory is the most that was resident; `table_mb` is what of it the table's values take.
Usage: python -m bench.anomaly.panes [groups] [panes a unit] [windows]
"""

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.anomaly.processor import COST, PERFORMANCE, Partition
from chargeline.anomaly.state_table import StateTable
from chargeline.domain.anomaly import stored
from chargeline.domain.anomaly.detector import Detector
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.wire._arrow import COST_ROLLUP, PERFORMANCE_ROLLUP
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

START, WINDOW_US = 1_767_225_600_000_000, 60_000_000
NEW_WINDOWS, NEW_UNITS = 4, 10  # until all is known; units of a window
UNITS = 60
ODD_TEAMS = 5
DAY_S = 86_400
BASES = 100  # full detectors stored with a snapshot, as the service does by default


class Table:
    """A table of the service whose changelog is a folder, a file for each key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data: dict[bytes, bytes] = {}

    def send_changelog(self, _partition: int, key: bytes, value: bytes | None) -> "asyncio.Future[None]":
        file = self.folder / key.hex()
        if value is None:
            file.unlink()
        else:
            file.write_bytes(value)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def recover(self) -> None:
        """What Faust does before the first record."""
        self.data = {bytes.fromhex(file.name): file.read_bytes() for file in self.folder.iterdir()}


def measured(groups: int = 50_000, unit_panes: int = 5_000, windows: int = 3, full_max: int = 2_000) -> dict[str, Any]:
    """Measure; the messages are made while the clock stands."""
    rules = Rules(
        window_us=WINDOW_US, bound_us=WINDOW_US, minimum_impact=Decimal(100), full_max=full_max, series_max=200_000
    )
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(rules, Table(Path(folder)), groups, unit_panes, windows)
        with multiprocessing.get_context("spawn").Pool(1) as other:
            return found | other.apply(_restart, (rules, Path(folder)))


def _measured(rules: Rules, table: Table, groups: int, unit_panes: int, windows: int) -> dict[str, Any]:
    state = StateTable(table)
    partition = Partition(Watch(0, rules, shipped_parameters("cost")))
    random, names = np.random.default_rng(1), _names(groups)
    new = _run(partition, names, random, range(NEW_WINDOWS), NEW_UNITS, unit_panes)
    _learn(partition.watch, random)
    asyncio.run(_stored(state, partition, rules.full_max))
    known = _run(partition, names, random, range(NEW_WINDOWS, NEW_WINDOWS + windows), UNITS, unit_panes)
    snapshot = asyncio.run(_stored(state, partition, BASES))
    return {
        "panes_per_s": round(2 * unit_panes * len(known) / (sum(known) + snapshot["snapshot_s"])),
        "panes_per_s_new_series": round(2 * unit_panes * NEW_UNITS / sum(new[:NEW_UNITS])),
        "live_series": len(partition.watch.table),
        "full_detectors": len(partition.watch.scorer.full),
        "slowest_unit_s": round(max(known), 2),
        **snapshot,
        "table_mb": round(sum(map(len, table.data.values())) / 1e6, 1),
        "changelog_mb": round(sum(file.stat().st_size for file in table.folder.iterdir()) / 1e6),
        "service_rss_mb": _most_resident_mb(),
        "incidents": len(partition.watch.incidents),
    }


async def _stored(state: StateTable, partition: Partition, bases: int) -> Mapping[str, float]:
    """Write a snapshot; `longest_step_ms`: for so long the event loop does nothing else."""
    steps = []

    async def look() -> None:
        while True:
            steps.append(time.process_time())
            await asyncio.sleep(0)

    before = state.bytes_written
    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    await state.store(partition, bases)
    looking.cancel()
    return {
        "snapshot_s": round(steps[-1] - steps[0], 2),
        "snapshot_mb": round((state.bytes_written - before) / 1e6, 1),
        "snapshot_longest_step_ms": round(1000 * float(np.diff(steps).max())),
    }


def _restart(rules: Rules, folder: Path) -> dict[str, Any]:
    """Load the state from the changelog, in a process that has nothing else."""
    table = Table(folder)
    table.recover()
    began = time.process_time()
    partition = StateTable(table).load(0, rules, shipped_parameters("cost"))
    return {
        "restart_s": round(time.process_time() - began, 1),
        "restart_series": len(partition.watch.table),
        "restart_rss_mb": _most_resident_mb(),
    }


def _most_resident_mb() -> int:
    """Of this process since it was started; `getrusage` would count in the one that it is a copy of."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


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
        full.detector, full.is_stale = stored.from_bytes(states[names], watch.parameters), True


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
