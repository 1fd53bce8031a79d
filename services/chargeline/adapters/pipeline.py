"""Questions to a running pipeline: how far is the pricer, how fast, what became of the events."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.ports import Record
from chargeline.runtime.stack import Stack
from chargeline.wire.units import UnitHeader

INPUT = "usage-events"
CHARGES = "charges"
_TAIL = 2  # the newest message and the marker of its transaction; more only where that is not enough


def last_unit(reader: KafkaLogReader, partition: int) -> UnitHeader | None:
    """The newest committed unit of a source partition; None if there is none."""
    low, end = reader.bounds(CHARGES, partition)
    start, tail = end, _TAIL
    while start > low:
        start, tail = max(low, start - tail), tail * 8
        records = list(reader.read(CHARGES, partition, start, end))
        if records:
            return UnitHeader.decode(records[-1].headers)
    return None


def units(reader: KafkaLogReader, partition: int, start: int = 0) -> list[UnitHeader]:
    """The committed units of a source partition that end beyond an input offset, in order."""
    low, end = reader.bounds(CHARGES, partition)
    headers = (UnitHeader.decode(record.headers) for record in reader.read(CHARGES, partition, low, end))
    return [header for header in headers if header.slice_index == 0 and header.end > start]


def _shares(outcomes: Mapping[str, int]) -> str:
    whole = sum(outcomes.values()) or 1
    return ", ".join(f"{name} {100 * count / whole:.1f}%" for name, count in outcomes.items() if count)


class Pipeline:
    """Looks at the log and the tables again and again; rates are those between two looks.

    Args:
        answer_s: seconds after which a silent ClickHouse counts as away.
    """

    def __init__(self, stack: Stack, *, answer_s: int) -> None:
        self._reader = KafkaLogReader(stack.kafka)
        user, password = stack.clickhouse_user, stack.clickhouse_password
        self._warehouse = ClickHouse(stack.clickhouse_url, user, password, answer_s=answer_s)
        self._clock = SystemClock()
        self._before: dict[int, tuple[int, int]] = {}

    def partitions(self) -> list[dict[str, Any]]:
        """One row for each partition: place, lag, rate since the last look, watermark, shares of the newest unit.

        `lag_s` is the age of the newest record done, which is the most that one can have waited; 0 if none waits.
        """
        rows = []
        for partition in range(self._reader.partitions(INPUT)):
            unit = last_unit(self._reader, partition)
            _, end = self._reader.bounds(INPUT, partition)
            now, done = self._clock.now_ms(), unit.end if unit else 0
            then, before = self._before.get(partition, (now, done))
            self._before[partition] = now, done
            waits = unit is not None and end > done
            watermark = unit.watermark if unit else None
            row = {
                "partition": partition,
                "committed": done,
                "lag": end - done,
                "lag_s": round((now - unit.last_append_time) / 1000, 1) if unit and waits else 0.0,
                "events/s": round((done - before) * 1000 / (now - then)) if now > then else 0,
                "watermark": datetime.fromtimestamp(watermark // 1_000_000, UTC) if watermark is not None else None,
                "newest unit": _shares(unit.outcomes) if unit else None,
            }
            rows.append(row)
        return rows

    def totals(self) -> list[dict[str, Any]]:
        """What ClickHouse holds, by outcome or dead letter code, with its share of all."""
        rows = self._warehouse.query(
            "SELECT outcome AS what, ifNull(reason, '') AS reason, count() AS events FROM charges "
            "WHERE source_index = 0 AND event_kind NOT IN ('RERATE', 'PERIOD_CLOSE') GROUP BY ALL "
            "UNION ALL "
            "SELECT 'DEAD_LETTER' AS what, code AS reason, count() AS events FROM dead_letters FINAL GROUP BY ALL"
        ).to_pylist()
        whole = sum(row["events"] for row in rows) or 1
        found = [row | {"share": f"{100 * row['events'] / whole:.2f}%"} for row in rows]
        return sorted(found, key=lambda row: -row["events"])

    def close(self) -> None:
        self._reader.close()
        self._warehouse.close()


def dead_letters(reader: KafkaLogReader, partition: int, start: int | None = None) -> list[Record]:
    """The dead letters of a source partition, oldest first, from an offset of the dead letter topic on."""
    low, end = reader.bounds("usage-events-dlq", partition)
    return list(reader.read("usage-events-dlq", partition, max(low, start or low), end))
