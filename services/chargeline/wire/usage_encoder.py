"""From usage columns to the framed values of their events, all of a batch at once: the inverse of `usage_decoder`.

Every field of the schema becomes one piece: bytes that are the same in every row, or a column of bytes. Constant
neighbours are merged, so that only what differs between the rows costs anything, and one call joins the pieces of
every row. The encoding is the plainest one, byte for byte what an Avro library writes for the same event.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.errors import Refused
from chargeline.wire._generated import USAGE_EVENT_SCHEMA

# By field: an Arrow array with one value a row, or one text or number for all rows. Null or absent: the default.
Columns = Mapping[str, Any]
Piece = Any  # bytes that every row has, or an Arrow array with the bytes of each

_NULL, _VALUE = b"\x00", b"\x02"  # the two branches of a nullable field
_BYTES = pa.large_binary()


@dataclass(frozen=True)
class Field:
    """A field of UsageEvent; `default` is how its default is written."""

    name: str
    kind: str  # string, long, double, enum, map
    nullable: bool
    symbols: tuple[str, ...]
    map_of: str
    default: bytes | None  # None: required


@dataclass(frozen=True)
class Framed:
    """Some events in the order in which to send them: framed values, and the account of each."""

    accounts: pa.DictionaryArray
    values: list[bytes]


def framed(columns: Columns, length: int, schema_id: int) -> Framed:
    """The events of `length` rows, ready to be sent. Raises Refused as `encode` does."""
    values = encode(columns, length, schema_id)
    account = columns["billing_account_id"]
    if isinstance(account, str):
        account = pa.DictionaryArray.from_arrays(np.zeros(length, np.int32), [account])
    return Framed(account if pa.types.is_dictionary(account.type) else account.dictionary_encode(), values)


def encode(columns: Columns, length: int, schema_id: int) -> list[bytes]:
    """The framed values of `length` events.

    Raises:
        Refused: BAD_EVENT names the field that is unknown, missing, or of another type.
    """
    unknown = columns.keys() - FIELDS.keys()
    if unknown:
        raise Refused("BAD_EVENT", f"unknown field {min(unknown)}")
    pieces: list[Piece] = []
    shared = struct.pack(">bI", 0, schema_id)
    for field in FIELDS.values():
        for piece in _pieces(field, columns.get(field.name)):
            if isinstance(piece, bytes):
                shared += piece
            else:
                pieces += [shared, piece] if shared else [piece]
                shared = b""
    if not pieces:
        return [shared] * length
    joined = _joined(*pieces, shared)
    data, ends = joined.buffers()[2].to_pybytes(), _offsets(joined).tolist()
    return [data[start:end] for start, end in pairwise(ends)]


def literal(field: Field, value: str | int) -> bytes:
    """How one value of a field is written."""
    row = _pieces(field, pa.array([value]))
    return b"".join(piece if isinstance(piece, bytes) else piece[0].as_py() for piece in row)


def ragged(matrix: npt.NDArray[np.uint8], kept: npt.NDArray[np.bool_]) -> pa.Array:
    """A column of bytes: of each row of a matrix those that are kept."""
    return _binary(_cumulated(kept.sum(axis=1)), matrix[kept])


def _pieces(field: Field, column: Any) -> list[Piece]:
    if column is None or (isinstance(column, pa.Array) and pa.types.is_null(column.type)):
        if field.default is None:
            raise Refused("BAD_EVENT", f"missing field {field.name}")
        return [field.default]
    if not isinstance(column, pa.Array):
        return [literal(field, column)]
    try:
        values = _ENCODERS[field.kind](field, column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Refused("BAD_EVENT", f"{field.name}: {error}") from error
    if not values.null_count:
        return [_VALUE, values] if field.nullable else [values]
    if field.nullable:
        return [_joined(_VALUE, values).fill_null(_NULL)]
    if field.default is None:
        raise Refused("BAD_EVENT", f"missing field {field.name}")
    return [values.fill_null(field.default)]


def _texts(field: Field, column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return _texts(field, column.dictionary).take(column.indices)
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise Refused("BAD_EVENT", f"{field.name} is {kind}: it must be text")
    raw = column.cast(pa.large_string()).cast(_BYTES)
    return _joined(_varints(_numbers(pc.binary_length(raw)) << 1), raw)


def _longs(field: Field, column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None and field.name in TIMES:
        column = pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", kind.tz))
    elif not pa.types.is_integer(kind):
        naive = " without a time zone" if pa.types.is_timestamp(kind) else ""
        raise Refused("BAD_EVENT", f"{field.name} is {kind}{naive}: it must be a whole number")
    numbers = _numbers(column)
    zigzag = (numbers << 1) ^ (numbers >> 63)
    return _where(column.is_valid(), _varints(zigzag)) if column.null_count else _varints(zigzag)


def _doubles(field: Field, column: pa.Array) -> pa.Array:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise Refused("BAD_EVENT", f"{field.name} is {column.type}: it must be a number")
    numbers = column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    raw = _binary(np.arange(len(column) + 1, dtype=np.int64) * 8, numbers.astype("<f8").view(np.uint8))
    return _where(column.is_valid(), raw)


def _enums(field: Field, column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return _enums(field, column.dictionary).take(column.indices)
    codes = pc.index_in(column, pa.array(field.symbols, column.type))
    strange = pc.and_not(column.is_valid(), codes.is_valid())
    if pc.any(strange).as_py():
        raise Refused("BAD_EVENT", f"{field.name} cannot be {column.filter(strange)[0].as_py()}")
    return _where(codes.is_valid(), _varints(_numbers(codes) << 1))


def _maps(field: Field, column: pa.Array) -> pa.Array:
    """One block with the entries in their order, then the closing zero; only that zero for an empty map."""
    if not pa.types.is_map(column.type):
        raise Refused("BAD_EVENT", f"{field.name} is {column.type}: it must be a map")
    inner = _texts if field.map_of == "string" else _longs
    entries = _joined(_texts(field, column.keys), inner(field, column.items))
    if entries.null_count:
        raise Refused("BAD_EVENT", f"{field.name} has an entry without a value")
    bounds = column.offsets.to_numpy()
    counts = np.diff(bounds)
    starts = _offsets(entries)[bounds]
    blocks = _binary(starts, np.frombuffer(entries.buffers()[2] or b"", np.uint8))
    # A count of zero is the closing zero itself.
    closing = _binary(_cumulated((counts > 0).astype(np.int64)), np.zeros(int((counts > 0).sum()), np.uint8))
    return _where(column.is_valid(), _joined(_varints(counts.astype(np.int64) << 1), blocks, closing))


def _varints(values: npt.NDArray[np.int64]) -> pa.Array:
    """Seven bits a byte, lowest first; the high bit says that more follow."""
    bits = values.view(np.uint64)
    width = max(1, -(-int(bits.max(initial=0)).bit_length() // 7))
    groups = bits[:, None] >> (np.arange(width, dtype=np.uint64) * np.uint64(7))
    kept = groups != 0
    kept[:, 0] = True
    matrix = (groups & np.uint64(0x7F)).astype(np.uint8)
    matrix[:, :-1] |= kept[:, 1:].astype(np.uint8) << 7
    return ragged(matrix, kept)


def _numbers(column: pa.Array) -> npt.NDArray[np.int64]:
    return column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)


def _where(valid: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(valid, values, pa.scalar(None, _BYTES))


def _joined(*pieces: Piece) -> pa.Array:
    return pc.binary_join_element_wise(
        *(pa.scalar(piece, _BYTES) if isinstance(piece, bytes) else piece for piece in pieces), pa.scalar(b"", _BYTES)
    )


def _binary(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.Array.from_buffers(_BYTES, len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _offsets(column: pa.Array) -> npt.NDArray[np.int64]:
    return np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]


def _cumulated(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _field(field: dict[str, Any]) -> Field:
    nullable = isinstance(field["type"], list)
    kind = next(branch for branch in field["type"] if branch != "null") if nullable else field["type"]
    kind = kind if isinstance(kind, dict) else {"type": kind}
    symbols = tuple(kind.get("symbols", ()))
    default = None
    if nullable or kind["type"] == "map":
        default = _NULL  # an empty map is its closing zero
    elif "default" in field:
        number = symbols.index(field["default"]) if symbols else field["default"]
        default = bytes([number << 1])
    return Field(field["name"], kind["type"], nullable, symbols, kind.get("values", ""), default)


FIELDS = {each["name"]: _field(each) for each in json.loads(USAGE_EVENT_SCHEMA)["fields"]}
KINDS = {name: field.kind for name, field in FIELDS.items()}  # string, long, double, enum or map
TIMES = frozenset({"event_time", "charge_period_end"})
_ENCODERS = {"string": _texts, "long": _longs, "double": _doubles, "enum": _enums, "map": _maps}
