"""Records of a unit that are judged one at a time, with what is asked of each; read out of the columns at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.usage import UsageColumns
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Prepared
from chargeline.pricer.known_events import names_of
from chargeline.wire.event_rows import Identity
from chargeline.wire.usage_decoder import identity_hashes

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Record:
    """One record that is judged by itself: a row of `records`, whose rows tell the place in the batch.

    Attributes:
        original: what it is about; the last part is empty where it names nothing.
        name, original_name: the hashes of the identities.
    """

    records: Prepared
    row: int
    batch: LogBatch
    kind: str
    identity: Identity
    original: Identity
    name: bytes
    original_name: bytes
    content: int
    offset: int
    run_id: str | None

    @property
    def place(self) -> int:
        """Where it lies in the batch."""
        return int(self.records.rows[self.row])

    @property
    def event_time(self) -> int:
        return int(self.records.usage.long("event_time")[self.row])

    @property
    def append_time(self) -> int:
        """Microseconds."""
        return int(self.batch.append_times[self.place]) * 1000

    @cached_property
    def prepared(self) -> Prepared:
        """It alone."""
        return self.records.take(np.array([self.row]))


def records_of(records: Prepared, rows: Int64Array, batch: LogBatch) -> list[Record]:
    """Some rows (ascending) of records that are not refused."""
    usage, keys = records.usage, records.keys.take(rows)
    accounts, sources, events, originals, kinds, runs = (
        _texts(usage, name, rows)
        for name in ("billing_account_id", "source", "event_id", "amends_event_id", "event_kind", "run_id")
    )
    pairs = [(account or "", source or "") for account, source in zip(accounts, sources, strict=True)]
    about = [(*pair, original or "") for pair, original in zip(pairs, originals, strict=True)]
    columns = zip(
        rows.tolist(), kinds, pairs, events, about, names_of(keys), identity_hashes(about), keys.content.tolist(),
        keys.offset.tolist(), runs, strict=True,
    )  # fmt: skip
    return [
        Record(records, row, batch, kind or "USAGE", (*pair, event or ""), *more)
        for row, kind, pair, event, *more in columns
    ]


def _texts(usage: UsageColumns, name: str, rows: Int64Array) -> list[str | None]:
    if name in usage.plain:
        return list(usage.plain[name].take(pa.array(rows)).to_pylist())
    if name not in usage.texts:
        return [None] * len(rows)
    column = usage.texts[name].take(rows).compact()
    values = [*column.values.to_pylist(), None]
    return [values[code] for code in column.codes.tolist()]
