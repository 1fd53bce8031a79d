"""Priced events and panes as Arrow tables of the released schemas."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.identities import Keys
from chargeline.domain.panes import GROUP, Groups, Panes, is_late
from chargeline.domain.rating.pricing import REASONS, Priced
from chargeline.domain.rating.rate_table import MATCH_KINDS
from chargeline.domain.rating.variances import of_events
from chargeline.domain.usage import MapEntries, Text, UsageColumns
from chargeline.wire._arrow import CHARGE, COST_ROLLUP, PERFORMANCE_ROLLUP
from chargeline.wire.charge_entries import entry_lists, text_column

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """Where n accepted events lie: one partition, int64 offsets, append times in milliseconds."""

    partition: int
    offsets: Int64Array
    append_times: Int64Array


def charges(
    usage: UsageColumns, priced: Priced, keys: Keys, source: Source, groups: Groups, governance_sequence: int
) -> pa.Table:
    """One row for each accepted event, in the order given (that of the source offsets).

    Columns whose rows all hold their `left_out` value are not made (wire/left_out.py).
    """
    length = usage.length
    rated = priced.reason < 0
    entries = priced.entries
    hashes = np.frombuffer(keys.stored(), np.uint8).reshape(-1, 24)
    columns: dict[str, pa.Array] = {
        "source_partition": _constant(source.partition, length, pa.int32()),
        "source_offset": pa.array(source.offsets),
        "append_time": pa.array(source.append_times).cast(pa.timestamp("ms", "UTC")),
        "identity_hash": _fixed(hashes[:, :12]),
        "content_hash": _fixed(hashes[:, 12:16]),
        "window_start": pa.array(groups.window_start).cast(pa.timestamp("us", "UTC")),
        "billing_period_start": pa.array(priced.period_start).cast(pa.timestamp("us", "UTC")),
        "billing_period_end": pa.array(priced.period_end).cast(pa.timestamp("us", "UTC")),
        "billing_currency": text_column(priced.currency),
        "contracted_cost": entries.contracted.sum_by(entries.row, length).decimal(12, rated),
        "governance_sequence": _constant(governance_sequence, length, pa.int64()),
    }
    if not rated.all():
        columns["outcome"] = _coded(np.where(rated, 0, 1), ("CHARGED", "UNRATED"))
        columns["reason"] = _coded(priced.reason, REASONS)
    if not (priced.match == MATCH_KINDS.index("EXACT")).all():
        columns["match_kind"] = _coded(priced.match, MATCH_KINDS)
    variance = of_events(entries, usage.longs.get("sample_weight"), length)
    if variance is not None:
        columns["estimated"] = variance.is_valid()
        columns["cost_variance"] = variance
    if entries.listed is not entries.contracted:
        columns["list_cost"] = entries.listed.sum_by(entries.row, length).decimal(12, rated)
    columns["entries"] = entry_lists(entries, length, priced.table)
    for field in CHARGE:
        found = None if field.name in columns else _usage_column(usage, field)
        if found is not None:
            columns[field.name] = found
    fields = [field for field in CHARGE if field.name in columns]
    schema = pa.schema([field.with_type(columns[field.name].type) for field in fields])
    return pa.Table.from_arrays([columns[field.name] for field in fields], schema=schema)


def cost_rollups(panes: Panes, usage: UsageColumns, groups: Groups, names: Mapping[str, Any]) -> pa.Table:
    """Panes of one unit and partition; `names` has source_partition, unit_end_offset, both watermarks.

    `cost_variance` is not made where no event is sampled.
    """
    columns = _pane_columns(panes, usage, groups, names)
    fields = [field for field in COST_ROLLUP if field.name in columns]
    return pa.Table.from_arrays([columns[field.name] for field in fields], schema=pa.schema(fields))


def performance_rollups(panes: Panes, usage: UsageColumns, groups: Groups, names: Mapping[str, Any]) -> pa.Table:
    """Likewise."""
    columns = _pane_columns(panes, usage, groups, names)
    return pa.Table.from_arrays(
        [columns[field.name].cast(field.type) for field in PERFORMANCE_ROLLUP], schema=PERFORMANCE_ROLLUP
    )


def _pane_columns(panes: Panes, usage: UsageColumns, groups: Groups, names: Mapping[str, Any]) -> dict[str, pa.Array]:
    event = panes.event
    length = len(event)
    start = groups.window_start[event]
    late = is_late(start, groups.window_us, names["watermark_before"])
    columns: dict[str, pa.Array] = {
        name: text_column(usage.texts[name].take(event)) if name in usage.texts else _no_text(length) for name in GROUP
    }
    columns["window_start"] = pa.array(start).cast(pa.timestamp("us", "UTC"))
    columns["window_end"] = pa.array(start + groups.window_us).cast(pa.timestamp("us", "UTC"))
    columns["pane"] = _coded(late.astype(np.int64), ("EARLY", "LATE"))
    columns["source_partition"] = _constant(names["source_partition"], length, pa.int32())
    columns["unit_end_offset"] = _constant(names["unit_end_offset"], length, pa.int64())
    columns["pane_index"] = pa.array(np.arange(length, dtype=np.int32))
    watermark = names["watermark"]
    columns["watermark"] = pa.repeat(pa.scalar(watermark, pa.int64()), length).cast(pa.timestamp("us", "UTC"))
    for name, sums in panes.columns.items():
        columns[name] = text_column(sums) if isinstance(sums, Text) else pa.array(sums)
    return columns


def _usage_column(usage: UsageColumns, field: pa.Field) -> pa.Array | None:
    """A column of the event; None: all its rows hold the default."""
    name = field.name
    if name in usage.texts:
        return text_column(usage.texts[name])
    if name in usage.plain:
        return usage.plain[name]
    if name in usage.longs:
        return pa.array(usage.longs[name]).cast(field.type)
    if name in usage.nullable:
        values, valid = usage.nullable[name]
        return pa.array(values, mask=None if valid.all() else ~valid).cast(field.type)
    return _map(usage.maps[name], usage.length) if name in usage.maps else None


def _map(column: MapEntries, length: int) -> pa.Array:
    offsets = np.searchsorted(column.rows, np.arange(length + 1)).astype(np.int32)
    keys = column.keys.values.take(pa.array(column.keys.codes))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(column.values))


def _coded(codes: npt.NDArray[Any], values: tuple[str, ...]) -> pa.DictionaryArray:
    """A dictionary column; a negative code is null. Values may repeat: equal ones are joined."""
    distinct = list(dict.fromkeys(values))
    if len(distinct) < len(values):
        number = {value: at for at, value in enumerate(distinct)}
        place = np.array([number[value] for value in values])
        codes = np.where(codes < 0, -1, place[codes])
    return text_column(Text(codes.astype(np.int32), pa.array(distinct, pa.string())))


def _no_text(length: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.nulls(length, pa.int32()), pa.array([], pa.string()))


def _constant(value: Any, length: int, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), length)


def _fixed(rows: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))])
