"""Live windows: totals of recent windows by account, team and model, folded from the same panes as the log has.

A projection for `chargeline top` and gateways, never a source; it expires.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

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
    """What a unit adds to the totals by `KEYS` of the few windows that it touches; by start in microseconds."""

    windows: Mapping[int, pl.DataFrame] = field(default_factory=dict)

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
        return cls({_start(part): part for part in frame.partition_by("window_start")})


@dataclass(frozen=True)
class LiveWindows:
    """The newest windows of a partition, by start in microseconds, each as the blob that the store has.

    A table takes three times the bytes of its blob, and of two hours of windows a unit touches the last ones.
    """

    blobs: Mapping[int, bytes] = field(default_factory=dict)

    def plus(self, added: LiveTotals) -> "LiveWindows":
        """Both together, with the newest windows only."""
        joined = dict(self.blobs)
        for start, frame in added.windows.items():
            known = joined.get(start)
            total = frame if known is None else _sum(pl.concat([_frame(known), frame], how="diagonal"))
            joined[start] = encode_whole(_table(total))
        return LiveWindows({start: joined[start] for start in sorted(joined)[-_WINDOWS_MAX:]})

    def touched_by(self, added: LiveTotals) -> dict[int, bytes]:
        """The blobs of the windows that `added` has."""
        return {start: self.blobs[start] for start in added.windows if start in self.blobs}


def newest_rows(partitions: Sequence[Mapping[int, bytes]], windows: int) -> pl.DataFrame | None:
    """All rows of the newest windows of some partitions, from their blobs; None: there are none."""
    starts = sorted({start for blobs in partitions for start in blobs})[-windows:]
    frames = [_frame(blobs[start]) for start in starts for blobs in partitions if start in blobs]
    return pl.concat(frames, how="diagonal") if frames else None


def _start(frame: pl.DataFrame) -> int:
    return int(frame["window_start"][0].timestamp()) * 1_000_000


def _frame(blob: bytes) -> pl.DataFrame:
    return cast("pl.DataFrame", pl.from_arrow(decode(blob)))


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
