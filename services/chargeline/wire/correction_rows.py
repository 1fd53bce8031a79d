"""Rows of `charges` that corrections make one at a time, and how they join those that are made in columns.

A record may book several rows; `source_index` numbers them. A row that takes something back has the attributes of
what it takes back and the identity of the record that does it, so that sums by any attribute come right; the last row
of a record is about the record itself.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.rating.booked_entries import CORRECTION, BookedEntry, Span
from chargeline.wire._arrow import CHARGE, COST_ROLLUP
from chargeline.wire._generated import LEFT_OUT
from chargeline.wire.charge_rows import Row
from chargeline.wire.event_rows import EXACT, moment_of

_NO_ENTRIES: Row = {"entries": [], "outcome": "UNRATED", "match_kind": "NONE", "billing_currency": None,
               "list_cost": None, "contracted_cost": None, "effective_cost": None, "billed_cost": None,
               "cost_variance": None, "charge_class": None}  # fmt: skip


def taken_back(row: Mapping[str, Any], event_id: str, entries: Sequence[BookedEntry], period: Span) -> Row:
    """A row that undoes what another one booked: its attributes, the entries given, and where they are billed.

    Args:
        event_id: the event that the entries are about.
    """
    variance = row["cost_variance"]
    changed = {
        "was_unrated": row["outcome"] == "UNRATED",
        "outcome": "CHARGED",
        "reason": None,
        "cost_variance": None if variance is None else variance.copy_negate(),
    }
    made = with_entries({**row, **changed}, entries, period)
    for entry in made["entries"]:
        entry["event_id"] = event_id
    return made


def rebilled(row: Mapping[str, Any], entries: Sequence[BookedEntry], period: Span) -> Row:
    """The row of an event with other entries, where it is billed; one without a price keeps that it has none."""
    if row["outcome"] == "UNRATED":
        return {**row, **_billing_period(period)}
    return with_entries(row, entries, period)


def closing(row: Mapping[str, Any], period: Span) -> Row:
    """The row of a control record that closes a period and books nothing."""
    return with_entries({**row, "outcome": "CHARGED", "reason": None, "match_kind": "NONE"}, (), period)


def with_entries(row: Mapping[str, Any], entries: Sequence[BookedEntry], period: Span) -> Row:
    """The row with these entries and their sums, billed in a period."""
    contracted = _decimal(sum(entry.contracted_cost for entry in entries))
    is_correction = bool(entries) and all(entry.charge_class == CORRECTION for entry in entries)
    billed = {**row, **_billing_period(period)}
    return {
        **billed,
        "charge_class": CORRECTION if is_correction else None,
        "entries": [_entry(entry, billed) for entry in entries],
        "list_cost": _decimal(sum(entry.list_cost for entry in entries)),
        "contracted_cost": contracted,
        "effective_cost": _decimal(sum(_cost(entry, entry.effective_cost) for entry in entries)),
        "billed_cost": _decimal(sum(_cost(entry, entry.billed_cost) for entry in entries)),
    }


def _cost(entry: BookedEntry, cost: int | None) -> int:
    return entry.contracted_cost if cost is None else cost


def _billing_period(period: Span) -> Row:
    return {"billing_period_start": moment_of(period[0]), "billing_period_end": moment_of(period[1])}


def unrated(row: Mapping[str, Any], reason: str) -> Row:
    """The row without a price."""
    return {**row, **_NO_ENTRIES, "reason": reason}


def _entry(entry: BookedEntry, row: Mapping[str, Any]) -> Row:
    """As the schema has it; what is the same as in the row is left null, as in rows made in columns."""
    converted = entry.fx_rate is not None
    period = (moment_of(entry.billing_period[0]), moment_of(entry.billing_period[1]))
    is_whole = period == (row["billing_period_start"], row["billing_period_end"])
    start = moment_of(entry.charge_time)
    return {
        "entry_kind": entry.entry_kind,
        "sku_id": entry.sku_id,
        "sku_price_id": entry.sku_price_id,
        "rate_card_id": entry.rate_card_id,
        "rate_card_version": entry.rate_card_version,
        "leaf": entry.leaf,
        "consumed_quantity": _decimal(entry.consumed_quantity),
        "consumed_unit": entry.consumed_unit,
        "pricing_quantity": _optional(entry.pricing_quantity),
        "pricing_unit": entry.pricing_unit,
        "list_unit_price": _optional(entry.list_unit_price, 18),
        "contracted_unit_price": _optional(entry.contracted_unit_price, 18),
        "list_cost": _decimal(entry.list_cost),
        "contracted_cost": _decimal(entry.contracted_cost),
        "charge_category": entry.charge_category,
        "charge_class": entry.charge_class,
        "charge_period_start": None if start == row["event_time"] else start,
        "billing_period_start": None if is_whole else period[0],
        "billing_period_end": None if is_whole else period[1],
        "pricing_currency": entry.pricing_currency if converted else None,
        "pricing_cost": _decimal(entry.pricing_cost) if converted else None,
        "fx_rate": _optional(entry.fx_rate, 18),
        "fx_rate_id": entry.fx_rate_id,
        "waived_cost": _optional(entry.waived_cost),
        "pool": entry.pool,
        "scope_key": entry.scope_key,
        "scope_quantity": _decimal(entry.scope_quantity, 0) if entry.scope_quantity else None,
        "scope_amount": _decimal(entry.scope_amount) if entry.scope_amount else None,
        "scope_count": entry.scope_count or None,
        "effective_cost": _decimal(_cost(entry, entry.effective_cost)),
        "billed_cost": _decimal(_cost(entry, entry.billed_cost)),
        "event_id": entry.event_id,
    }


def joined(tables: Sequence[pa.Table], rows: Sequence[Row]) -> pa.Table:
    """All charges of a unit with every column, in the order of their coordinates."""
    made = [whole(table) for table in tables if table.num_rows]
    if rows or not made:
        made.append(_table(rows, CHARGE))
    found = pa.concat_tables(made)
    offset = found.column("source_offset").to_numpy()
    order = np.lexsort((found.column("source_index").to_numpy(), offset))
    return found.take(pa.array(order)) if (np.diff(order) != 1).any() else found


def whole(table: pa.Table) -> pa.Table:
    """A table of charges with the columns that it leaves out; dictionaries become plain texts."""
    schema = plain(CHARGE)
    columns: list[Any] = []
    for field in schema:
        if field.name == "entries":
            columns.append(_whole_entries(table.column("entries"), field.type))
        elif field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        else:
            columns.append(_default(LEFT_OUT["Charge"][field.name], field.type, table.num_rows, table.column))
    return pa.table(columns, schema=schema)


def billed_elsewhere(
    charges: pa.Table,
    at: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    is_correction: npt.NDArray[np.bool_],
) -> pa.Table:
    """The charges of point events; those at `at` are billed in another period (microseconds), or as corrections."""
    table = whole(charges)
    entries = table.column("entries").combine_chunks()
    lengths = entries.value_lengths().to_numpy(zero_copy_only=False)
    chosen = np.zeros(table.num_rows, bool)
    chosen[at] = is_correction & (lengths[at] > 0)
    for name, values in (("billing_period_start", start), ("billing_period_end", end)):
        column = table.column(name).cast(pa.int64()).to_numpy().copy()
        column[at] = values
        table = _set(table, name, pa.array(column).cast(pa.timestamp("us", "UTC")))
    table = _set(table, "charge_class", _corrections(chosen))
    flat, kind = entries.flatten(), entries.type.value_type
    columns = [flat.field(field.name) for field in kind]
    columns[kind.get_field_index("charge_class")] = _corrections(np.repeat(chosen, lengths))
    rows = pa.StructArray.from_arrays(columns, fields=list(kind))
    return _set(table, "entries", pa.ListArray.from_arrays(entries.offsets, rows).cast(entries.type))


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)


def _corrections(chosen: npt.NDArray[np.bool_]) -> pa.StringArray:
    return pa.array([CORRECTION]).take(pa.array(np.zeros(len(chosen), np.int64), mask=~chosen))


def _whole_entries(column: pa.ChunkedArray, kind: pa.ListType) -> pa.Array:
    entries = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    flat = entries.flatten()
    names = {field.name for field in flat.type}
    columns: list[pa.Array] = []
    for field in kind.value_type:
        if field.name in names:
            columns.append(flat.field(field.name).cast(field.type))
        else:
            value = LEFT_OUT["Charge"][f"entries.{field.name}"]
            columns.append(_default(value, field.type, len(flat), flat.field))
    offsets = entries.offsets.to_numpy()
    rows = pa.StructArray.from_arrays(columns, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), rows).cast(kind)


def _default(value: Any, kind: pa.DataType, length: int, column: Any) -> Any:
    if isinstance(value, dict) and "same_as" in value:
        return column(value["same_as"]).cast(kind)
    if pa.types.is_map(kind):
        return pa.array([{}] * length, kind)
    return pa.repeat(pa.scalar(value, kind), length)


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema with texts in the place of dictionaries."""
    return pa.schema([pa.field(each.name, _plain_type(each.type)) for each in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        fields = [pa.field(each.name, _plain_type(each.type)) for each in kind.value_type]
        return pa.list_(pa.struct(fields))
    return kind


def encoded(table: pa.Table) -> pa.Table:
    """Plain texts as dictionaries, as the columnar messages have them."""
    columns = []
    for field in CHARGE:
        column = table.column(field.name)
        if pa.types.is_dictionary(field.type):
            column = column.dictionary_encode().cast(field.type)
        elif field.name == "entries":
            column = _encoded_entries(column)
        columns.append(column)
    fields = [pa.field(field.name, column.type) for field, column in zip(CHARGE, columns, strict=True)]
    return pa.table(columns, schema=pa.schema(fields))


def _encoded_entries(column: pa.ChunkedArray) -> pa.Array:
    entries = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    flat, kind = entries.flatten(), CHARGE.field("entries").type.value_type
    columns = [
        flat.field(field.name).dictionary_encode() if pa.types.is_dictionary(field.type) else flat.field(field.name)
        for field in kind
    ]
    fields = [pa.field(field.name, each.type) for field, each in zip(kind, columns, strict=True)]
    offsets = entries.offsets.to_numpy()
    return pa.ListArray.from_arrays(
        pa.array(offsets - offsets[0], pa.int32()), pa.StructArray.from_arrays(columns, fields=fields)
    )


def are_last(rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """By row of a partition in log order, whether it is its record's own: those before it take something back."""
    names = [(row["source_offset"], row["identity_hash"]) for row in rows]
    return [name != following for name, following in zip(names, [*names[1:], None], strict=False)]


def signs_of(rows: Sequence[Row]) -> list[int]:
    """By row, 1: a new event; -1: one is taken back; 0: neither."""
    signs = []
    for row, is_last in zip(rows, are_last(rows), strict=True):
        if row["event_kind"] == "PERIOD_CLOSE":
            signs.append(0)
        elif row["event_kind"] == "CANCEL":
            signs.append(-1 if row["outcome"] == "CHARGED" else 0)
        else:
            signs.append(1 if is_last else -1)
    return signs


def panes_of(rows: Sequence[Row], signs: Sequence[int], names: Mapping[str, Any], window_us: int) -> pa.Table | None:
    """The panes of single rows, by group, window, SKU and currency. An event that is taken back counts -1.

    Args:
        signs: by row, 1: a new event; -1: one is taken back.
        names: source_partition, unit_end_offset, watermark_before, watermark.
    """
    found: dict[tuple[Any, ...], Row] = {}
    for row, sign in zip(rows, signs, strict=True):
        if row["event_kind"] == "PERIOD_CLOSE" and not row["entries"]:
            continue
        keys = [(entry["sku_id"] or None, entry) for entry in row["entries"]] or [(None, None)]
        for number, (sku_id, entry) in enumerate(keys):
            name = _pane_key(row, sku_id)
            if name not in found:
                found[name] = _empty_pane(row, sku_id, names, window_us, len(found))
            pane = found[name]
            if entry is not None:
                for column in _SUMS:
                    pane[column] = EXACT.add(pane[column], entry[column])
            if number == 0:
                if row["cost_variance"] is not None:
                    pane["cost_variance"] = EXACT.add(row["cost_variance"], pane["cost_variance"] or 0)
                pane["event_count"] += sign
                pane["error_count"] += sign * (row["status"] == "ERROR")
                pane["unrated_count"] += sign * row.get("was_unrated", row["outcome"] == "UNRATED")
    return _table(list(found.values()), COST_ROLLUP) if found else None


_SUMS = ("billed_cost", "list_cost", "consumed_quantity")


def _pane_key(row: Row, sku_id: str | None) -> tuple[Any, ...]:
    return (*_group_of(row), row["window_start"], sku_id, row["billing_currency"])


_GROUP = ("billing_account_id", "sub_account_id", "team", "project", "environment", "feature", "experiment_id",
          "deployment", "request_model")  # fmt: skip
_group_of = itemgetter(*_GROUP)


def _empty_pane(row: Row, sku_id: str | None, names: Mapping[str, Any], window_us: int, number: int) -> Row:
    start, before = row["window_start"], names["watermark_before"]
    end = start + timedelta(microseconds=window_us)
    late = before is not None and end <= moment_of(before)
    return {name: row[name] for name in _GROUP} | {
        "sku_id": sku_id,
        "billing_currency": row["billing_currency"],
        "window_start": start,
        "window_end": end,
        "pane": "LATE" if late else "EARLY",
        "source_partition": names["source_partition"],
        "unit_end_offset": names["unit_end_offset"],
        "pane_index": number,
        "watermark": None if names["watermark"] is None else moment_of(names["watermark"]),
        **dict.fromkeys(_SUMS, Decimal(0)),
        "cost_variance": None,
        "event_count": 0,
        "error_count": 0,
        "unrated_count": 0,
    }


def numbered(tables: Sequence[pa.Table]) -> pa.Table | None:
    """The panes of one unit together, numbered through."""
    made = [_every_column(table) for table in tables if table.num_rows]
    if not made:
        return None
    whole_unit = pa.concat_tables(made).unify_dictionaries().combine_chunks()
    place = whole_unit.schema.get_field_index("pane_index")
    numbers = pa.array(np.arange(whole_unit.num_rows, dtype=np.int32))
    return whole_unit.set_column(place, whole_unit.schema.field(place), numbers)


def _every_column(panes: pa.Table) -> pa.Table:
    for field in COST_ROLLUP:
        if field.name not in panes.column_names:  # left out where every pane has null
            panes = panes.append_column(field, pa.nulls(panes.num_rows, field.type))
    return panes.select(COST_ROLLUP.names).cast(COST_ROLLUP)


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    flat = plain(schema)
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in flat]
    table = pa.table(columns, schema=flat)
    return table if schema is CHARGE else table.cast(schema)


def _decimal(steps: int, places: int = 12) -> Decimal:
    """Whole steps of 10**-places."""
    return Decimal(steps).scaleb(-places, EXACT)


def _optional(steps: int | None, places: int = 12) -> Decimal | None:
    return None if steps is None else _decimal(steps, places)


__all__ = [
    "are_last",
    "billed_elsewhere",
    "closing",
    "encoded",
    "joined",
    "numbered",
    "panes_of",
    "rebilled",
    "signs_of",
    "taken_back",
    "unrated",
    "whole",
    "with_entries",
]
