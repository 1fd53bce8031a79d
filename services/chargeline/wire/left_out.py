"""Columns that a columnar message leaves out because all its rows hold the same well-known value.

The value stands in the schema (`left_out`; null for what may be null), ClickHouse has it as the column's default, and
readers of rows complete them here. Most events set few of their dimensions: this halves a message.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from chargeline.wire._generated import LEFT_OUT


def completed(rows: Iterable[dict[str, Any]], record: str) -> Iterator[dict[str, Any]]:
    """The rows of a message of a record (its name in the schemas) with every column that they may leave out."""
    flat = _Defaults({name: value for name, value in LEFT_OUT[record].items() if "." not in name})
    nested: dict[str, dict[str, Any]] = {}
    for name, value in LEFT_OUT[record].items():
        outer, _, inner = name.partition(".")
        if inner:
            nested.setdefault(outer, {})[inner] = value
    inside = {outer: _Defaults(values) for outer, values in nested.items()}
    for row in rows:
        for outer, defaults in inside.items():
            row[outer] = [defaults.added_to(entry) for entry in row[outer]]
        yield flat.added_to(row)


class _Defaults:
    """Values by column. A reference, `{"same_as": column}`, is the value of another column of the same row."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._same_as = {name: value["same_as"] for name, value in values.items() if _is_reference(value)}

    def added_to(self, row: dict[str, Any]) -> dict[str, Any]:
        whole = row | self._values | row
        for name, other in self._same_as.items():
            if name not in row:
                whole[name] = row.get(other)
        return whole


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and "same_as" in value
