"""Live windows: totals of recent windows by account, team and model, folded from the same panes as the log has.

A projection for `chargeline top` and gateways, never a source; it expires.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
import pyarrow as pa

from chargeline.wire.arrow_messages import decode, encode_whole

KEYS = ["billing_account_id", "team", "request_model", "billing_currency"]
SUMS = ["billed_cost", "event_count", "error_count", "unrated_count"]
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
        frame = pl.from_arrow(cost_rollups.select(["window_start", *KEYS, *SUMS]))
        assert isinstance(frame, pl.DataFrame)
        frame = frame.with_columns(pl.col(name).cast(pl.String) for name in KEYS)
        sums = frame.group_by("window_start", *KEYS).agg(pl.col(SUMS).sum())
        return cls({key[0]: part for key, part in sums.partition_by("window_start", as_dict=True).items()})

    def plus(self, other: "LiveTotals") -> "LiveTotals":
        """Both together, with the newest windows only."""
        joined = dict(self.windows)
        for start, frame in other.windows.items():
            known = joined.get(start)
            joined[start] = frame if known is None else _sum(pl.concat([known, frame]))
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
        return pl.concat([self.windows[start] for start in starts]) if starts else None


def _sum(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("window_start", *KEYS).agg(pl.col(SUMS).sum())


def _table(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    fields = [pa.field(name, pa.string()) if name in KEYS else table.schema.field(name) for name in table.column_names]
    return table.cast(pa.schema(fields))
