"""Columns that a columnar message leaves out because all its rows hold the same well-known value.

The value stands in the schema (`left_out`; null for what may be null), ClickHouse has it as the column's default, and
readers of rows complete them here. Most events set few of their dimensions: this halves a message.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from chargeline.wire._generated import LEFT_OUT


def completed(rows: Iterable[dict[str, Any]], record: str) -> Iterator[dict[str, Any]]:
    """The rows of a message of a record (its name in the schemas) with every column that they may leave out."""
    flat = {name: value for name, value in LEFT_OUT[record].items() if "." not in name}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in LEFT_OUT[record].items():
        outer, _, inner = name.partition(".")
        if inner:
            nested.setdefault(outer, {})[inner] = value
    for row in rows:
        for outer, defaults in nested.items():
            row[outer] = [_with(entry, defaults) for entry in row[outer]]
        yield _with(row, flat)


def _with(row: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    missing = {name: value for name, value in defaults.items() if name not in row}
    return row | {name: row.get(value["same_as"]) if _is_reference(value) else value for name, value in missing.items()}


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and "same_as" in value
