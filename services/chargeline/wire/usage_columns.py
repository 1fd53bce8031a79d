"""Usage events that are columns already, as the pricer takes them: what `usage_decoder` makes of bytes.

No limit of the wire holds here: a text may be as long as it is. The hash that tells a repeated event from one with
other content is worked out over the columns, and is never stored: it is not that of `domain/content_hash.py`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.columns.murmur import PADDING, murmur3_x64_128
from chargeline.domain.errors import Refused
from chargeline.domain.usage import MapEntries, Text, UsageColumns
from chargeline.wire.avro_columns import PLAIN
from chargeline.wire.usage_encoder import FIELDS, Field

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
_TEXT = pa.string()
_TYPES = {"string": _TEXT, "enum": _TEXT, "long": pa.int64(), "double": pa.float64()}
_IDENTITY = frozenset({"event_id", "source", "billing_account_id"})
_GAMMA, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_32 = np.uint64(32)


def arrow_type(field: Field) -> pa.DataType:
    """How a column of a field is kept: times as microseconds, symbols as texts."""
    return pa.map_(_TEXT, _TYPES[field.map_of]) if field.kind == "map" else _TYPES[field.kind]


def usage_of(columns: Mapping[str, pa.Array], length: int) -> UsageColumns:
    """The usage columns of n events.

    Args:
        columns: by field; times as int64 microseconds, symbols as texts. Absent, or null where the field is not
            nullable: the default.

    Raises:
        Refused: BAD_EVENT names the field that is unknown, missing, or of another type.
    """
    unknown = columns.keys() - FIELDS.keys()
    if unknown:
        raise Refused("BAD_EVENT", f"unknown field {min(unknown)}")
    usage = UsageColumns(length, {}, {}, {}, {}, {})
    for name, field in FIELDS.items():
        column = columns.get(name)
        if column is None or column.null_count == length:
            if field.default is None and length:
                raise Refused("BAD_EVENT", f"missing field {name}")
            if field.default is None:
                _add(usage, field, pa.array([], _TYPES[field.kind]))
            continue
        if field.default is None and column.null_count:
            raise Refused("BAD_EVENT", f"missing field {name}")
        try:
            _add(usage, field, column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise Refused("BAD_EVENT", f"{name}: {error}") from error
    return usage


def _add(usage: UsageColumns, field: Field, column: pa.Array) -> None:
    name = field.name
    if field.kind == "map":
        _add_map(usage, field, column)
    elif field.kind == "enum":
        encoded = _coded(field, column)
        symbols = pa.array(field.symbols, _TEXT)
        if pc.any(pc.invert(pc.is_in(encoded.values, symbols))).as_py():
            raise Refused("BAD_EVENT", f"{name} has a symbol that is none of {', '.join(field.symbols)}")
        default = field.default[0] >> 1 if field.default is not None else 0
        place = pc.index_in(encoded.values, symbols).to_numpy(zero_copy_only=False).astype(np.int32)
        usage.texts[name] = Text(np.append(place, np.int32(default))[encoded.codes], symbols)
    elif field.kind == "string" and name in PLAIN:
        usage.plain[name] = _plain(field, column)
    elif field.kind == "string":
        usage.texts[name] = _coded(field, column)
    else:
        _add_numbers(usage, field, column)


def _add_numbers(usage: UsageColumns, field: Field, column: pa.Array) -> None:
    kind = column.type
    fits = pa.types.is_integer(kind) or (field.kind == "double" and pa.types.is_floating(kind))
    if not fits:
        raise Refused("BAD_EVENT", f"{field.name} is {kind}: it must be a {_NAMES[field.kind]}")
    numbers = column.cast(_TYPES[field.kind])
    if field.nullable:
        usage.nullable[field.name] = numbers.fill_null(0).to_numpy(zero_copy_only=False), _valid(numbers)
    else:
        usage.longs[field.name] = numbers.fill_null(default_of(field)).to_numpy(zero_copy_only=False)


_NAMES = {"long": "whole number", "double": "number"}


def default_of(field: Field) -> int:
    """The default of a number that is not nullable; 0: it has none."""
    return 0 if field.default is None else field.default[0] >> 1


def _add_map(usage: UsageColumns, field: Field, column: pa.Array) -> None:
    if not pa.types.is_map(column.type):
        raise Refused("BAD_EVENT", f"{field.name} is {column.type}: it must be a map")
    counts = pc.fill_null(pc.list_value_length(column.cast(_as_list(column.type))), 0)
    rows = np.repeat(np.arange(len(column)), counts.to_numpy(zero_copy_only=False))
    flat = column.filter(column.is_valid()) if column.null_count else column
    bounds = flat.offsets
    first, last = bounds[0].as_py(), bounds[-1].as_py()
    keys, items = flat.keys.slice(first, last - first), flat.items.slice(first, last - first)
    if items.null_count or keys.null_count:
        raise Refused("BAD_EVENT", f"{field.name} has an entry without a value")
    if not len(rows):
        return
    names = _coded(field, keys)
    if field.map_of == "long" and not pa.types.is_integer(items.type):
        raise Refused("BAD_EVENT", f"{field.name} has values of {items.type}: they must be whole numbers")
    values = items.cast(_TYPES[field.map_of])
    kept = _last_of_each(rows * len(names.values) + names.codes)
    if kept is not None:
        rows, names, values = rows[kept], names.take(kept), values.take(pa.array(kept))
    if field.map_of == "long":
        usage.maps[field.name] = MapEntries(rows, names, values.to_numpy(zero_copy_only=False))
    else:
        usage.maps[field.name] = MapEntries(rows, names, _whole(values))


def _as_list(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)]))


def _last_of_each(entries: Int64Array) -> Int64Array | None:
    """Where a map has a key twice the last one counts; None: no map has."""
    if len(np.unique(entries)) == len(entries):
        return None
    _, last = np.unique(entries[::-1], return_index=True)
    return np.sort(len(entries) - 1 - last)


def _coded(field: Field, column: pa.Array) -> Text:
    """A column of texts as codes into its distinct values."""
    if pa.types.is_dictionary(column.type):
        inner = _coded(field, column.dictionary)
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return Text(np.append(inner.codes, np.int32(-1))[codes], inner.values)
    encoded = _plain(field, column).dictionary_encode()
    codes = encoded.indices.fill_null(-1) if encoded.indices.null_count else encoded.indices
    return Text(codes.to_numpy(zero_copy_only=False), encoded.dictionary)


def _plain(field: Field, column: pa.Array) -> pa.StringArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise Refused("BAD_EVENT", f"{field.name} is {kind}: it must be text")
    texts = column.cast(_TEXT)
    texts.validate(full=True)  # what is no UTF-8 would be written as it is
    return _whole(texts)


def _whole(column: pa.Array) -> pa.Array:
    """The column at the beginning of its own buffers, as who reads these counts on."""
    return column.take(pa.array(np.arange(len(column)))) if column.offset else column


def _valid(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)


# The content


def content_of(usage: UsageColumns) -> npt.NDArray[np.uint32]:
    """A hash of all that n events say beside their identity; a default counts as absent."""
    sums = np.zeros(usage.length, np.uint64)
    for number, (name, field) in enumerate(FIELDS.items(), 1):
        key = _odd(number)
        if name in _IDENTITY:
            continue
        if name in usage.texts:
            sums += _of_codes(field, usage.texts[name]) * key
        elif name in usage.plain:
            column = usage.plain[name]
            sums += np.where(_valid(column), _hashes(column), np.uint64(0)) * key
        elif name in usage.longs:
            sums += (usage.longs[name] - default_of(field)).view(np.uint64) * key
        elif name in usage.nullable:
            values, valid = usage.nullable[name]
            bits = np.ascontiguousarray(values).view(np.uint64) * key + _odd(-number)
            sums += np.where(valid, bits, np.uint64(0))
        elif name in usage.maps:
            np.add.at(sums, usage.maps[name].rows, _of_entries(usage.maps[name]) * key)
    return (_mixed(sums) >> _32).astype(np.uint32)


def _of_codes(field: Field, column: Text) -> UInt64Array:
    """Hashes of texts; 0 for null, and for the default of an enum."""
    hashes = np.append(_hashes(column.values), np.uint64(0))
    if field.kind == "enum" and field.default is not None:
        hashes[default_of(field)] = 0
    return hashes[column.codes]


def _of_entries(entries: MapEntries) -> UInt64Array:
    values = entries.values
    second = values.view(np.uint64) * _GAMMA if isinstance(values, np.ndarray) else _hashes(values)
    return _mixed(_hashes(entries.keys.values)[entries.keys.codes] * _MIX + second)


def _hashes(texts: pa.StringArray) -> UInt64Array:
    """One number a text; the empty one has another than a null."""
    offsets = np.frombuffer(texts.buffers()[1] or bytes(4), np.int32)[texts.offset : texts.offset + len(texts) + 1]
    raw = texts.buffers()[2]
    data = np.frombuffer((b"" if raw is None else raw.to_pybytes()) + bytes(PADDING), np.uint8)
    bounds = offsets.astype(np.int64)
    first, _ = murmur3_x64_128(data, bounds[:-1], np.diff(bounds))
    return first + _GAMMA


def _mixed(words: UInt64Array) -> UInt64Array:
    words = (words ^ (words >> _32)) * _MIX
    return words ^ (words >> _32)


def _odd(number: int) -> np.uint64:
    """The key of a field."""
    return np.uint64((number * int(_GAMMA) ^ 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF | 1)


__all__: list[Any] = ["arrow_type", "content_of", "default_of", "usage_of"]
