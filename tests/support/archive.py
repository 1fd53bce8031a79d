"""An archive of charges that is always complete: the log itself, read to its end each time."""

from chargeline.wire.arrow_messages import decode
from chargeline.wire.correction_rows import rows_of


class LogArchive:
    """`ports.ChargeArchive`."""

    def __init__(self, reader):
        self._reader = reader

    def find(self, partition, identity, before):
        """All rows below an offset that are of an event or name it."""
        return [row for row in self._all(partition) if row["source_offset"] < before and is_about(row, identity)]

    def rows(self, partition, offset):
        """The rows of one record."""
        return [row for row in self._all(partition) if row["source_offset"] == offset]

    def _all(self, partition):
        low, end = self._reader.bounds("charges", partition)
        for record in self._reader.read("charges", partition, low, end):
            yield from rows_of(decode(record.value or b""))


def is_about(row, identity):
    names = (row["event_id"], row["amends_event_id"])
    return (row["billing_account_id"], row["source"]) == identity[:2] and identity[2] in names
