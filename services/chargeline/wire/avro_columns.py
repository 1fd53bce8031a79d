"""From Avro datums to columns, all of a commit unit at once, without a Python step per event.

Every row is walked in step: for each field of the schema one array operation moves all cursors on. A row whose bytes
are not exactly one UsageEvent in its plainest encoding (too short, bytes left over, a map in several blocks, an enum
out of range, text that is not UTF-8) is only marked: `avro_rows` decides what it is. So one bad record costs itself,
never its batch, and nothing is accepted that has not been measured to its last byte.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.usage import TEXT_BYTES_MAX, MapEntries, Text, UsageColumns
from chargeline.wire._generated import USAGE_EVENT_SCHEMA

UInt8Array = npt.NDArray[np.uint8]
Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]

PADDING = 32  # bytes after the last datum: a marked row may read a little beyond its end
_CHUNK = 16_384  # rows walked at a time: the cursors stay in the processor's cache
_MAP_ENTRIES_MAX = 64  # with 1 KiB a text this keeps every charge far below the message limit
# Strings that hardly repeat: a dictionary of them would only be a copy.
PLAIN = frozenset(
    {"event_id", "request_id", "trace_id", "run_id", "amends_event_id", "customer_id", "principal_id", "credential_id"}
)


@dataclass(frozen=True)
class _Field:
    name: str
    kind: str  # string, long, double, enum, map
    nullable: bool
    symbols: tuple[str, ...]
    default: Any
    map_of: str


@dataclass
class _Pieces:
    """What the chunks gave for one field: (chunk start, chunk end, arrays), only where it is not the default."""

    parts: list[tuple[int, int, tuple[Any, ...]]] = field(default_factory=list)


@dataclass(frozen=True)
class Walked:
    """The columns of n datums; rows in `irregular` or `long_text` hold anything."""

    usage: UsageColumns
    irregular: BoolArray
    long_text: BoolArray


def _fields() -> tuple[_Field, ...]:
    fields = []
    for each in json.loads(USAGE_EVENT_SCHEMA)["fields"]:
        kind = each["type"]
        nullable = isinstance(kind, list)
        if nullable:
            kind = next(branch for branch in kind if branch != "null")
        if isinstance(kind, str):
            kind = {"type": kind}
        fields.append(
            _Field(
                each["name"],
                kind["type"],
                nullable,
                tuple(kind.get("symbols", ())),
                each.get("default"),
                kind.get("values", ""),
            )
        )
    return tuple(fields)


_FIELDS = _fields()


def walk(data: UInt8Array, starts: Int64Array, ends: Int64Array) -> Walked:
    """Decode n datums.

    Args:
        data: all bytes, followed by `PADDING` more; below 2 GiB.
        starts, ends: int64, where each datum lies in it.
    """
    length = len(starts)
    irregular = np.zeros(length, bool)
    long_text = np.zeros(length, bool)
    pieces = {each.name: _Pieces() for each in _FIELDS}
    for begin in range(0, length, _CHUNK):
        stop = min(begin + _CHUNK, length)
        walker = _Walker(data, starts[begin:stop].copy(), ends[begin:stop])
        for each in _FIELDS:
            found = walker.step(each)
            if found is not None:
                pieces[each.name].parts.append((begin, stop, found))
        irregular[begin:stop] = walker.bad | (walker.position != walker.end)
        long_text[begin:stop] = walker.long
    return _Assembly(data, length, pieces, irregular, long_text).walked()


class _Walker:
    """The cursors of one chunk."""

    def __init__(self, data: UInt8Array, position: Int64Array, end: Int64Array) -> None:
        self.data = data
        self.words, self.halves = (np.ndarray((len(data) - 7,), kind, data, strides=(1,)) for kind in ("<u8", "<u4"))
        self.position = position
        self.end = end
        self.bad = np.zeros(len(position), bool)
        self.long = np.zeros(len(position), bool)

    def step(self, each: _Field) -> tuple[Any, ...] | None:
        """Move over one field; its arrays, or None where every row of the chunk holds the default."""
        valid: BoolArray | None = None
        if each.nullable:
            branch = self.data[self.position]
            self.position += 1
            if not branch.any():
                return None
            valid = branch == 2
            self.bad |= ~valid & (branch != 0)
        if valid is not None and not valid.all():
            rows = np.flatnonzero(valid)
            inner = _Walker(self.data, self.position[rows], self.end[rows])
            found = inner._value(each)
            self.position[rows] = inner.position
            self.bad[rows] |= inner.bad
            self.long[rows] |= inner.long
            self._stay_inside()
            return None if found is None else (*_spread(found, rows, len(self.position)), valid)
        found = self._value(each)
        self._stay_inside()
        return None if found is None else (*found, valid) if each.nullable else found

    def _value(self, each: _Field) -> tuple[Any, ...] | None:
        if each.kind == "string":
            return self._text()
        if each.kind == "double":
            doubles = self.words[self.position].view(np.float64)
            self.position = self.position + 8
            return (doubles,)
        if each.kind == "map":
            return self._map(each)
        values = self._varint()
        if each.kind == "enum":
            out = (values < 0) | (values >= len(each.symbols))
            self.bad |= out
            values[out] = 0
            return None if (values == each.symbols.index(each.default)).all() else (values,)
        if not each.nullable and each.default is not None and (values == each.default).all():
            return None
        return (values,)

    def _text(self) -> tuple[UInt64Array, UInt64Array]:
        """The two words of an Arrow string view: made while the bytes are still in the cache."""
        length = self._varint()
        start = self.position
        wrong = (length < 0) | (length > self.end - start)
        if wrong.any():
            self.bad |= wrong
            length[wrong] = 0
        if length.max(initial=0) > TEXT_BYTES_MAX:
            self.long |= length > TEXT_BYTES_MAX
        self.position = start + length
        # A view is the length, the first 4 bytes, and either up to 8 more or the place of the whole.
        head = self.halves[start] & _KEEP_4[np.minimum(length, 4)]
        tail = self.words[start + 4] & _KEEP_8[np.clip(length - 4, 0, 8)]
        outside = start.view(np.uint64) << np.uint64(32)
        return (
            length.view(np.uint64) | (head.astype(np.uint64) << np.uint64(32)),
            np.where(length > _INLINE, outside, tail),
        )

    def _map(self, each: _Field) -> tuple[Any, ...] | None:
        count = self._varint()
        wrong = (count < 0) | (count > _MAP_ENTRIES_MAX)
        self.bad |= wrong
        count[wrong] = 0
        rows = np.flatnonzero(count)
        if not len(rows):
            return None
        inner = _Walker(self.data, self.position[rows], self.end[rows])
        entries = []
        active = np.arange(len(rows))
        for number in range(int(count.max())):
            active = active[count[rows[active]] > number]
            part = _Walker(self.data, inner.position[active], inner.end[active])
            key = part._text()
            value = part._text() if each.map_of == "string" else (part._varint(),)
            part._stay_inside()
            inner.position[active] = part.position
            inner.bad[active] |= part.bad
            inner.long[active] |= part.long
            entries.append((rows[active], *key, *value))
        # One block is what every encoder in use writes; several are left to the slow path.
        inner.bad |= inner._varint() != 0
        inner._stay_inside()
        self.position[rows] = inner.position
        self.bad[rows] |= inner.bad
        self.long[rows] |= inner.long
        joined = [np.concatenate(parts) for parts in zip(*entries, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return tuple(column[order] for column in joined)

    def _varint(self) -> Int64Array:
        """The zigzag number at each cursor, which moves behind it."""
        first = self.data[self.position]
        raw = first.astype(np.int64)
        rows = np.flatnonzero(first >= 0x80)
        after = self.position + 1
        if len(rows):
            value = (raw[rows] & 0x7F).astype(np.uint64)
            at = after[rows]
            on = np.arange(len(rows))
            for shift in range(7, 70, 7):
                byte = self.data[at[on]]
                value[on] |= (byte & np.uint8(0x7F)).astype(np.uint64) << np.uint64(min(shift, 63))
                at[on] += 1
                if shift == 63:
                    self.bad[rows[on[byte > 1]]] = True
                    break
                on = on[byte >= 0x80]
                if not len(on):
                    break
                # A marked row may run on through its neighbours: never beyond the padding.
                over = at[on] >= len(self.data)
                if over.any():
                    self.bad[rows[on[over]]] = True
                    on = on[~over]
            after[rows] = at
            wide = raw.astype(np.uint64)
            wide[rows] = value
            raw = ((wide >> np.uint64(1)).astype(np.int64)) ^ -((wide & np.uint64(1)).astype(np.int64))
        else:
            raw = (raw >> 1) ^ -(raw & 1)
        self.position = after
        return raw

    def _stay_inside(self) -> None:
        over = self.position > self.end
        if over.any():
            self.bad |= over
            self.position = np.minimum(self.position, self.end)


def _spread(found: tuple[Any, ...], rows: Int64Array, length: int) -> tuple[Any, ...]:
    columns = []
    for part in found:
        column = np.zeros(length, part.dtype)
        column[rows] = part
        columns.append(column)
    return tuple(columns)


class _Assembly:
    """From the pieces of all chunks to `UsageColumns`."""

    def __init__(
        self, data: UInt8Array, length: int, pieces: dict[str, _Pieces], irregular: BoolArray, long_text: BoolArray
    ) -> None:
        self.data = data
        self.length = length
        self.pieces = pieces
        self.irregular = irregular
        self.long_text = long_text

    def walked(self) -> Walked:
        usage = UsageColumns(self.length, {}, {}, {}, {}, {})
        for each in _FIELDS:
            parts = self.pieces[each.name].parts
            if not parts and not (each.kind == "string" and not each.nullable):
                continue
            if each.kind == "string":
                self._add_text(usage, each, parts)
            elif each.kind == "enum":
                values = self._fill(parts, 0, each.symbols.index(each.default), np.int32)
                usage.texts[each.name] = Text(values, pa.array(each.symbols, pa.string()))
            elif each.kind == "map":
                usage.maps[each.name] = self._entries(each, parts)
            elif each.nullable:
                kind = np.float64 if each.kind == "double" else np.int64
                usage.nullable[each.name] = (self._fill(parts, 0, 0, kind), self._valid(parts, 1))
            else:
                usage.longs[each.name] = self._fill(parts, 0, each.default or 0, np.int64)
        return Walked(usage, self.irregular, self.long_text)

    def _fill(self, parts: Sequence[Any], number: int, default: int, kind: Any) -> Any:
        column = np.full(self.length, default, kind)
        for begin, stop, arrays in parts:
            column[begin:stop] = arrays[number]
        return column

    def _valid(self, parts: Sequence[Any], number: int) -> BoolArray:
        valid = np.zeros(self.length, bool)
        for begin, stop, arrays in parts:
            valid[begin:stop] = True if arrays[number] is None else arrays[number]
        return valid

    def _add_text(self, usage: UsageColumns, each: _Field, parts: Sequence[Any]) -> None:
        views = np.zeros((self.length, 2), np.uint64)
        for begin, stop, arrays in parts:
            views[begin:stop, 0], views[begin:stop, 1] = arrays[0], arrays[1]
        valid = self._valid(parts, 2) if each.nullable else None
        views[self.irregular | self.long_text] = 0
        texts, bad = _texts(self.data, views, valid)
        if bad is not None:
            self.irregular |= bad
        if each.name in PLAIN:
            usage.plain[each.name] = texts
        else:
            usage.texts[each.name] = _coded(texts)

    def _entries(self, each: _Field, parts: Sequence[Any]) -> MapEntries:
        columns = [
            np.concatenate([arrays[number] + (begin if number == 0 else 0) for begin, _, arrays in parts])
            for number in range(len(parts[0][2]))
        ]
        kept = ~(self.irregular | self.long_text)[columns[0]]
        columns = [column[kept] for column in columns]
        rows = cast("Int64Array", columns[0])
        keys, bad = _texts(self.data, np.stack(columns[1:3], axis=1), None)
        values: Any = columns[3]
        if each.map_of == "string":
            values, worse = _texts(self.data, np.stack(columns[3:5], axis=1), None)
            bad = worse if bad is None else bad if worse is None else bad | worse
        if bad is not None:
            self.irregular[rows[bad]] = True
        coded = _coded(keys)
        # A key twice in one map is no plain encoding: the slow path keeps the last, as every reader does.
        pair = rows * max(len(coded.values), 1) + coded.codes
        order = np.argsort(pair, kind="stable")
        twice = order[1:][pair[order[1:]] == pair[order[:-1]]]
        self.irregular[rows[twice]] = True
        return MapEntries(rows, coded, values)


def _texts(data: UInt8Array, views: UInt64Array, valid: BoolArray | None) -> tuple[pa.StringArray, BoolArray | None]:
    """Arrow strings from views into `data`, and which rows are not UTF-8 (None: all are; such rows become empty)."""
    bitmap = None
    if valid is not None and not valid.all():
        views[~valid] = 0
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    buffers = [bitmap, pa.py_buffer(np.ascontiguousarray(views)), pa.py_buffer(data)]
    texts = pc.cast(pa.Array.from_buffers(pa.string_view(), len(views), cast("Any", buffers)), pa.string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        bad = np.array([not _is_utf8(raw) for raw in texts.cast(pa.binary()).to_pylist()])
        views = views.copy()
        views[bad] = 0
        return _texts(data, views, valid)[0], bad
    return texts, None


_INLINE = 12
_KEEP_4 = np.array([(1 << (8 * n)) - 1 for n in range(5)], np.uint32)
_KEEP_8 = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)


def _is_utf8(raw: bytes | None) -> bool:
    try:
        (raw or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _coded(texts: pa.StringArray) -> Text:
    encoded = texts.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return Text(codes, encoded.dictionary)
