"""The warehouse in memory, for simulations and tests: tables of blocks, each inserted once under its token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from chargeline.adapters.memory import FakeClock, Fault, no_faults
from chargeline.domain.errors import TransientError

_TOKEN_MS = 7 * 86_400_000


class MemoryWarehouse:
    """`ports.Warehouse` without SQL: a block counts once under its token; a crash may leave half of it.

    A token is forgotten after a week, as a replicated table's is. `half`: the next insert breaks in its middle.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock(0)
        self.tables: dict[str, list[pa.Table]] = {}
        self.tokens: dict[tuple[str, str], _Block] = {}
        self.faults: Fault = no_faults
        self.half = False
        self._maximum: dict[tuple[str, str], dict[int, int]] = {}

    def with_faults(self, faults: Fault) -> "MemoryWarehouse":
        """The same tables as one process sees them."""
        view = MemoryWarehouse(self.clock)
        view.tables, view.tokens, view._maximum = self.tables, self.tokens, self._maximum
        view.faults = faults
        return view

    def insert(self, table: str, rows: Any, token: str) -> None:
        self.faults("insert.before")
        block = self.tokens.get((table, token))
        if block is None or self.clock.now - block.inserted_ms > _TOKEN_MS:
            block = self.tokens[table, token] = _Block(self.clock.now)
        wanted = rows.num_rows
        if self.half:
            wanted, self.half = max(1, rows.num_rows // 2), False
        if block.rows < wanted:
            self._add(table, rows.slice(block.rows, wanted - block.rows))
            block.rows = wanted
        if wanted < rows.num_rows:
            raise TransientError("the connection broke in the middle of a block")
        self.faults("insert.after")

    def rows(self, table: str) -> int:
        """Rows stored."""
        return sum(block.num_rows for block in self.tables.get(table, []))

    def stored_maximum(self, table: str, topic: str) -> dict[int, int]:
        return dict(self._maximum.get((table, topic), {}))

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        raise NotImplementedError(sql, parameters)

    def _add(self, table: str, rows: Any) -> None:
        self.tables.setdefault(table, []).append(rows)
        (topic,) = set(rows["log_topic"].to_pylist())
        maximum = self._maximum.setdefault((table, topic), {})
        for partition, offset in zip(rows["log_partition"].to_pylist(), rows["log_offset"].to_pylist(), strict=True):
            maximum[partition] = max(maximum.get(partition, -1), offset)


@dataclass
class _Block:
    """What stands under a token: when it came first, and how many of its rows are there."""

    inserted_ms: int
    rows: int = 0
