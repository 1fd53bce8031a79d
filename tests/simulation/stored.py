"""What the tables must hold, worked out from the log alone: each committed row once, and nothing else."""

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import pyarrow as pa

from chargeline.adapters.memory import MemoryLog, MemoryLogReader
from chargeline.adapters.memory_warehouse import MemoryWarehouse
from chargeline.ports import Record
from tests.simulation.processes import PARTITIONS

KEYS = {
    "charges": ("source_partition", "source_offset", "contracted_cost"),
    "cost-rollups": ("source_partition", "unit_end_offset", "pane_index", "billed_cost"),
}
TABLES = {"charges": "charges", "cost-rollups": "cost_rollups"}
_READING = pa.ipc.IpcReadOptions(use_threads=False)
Place = tuple[int, int]
Rows = Counter[tuple[Any, ...]]


def wrongly_stored(log: MemoryLog, warehouse: MemoryWarehouse, *, whole: bool = True) -> str | None:
    """What is wrong with the tables; `whole`: they must be complete, else complete before the newest unit."""
    for topic in KEYS:
        found, wanted = _stored(warehouse, topic), _committed(log, topic)
        newest = {
            partition: max((o for p, o in found if p == partition), default=-1) for partition in range(PARTITIONS)
        }
        for place in sorted({*found, *wanted}):
            here, there = found.get(place, Counter()), wanted.get(place, Counter())
            missing_yet = not whole and place[1] >= newest[place[0]] and here <= there
            if here != there and not missing_yet:
                return (f"{TABLES[topic]}: {topic}/{place} has {here.total()} rows, expected {there.total()}: "
                        f"too much {here - there}, missing {there - here}")  # fmt: skip
    return _sums_differ(warehouse) or (_letters_differ(log, warehouse) if whole else None)


def _stored(warehouse: MemoryWarehouse, topic: str) -> dict[Place, Rows]:
    found: dict[Place, Rows] = defaultdict(Counter)
    for block in warehouse.tables.get(TABLES[topic], []):
        for row in zip(*(_column(block, name) for name in ("log_partition", "log_offset", *KEYS[topic])), strict=True):
            found[row[0], row[1]][row[2:]] += 1
    return found


def _column(block: pa.Table, name: str) -> list[Any]:
    """A column that has no value at all is left to the table's default."""
    return block[name].to_pylist() if name in block.column_names else [None] * block.num_rows


def _committed(log: MemoryLog, topic: str) -> dict[Place, Rows]:
    """The rows of every unit, at the place of its first slice."""
    found: dict[Place, Rows] = defaultdict(Counter)
    place = (-1, -1)
    for record in _records(log, topic):
        if dict(record.headers)["slice"].startswith(b"0/"):
            place = (record.partition, record.offset)
        table = pa.ipc.open_stream(record.value or b"", options=_READING).read_all()
        if table.num_rows:
            columns = (table[name].to_pylist() for name in KEYS[topic])
            found[place].update(zip(*columns, strict=True))
    return found


def _records(log: MemoryLog, topic: str) -> list[Record]:
    reader = MemoryLogReader(log)
    return [record for p in range(PARTITIONS) for record in reader.read(topic, p, *reader.bounds(topic, p))]


def _sums_differ(warehouse: MemoryWarehouse) -> str | None:
    """Sum of panes = sum of charges, by source partition, before the smallest of the newest stored unit ends."""
    sums: dict[str, dict[int, dict[int, Decimal]]] = {}
    for table in TABLES.values():
        sums[table] = {partition: defaultdict(Decimal) for partition in range(PARTITIONS)}
        for block in warehouse.tables.get(table, []):
            # Charges leave out what equals the contracted cost in every row.
            cost = "billed_cost" if "billed_cost" in block.column_names else "contracted_cost"
            columns = (_column(block, name) for name in ("source_partition", "unit_end", cost))
            for partition, unit_end, amount in zip(*columns, strict=True):
                sums[table][partition][unit_end] += amount or 0
    for partition in range(PARTITIONS):
        charges, panes = sums["charges"][partition], sums["cost_rollups"][partition]
        end = min(max(charges, default=0), max(panes, default=0))
        totals = [sum(amount for e, amount in each.items() if e < end) for each in (charges, panes)]
        if totals[0] != totals[1]:
            return f"partition {partition} before unit end {end}: charges {totals[0]}, panes {totals[1]}"
    return None


def _letters_differ(log: MemoryLog, warehouse: MemoryWarehouse) -> str | None:
    """The table keeps one row a coordinate, so a repeat is no fault of it."""
    names = ["source_partition", "source_offset", "code"]
    found = {
        tuple(row.values())
        for block in warehouse.tables.get("dead_letters", [])
        for row in block.select(names).to_pylist()
    }
    wanted = set()
    for record in _records(log, "usage-events-dlq"):
        headers = {name: value.decode() for name, value in record.headers}
        wanted.add((record.partition, int(headers["x-chargeline-offset"]), headers["x-chargeline-code"]))
    return None if found == wanted else f"dead letters differ: {sorted(found ^ wanted)[:3]}"
