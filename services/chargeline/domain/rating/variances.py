"""The variance of what sampled events cost, and its sums.

Source: spec/rating.md, section 11.
"""

import numpy as np
import pyarrow as pa

from chargeline.domain.columns.exact import Exact, Int64Array
from chargeline.domain.rating.entries import Entries
from chargeline.domain.rating.price_points import KINDS

_SCALE = 24
_MOST = 10**38 - 1  # of Decimal(38, 24)
_SMALL_WEIGHT = 1_000_000  # w**3 of a remainder stays below 2**63
_LOW = np.uint64(0xFFFFFFFF)
_WORDS = 4  # of 32 bits
# What is an estimate: flat fees, discounts and caps belong to the scope of an event, not to the event.
_OWN = (KINDS.index("UNIT"), KINDS.index("PER_EVENT_FEE"))


def of_events(entries: Entries, weight: Int64Array | None, length: int) -> pa.Array | None:
    """The variance of what each event costs at unit prices, as `variances`; None: no event is sampled."""
    if weight is None or not (weight > 1).any():
        return None
    own = np.isin(entries.kind, _OWN)
    cost = entries.at(np.flatnonzero(own)).contracted if not own.all() else entries.contracted
    row = entries.row[own] if not own.all() else entries.row
    return variances(cost.sum_by(row, length), weight)


def sum_by(variance: pa.Array, group: Int64Array, groups: int) -> pa.Array:
    """The sum of n variances by group; null where a group has none.

    Args:
        variance: n of Decimal(38, 24), >= 0, or null.
        group: int64, n numbers below `groups`, in any order.

    Returns:
        Decimal(38, 24) by group, at most 10**14 - 10**-24.
    """
    valid = np.flatnonzero(variance.is_valid().to_numpy(zero_copy_only=False))
    stored = np.frombuffer(variance.buffers()[1], np.uint32).reshape(-1, _WORDS)
    words = stored[variance.offset :][valid].astype(np.int64)
    group = group[valid]
    totals = np.zeros((groups, _WORDS), np.int64)  # a sum of fewer than 2**31 words of 32 bits
    for word in range(_WORDS):
        np.add.at(totals[:, word], group, words[:, word])
    for word in range(_WORDS - 1):
        totals[:, word + 1] += totals[:, word] >> 32
    highest = totals[:, -1].copy()
    found = totals.astype(np.uint32)
    for row in np.flatnonzero(highest >= _MOST >> 96).tolist():
        number = min((int(highest[row]) << 96) + int.from_bytes(found[row, :-1].tobytes(), "little"), _MOST)
        found[row] = np.frombuffer(number.to_bytes(16, "little"), np.uint32)
    has = pa.py_buffer(np.packbits(np.bincount(group, minlength=groups) > 0, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.decimal128(38, _SCALE), groups, [has, pa.py_buffer(found)])


def variances(cost: Exact, weight: Int64Array) -> pa.Array:
    """c**2 * w * (w - 1) of n events, with c = cost / weight, rounded once; null where the weight is 1.

    Args:
        cost: picounits, >= 0, what the event stands for.
        weight: w, int64 >= 1.

    Returns:
        Decimal(38, 24), at most 10**14 - 10**-24: more does not fit.
    """
    # cost = a w + b gives cost**2 (w - 1) / w = (w - 1) a (cost + b) + (w - 1) b**2 / w, where only the last is no
    # whole number; so 128 bits of a product of two numbers suffice.
    quotient, rest = np.divmod(cost.values, weight)
    fits = (weight < _SMALL_WEIGHT) & ((weight - 1.0) * quotient < 2.0**62) & (cost.values >= 0)
    fits[list(cost.large)] = False
    weights, rest = np.where(fits, weight, 1), np.where(fits, rest, 0)
    left, right = (weights - 1) * np.where(fits, quotient, 0), np.where(fits, cost.values, 0) + rest
    high, low = _product(left.astype(np.uint64), right.astype(np.uint64))
    small = (2 * (weights - 1) * rest * rest + weights) // (2 * weights)
    total = low + small.astype(np.uint64)
    high += (total < low).astype(np.uint64)
    words = np.empty((len(weight), 2), np.uint64)
    words[:, 0], words[:, 1] = total, high
    sizes = high.astype(np.float64) * 2.0**64
    for row in np.flatnonzero(~fits | (sizes >= 0.9 * _MOST)).tolist():
        amount, times = cost.at(row), int(weight[row])
        number = min((2 * amount * amount * (times - 1) + times) // (2 * times), _MOST)
        words[row] = (number & (1 << 64) - 1, number >> 64)
    valid = pa.py_buffer(np.packbits(weight > 1, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.decimal128(38, _SCALE), len(weight), [valid, pa.py_buffer(words)])


def _product(
    left: "np.ndarray[tuple[int], np.dtype[np.uint64]]", right: "np.ndarray[tuple[int], np.dtype[np.uint64]]"
) -> tuple["np.ndarray[tuple[int], np.dtype[np.uint64]]", "np.ndarray[tuple[int], np.dtype[np.uint64]]"]:
    """The 128 bits of the products as (high, low)."""
    bits = np.uint64(32)
    a, b, c, d = left >> bits, left & _LOW, right >> bits, right & _LOW
    lowest, middle = b * d, a * d + ((b * d) >> bits)
    other = (middle & _LOW) + b * c
    return a * c + (middle >> bits) + (other >> bits), (other << bits) | (lowest & _LOW)
