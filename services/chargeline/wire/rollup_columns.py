"""From a message of panes to the columns that anomaly detection reads; no row is touched by itself."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.anomaly.cells import MEASURES
from chargeline.domain.anomaly.panes import CURRENCY, DIMENSIONS, Panes
from chargeline.domain.columns.exact import Exact
from chargeline.domain.usage import Text
from chargeline.wire.arrow_messages import decode

# Columns of the panes behind the measures: what the cost panes know, what the performance panes know.
COST = {"events": "event_count", "errors": "error_count", "unrated": "unrated_count"}
PERFORMANCE = {
    "measured": "event_count",
    "retries": "retry_count",
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "output_tokens": "output_tokens",
}
_SMALL = 1 << 62


def cost_panes(value: bytes) -> Panes:
    """The panes of a message of `cost-rollups`.

    Raises:
        pa.ArrowInvalid, KeyError: it is none.
    """
    table = decode(value).combine_chunks()
    return _panes(table, (*DIMENSIONS, CURRENCY), _exact(_column(table, "billed_cost")), COST)


def performance_panes(value: bytes) -> Panes:
    """The panes of a message of `performance-rollups`. Raises as `cost_panes`."""
    table = decode(value).combine_chunks()
    return _panes(table, DIMENSIONS, Exact(np.zeros(table.num_rows, np.int64)), PERFORMANCE)


def joined(parts: list[Panes]) -> Panes | None:
    """The panes of all slices of a unit, in order; None: there are none."""
    parts = [each for each in parts if len(each)]
    if len(parts) < 2:
        return parts[0] if parts else None
    large: dict[int, int] = {}
    at = 0
    for each in parts:
        large |= {at + row: number for row, number in each.cost.large.items()}
        at += len(each)
    return Panes(
        texts={name: _chained([each.texts[name] for each in parts]) for name in parts[0].texts},
        window_start=np.concatenate([each.window_start for each in parts]),
        pane_index=np.concatenate([each.pane_index for each in parts]),
        cost=Exact(np.concatenate([each.cost.values for each in parts]), large),
        measures=np.concatenate([each.measures for each in parts], axis=1),
    )


def _panes(table: pa.Table, texts: tuple[str, ...], cost: Exact, names: dict[str, str]) -> Panes:
    measures = np.zeros((len(MEASURES), table.num_rows), np.int64)
    for measure, name in names.items():
        measures[MEASURES.index(measure)] = _column(table, name).to_numpy(zero_copy_only=False)
    return Panes(
        texts={name: _text(_column(table, name)) for name in texts},
        window_start=_column(table, "window_start").cast(pa.int64()).to_numpy(zero_copy_only=False),
        pane_index=_column(table, "pane_index").to_numpy(zero_copy_only=False).astype(np.int64),
        cost=cost,
        measures=measures,
    )


def _column(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    # A message without rows may have no chunk at all.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _text(column: Any) -> Text:
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Text(codes, column.dictionary)


def _chained(texts: list[Text]) -> Text:
    codes: list[npt.NDArray[np.int32]] = []
    values: list[str] = []
    for text in texts:
        codes.append(np.where(text.codes < 0, -1, text.codes + len(values)).astype(np.int32))
        values += text.values.to_pylist()
    return Text(np.concatenate(codes), pa.array(values, pa.string()))


def _exact(column: Any) -> Exact:
    """Decimal(38, 12) as whole picounits: 16 bytes a number, little-endian."""
    if not len(column):
        return Exact(np.zeros(0, np.int64))
    words = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)[column.offset : column.offset + len(column)]
    low, high = words[:, 0], words[:, 1]
    fits = (high == low >> 63) & (np.abs(low) < _SMALL)
    large = {row: (int(high[row]) << 64) + int(low[row]) % (1 << 64) for row in np.flatnonzero(~fits).tolist()}
    return Exact(np.where(fits, low, 0), large)
