"""Usage events as JSON lines, a block of lines at once: bytes to columns (spec/formats.md 5).

Only plain lines are read here: one object a line, the schema's names, numbers as numbers. What is odd in any way is
left to a reader of single lines, which knows every fault by its code; the two agree on what both can read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from chargeline.wire.block_texts import is_utf8
from chargeline.wire.usage_encoder import FIELDS, TIMES, Field

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_TEXT = pa.large_string()
_INSTANT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"
_KINDS = {"string": pa.string(), "long": pa.int64(), "double": pa.float64(), "enum": pa.string()}
_MAPS = {name: field.map_of for name, field in FIELDS.items() if field.kind == "map"}
_KEYS_MAX = 256  # of all maps of a file: more make a column each, and the reader of single lines is faster
_TOO_FEW = 64  # lines; a fault is not looked for more closely than this


@dataclass(frozen=True)
class EventLines:
    """n lines of a block that are not empty.

    Attributes:
        columns: of the plain lines, one row each, as `usage_encoder.encode` takes them.
        plain: which line each row of the columns is, ascending.
        odd: the other lines, ascending.
        text: every line.
    """

    columns: dict[str, pa.Array]
    plain: Int64Array
    odd: Int64Array
    text: pa.LargeBinaryArray

    def __len__(self) -> int:
        return len(self.text)


class EventLinesReader:
    """Reads block after block of one file; it remembers the fields and the keys of maps that it has met."""

    def __init__(self) -> None:
        # A field that no line has would cost as much as one that every line has.
        self._fields = {name for name, field in FIELDS.items() if field.default is None}
        self._keys: dict[str, list[str]] = {name: [] for name in _MAPS}

    def read(self, block: bytes) -> EventLines:
        """The lines of a block of whole lines."""
        data, starts, ends = _lines(block)
        text = _binary(data, starts, ends)
        if not len(starts):
            return EventLines({}, starts, starts, text)
        is_object = (data[starts] == ord("{")) & (data[ends - 1] == ord("}"))
        rows = np.flatnonzero(is_object & _is_utf8(text))
        # `}` and `{` on both sides of every line break: no object goes over two lines, whatever the parser allows.
        tables = list(self._tables(text, rows))
        table = pa.concat_tables([each for _, each in tables], promote_options="default") if tables else None
        if table is None:
            return EventLines({}, rows[:0], np.arange(len(text)), text)
        plain = np.concatenate([rows for rows, _ in tables])
        columns, is_odd = _columns(table, text, plain, self._keys)
        if is_odd.any():
            kept = pa.array(np.flatnonzero(~is_odd))
            columns = {name: column.take(kept) for name, column in columns.items()}
            plain = plain[~is_odd]
        odd = np.ones(len(text), bool)
        odd[plain] = False
        return EventLines(columns, plain, np.flatnonzero(odd), text)

    def _tables(self, text: pa.LargeBinaryArray, rows: Int64Array) -> Iterator[tuple[Int64Array, pa.Table]]:
        """(rows, their table) of all lines that can be read at once; a part with a fault is halved."""
        if not len(rows):
            return
        table = self._parsed(text, rows)
        if table is not None:
            yield rows, table
        elif len(rows) > _TOO_FEW:
            yield from self._tables(text, rows[: len(rows) // 2])
            yield from self._tables(text, rows[len(rows) // 2 :])

    def _parsed(self, text: pa.LargeBinaryArray, rows: Int64Array) -> pa.Table | None:
        raw = _joined(text, rows)
        table = _parse(raw, self._schema(), len(rows))
        if table is None and self._learnt(raw):
            table = _parse(raw, self._schema(), len(rows))
        return table

    def _schema(self) -> pa.Schema:
        plain = [FIELDS[name] for name in self._fields if name not in _MAPS]
        fields = [pa.field(field.name, _kind(field)) for field in plain]
        for name, kind in _MAPS.items():
            if self._keys[name]:
                children = [pa.field(key, _KINDS[kind]) for key in self._keys[name]]
                fields.append(pa.field(name, pa.struct(children)))
        return pa.schema(fields)

    def _learnt(self, raw: pa.Buffer) -> bool:
        """Whether the lines have fields or keys of maps that were not known."""
        try:
            table = arrow_json.read_json(
                pa.BufferReader(raw),
                arrow_json.ReadOptions(use_threads=False, block_size=raw.size + 1),
                arrow_json.ParseOptions(unexpected_field_behavior="infer"),
            )
        except pa.ArrowInvalid:
            return False
        before = len(self._fields), sum(map(len, self._keys.values()))
        self._fields |= FIELDS.keys() & set(table.schema.names)
        for name, keys in self._keys.items():
            kind = table.schema.field(name).type if name in table.schema.names else pa.null()
            if pa.types.is_struct(kind):
                known = set(keys)
                keys += [child.name for child in kind if child.name not in known]
        keys_now = sum(map(len, self._keys.values()))
        return before != (len(self._fields), keys_now) and keys_now <= _KEYS_MAX


def event_columns(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Columns of a table as `usage_encoder.encode` takes them: whole microseconds, symbols that this version knows."""
    found = {name: column for name, column in columns.items() if column.null_count < len(column)}
    for name, column in found.items():
        kind = FIELDS[name].kind if name in FIELDS else ""
        if pa.types.is_timestamp(column.type):
            found[name] = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        elif kind == "enum":
            found[name] = _symbols(FIELDS[name], column.cast(pa.string()))
    return found


def _kind(field: Field) -> pa.DataType:
    return pa.string() if field.name in TIMES else _KINDS[field.kind]


def _lines(block: bytes) -> tuple[npt.NDArray[np.uint8], Int64Array, Int64Array]:
    """(bytes, start, end) of each line that is not empty, without blanks around it."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if not len(data):
        return data, ends, ends
    if data[-1] != ord("\n"):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1])
    for _ in range(2):  # "\r", and perhaps a blank; any other line is odd
        ends = ends - ((ends > starts) & np.isin(data[np.maximum(ends - 1, 0)], (9, 13, 32)))
    kept = ends > starts
    first = data[np.minimum(starts, len(data) - 1)]
    for row in np.flatnonzero(kept & np.isin(first, (9, 13, 32))).tolist():
        kept[row] = bool(block[starts[row] : ends[row]].strip())
    return data, starts[kept], ends[kept]


def _binary(data: npt.NDArray[np.uint8], starts: Int64Array, ends: Int64Array) -> pa.LargeBinaryArray:
    """The lines as a column; a line break may stand at their end, what else lies between them is cut out."""
    if len(starts) and starts[0] == 0 and (starts[1:] == ends[:-1] + 1).all():
        return _from_offsets(np.append(starts, ends[-1]), data)
    edges = np.zeros(len(data) + 1, np.int8)
    edges[starts] = 1
    edges[ends] = -1  # a line break lies between an end and the next start
    kept = data[np.cumsum(edges[:-1], dtype=np.int8).view(bool)]
    return _from_offsets(np.concatenate([[0], np.cumsum(ends - starts)]), kept)


def _from_offsets(offsets: Int64Array, data: npt.NDArray[np.uint8]) -> pa.LargeBinaryArray:
    return pa.Array.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )


def _is_utf8(text: pa.LargeBinaryArray) -> BoolArray:
    """Which lines are text at all: the parser does not look."""
    try:
        text.cast(pa.large_string())
    except pa.ArrowInvalid:
        return np.array([is_utf8(line) for line in text.to_pylist()], bool)
    return np.ones(len(text), bool)


def _joined(text: pa.LargeBinaryArray, rows: Int64Array) -> pa.Buffer:
    """The given lines one after the other; objects need nothing between them."""
    if len(rows) < len(text):
        text = text.take(pa.array(rows))
    bounds = np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]
    return text.buffers()[2].slice(int(bounds[0]), int(bounds[-1] - bounds[0]))


def _parse(raw: pa.Buffer, schema: pa.Schema, rows: int) -> pa.Table | None:
    """The table of so many lines; None: something in them is not plain."""
    try:
        table = arrow_json.read_json(
            pa.BufferReader(raw),
            arrow_json.ReadOptions(use_threads=False, block_size=raw.size + 1),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == rows else None


def _columns(
    table: pa.Table, text: pa.LargeBinaryArray, rows: Int64Array, keys: dict[str, list[str]]
) -> tuple[dict[str, pa.Array], BoolArray]:
    """(columns without those that are null everywhere, rows that are odd all the same)."""
    odd = np.zeros(len(rows), bool)
    columns: dict[str, pa.Array] = {}
    for name, field in FIELDS.items():
        if name not in table.schema.names:
            continue
        chunked = table.column(name)
        column = chunked.chunk(0) if chunked.num_chunks == 1 else pa.concat_arrays(chunked.chunks)
        if field.default is None:
            odd |= _mask(column.is_null())
        if column.null_count == len(column):
            continue
        if name in TIMES:
            column, strange = _instants(column)
            odd |= strange
        elif field.kind == "enum":
            column = _symbols(field, column)
        elif field.kind == "map":
            odd |= _has_null(column, text, rows)
            column = _map(column, keys[name])
        columns[name] = column
    return columns, odd


def _instants(column: pa.Array) -> tuple[pa.Array, BoolArray]:
    """(microseconds, rows that are no instant in the plain form)."""
    fits = pc.match_substring_regex(column, _INSTANT)
    plain = pc.if_else(fits, column, pa.scalar(None, column.type))
    try:
        times = plain.cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:  # the 31st of June somewhere
        return pa.nulls(len(column), pa.int64()), _mask(column.is_valid())
    return times.cast(pa.int64()), _mask(pc.invert(pc.fill_null(fits, fill_value=True)))


def _symbols(field: Field, column: pa.Array) -> pa.Array:
    """A symbol that this version does not know is UNKNOWN, as Avro's schema resolution has it."""
    encoded = column.dictionary_encode()
    names = [name if name is None or name in field.symbols else "UNKNOWN" for name in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def _has_null(column: pa.Array, text: pa.LargeBinaryArray, rows: Int64Array) -> BoolArray:
    """Rows with a map that may hold a null: it cannot be told from a key that is not there."""
    filled = np.flatnonzero(_mask(column.is_valid()))
    odd = np.zeros(len(column), bool)
    odd[filled] = _mask(pc.match_substring(text.take(pa.array(rows[filled])), "null"))
    return odd


def _map(column: pa.StructArray, keys: list[str]) -> pa.MapArray:
    """The entries of each row in the order of their keys' bytes."""
    names = sorted(keys, key=str.encode)
    fields = [column.field(name) for name in names]
    valid = np.array([_mask(each.is_valid()) for each in fields]).reshape(len(names), len(column))
    valid &= _mask(column.is_valid())
    row, place = np.nonzero(valid.T)
    values = pa.concat_arrays([each.filter(pa.array(is_there)) for each, is_there in zip(fields, valid, strict=True)])
    starts = np.concatenate([[0], np.cumsum(valid.sum(axis=1))])[:-1]
    at = starts[place] + (np.cumsum(valid, axis=1) - 1).T[row, place]
    offsets = np.concatenate([[0], np.cumsum(valid.sum(axis=0))]).astype(np.int32)
    keys_of = pa.array(names, pa.string()).take(pa.array(place))
    return pa.MapArray.from_arrays(pa.array(offsets), keys_of, values.take(pa.array(at)))


def _mask(column: pa.Array) -> BoolArray:
    return np.asarray(column.to_numpy(zero_copy_only=False), bool)
