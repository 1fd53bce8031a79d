"""Live windows: totals of recent windows by account, team and model, folded from the same panes as the log has.

A projection for `chargeline top` and gateways, never a source; it expires.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.columns.codes import combine, dense_codes
from chargeline.wire.arrow_messages import decode, encode_whole

Int64Array = npt.NDArray[np.int64]
KEYS = ["billing_account_id", "team", "request_model", "billing_currency"]
SUMS = ["billed_cost", "event_count", "error_count", "unrated_count"]
VARIANCE = "cost_variance"  # where an event of the window is sampled; else the column is not there
_WINDOWS_MAX = 120  # of a partition: two hours of one-minute windows


@dataclass(frozen=True)
class LiveTotals:
    """Totals by `KEYS` of each window, by its start; a unit touches few windows, so only those are added up."""

    windows: Mapping[datetime, pl.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, cost_rollups: pa.Table | None) -> "LiveTotals":
        """What the panes of one unit add."""
        if cost_rollups is None:
            return cls()
        summed = _summed(cost_rollups.column_names)
        panes = cost_rollups.select(["window_start", *KEYS, *summed]).combine_chunks()
        window, _ = dense_codes(panes["window_start"].cast(pa.int64()).to_numpy())
        keys = [panes[name].chunk(0) for name in KEYS]
        coded = [(_codes(key), len(key.dictionary) + 1) for key in keys]
        code, first = combine([(window, int(window.max()) + 1), *coded], len(window))
        # Grouping numbers is many times faster than grouping the texts that they stand for.
        sums = pl.DataFrame({"code": code} | {name: pl.Series(panes[name].chunk(0)) for name in summed})
        sums = sums.group_by("code").agg(pl.col(summed).sum()).sort("code").drop("code")
        rows = pa.array(first)
        names = {name: pl.Series(key.take(rows).cast(pa.string())) for name, key in zip(KEYS, keys, strict=True)}
        start = pl.Series(panes["window_start"].chunk(0).take(rows))
        frame = pl.DataFrame({"window_start": start} | names).hstack(sums)
        return cls({key[0]: part for key, part in frame.partition_by("window_start", as_dict=True).items()})

    def plus(self, other: "LiveTotals") -> "LiveTotals":
        """Both together, with the newest windows only."""
        joined = dict(self.windows)
        for start, frame in other.windows.items():
            known = joined.get(start)
            joined[start] = frame if known is None else _sum(pl.concat([known, frame], how="diagonal"))
        return LiveTotals({start: joined[start] for start in sorted(joined)[-_WINDOWS_MAX:]})

    def blobs(self, touched: "LiveTotals") -> dict[int, bytes]:
        """The whole blob of each window that `touched` has, by window start in microseconds."""
        kept = [start for start in touched.windows if start in self.windows]
        return {int(start.timestamp()) * 1_000_000: encode_whole(_table(self.windows[start])) for start in kept}

    @classmethod
    def from_blobs(cls, blobs: Mapping[int, bytes]) -> "LiveTotals":
        frames = [frame for blob in blobs.values() if isinstance(frame := pl.from_arrow(decode(blob)), pl.DataFrame)]
        return cls({frame["window_start"][0]: frame for frame in frames if len(frame)})

    def frame(self, newest: int) -> pl.DataFrame | None:
        """All rows of the newest windows; None: there are none."""
        starts = sorted(self.windows)[-newest:]
        return pl.concat([self.windows[start] for start in starts], how="diagonal") if starts else None


def _codes(key: pa.DictionaryArray) -> Int64Array:
    return pc.fill_null(key.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64) + 1


def _sum(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("window_start", *KEYS).agg(pl.col(_summed(frame.columns)).sum())


def _summed(names: Sequence[str]) -> list[str]:
    return [*SUMS, VARIANCE] if VARIANCE in names else SUMS


def _table(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    fields = [pa.field(name, pa.string()) if name in KEYS else table.schema.field(name) for name in table.column_names]
    return table.cast(pa.schema(fields))
