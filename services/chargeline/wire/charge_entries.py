"""The entries of charges as an Arrow column. Columns that plain entries do not need are left out (wire/left_out.py)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.columns.exact import Exact, Int64Array
from chargeline.domain.columns.exact_rows import as_decimals
from chargeline.domain.panes import consumed_quantity
from chargeline.domain.rating.entries import Entries
from chargeline.domain.rating.price_arrays import BILL_ZERO, FIRST_POOL
from chargeline.domain.rating.price_points import KINDS
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import KEY_BYTES
from chargeline.domain.usage import Text
from chargeline.wire._arrow import CHARGE

BoolArray = npt.NDArray[np.bool_]
_ENTRY: pa.StructType = CHARGE.field("entries").type.value_type
_ADJUSTMENTS = ("DISCOUNT", "CAP", "TIER_SHIFT")


def entry_lists(entries: Entries, length: int, table: RateTable) -> pa.ListArray:
    """The entries of `length` events, a list for each."""
    points, point = entries.points, entries.point
    columns: dict[str, pa.Array] = {
        "sku_id": _named(points.sku_id, point),
        "sku_price_id": _named(points.sku_price_id, point),
        "rate_card_id": _named(points.rate_card_id, point),
        "rate_card_version": points.rate_card_version.take(pa.array(point)),
        "leaf": pa.DictionaryArray.from_arrays(
            pa.array(entries.leaf.astype(np.int32)), pa.array(entries.leaves, pa.string())
        ),
        "consumed_quantity": consumed_quantity(entries),
        "consumed_unit": _named(points.consumed_unit, point),
        "pricing_quantity": entries.pricing.decimal(12),
        "pricing_unit": _named(points.pricing_unit, point),
        "contracted_unit_price": points.contracted_unit_price.take(pa.array(point)),
        "contracted_cost": entries.contracted.decimal(12),
    }
    if entries.listed is not entries.contracted:
        columns["list_unit_price"] = points.list_unit_price.take(pa.array(point))
        columns["list_cost"] = entries.listed.decimal(12)
    if entries.place is not None:
        _add_kinds(columns, entries)
    _add_parts(columns, entries)
    _add_conversion(columns, entries, table)
    _add_policies(columns, entries)
    _add_scopes(columns, entries)
    fields = [field for field in _ENTRY if field.name in columns]
    rows = pa.StructArray.from_arrays([columns[field.name] for field in fields], fields=fields)
    offsets = np.searchsorted(entries.row, np.arange(length + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), rows)


def _add_kinds(columns: dict[str, pa.Array], entries: Entries) -> None:
    kind = entries.kind
    if not kind.any():
        return
    columns["entry_kind"] = text_column(Text(kind.astype(np.int32), pa.array(KINDS)))
    adjusts = np.isin(kind, [KINDS.index(name) for name in _ADJUSTMENTS])
    if adjusts.any():
        names = pa.array(["USAGE", "ADJUSTMENT"])
        columns["charge_category"] = text_column(Text(adjusts.astype(np.int32), names))
        columns["pricing_quantity"] = entries.pricing.decimal(12, ~adjusts)
    # A flat fee is one fee, whatever the quantity.
    fees = np.isin(kind, [KINDS.index(name) for name in ("TIER_FLAT", "PER_EVENT_FEE")])
    bare = fees & (entries.pricing.values == 0)
    if bare.any():
        pricing = Exact(np.where(bare, 10**12, entries.pricing.values), entries.pricing.large)
        columns["pricing_quantity"] = pricing.decimal(12, ~adjusts)
    if entries.price is not None:
        _price_fees(columns, entries.price)


def _price_fees(columns: dict[str, pa.Array], price: Exact) -> None:
    """The fee of a transaction depends on its amount where a least fee raises it."""
    raised = price.values >= 0
    own = price.decimal(12).cast(pa.decimal128(38, 18))
    for name in ("contracted_unit_price", "list_unit_price"):
        if name in columns:
            columns[name] = pc.if_else(pa.array(raised), own, columns[name])


def _add_parts(columns: dict[str, pa.Array], entries: Entries) -> None:
    for name, values in (
        ("charge_period_start", entries.start),
        ("billing_period_start", entries.period_start),
        ("billing_period_end", entries.period_end),
    ):
        if values is not None:
            columns[name] = pa.array(values, mask=values < 0).cast(pa.timestamp("us", "UTC"))


def _add_conversion(columns: dict[str, pa.Array], entries: Entries, table: RateTable) -> None:
    if entries.fx is None or entries.pricing_cost is None:
        return
    is_converted = entries.fx >= 0
    fx = pa.array(entries.fx, mask=~is_converted)
    codes, values = entries.points.pricing_currency
    currency = np.where(is_converted, codes[entries.point], -1).astype(np.int32)
    rates = list(table.fx_rates)
    columns["pricing_currency"] = text_column(Text(currency, values))
    columns["pricing_cost"] = entries.pricing_cost.decimal(12, is_converted)
    columns["fx_rate"] = pa.array([each.rate for each in rates], pa.decimal128(38, 18)).take(fx)
    columns["fx_rate_id"] = _used(entries.fx, pa.array([each.fx_rate_id for each in rates], pa.string()))


def _add_policies(columns: dict[str, pa.Array], entries: Entries) -> None:
    if entries.policy is None:
        return
    zero = entries.policy == BILL_ZERO
    if entries.waived is not None:
        columns["waived_cost"] = entries.waived.decimal(12, zero)
    if (entries.policy >= FIRST_POOL).any():
        pool = np.maximum(entries.policy - FIRST_POOL, -1)
        pool = np.where(entries.policy >= FIRST_POOL, pool, -1)
        columns["pool"] = _used(pool, pa.array(entries.points.pools, pa.string()))


def _add_scopes(columns: dict[str, pa.Array], entries: Entries) -> None:
    if entries.scope is None or entries.moved is None or entries.moved_amount is None or entries.moved_count is None:
        return
    has_scope = entries.scope >= 0
    keys = np.frombuffer(entries.scope_keys, np.uint8).reshape(-1, KEY_BYTES)[np.maximum(entries.scope, 0)]
    columns["scope_key"] = pa.Array.from_buffers(
        pa.binary(KEY_BYTES), len(keys), [_bitmap(has_scope), pa.py_buffer(np.ascontiguousarray(keys))]
    )
    moves = _present(entries.moved)
    columns["scope_quantity"] = _masked(as_decimals(entries.moved, 0), moves)
    if len(amounts := np.flatnonzero(_present(entries.moved_amount))):
        columns["scope_amount"] = entries.moved_amount.decimal(12, _flags(amounts, len(entries)))
    if entries.moved_count.any():
        columns["scope_count"] = pa.array(entries.moved_count, mask=entries.moved_count == 0)


def _present(column: Exact) -> BoolArray:
    present = column.values != 0
    present[list(column.large)] = True
    return present


def _flags(rows: Int64Array, length: int) -> BoolArray:
    flags = np.zeros(length, bool)
    flags[rows] = True
    return flags


def _masked(column: pa.Array, valid: BoolArray) -> pa.Array:
    return pa.Array.from_buffers(column.type, len(column), [_bitmap(valid), column.buffers()[1]])


def _bitmap(valid: BoolArray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())


def _named(column: tuple[Int64Array, pa.StringArray], point: Int64Array) -> pa.DictionaryArray:
    codes, values = column
    return _used(codes[point], values)


def _used(codes: Int64Array, values: pa.StringArray) -> pa.DictionaryArray:
    """A dictionary of the values that occur; a negative code is null."""
    counts = np.bincount(codes + 1, minlength=len(values) + 1)[1:]
    used = np.flatnonzero(counts)
    if len(used) < len(values):
        place = np.full(len(values) + 1, -1, np.int64)
        place[used] = np.arange(len(used))
        codes, values = place[codes], values.take(pa.array(used))
    return text_column(Text(codes.astype(np.int32), values))


def text_column(column: Text) -> pa.DictionaryArray:
    """A dictionary column; a negative code is null."""
    null = column.codes < 0
    indices = pa.array(column.codes, mask=null) if null.any() else pa.array(column.codes)
    return pa.DictionaryArray.from_arrays(indices, column.values)


__all__: Sequence[str] = ("entry_lists", "text_column")
