"""Avro object container files of UsageEvents, cut into events that are sent on as they are.

A block holds its events one after another and does not say where each of them ends. So many blocks are walked in step,
each array operation moving one field on in all of them. An event is never decoded: what a replay overrides is put in
place of the bytes that were there.
"""

import io
import struct
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.errors import Refused
from chargeline.sdk.columns import Int64Array
from chargeline.wire.avro_rows import is_ours
from chargeline.wire.usage_encoder import FIELDS, Field, Framed, literal

UInt8Array = npt.NDArray[np.uint8]

_PADDING = 16  # zeros behind the data: a number that is cut off ends there
_BYTES = 1 << 23  # of blocks that are walked together
_EVENTS_MAX = 1000  # of a block; in larger ones too few blocks would be walked together
_ENTRIES_MAX = 65_536  # of a map
_ACCOUNT = list(FIELDS).index("billing_account_id")


def can_be_cut(path: Path) -> bool:
    """Whether the file's events have the bytes of UsageEvent v1, in blocks of a usual size."""
    with path.open("rb") as source:
        try:
            blocks = fastavro.block_reader(source)
            first = next(blocks, None)
        except ValueError:
            return False
        return is_ours(blocks.metadata["avro.schema"]) and (first is None or first.num_records <= _EVENTS_MAX)


def cut(path: Path, options: Mapping[str, str], schema_id: int) -> Iterator[Framed]:
    """The events of a file with the fields of `options` replaced.

    Raises:
        Refused: BAD_FILE, a block of it is damaged.
    """
    names = list(FIELDS)
    replaced = sorted((names.index(name), literal(FIELDS[name], value)) for name, value in options.items())
    try:
        with path.open("rb") as source:
            for window in _windows(fastavro.block_reader(source)):
                yield _framed(*window, [*replaced, (len(names), b"")], options, schema_id)
    except (ValueError, EOFError) as error:
        raise Refused("BAD_FILE", f"{path.name} is damaged: {error}") from error


def _framed(
    data: UInt8Array,
    begins: Int64Array,
    ends: Int64Array,
    counts: Int64Array,
    replaced: list[tuple[int, bytes]],
    options: Mapping[str, str],
    schema_id: int,
) -> Framed:
    bounds = _Walk(data).bounds(begins, counts)
    if not np.array_equal(bounds[np.cumsum(counts) - 1, -1], ends):
        raise ValueError("a block does not end with its last event")
    raw, start, before = data.tobytes(), 0, struct.pack(">bI", 0, schema_id)
    parts = []
    for index, value in replaced:
        parts.append([before + part for part in _slices(raw, bounds[:, start], bounds[:, index])])
        start, before = index + 1, value
    accounts = _slices(raw, bounds[:, _ACCOUNT], bounds[:, _ACCOUNT + 1])
    return Framed(_named(accounts, options), [b"".join(each) for each in zip(*parts, strict=True)])


def _windows(blocks: Any) -> Iterator[tuple[UInt8Array, Int64Array, Int64Array, Int64Array]]:
    """Bytes of some blocks, where each begins and ends in them, and how many events it holds."""
    pieces: list[bytes] = []
    counts: list[int] = []
    for block in chain(blocks, (None,)):
        if block is None or sum(map(len, pieces)) > _BYTES:
            if pieces:
                ends = np.cumsum([len(piece) for piece in pieces])
                data = np.frombuffer(b"".join(pieces) + bytes(_PADDING), np.uint8)
                yield data, np.append(0, ends[:-1]), ends, np.array(counts)
            pieces, counts = [], []
        if block is not None and block.num_records:
            pieces.append(block.bytes_.getvalue())
            counts.append(block.num_records)


class _Walk:
    """Moves cursors over Avro data, only ever forward; one that is led astray stops behind its end and stays there."""

    def __init__(self, data: UInt8Array) -> None:
        self.data = data
        self.last = len(data) - _PADDING + 1

    def bounds(self, begins: Int64Array, counts: Int64Array) -> Int64Array:
        """Where each field of each event begins, and where the event ends; events in the order of the data."""
        found = np.empty((int(counts.sum()), len(FIELDS) + 1), np.int64)
        rows, cursors = np.cumsum(counts) - counts, begins.copy()
        for number in range(int(counts.max())):
            on = np.flatnonzero(counts > number)
            at = cursors[on]
            for index, field in enumerate(FIELDS.values()):
                found[rows[on] + number, index] = at
                at = self._field(field, at)
            found[rows[on] + number, -1] = cursors[on] = at
        return found

    def _field(self, field: Field, at: Int64Array) -> Int64Array:
        if not field.nullable:
            return self._value(field.kind, field.map_of, at)
        branch, after = self._number(at)
        with_value = np.flatnonzero(branch)
        if len(with_value):
            after[with_value] = self._value(field.kind, field.map_of, after[with_value])
        return after

    def _value(self, kind: str, map_of: str, at: Int64Array) -> Int64Array:
        if kind == "double":
            return self._forward(at, np.full(len(at), 8))
        number, after = self._number(at)
        if kind == "string":
            return self._forward(after, number)
        if kind == "map":
            on = np.flatnonzero(number)
            while len(on):
                after[on] = self._entries(map_of, number[on], after[on])
                number[on], after[on] = self._number(after[on])
                on = on[number[on] != 0]
        return after

    def _entries(self, map_of: str, count: Int64Array, at: Int64Array) -> Int64Array:
        # A block of a map with a negative count names its size in bytes: there is no need to look inside.
        size, after = self._number(at)
        at = np.where(count < 0, self._forward(after, size), at)
        at[count > _ENTRIES_MAX] = self.last
        for number in range(min(int(count.max()), _ENTRIES_MAX)):
            on = np.flatnonzero((count > number) & (at < self.last))
            if not len(on):
                break
            at[on] = self._value(map_of, "", self._value("string", "", at[on]))
        return at

    def _forward(self, at: Int64Array, length: Int64Array) -> Int64Array:
        return np.where((length < 0) | (length > self.last - at), self.last, at + length)

    def _number(self, at: Int64Array) -> tuple[Int64Array, Int64Array]:
        """The zigzag number at each cursor, and where it ends."""
        byte = self.data[at]
        value, after = (byte & 0x7F).astype(np.int64), at + 1
        on = np.flatnonzero(byte >= 0x80)
        for shift in range(7, 70, 7):
            if not len(on):
                break
            byte = self.data[after[on]]
            value[on] |= (byte & 0x7F).astype(np.int64) << min(shift, 63)
            after[on] += 1
            on = on[byte >= 0x80]
        return (value >> 1) ^ -(value & 1), np.minimum(after, self.last)


def _slices(raw: bytes, starts: Int64Array, ends: Int64Array) -> list[bytes]:
    return [raw[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _named(accounts: list[bytes], options: Mapping[str, str]) -> pa.DictionaryArray:
    """Account names from their bytes in the events."""
    coded = pa.array(accounts).dictionary_encode()
    names = [fastavro.schemaless_reader(io.BytesIO(each), "string", None) for each in coded.dictionary.to_pylist()]
    given = options.get("billing_account_id")
    return pa.DictionaryArray.from_arrays(coded.indices, names if given is None else [given] * len(names))
