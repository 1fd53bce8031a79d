"""The charges of a whole log in memory, by the offset of their record: what a pricer reads from the `charges` topic."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.wire.event_rows import EventRow, event_rows


@dataclass
class ChargeStore:
    """Rows in columns as units book them, and rows that corrections made one by one."""

    _tables: list[pa.Table] = field(default_factory=list)
    _single: dict[int, EventRow] = field(default_factory=dict)
    _last: EventRow | None = None  # who asks of an interval asks again for each of its thousand entries

    def add(self, table: pa.Table) -> None:
        """Rows of one unit, ascending by offset; units of one block may overlap."""
        if table.num_rows:
            self._tables.append(table)

    def put(self, row: EventRow) -> None:
        """A row that a correction made, or that one changed."""
        self._single[row.offset] = row

    def row(self, offset: int) -> EventRow | None:
        """The row of a record; None: it booked none."""
        if offset in self._single:
            return self._single[offset]
        if self._last is not None and self._last.offset == offset:
            return self._last
        for table in reversed(self._tables):
            offsets = table.column("source_offset")
            if offsets[0].as_py() <= offset <= offsets[-1].as_py():
                place = int(np.searchsorted(offsets.to_numpy(), offset))
                if offsets[place].as_py() == offset:
                    (self._last,) = event_rows(table.slice(place, 1))
                    return self._last
        return None

    def rows_of(self, account: str) -> list[EventRow]:
        """All rows of an account in log order."""
        found = [row for row in self._single.values() if row.identity[0] == account]
        for table in self._tables:
            mine = _of_account(table, account)
            found += [row for row in event_rows(mine) if row.offset not in self._single]
        return sorted(found, key=lambda row: row.offset)


def _of_account(table: pa.Table, account: str) -> pa.Table:
    names = table.column("billing_account_id")
    return table.filter(pc.equal(names.cast(pa.string()), account))
