"""What booked charges changed of the scopes of accumulating rates: with it their state is folded again."""

from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.columns.exact_rows import from_decimals
from chargeline.domain.rating.scope_states import KEY_BYTES, ScopeStates
from chargeline.domain.rating.scoped_uses import moved

_NAMES = ("scope_key", "scope_quantity", "scope_amount", "scope_count")


def has_scopes(charges: pa.Schema) -> bool:
    """Whether an entry of a message of `charges` may have a scope."""
    return bool(charges.field("entries").type.value_type.get_field_index("scope_key") >= 0)


def summed_scopes(sums: pa.Table) -> ScopeStates:
    """The scopes after what was summed up of their entries.

    Args:
        sums: a row a scope, no nulls: `scope_key` 16 bytes, `scope_quantity` Decimal(38, 0), `scope_amount`
            Decimal(38, 12), `scope_count` int64.
    """
    if not sums.num_rows:
        return ScopeStates.empty()
    quantity, amount = (
        sums.column(name).combine_chunks().cast(pa.decimal128(38, places))
        for name, places in (("scope_quantity", 0), ("scope_amount", 12))
    )
    change = moved(
        np.arange(sums.num_rows),
        _bytes(sums.column("scope_key").combine_chunks()),
        from_decimals(quantity),
        from_decimals(amount),
        sums.column("scope_count").to_numpy().astype(np.int64),
    )
    return ScopeStates.empty().apply(change)


def moved_scopes(charges: pa.Table) -> ScopeStates:
    """The sum of all moves in a message of `charges`; nothing where no entry has a scope."""
    found = [_moved(each) for each in charges.column("entries").chunks]
    whole = ScopeStates.empty()
    for each in found:
        whole = whole.apply(each)
    return whole


def _moved(entries: pa.ListArray) -> ScopeStates:
    kind = entries.type.value_type
    rows = entries.flatten()
    columns = {name: rows.field(name) for name in _NAMES if kind.get_field_index(name) >= 0}
    if "scope_key" not in columns:
        return ScopeStates.empty()
    # What only belongs to a scope, a minimum for instance, moves none.
    moves = [columns[name].is_valid() for name in _NAMES[1:] if name in columns]
    is_moved = reduce(pc.or_, moves, pa.repeat(pa.scalar(value=False), len(rows)))
    at = np.flatnonzero(pc.and_(columns["scope_key"].is_valid(), is_moved).to_numpy(zero_copy_only=False))
    keys = columns["scope_key"].take(pa.array(at)).dictionary_encode()
    none = pa.repeat(pa.scalar(0, pa.decimal128(38, 0)), len(at))

    def numbers(name: str) -> pa.Array:
        return columns[name].take(pa.array(at)).fill_null(0) if name in columns else none

    count = columns.get("scope_count")
    return moved(
        keys.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        _bytes(keys.dictionary),
        from_decimals(numbers("scope_quantity")),
        from_decimals(numbers("scope_amount")),
        np.zeros(len(at), np.int64) if count is None else _counts(count, at),
    )


def _counts(count: pa.Array, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.asarray(count.take(pa.array(at)).fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _bytes(keys: pa.FixedSizeBinaryArray) -> bytes:
    buffer, start = keys.buffers()[1], keys.offset * KEY_BYTES
    return b"" if buffer is None else buffer.to_pybytes()[start : start + len(keys) * KEY_BYTES]
