"""The rows of a columnar message as plain Python values, a column at a time: thrice as fast as a cell at a time."""

from typing import Any

import pyarrow as pa

# The pool of threads costs ten times what a message of few rows takes.
_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)


def rows(value: bytes) -> list[dict[str, Any]]:
    """One dict a row. Timestamps are integers of their column's unit, maps are dicts."""
    table = pa.ipc.open_stream(value, options=_OPTIONS).read_all()
    columns = [[cell for chunk in column.chunks for cell in _cells(chunk)] for column in table.columns]
    names = table.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _cells(array: Any) -> list[Any]:
    kind = array.type
    if array.null_count == len(array):
        return [None] * len(array)
    if pa.types.is_dictionary(kind):
        words = array.dictionary.to_pylist()
        return [None if code is None else words[code] for code in array.indices.to_pylist()]
    if pa.types.is_timestamp(kind):
        return list(array.cast(pa.int64()).to_pylist())
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return _lists(array)
    return list(array.to_pylist(maps_as_pydicts="lossy"))


def _lists(array: Any) -> list[Any]:
    """Lists of records; none of them is null in what we write."""
    records = array.flatten()
    fields = [field.name for field in records.type]
    columns = [_cells(records.field(number)) for number in range(len(fields))]
    flat = [dict(zip(fields, cells, strict=True)) for cells in zip(*columns, strict=True)]
    found, start = [], 0
    for length in array.value_lengths().to_pylist():
        found.append(flat[start : start + length])
        start += length
    return found
