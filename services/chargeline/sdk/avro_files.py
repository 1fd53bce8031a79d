"""Avro object container files of UsageEvents, cut into events that are sent on as they are.

A block holds its events one after another and does not say where each of them ends, so machine code walks over them. An
event is never decoded: what a replay overrides is put in place of the bytes that were there.
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

from chargeline.domain.columns.compiled import compiled
from chargeline.domain.errors import Refused
from chargeline.sdk.columns import Int64Array
from chargeline.wire.avro_rows import is_ours
from chargeline.wire.avro_walk import DOUBLE, LONG, MAP_OF_LONGS, MAP_OF_TEXTS, NONE, TEXT, text, varint
from chargeline.wire.usage_encoder import FIELDS, Framed, literal

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

_BYTES = 1 << 23  # of blocks that are walked together
_EVENTS_MAX = 100_000  # of a block; what is kept of each event of one is twice as large as the event
_ACCOUNT = list(FIELDS).index("billing_account_id")
_WALKED = {"string": TEXT, "long": LONG, "enum": LONG, "double": DOUBLE}
_KIND = np.array([_WALKED.get(each.kind, MAP_OF_TEXTS if each.map_of == "string" else MAP_OF_LONGS)
                  for each in FIELDS.values()], np.int64)  # fmt: skip
_NULLABLE = np.array([each.nullable for each in FIELDS.values()], bool)


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
    places = np.empty((int(counts.sum()), len(FIELDS) + 1), np.int64)
    if not bounds(data, begins, ends, counts, _KIND, _NULLABLE, places):
        raise ValueError("a block does not end with its last event")
    raw, start, before = data.tobytes(), 0, struct.pack(">bI", 0, schema_id)
    parts = []
    for index, value in replaced:
        parts.append([before + part for part in _slices(raw, places[:, start], places[:, index])])
        start, before = index + 1, value
    accounts = _slices(raw, places[:, _ACCOUNT], places[:, _ACCOUNT + 1])
    return Framed(_named(accounts, options), [b"".join(each) for each in zip(*parts, strict=True)])


def _windows(blocks: Any) -> Iterator[tuple[UInt8Array, Int64Array, Int64Array, Int64Array]]:
    """Bytes of some blocks, where each begins and ends in them, and how many events it holds."""
    pieces: list[bytes] = []
    counts: list[int] = []
    for block in chain(blocks, (None,)):
        if block is None or sum(map(len, pieces)) > _BYTES:
            if pieces:
                ends = np.cumsum([len(piece) for piece in pieces])
                data = np.frombuffer(b"".join(pieces), np.uint8)
                yield data, np.append(0, ends[:-1]), ends, np.array(counts)
            pieces, counts = [], []
        if block is not None and block.num_records:
            pieces.append(block.bytes_.getvalue())
            counts.append(block.num_records)


@compiled
def bounds(
    data: UInt8Array,
    begins: Int64Array,
    ends: Int64Array,
    counts: Int64Array,
    kind: Int64Array,
    nullable: BoolArray,
    found: Int64Array,
) -> bool:
    """Write where each field of each event begins, and where the event ends; False: a block ends elsewhere.

    Args:
        begins, ends, counts: by block: where it lies, and how many events it holds.
        kind, nullable: by field.
        found: (event, field and one more), events in the order of the data.

    Every place is compared with the end of its block before anything is read from it.
    """
    row = 0
    for block in range(len(begins)):
        at, end = begins[block], ends[block]
        for _ in range(counts[block]):
            for field in range(len(kind)):
                found[row, field] = at
                at = _behind(data, at, end, kind[field], nullable[field])
                if at == NONE:
                    return False
            found[row, len(kind)] = at
            row += 1
        if at != end:
            return False
    return True


@compiled
def _behind(data: UInt8Array, at: int, end: int, kind: int, nullable: bool) -> int:
    if nullable:
        branch, at = varint(data, at, end)
        if branch != 1:
            return at if branch == 0 else NONE
    if kind == TEXT:
        _, at = text(data, at, end)
    elif kind == LONG:
        _, at = varint(data, at, end)
    elif kind == DOUBLE:
        at = at + 8 if at + 8 <= end else NONE
    else:
        at = _behind_map(data, at, end, kind == MAP_OF_TEXTS)
    return at


@compiled
def _behind_map(data: UInt8Array, at: int, end: int, of_texts: bool) -> int:
    count, at = varint(data, at, end)
    while count != 0 and at != NONE:
        if count < 0:  # such a block names its size in bytes: there is no need to look inside
            _, at = text(data, at, end)
            count = 0
        for _ in range(count):
            _, at = text(data, at, end)
            if at != NONE:
                _, at = text(data, at, end) if of_texts else varint(data, at, end)
            if at == NONE:
                return NONE
        if at != NONE:
            count, at = varint(data, at, end)
    return at


def _slices(raw: bytes, starts: Int64Array, ends: Int64Array) -> list[bytes]:
    return [raw[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _named(accounts: list[bytes], options: Mapping[str, str]) -> pa.DictionaryArray:
    """Account names from their bytes in the events."""
    coded = pa.array(accounts).dictionary_encode()
    names = [fastavro.schemaless_reader(io.BytesIO(each), "string", None) for each in coded.dictionary.to_pylist()]
    given = options.get("billing_account_id")
    return pa.DictionaryArray.from_arrays(coded.indices, names if given is None else [given] * len(names))
