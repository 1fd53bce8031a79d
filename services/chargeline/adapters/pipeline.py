"""Questions to a running pipeline: does everything answer, how far is the pricer, what became of the events."""

from collections.abc import Callable
from typing import Any

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.errors import ChargelineError, Fault
from chargeline.ports import Record
from chargeline.runtime.stack import Stack
from chargeline.wire.units import OUTCOMES, UnitHeader

INPUT = "usage-events"
CHARGES = "charges"
_TAIL = 64


def last_unit(reader: KafkaLogReader, partition: int) -> UnitHeader | None:
    """The newest committed unit of a source partition; None if there is none."""
    low, end = reader.bounds(CHARGES, partition)
    start = end
    while start > low:
        start = max(low, start - _TAIL)
        records = list(reader.read(CHARGES, partition, start, end))
        if records:
            return UnitHeader.decode(records[-1].headers)
    return None


def units(reader: KafkaLogReader, partition: int, start: int = 0) -> list[UnitHeader]:
    """The committed units of a source partition that end beyond an input offset, in order."""
    low, end = reader.bounds(CHARGES, partition)
    headers = (UnitHeader.decode(record.headers) for record in reader.read(CHARGES, partition, low, end))
    return [header for header in headers if header.slice_index == 0 and header.end > start]


def pipeline_status(stack: Stack) -> list[dict[str, Any]]:
    """One row for each partition: log end, committed, lag, and the outcomes of the newest units."""
    reader = KafkaLogReader(stack.kafka)
    try:
        rows = []
        for partition in range(reader.partitions(INPUT)):
            _, end = reader.bounds(INPUT, partition)
            unit = last_unit(reader, partition)
            done = unit.end if unit else 0
            row: dict[str, Any] = {"partition": partition, "end": end, "committed": done, "lag": end - done}
            recent = unit.outcomes if unit else {}
            total = sum(recent.values()) or 1
            row |= {name: f"{100 * recent.get(name, 0) / total:.1f}%" for name in OUTCOMES[:5]}
            rows.append(row)
        return rows
    finally:
        reader.close()


def totals(stack: Stack) -> list[dict[str, Any]]:
    """What ClickHouse holds, by outcome or dead letter code, with its share of all."""
    warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password)
    rows = warehouse.query(
        "SELECT outcome AS what, ifNull(reason, '') AS reason, count() AS events FROM charges GROUP BY ALL UNION ALL "
        "SELECT 'DEAD_LETTER' AS what, code AS reason, count() AS events FROM dead_letters FINAL GROUP BY ALL"
    ).to_pylist()
    whole = sum(row["events"] for row in rows) or 1
    found = [row | {"share": f"{100 * row['events'] / whole:.2f}%"} for row in rows]
    return sorted(found, key=lambda row: -row["events"])


def reachability(stack: Stack) -> dict[str, str | None]:
    """By system what is wrong with it; None: it answers."""

    def kafka() -> None:
        reader = KafkaLogReader(stack.kafka)
        reader.partitions(INPUT)
        reader.close()

    def schemas() -> None:
        if SchemaRegistry(stack.registry).id_of("usage-events-value") is None:
            raise Fault("usage-events-value is not registered")

    def state() -> None:
        store = RedisStateStore(stack.redis_url, username=stack.redis_user, password=stack.redis_password)
        store.head(0)
        store.close()

    def warehouse() -> None:
        ClickHouse(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password).query("SELECT 1 AS one")

    checks: dict[str, Callable[[], None]] = {
        "kafka": kafka, "registry": schemas, "redis": state, "clickhouse": warehouse,
    }  # fmt: skip
    found: dict[str, str | None] = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = None
        except ChargelineError as error:
            found[name] = str(error)
    return found


def dead_letters(reader: KafkaLogReader, partition: int, start: int | None = None) -> list[Record]:
    """The dead letters of a source partition, oldest first, from an offset of the dead letter topic on."""
    low, end = reader.bounds("usage-events-dlq", partition)
    return list(reader.read("usage-events-dlq", partition, max(low, start or low), end))
