"""Whole numbers in columns, exact beyond 64 bits: almost all rows fit an int64, the rest are kept as Python integers.

An int64 product wraps without an error, so every operation first proves that the rows of the fast way fit
(spec/rating.md 2); the others are worked out one by one, with the same result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64Array = npt.NDArray[np.int64]
T = TypeVar("T")

_FITS = 2.0**56  # far enough below 2**63 to cover the error of the float estimate of a product
_SUM_FITS = 1 << 62
AMOUNT_LIMIT = 10**38  # 10**26 units in 1e-12 steps: AMOUNT_OVERFLOW from here on
_WORD = 1 << 64


@dataclass(frozen=True)
class Exact:
    """n whole numbers.

    Attributes:
        values: int64; 0 where `large` has the row.
        large: the numbers that do not fit, by row.
    """

    values: Int64Array
    large: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def at(self, row: int) -> int:
        return self.large.get(row, int(self.values[row]))

    def take(self, rows: Int64Array) -> "Exact":
        return Exact(self.values[rows], taken(self.large, rows))

    def times(self, factor: Int64Array) -> "Exact":
        """Row by row."""
        result = product(self.values, factor)
        result.large.update({row: number * int(factor[row]) for row, number in self.large.items()})
        return result

    def over(self, divisor: Int64Array) -> "Exact":
        """Row by row; every number is a multiple of its divisor."""
        if not self.large and int(divisor.max(initial=1)) == 1:
            return self
        large = {row: number // int(divisor[row]) for row, number in self.large.items()}
        return Exact(self.values // divisor, large)

    def beyond_limit(self) -> list[int]:
        """Rows whose size no stored decimal can hold."""
        return [row for row, number in self.large.items() if abs(number) >= AMOUNT_LIMIT]

    def sum_by(self, group: Int64Array, groups: int) -> "Exact":
        """Sum the rows of each group; `group` is ascending, groups may be empty."""
        sums = np.zeros(groups, np.int64)
        large: dict[int, int] = {}
        if len(group):
            starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
            at = group[starts]
            longest = int(np.diff(np.append(starts, len(group))).max())
            if int(np.abs(self.values).max()) * longest < _SUM_FITS:
                sums[at] = np.add.reduceat(self.values, starts)
            else:
                high = np.add.reduceat(self.values >> 32, starts)
                low = np.add.reduceat(self.values & 0xFFFFFFFF, starts)
                fits = np.abs(high) < _SUM_FITS >> 33
                sums[at[fits]] = (high[fits] << 32) + low[fits]
                wide = np.flatnonzero(~fits)
                parts = zip(at[wide].tolist(), high[wide].tolist(), low[wide].tolist(), strict=True)
                large = {number: (upper << 32) + lower for number, upper, lower in parts}
        for row, number in self.large.items():
            place = int(group[row])
            large[place] = large.get(place, int(sums[place])) + number
        for place in large:
            sums[place] = 0
        return Exact(sums, large)

    def decimal(self, scale: int, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
        """As Decimal(38, 12), the numbers being multiples of 10**-scale; null where not `valid`."""
        values, step = self.values, 10 ** (12 - scale)
        if max(-int(values.min(initial=0)), int(values.max(initial=0))) * step < _SUM_FITS:
            values, scale = values * step, 12  # a cast of 16-byte numbers takes five times as long
        words = np.empty((len(self), 2), np.int64)
        words[:, 0] = values
        words[:, 1] = values >> 63
        raw = pa.Array.from_buffers(pa.decimal128(38, scale), len(self), [_bitmap(valid), pa.py_buffer(words)])
        small = raw if scale == 12 else raw.cast(pa.decimal128(38, 12))
        if not self.large:
            return small
        stored = np.frombuffer(small.buffers()[1], np.uint64)[: 2 * len(self)].reshape(-1, 2).copy()
        for row, number in self.large.items():
            scaled = number * step
            stored[row] = (scaled % _WORD, (scaled >> 64) % _WORD)
        return pa.Array.from_buffers(pa.decimal128(38, 12), len(self), [_bitmap(valid), pa.py_buffer(stored)])


def taken(by_row: Mapping[int, T], rows: Int64Array) -> dict[int, T]:
    """What some rows have, by their new number."""
    if not by_row:
        return {}
    at = np.flatnonzero(np.isin(rows, np.fromiter(by_row, np.int64)))
    return {new: by_row[int(rows[new])] for new in at.tolist()}


def _bitmap(valid: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())


def product(left: Int64Array, right: Int64Array) -> Exact:
    """Left * right, row by row."""
    fits = np.abs(left.astype(np.float64) * right) < _FITS
    if fits.all():
        return Exact(left * right)
    large = {row: int(left[row]) * int(right[row]) for row in np.flatnonzero(~fits).tolist()}
    return Exact(np.where(fits, left, 0) * np.where(fits, right, 0), large)


@dataclass(frozen=True)
class Ratios:
    """Reduced fractions numerator/denominator >= 0 by number, as int64 and, for the slow way, exact.

    A fraction that does not fit has numerator 2**62: no product with it ever counts as fitting.
    """

    numerator: Int64Array
    denominator: Int64Array
    exact: list[tuple[int, int]]

    @classmethod
    def of(cls, exact: list[tuple[int, int]]) -> "Ratios":
        small = [(n, d) if n < _FITS and d < _FITS else (1 << 62, 1) for n, d in exact]
        pairs = np.array(small, np.int64).reshape(-1, 2)
        return cls(pairs[:, 0].copy(), pairs[:, 1].copy(), exact)


def scale(quantity: Int64Array, ratio: Int64Array, ratios: Ratios, times: Int64Array | None = None) -> Exact:
    """Quantity * ratio, rounded half away from zero, then * times; row by row.

    Args:
        quantity: int64 >= 0.
        ratio: int64, number of each row's fraction in `ratios`.
        times: int64 >= 1; None: 1.

    Source: spec/rating.md, sections 2 (Q12) and 11 (weights).
    """
    numerator, denominator = ratios.numerator[ratio], ratios.denominator[ratio]
    size = quantity.astype(np.float64) * numerator
    fits = (size < _FITS) & (size * (1.0 if times is None else times) < _FITS * denominator)
    large: dict[int, int] = {}
    for row in np.flatnonzero(~fits).tolist():
        n, d = ratios.exact[int(ratio[row])]
        large[row] = (2 * int(quantity[row]) * n + d) // (2 * d) * (1 if times is None else int(times[row]))
    if large:
        quantity = np.where(fits, quantity, 0)
    if denominator.max(initial=1) == 1:
        result = quantity * numerator
    else:
        result = (2 * quantity * numerator + denominator) // (2 * denominator)
    if times is not None:
        result *= np.where(fits, times, 0)
    return Exact(result, large)


def scaled(quantity: Exact, ratio: Int64Array, ratios: Ratios) -> Exact:
    """Quantity (>= 0, of any size) * ratio, rounded half away from zero; row by row."""
    result = scale(quantity.values, ratio, ratios)
    for row, number in quantity.large.items():
        n, d = ratios.exact[int(ratio[row])]
        result.values[row] = 0
        result.large[row] = (2 * number * n + d) // (2 * d)
    return result
