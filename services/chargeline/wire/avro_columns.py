"""From Avro datums to columns, all of a commit unit at once, without a Python step per event.

Every row is walked in step: for each field of the schema one array operation moves all cursors on, and a run of fields
that hold their defaults in all rows is passed in one go. A row whose bytes are not exactly one UsageEvent in its
plainest encoding (too short, bytes left over, a map in several blocks, an enum out of range, text that is not UTF-8) is
only marked: `avro_rows` decides what it is. So one bad record costs itself, never its batch, and nothing is accepted
that has not been measured to its last byte.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.usage import TEXT_BYTES_MAX, MapEntries, Text, UsageColumns
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.text_views import arrow_texts, numbered_texts, views

UInt8Array = npt.NDArray[np.uint8]
Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]

PADDING = 32  # bytes after the last datum: a word is read from the last byte on
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

    @property
    def number(self) -> int:
        """The default of a long or an enum as it stands on the wire, before zigzag."""
        return self.symbols.index(self.default) if self.symbols else self.default or 0

    @property
    def default_byte(self) -> int | None:
        """The byte that stands for the default; None: there is no default."""
        if self.nullable or self.kind == "map":
            return 0
        return 2 * self.number if self.kind in {"long", "enum"} and self.default is not None else None


def _fields() -> tuple[_Field, ...]:
    fields = []
    for each in json.loads(USAGE_EVENT_SCHEMA)["fields"]:
        kind = each["type"]
        nullable = isinstance(kind, list)
        if nullable:
            kind = next(branch for branch in kind if branch != "null")
        if isinstance(kind, str):
            kind = {"type": kind}
        symbols = tuple(kind.get("symbols", ()))
        fields.append(
            _Field(each["name"], kind["type"], nullable, symbols, each.get("default"), kind.get("values", ""))
        )
    return tuple(fields)


def _default_runs() -> tuple[tuple[np.uint64, int], ...]:
    """From each field on: the bytes of the defaults of up to 8 fields in one word, and how many there are."""
    runs = []
    for first in range(len(_FIELDS)):
        run = []
        for each in _FIELDS[first : first + 8]:
            if each.default_byte is None:
                break
            run.append(each.default_byte)
        runs.append((np.uint64(int.from_bytes(bytes(run), "little")), len(run)))
    return tuple(runs)


_FIELDS = _fields()
_RUNS = _default_runs()


@dataclass(frozen=True)
class Walked:
    """The columns of n datums; rows in `irregular` or `long_text` hold anything."""

    usage: UsageColumns
    irregular: BoolArray
    long_text: BoolArray


def walk(data: UInt8Array, starts: Int64Array, ends: Int64Array) -> Walked:
    """Decode n datums.

    Args:
        data: all bytes, followed by `PADDING` more; below 2 GiB.
        starts, ends: int64, where each datum lies in it.
    """
    columns = _Columns(data, len(starts))
    filled: set[int] = set()  # fields that did not hold their default everywhere: no use to try in the next chunk
    for begin in range(0, len(starts), _CHUNK):
        stop = min(begin + _CHUNK, len(starts))
        walker = _Walker(data, starts[begin:stop].copy(), ends[begin:stop].copy())
        at = 0
        while at < len(_FIELDS):
            passed = 0 if at in filled else walker.pass_defaults(*_RUNS[at])
            if not passed:
                filled.add(at)
                columns.put(_FIELDS[at], begin, stop, walker.step(_FIELDS[at]))
            at += passed or 1
        columns.irregular[begin:stop] = walker.bad | (walker.position != walker.end)
        columns.long_text[begin:stop] = walker.long
    return columns.walked()


class _Walker:
    """The cursors of one chunk. A row that turned out bad goes on as a copy of a good one, so that it disturbs none."""

    def __init__(self, data: UInt8Array, position: Int64Array, end: Int64Array) -> None:
        self.data = data
        self.words, self.halves = (np.ndarray((len(data) - 7,), kind, data, strides=(1,)) for kind in ("<u8", "<u4"))
        self.position = position
        self.end = end
        self.bad = np.zeros(len(position), bool)
        self.long = np.zeros(len(position), bool)

    def pass_defaults(self, pattern: np.uint64, most: int) -> int:
        """Move over the next fields, up to `most`, that hold their defaults in every row; how many there are."""
        if not most:
            return 0
        differing = int(np.bitwise_or.reduce(self.words[self.position] ^ pattern))
        same = 8 if not differing else ((differing & -differing).bit_length() - 1) // 8
        passed = min(same, most)
        if passed:
            self.position += passed
            self._stay_inside()
        return passed

    def step(self, each: _Field) -> tuple[Any, ...] | None:
        """Move over one field; its arrays and which rows have a value, or None where all hold the default."""
        if not each.nullable:
            found = self._value(each)
            self._stay_inside()
            return found if found is None or each.kind == "map" else (*found, None)
        branch = self.data[self.position]
        self.position += 1
        valid = branch == 2
        if valid.all():
            found = self._value(each)
        else:
            wrong = ~valid & (branch != 0)
            if wrong.any():
                self._reject(wrong)
                valid = self.data[self.position - 1] == 2
            rows = np.flatnonzero(valid)
            inner = _Walker(self.data, self.position[rows], self.end[rows])
            found = inner._value(each)
            self._take_back(inner, rows)
            found = None if found is None else _spread(found, rows, len(valid))
        self._stay_inside()
        return None if found is None else (*found, valid)

    def _value(self, each: _Field) -> tuple[Any, ...] | None:
        if each.kind == "string":
            return (self._text(),)
        if each.kind == "double":
            doubles = self.words[self.position].view(np.float64)
            self.position = self.position + 8
            return (doubles,)
        if each.kind == "map":
            return self._map(each)
        values = self._varint()
        if each.kind == "enum":
            out = (values < 0) | (values >= len(each.symbols))
            if out.any():
                values[out] = each.number
                self._reject(out)
        if not each.nullable and each.default is not None and (values == each.number).all():
            return None
        return (values,)

    def _text(self) -> UInt64Array:
        length = self._varint()
        wrong = (length < 0) | (length > self.end - self.position)
        if wrong.any():
            self._reject(wrong)
            length[wrong] = 0
        if length.max(initial=0) > TEXT_BYTES_MAX:
            self.long |= length > TEXT_BYTES_MAX
        start = self.position
        self.position = start + length
        return views(self.words, self.halves, start, length)

    def _map(self, each: _Field) -> tuple[Any, ...] | None:
        count = self._varint()
        wrong = (count < 0) | (count > _MAP_ENTRIES_MAX)
        if wrong.any():
            self._reject(wrong)
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
            value = part._text() if each.map_of == "string" else part._varint()
            part._stay_inside()
            inner._take_back(part, active)
            entries.append((rows[active], key, value))
        # One block is what every encoder in use writes; several are left to the slow path.
        inner.bad |= inner._varint() != 0
        inner._stay_inside()
        self._take_back(inner, rows)
        joined = [np.concatenate(parts, axis=-1) for parts in zip(*entries, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return tuple(column[..., order] for column in joined)

    def _varint(self) -> Int64Array:
        """The zigzag number at each cursor, which moves behind it."""
        first = self.data[self.position]
        rows = np.flatnonzero(first >= 0x80)
        raw = first.astype(np.uint64)
        after = self.position + 1
        if len(rows):
            raw[rows], size = self._wide(self.position[rows], rows)
            after[rows] += size - 1
        self.position = after
        return (raw >> _1).view(np.int64) ^ -(raw & _1).view(np.int64)

    def _wide(self, at: Int64Array, rows: Int64Array) -> tuple[UInt64Array, Int64Array]:
        """(number before zigzag, bytes) of numbers of two bytes or more, all in one word if they have at most 8."""
        word = self.words[at]
        last = ~word & _LAST
        last &= ~last + _1  # the lowest bit: that of the last byte
        size = (np.bitwise_count(last - _1) >> 3).astype(np.int64) + 1
        word &= last | (last - _1)
        word &= ~_LAST
        word = ((word & _ODD[0]) >> np.uint64(1)) | (word & _EVEN[0])
        word = ((word & _ODD[1]) >> np.uint64(2)) | (word & _EVEN[1])
        word = ((word & _ODD[2]) >> np.uint64(4)) | (word & _EVEN[2])
        huge = np.flatnonzero(last == 0)
        if len(huge):
            ninth, tenth = (self.data[at[huge] + n].astype(np.uint64) for n in (8, 9))
            word[huge] |= (ninth & np.uint64(0x7F)) << np.uint64(56)
            more = ninth >= 0x80
            word[huge] |= np.where(more, tenth << np.uint64(63), np.uint64(0))
            size[huge] = np.where(more, 10, 9)
            too_long = np.zeros(len(self.position), bool)
            too_long[rows[huge]] = more & (tenth > 1)
            if too_long.any():
                self._reject(too_long)
        return word, size

    def _stay_inside(self) -> None:
        over = self.position > self.end
        if over.any():
            self._reject(over)

    def _reject(self, rows: BoolArray) -> None:
        self.bad |= rows
        good = int(self.bad.argmin())
        if self.bad[good]:
            self.position = np.minimum(self.position, self.end)  # all are bad: only stay within the data
        else:
            self.position[rows], self.end[rows] = self.position[good], self.end[good]

    def _take_back(self, inner: "_Walker", rows: Int64Array) -> None:
        """What another walker did with some of the rows."""
        self.position[rows] = inner.position
        self.bad[rows] |= inner.bad
        self.long[rows] |= inner.long


_1 = np.uint64(1)
_LAST = np.uint64(0x8080808080808080)
# Seven bits a byte are moved together in three steps: pairs of bytes, of two bytes, of four.
_ODD = tuple(map(np.uint64, (0x7F007F007F007F00, 0x3FFF00003FFF0000, 0x0FFFFFFF00000000)))
_EVEN = tuple(map(np.uint64, (0x007F007F007F007F, 0x00003FFF00003FFF, 0x000000000FFFFFFF)))


def _spread(found: tuple[Any, ...], rows: Int64Array, length: int) -> tuple[Any, ...]:
    columns = []
    for part in found:
        column = np.zeros((*part.shape[:-1], length), part.dtype)
        column[..., rows] = part
        columns.append(column)
    return tuple(columns)


@dataclass
class _Column:
    values: npt.NDArray[Any]
    valid: BoolArray | None


class _Columns:
    """The columns of all chunks; one that holds its default everywhere is never made."""

    def __init__(self, data: UInt8Array, length: int) -> None:
        self.data = data
        self.length = length
        self.irregular = np.zeros(length, bool)
        self.long_text = np.zeros(length, bool)
        self._columns: dict[str, _Column] = {}
        self._maps: dict[str, list[tuple[Any, ...]]] = {}

    def put(self, each: _Field, begin: int, stop: int, found: tuple[Any, ...] | None) -> None:
        if found is None:
            return
        if each.kind == "map":
            self._maps.setdefault(each.name, []).append((found[0] + begin, *found[1:]))
            return
        values, valid = found
        column = self._columns.setdefault(each.name, self._empty(each))
        column.values[..., begin:stop] = values
        if column.valid is not None:
            column.valid[begin:stop] = valid

    def walked(self) -> Walked:
        usage = UsageColumns(self.length, {}, {}, {}, {}, {})
        for each in _FIELDS:
            column = self._columns.get(each.name)
            if column is None and each.kind == "string" and not each.nullable:
                column = self._empty(each)
            if each.name in self._maps:
                usage.maps[each.name] = self._entries(each, self._maps[each.name])
            elif column is None:
                continue
            elif each.kind == "string":
                self._add_text(usage, each, column)
            elif each.kind == "enum":
                usage.texts[each.name] = Text(column.values.astype(np.int32), pa.array(each.symbols, pa.string()))
            elif column.valid is not None:
                usage.nullable[each.name] = (column.values, column.valid)
            else:
                usage.longs[each.name] = column.values
        return Walked(usage, self.irregular, self.long_text)

    def _empty(self, each: _Field) -> _Column:
        valid = np.zeros(self.length, bool) if each.nullable else None
        if each.kind == "string":
            return _Column(np.zeros((2, self.length), np.uint64), valid)
        kind = np.float64 if each.kind == "double" else np.int64
        return _Column(np.full(self.length, 0 if each.nullable else each.number, kind), valid)

    def _add_text(self, usage: UsageColumns, each: _Field, column: _Column) -> None:
        unread = self.irregular | self.long_text
        if unread.any():
            column.values[:, unread] = 0
        if each.name in PLAIN:
            usage.plain[each.name], bad = arrow_texts(self.data, column.values, column.valid)
        else:
            usage.texts[each.name], bad = numbered_texts(self.data, column.values, column.valid)
        if bad is not None:
            self.irregular |= bad

    def _entries(self, each: _Field, parts: Sequence[Any]) -> MapEntries:
        rows, keys, values = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
        kept = ~(self.irregular | self.long_text)[rows]
        rows, keys, values = cast("Int64Array", rows[kept]), keys[:, kept], values[..., kept]
        coded, bad = numbered_texts(self.data, keys, None)
        if each.map_of == "string":
            values, worse = arrow_texts(self.data, values, None)
            bad = worse if bad is None else bad if worse is None else bad | worse
        if bad is not None:
            self.irregular[rows[bad]] = True
        # A key twice in one map is no plain encoding: the slow path keeps the last, as every reader does.
        pair = rows * max(len(coded.values), 1) + coded.codes
        order = np.argsort(pair, kind="stable")
        twice = order[1:][pair[order[1:]] == pair[order[:-1]]]
        self.irregular[rows[twice]] = True
        return MapEntries(rows, coded, values)
