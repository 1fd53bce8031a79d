"""From Avro datums to columns, all of a commit unit at once, without a Python step per event.

The datums are walked twice, as machine code (avro_walk.py): once to measure each to its last byte and to see which
columns are needed, once to fill these; some thousand at a time, so that their bytes stay in the processor's cache. A
row whose bytes are not exactly one UsageEvent in its plainest encoding (too short, bytes left over, a map in several
blocks, an enum out of range, text that is not UTF-8) is only marked: `avro_rows` decides what it is. So one bad record
costs itself, never its batch, and nothing is accepted that has not been measured to its last byte.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.compiled import words_of
from chargeline.domain.usage import TEXT_BYTES_MAX, MapEntries, Text, UsageColumns
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.avro_walk import CODED, DOUBLE, ENUM, LONG, MAP_OF_LONGS, MAP_OF_TEXTS, TEXT, fill, measure
from chargeline.wire.block_texts import SEED, Numbering, arrow_texts, numbered_texts

UInt8Array = npt.NDArray[np.uint8]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_CHUNK = 4096  # rows
PADDING = 32  # bytes after the last datum: whole words are read from the last byte on
# Strings that hardly repeat: a dictionary of them would only be a copy.
PLAIN = frozenset(
    {"event_id", "request_id", "trace_id", "run_id", "amends_event_id", "customer_id", "principal_id", "credential_id"}
)
_KINDS = {"string": CODED, "long": LONG, "enum": ENUM, "double": DOUBLE, "long map": MAP_OF_LONGS,
          "string map": MAP_OF_TEXTS}  # fmt: skip


@dataclass(frozen=True)
class _Field:
    name: str
    kind: int
    nullable: bool
    symbols: tuple[str, ...]
    default: Any

    @property
    def number(self) -> int:
        """The default of a long or an enum as it stands on the wire, before zigzag."""
        return self.symbols.index(self.default) if self.symbols else self.default or 0

    @property
    def default_byte(self) -> int:
        """The byte that stands for the default; 256: there is no default."""
        if self.nullable or self.kind >= MAP_OF_LONGS:
            return 0
        return 2 * self.number if self.kind in {LONG, ENUM} and self.default is not None else 256


def _fields() -> tuple[_Field, ...]:
    fields = []
    for each in json.loads(USAGE_EVENT_SCHEMA)["fields"]:
        kind = each["type"]
        nullable = isinstance(kind, list)
        if nullable:
            kind = next(branch for branch in kind if branch != "null")
        if isinstance(kind, str):
            kind = {"type": kind}
        name = f"{kind['values']} map" if kind["type"] == "map" else kind["type"]
        number = TEXT if each["name"] in PLAIN else _KINDS[name]
        fields.append(_Field(each["name"], number, nullable, tuple(kind.get("symbols", ())), each.get("default")))
    return tuple(fields)


def _slots() -> tuple[Int64Array, dict[int, int]]:
    """The place of each field among those that share an array with it, and how many these are."""
    count: dict[int, int] = {LONG: 0, CODED: 0, TEXT: 0, MAP_OF_LONGS: 0}
    slots = []
    for each in _FIELDS:
        shared = LONG if each.kind in {LONG, ENUM, DOUBLE} else min(each.kind, MAP_OF_LONGS)
        slots.append(count[shared])
        count[shared] += 1
    return np.array(slots, np.int64), count


_FIELDS = _fields()
_SLOT, _COUNT = _slots()
_KIND = np.array([each.kind for each in _FIELDS], np.int64)
_NULLABLE = np.array([each.nullable for each in _FIELDS], bool)
_SYMBOLS = np.array([len(each.symbols) for each in _FIELDS], np.int64)
_DEFAULT_BYTE = np.array([each.default_byte for each in _FIELDS], np.int64)
_VALID_SLOT = np.cumsum(_NULLABLE) - 1
_ALWAYS = [each.kind in {TEXT, CODED} and not each.nullable for each in _FIELDS]


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
    for begin in range(0, len(starts), _CHUNK):
        columns.walk(starts[begin : begin + _CHUNK], ends[begin : begin + _CHUNK], begin)
    return Walked(columns.usage(), columns.irregular, columns.long_text)


class _Columns:
    """The arrays of all fields. What holds its default everywhere is never written, and no column of the result.

    Attributes:
        irregular, long_text: by row.
        numbers: int64 (slot, row): longs, enums, and the bits of doubles.
        codes: int32 (slot, row): texts that repeat, see Numbering; -1: null.
        places: int32 (slot, place and length, row): the other texts.
        valid: (slot, row): which values of the nullable fields are not null.
        maps: by field: parts of int64 (5, entries): row, place and length of the key, and the number, or place and
            length of the text.
    """

    def __init__(self, data: UInt8Array, length: int) -> None:
        self._data = data
        self._length = length
        self.irregular, self.long_text = np.zeros(length, bool), np.zeros(length, bool)
        self._seen = np.zeros(len(_FIELDS), bool)
        self._numbers = np.empty((_COUNT[LONG], length), np.int64)
        self._codes = np.empty((_COUNT[CODED], length), np.int32)
        self._places = np.empty((_COUNT[TEXT], 2, length), np.int32)
        self._valid = np.empty((int(_NULLABLE.sum()), length), bool)
        self._numbering = Numbering(_COUNT[CODED], length)
        self._maps: dict[int, list[Int64Array]] = {}
        self._prepare(np.array(_ALWAYS))

    def walk(self, starts: Int64Array, ends: Int64Array, begin: int) -> None:
        """Take some of the rows, from `begin` on."""
        irregular, long_text = (flags[begin : begin + len(starts)] for flags in (self.irregular, self.long_text))
        seen, entries = self._seen.copy(), np.zeros(len(_FIELDS), np.int64)
        measure(
            self._data, starts, ends, _KIND, _NULLABLE, _SYMBOLS, _DEFAULT_BYTE, TEXT_BYTES_MAX,
            irregular, long_text, seen, entries,
        )  # fmt: skip
        self._prepare(seen & ~self._seen)
        first = np.cumsum(entries) - entries
        maps, map_end = np.empty((5, int(entries.sum())), np.int64), first.copy()
        fill(
            self._data, words_of(self._data), starts, irregular | long_text, begin, _KIND, _NULLABLE, _DEFAULT_BYTE,
            _SLOT, _VALID_SLOT, self._numbers, self._codes, self._places, self._valid, maps, map_end,
            self._numbering.slots, self._numbering.places, self._numbering.counts, SEED,
        )  # fmt: skip
        for at in np.flatnonzero(map_end > first).tolist():
            self._maps.setdefault(at, []).append(maps[:, first[at] : map_end[at]])

    def _prepare(self, fresh: BoolArray) -> None:
        """Write the defaults of fields that are seen for the first time."""
        self._seen |= fresh
        for at in np.flatnonzero(fresh).tolist():
            each, slot = _FIELDS[at], _SLOT[at]
            if each.kind == CODED:
                self._codes[slot] = -1
            elif each.kind == TEXT:
                self._places[slot] = 0
            elif each.kind <= DOUBLE:
                self._numbers[slot] = 0 if each.nullable else each.number
            if each.nullable:
                self._valid[_VALID_SLOT[at]] = False

    def usage(self) -> UsageColumns:
        """All of them; rows with a text that is not UTF-8, or a key twice in a map, are marked."""
        usage = UsageColumns(self._length, {}, {}, {}, {}, {})
        for at in np.flatnonzero(self._seen).tolist():
            each, slot = _FIELDS[at], _SLOT[at]
            valid = self._valid[_VALID_SLOT[at]] if each.nullable else None
            if each.kind == CODED:
                usage.texts[each.name], bad = self._numbering.text(self._data, slot, self._codes[slot])
                self._mark(bad)
            elif each.kind == TEXT:
                starts, lengths = self._places[slot]
                usage.plain[each.name], bad = arrow_texts(self._data, starts, lengths, valid)
                self._mark(bad)
            elif each.kind == ENUM:
                codes = self._numbers[slot].astype(np.int32)
                usage.texts[each.name] = Text(codes, pa.array(each.symbols, pa.string()))
            elif each.kind >= MAP_OF_LONGS:
                if at in self._maps:
                    usage.maps[each.name] = self._entries(at, np.concatenate(self._maps[at], axis=1))
            elif valid is not None:
                values = self._numbers[slot]
                usage.nullable[each.name] = (values.view(np.float64) if each.kind == DOUBLE else values, valid)
            else:
                usage.longs[each.name] = self._numbers[slot]
        return usage

    def _mark(self, bad: BoolArray | None) -> None:
        if bad is not None:
            self.irregular |= bad

    def _entries(self, at: int, entries: Int64Array) -> MapEntries:
        rows, key, length, value, value_length = entries
        keys, bad = numbered_texts(self._data, key, length)
        values: Any = value
        if _KIND[at] == MAP_OF_TEXTS:
            values, worse = arrow_texts(self._data, value, value_length, None)
            bad = worse if bad is None else bad if worse is None else bad | worse
        if bad is not None:
            self.irregular[rows[bad]] = True
        # A key twice in one map is no plain encoding: the slow path keeps the last, as every reader does.
        pair = rows * max(len(keys.values), 1) + keys.codes
        order = np.argsort(pair, kind="stable")
        twice = order[1:][pair[order[1:]] == pair[order[:-1]]]
        self.irregular[rows[twice]] = True
        return MapEntries(rows, keys, values)
