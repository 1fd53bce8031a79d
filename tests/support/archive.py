"""An archive of charges: the log itself, as far as a reader of committed records sees it."""

import pyarrow.compute as pc

from chargeline.domain.errors import TransientError
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.pricer.known_events import matters
from chargeline.wire.arrow_messages import decode
from chargeline.wire.charge_rows import rows_of
from chargeline.wire.charge_scopes import moved_scopes
from chargeline.wire.units import UnitHeader


class LogArchive:
    """`ports.ChargeArchive`. As a table of rows, it knows only of units that booked some."""

    def __init__(self, reader):
        self._reader = reader

    def find(self, partition, identities, before, held):
        """All rows below an offset that are of one of some events or name it."""
        rows = [row for row in self._all(partition, held) if row["source_offset"] < before]
        return [row for row in rows if any(is_about(row, identity) for identity in identities)]

    def rows(self, partition, offset):
        """The rows of one record."""
        return [row for row in self._all(partition, offset + 1) if row["source_offset"] == offset]

    def of_account(self, partition, account, wanted, before, held):
        """The account's rows that a close has to know."""
        return [
            row
            for row in self._all(partition, held)
            if row["source_offset"] < before and row["billing_account_id"] == account and matters(row, wanted)
        ]

    def scopes(self, partition, before):
        """What the rows below an offset moved, unit by unit."""
        low, end = self._reader.bounds("charges", partition)
        found = ScopeStates.empty()
        for record in self._reader.read("charges", partition, low, end):
            table = decode(record.value or b"")
            found = found.apply(moved_scopes(table.filter(pc.less(table.column("source_offset"), before))))
        return found

    def _all(self, partition, held):
        low, end = self._reader.bounds("charges", partition)
        stored, rows = 0, []
        for record in self._reader.read("charges", partition, low, end):
            table = decode(record.value or b"")
            if table.num_rows:
                stored = UnitHeader.decode(record.headers).end
                rows += rows_of(table)
        if stored < held:
            raise TransientError(f"charges of partition {partition} can be read up to {stored}; {held} is needed")
        return rows


def is_about(row, identity):
    names = (row["event_id"], row["amends_event_id"])
    return (row["billing_account_id"], row["source"]) == identity[:2] and identity[2] in names
