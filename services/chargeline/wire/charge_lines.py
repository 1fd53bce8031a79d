"""Charges as the lines that `chargeline price` writes, all rows of a table at once (spec/formats.md 6).

What many rows share (a price point, an outcome with its period) is written once and looked up; only numbers and the
names of events are written for each row.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.columns.codes import combine
from chargeline.domain.money import plain
from chargeline.domain.rates.card import instant
from chargeline.wire.usage_encoder import ragged

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_TEXT = pa.large_string()
_PICOS = 10**12
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
# What every entry has before and after its pricing quantity; the key of each JSON member.
_BEFORE = ("entry_kind", "sku_id", "sku_price_id", "rate_card_id", "rate_card_version", "leaf")
_AFTER = ("pricing_unit", "list_unit_price", "contracted_unit_price")
_NULL = pa.scalar("null", _TEXT)
_LEFT_OUT = {"entry_kind": pa.scalar('"UNIT"', _TEXT)}


def is_plain(table: pa.Table) -> BoolArray:
    """The rows that `charge_lines` can write: no estimates, and nothing that is waived or belongs to a pool."""
    plain_rows = np.ones(table.num_rows, bool)
    if "estimated" in table.schema.names:
        plain_rows &= ~np.asarray(table.column("estimated").to_numpy(zero_copy_only=False), bool)
    entries = _one(table.column("entries"))
    names = {field.name for field in entries.type.value_type}
    for name in ("waived_cost", "pool", "charge_class"):
        if name in names:
            used = entries.flatten().field(name).is_valid().to_numpy(zero_copy_only=False)
            parents = pc.list_parent_indices(entries).to_numpy(zero_copy_only=False)
            plain_rows[parents[used]] = False
    return plain_rows


def charge_lines(table: pa.Table) -> pa.LargeStringArray:
    """One line for each row, with its line break; only of rows that are plain."""
    length = table.num_rows
    names = table.schema.names
    cost = _amounts(_one(table.column("contracted_cost")))
    shared = [name for name in ("outcome", "reason", "billing_period_start", "billing_currency") if name in names]
    codes, first = _combined([_one(table.column(name)) for name in shared], length)
    distinct = table.select(shared).take(pa.array(first)).to_pylist()
    heads = [_head(row) for row in distinct]
    middles = [_middle(row) for row in distinct]
    at = pa.array(codes)
    joined = _entry_lists(_one(table.column("entries")))
    return pc.binary_join_element_wise(
        _scalar('{"event_id":'),
        _quoted(_one(table.column("event_id"))),
        pa.array(heads, _TEXT).take(at),
        cost,
        _scalar(',"billed_cost":'),
        cost,
        pa.array(middles, _TEXT).take(at),
        joined,
        _scalar("]}\n"),
        _scalar(""),
    )


def _head(row: dict[str, Any]) -> str:
    outcome, reason = row.get("outcome") or "CHARGED", row.get("reason")
    start = row["billing_period_start"]
    period = instant(int(start.timestamp()) * 1_000_000)
    return f',"outcome":{_ENCODE(outcome)},"reason":{_ENCODE(reason)},"billing_period":"{period}","contracted_cost":'


def _middle(row: dict[str, Any]) -> str:
    is_rated = (row.get("outcome") or "CHARGED") == "CHARGED"
    return f',"billing_currency":{_ENCODE(row["billing_currency"] if is_rated else None)},"entries":['


def _entry_lists(entries: pa.ListArray) -> pa.LargeStringArray:
    """The entries of each row with commas between them."""
    bounds = entries.offsets.to_numpy().astype(np.int64)
    bounds = bounds - bounds[0]
    is_last = np.zeros(int(bounds[-1]), bool)
    is_last[bounds[1:][bounds[1:] > bounds[:-1]] - 1] = True
    texts = _entries(entries.flatten(), is_last)
    # The entries of a row stand one after the other, so its text is a slice of theirs.
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return pa.Array.from_buffers(_TEXT, len(entries), [None, pa.py_buffer(ends[bounds]), texts.buffers()[2]])


def _entries(flat: pa.StructArray, is_last: BoolArray) -> pa.LargeStringArray:
    names = {field.name for field in flat.type}
    if not len(flat):
        return pa.array([], _TEXT)
    shared = [name for name in (*_BEFORE, *_AFTER) if name in names]
    codes, first = _combined([flat.field(name) for name in shared], len(flat))
    rows = pa.array(first)
    texts = {name: _values(flat.field(name), rows) for name in shared}
    texts.setdefault("list_unit_price", texts["contracted_unit_price"])
    before = _members(_BEFORE, texts, "{", ',"pricing_quantity":')
    after = _members(_AFTER, texts, ",", ',"contracted_cost":')
    at = pa.array(codes)
    cost = _amounts(flat.field("contracted_cost"))
    listed = _amounts(flat.field("list_cost")) if "list_cost" in names else cost
    return pc.binary_join_element_wise(
        before.take(at),
        _amounts(flat.field("pricing_quantity")),
        after.take(at),
        cost,
        _scalar(',"list_cost":'),
        listed,
        *_conversion(flat, names),
        pa.array(["},", "}"], _TEXT).take(pa.array(is_last.astype(np.int8))),
        _scalar(""),
    )


def _conversion(flat: pa.StructArray, names: set[str]) -> list[pa.Array]:
    """What an entry in another currency has at its end; nothing for the others."""
    if "fx_rate" not in names:
        return []
    codes, first = _combined([flat.field("pricing_currency"), flat.field("fx_rate")], len(flat))
    picked = [flat.field(name).take(pa.array(first)).to_pylist() for name in ("pricing_currency", "fx_rate")]
    starts, ends = [], []
    for currency, rate in zip(*picked, strict=True):
        starts.append("" if rate is None else f',"pricing_currency":{_ENCODE(currency)},"pricing_cost":')
        ends.append("" if rate is None else f',"fx_rate":"{plain(rate)}"')
    at = pa.array(codes)
    cost = pc.if_else(flat.field("fx_rate").is_valid(), _amounts(flat.field("pricing_cost")), _scalar(""))
    return [pa.array(starts, _TEXT).take(at), cost, pa.array(ends, _TEXT).take(at)]


def _members(names: Sequence[str], texts: dict[str, pa.Array], start: str, end: str) -> pa.LargeStringArray:
    """Some members of JSON objects, one text a row."""
    pieces: list[pa.Array] = []
    for number, name in enumerate(names):
        pieces += [_scalar(f'{"," if number else start}"{name}":'), texts.get(name, _LEFT_OUT.get(name, _NULL))]
    return pc.binary_join_element_wise(*pieces, _scalar(end), _scalar(""))


def _values(column: pa.Array, rows: pa.Array) -> pa.LargeStringArray:
    """Texts, whole numbers and unit prices of some rows as JSON."""
    if pa.types.is_integer(column.type):
        return column.take(rows).cast(_TEXT)
    encoded = column if pa.types.is_dictionary(column.type) else column.take(rows).dictionary_encode()
    at = encoded.indices.take(rows) if encoded is column else encoded.indices
    if pa.types.is_decimal(encoded.dictionary.type):
        texts = pa.array([f'"{plain(price)}"' for price in encoded.dictionary.to_pylist()], _TEXT)
    else:
        texts = _quoted(encoded.dictionary)
    return texts.take(at).fill_null("null")


def _combined(columns: Sequence[pa.Array], length: int) -> tuple[Int64Array, Int64Array]:
    """(code of each row, first row of each code) of the combinations of some columns."""
    coded = []
    for column in columns:
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
        coded.append((codes, len(encoded.dictionary) + 1))
    return combine(coded, length)


def _quoted(names: pa.Array) -> pa.Array:
    """Texts as JSON."""
    whole = names.cast(_TEXT)
    quoted = pc.binary_join_element_wise(_scalar('"'), whole, _scalar('"'), _scalar(""))
    odd = pc.match_substring_regex(whole, r'["\\\x00-\x1f]').to_numpy(zero_copy_only=False)
    if not odd.any():
        return quoted
    texts = quoted.to_pylist()
    for row in np.flatnonzero(odd).tolist():
        texts[row] = _ENCODE(whole[row].as_py())
    return pa.array(texts, _TEXT)


def _amounts(column: pa.Array) -> pa.Array:
    """Decimals of 12 places as JSON: plain texts in quotes, or null."""
    words = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)[column.offset : column.offset + len(column)]
    valid = np.ones(len(column), bool)
    if column.null_count:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
    value = np.where(valid, words[:, 0], 0)
    large = valid & (words[:, 1] != value >> 63)
    value = np.where(large | (value == np.iinfo(np.int64).min), 0, value)
    texts = _plain_texts(value)
    if large.any() or not valid.all():
        texts = pc.if_else(pa.array(valid), texts, _scalar("null"))
        rows = texts.to_pylist() if large.any() else None
        if rows is not None:
            for row in np.flatnonzero(large).tolist():
                rows[row] = f'"{plain(column[row].as_py())}"'
            texts = pa.array(rows, _TEXT)
    return texts


def _plain_texts(picos: Int64Array) -> pa.Array:
    """Whole 1e-12 steps as quoted plain decimals, digit by digit."""
    whole, rest = np.divmod(np.abs(picos), _PICOS)
    width = max(1, len(str(int(whole.max(initial=0)))))
    places = _places(rest)
    matrix = np.empty((len(picos), width + places + 4), np.uint8)
    kept = np.ones(matrix.shape, bool)
    matrix[:, 0] = ord('"')
    matrix[:, 1] = ord("-")
    kept[:, 1] = picos < 0
    left = whole.astype(np.int32)
    for column in range(width + 1, 1, -1):
        kept[:, column] = left > 0
        left, digit = np.divmod(left, np.int32(10))
        matrix[:, column] = digit + ord("0")
    kept[:, width + 1] = True  # "0" before the point
    matrix[:, width + 2] = ord(".")
    kept[:, width + 2] = rest > 0
    rest = rest // 10 ** (12 - places)
    is_needed = np.zeros(len(picos), bool)
    for column in range(width + 2 + places, width + 2, -1):
        rest, digit = np.divmod(rest, 10)
        is_needed |= digit > 0
        kept[:, column] = is_needed
        matrix[:, column] = digit + ord("0")
    matrix[:, -1] = ord('"')
    return ragged(matrix, kept).view(_TEXT)


def _places(rest: Int64Array) -> int:
    """The most decimals that any of the numbers needs."""
    places = 12
    while places and not (rest % 10 ** (13 - places)).any():
        places -= 1
    return places


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, _TEXT)
