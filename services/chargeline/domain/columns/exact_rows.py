"""Putting columns of whole numbers (`Exact`) together, adding them and storing them as 128-bit decimals."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from chargeline.domain.columns.exact import Exact, Int64Array

_HALF = 1 << 62
_WORD = 1 << 64


def exact_of(numbers: Iterable[int]) -> Exact:
    """A column of Python integers."""
    given = list(numbers)
    large = {row: number for row, number in enumerate(given) if abs(number) >= _HALF}
    return Exact(np.array([0 if row in large else number for row, number in enumerate(given)], np.int64), large)


def joined(parts: Sequence[Exact]) -> Exact:
    """One after the other."""
    large: dict[int, int] = {}
    start = 0
    for part in parts:
        large.update({start + row: number for row, number in part.large.items()})
        start += len(part)
    return Exact(np.concatenate([part.values for part in parts]) if parts else np.zeros(0, np.int64), large)


def negative(column: Exact) -> Exact:
    return Exact(-column.values, {row: -number for row, number in column.large.items()})


def plus(left: Exact, right: Exact) -> Exact:
    """Row by row."""
    wide = np.flatnonzero((np.abs(left.values) >= _HALF) | (np.abs(right.values) >= _HALF))
    rows = {*wide.tolist(), *left.large, *right.large}
    if not rows:
        return Exact(left.values + right.values)
    at = np.fromiter(rows, np.int64)
    values = np.where(_marked(at, len(left)), 0, left.values) + np.where(_marked(at, len(left)), 0, right.values)
    return with_numbers(values, {row: left.at(row) + right.at(row) for row in rows})


def with_numbers(values: Int64Array, numbers: dict[int, int]) -> Exact:
    """The column with some rows replaced; changes `values`."""
    large = {}
    for row, number in numbers.items():
        if abs(number) < _HALF:
            values[row] = number
        else:
            values[row] = 0
            large[row] = number
    return Exact(values, large)


def put(column: Exact, rows: Int64Array, new: Exact) -> Exact:
    """The column with the given rows (each once) replaced."""
    values = column.values.copy()
    values[rows] = new.values
    large = column.large
    if large:
        replaced = set(rows.tolist())
        large = {row: number for row, number in large.items() if row not in replaced}
    return Exact(values, {**large, **{int(rows[row]): number for row, number in new.large.items()}})


def as_decimals(column: Exact, scale: int) -> pa.Array:
    """As Decimal(38, scale), the numbers being multiples of 10**-scale."""
    words = np.empty((len(column), 2), np.uint64)
    words[:, 0] = column.values.view(np.uint64)
    words[:, 1] = (column.values >> 63).view(np.uint64)
    for row, number in column.large.items():
        words[row] = (number % _WORD, (number >> 64) % _WORD)
    return pa.Array.from_buffers(pa.decimal128(38, scale), len(column), [None, pa.py_buffer(words)])


def from_decimals(stored: pa.Array) -> Exact:
    """The inverse of `as_decimals`; no nulls."""
    words = np.frombuffer(stored.buffers()[1], np.int64)[2 * stored.offset : 2 * (stored.offset + len(stored))]
    low, high = words[0::2], words[1::2]
    wide = np.flatnonzero(low >> 63 != high)
    large = {row: (int(high[row]) << 64) + int(low[row]) % _WORD for row in wide.tolist()}
    return Exact(np.where(low >> 63 == high, low, 0), large)


def _marked(rows: Int64Array, length: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    marked = np.zeros(length, bool)
    marked[rows] = True
    return marked
