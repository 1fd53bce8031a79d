"""Rows of `charges` as plain values, out of the columns of their messages."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

from chargeline.wire._generated import LEFT_OUT
from chargeline.wire.event_rows import moment_of

Row = dict[str, Any]
_LEFT_OUT = {name: value for name, value in LEFT_OUT["Charge"].items() if "." not in name}
_LEFT_OUT_OF_ENTRIES = {
    name.removeprefix("entries."): value for name, value in LEFT_OUT["Charge"].items() if name.startswith("entries.")
}


def rows_of(table: pa.Table) -> list[Row]:
    """The rows of a table of charges, complete and as plain values."""
    columns = {name: _values(table.column(name)) for name in table.column_names if name != "entries"}
    lists = table.column("entries").combine_chunks()
    flat = lists.flatten()
    names = [field.name for field in flat.type]
    entries = iter(_rows(dict(zip(names, map(_values, flat.flatten()), strict=True)), _LEFT_OUT_OF_ENTRIES, len(flat)))
    columns["entries"] = [list(islice(entries, length)) for length in lists.value_lengths().to_pylist()]
    return _rows(columns, _LEFT_OUT, table.num_rows)


def _rows(columns: dict[str, list[Any]], left_out: Mapping[str, Any], length: int) -> list[Row]:
    """Rows out of columns; those that are left out hold the same in every row, or what another column holds."""
    for name in left_out.keys() - columns.keys():
        value = left_out[name]
        is_same = isinstance(value, dict) and "same_as" in value
        columns[name] = columns.get(value["same_as"], [None] * length) if is_same else [value] * length
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _values(column: Any) -> list[Any]:
    """As `to_pylist`, which takes ten times as long for times."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        micros = column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64()).to_pylist()
        moments = {each: None if each is None else moment_of(each) for each in set(micros)}
        return [moments[each] for each in micros]
    if pa.types.is_decimal(kind):
        return list(column.to_numpy(zero_copy_only=False).tolist())
    return list(column.to_pylist(maps_as_pydicts="strict"))
