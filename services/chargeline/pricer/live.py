"""Live windows: totals of recent windows by account, team and model, folded from the same panes as the log has.

A projection for `chargeline top` and gateways, never a source; it expires.
"""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from chargeline.wire.arrow_messages import decode, encode

KEYS = ["window_start", "billing_account_id", "team", "request_model", "billing_currency"]
SUMS = ["billed_cost", "event_count", "error_count", "unrated_count"]
_WINDOWS_MAX = 120  # of a partition: two hours of one-minute windows


@dataclass(frozen=True)
class LiveTotals:
    """Totals by `KEYS`; None: none yet."""

    frame: pl.DataFrame | None

    @classmethod
    def of(cls, cost_rollups: pa.Table | None) -> "LiveTotals":
        if cost_rollups is None:
            return cls(None)
        frame = pl.from_arrow(cost_rollups.select([*KEYS, *SUMS]))
        assert isinstance(frame, pl.DataFrame)
        texts = [pl.col(name).cast(pl.String) for name in KEYS[1:]]
        return cls(frame.with_columns(texts).group_by(KEYS).agg(pl.col(SUMS).sum()))

    def plus(self, other: "LiveTotals") -> "LiveTotals":
        """Both together, with the newest windows only."""
        frames = [each.frame for each in (self, other) if each.frame is not None]
        if not frames:
            return self
        frame = pl.concat(frames).group_by(KEYS).agg(pl.col(SUMS).sum())
        newest = frame["window_start"].unique().sort(descending=True).head(_WINDOWS_MAX)
        return LiveTotals(frame.filter(pl.col("window_start").is_in(newest.implode())))

    def blobs(self, touched: "LiveTotals") -> dict[int, bytes]:
        """The whole blob of each window that `touched` has, by window start in microseconds."""
        if self.frame is None or touched.frame is None:
            return {}
        windows = touched.frame["window_start"].unique()
        frame = self.frame.filter(pl.col("window_start").is_in(windows.implode()))
        parts = frame.partition_by("window_start", as_dict=True)
        return {int(key[0].timestamp() * 1_000_000): encode(_table(part))[0] for key, part in parts.items()}

    @classmethod
    def from_blobs(cls, blobs: "dict[int, bytes]") -> "LiveTotals":
        tables = [pl.from_arrow(decode(blob)) for blob in blobs.values()]
        frames = [table for table in tables if isinstance(table, pl.DataFrame)]
        return cls(pl.concat(frames) if frames else None)


def _table(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    text = [
        pa.field(name, pa.string()) if name in KEYS[1:] else table.schema.field(name) for name in table.column_names
    ]
    return table.cast(pa.schema(text))
