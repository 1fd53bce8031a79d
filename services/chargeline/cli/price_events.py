"""The events of `chargeline price`: a file of JSON lines as records of a log, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chargeline.cli.price_files import Unusable, unreadable
from chargeline.domain.documents import Problem
from chargeline.domain.errors import Refused
from chargeline.pricer.log_records import Records
from chargeline.sdk.jsonlines import BadLine, Line, read_line
from chargeline.wire.avro_columns import PLAIN
from chargeline.wire.event_lines import EventLines, EventLinesReader, event_columns
from chargeline.wire.usage_columns import arrow_type, content_of, usage_of
from chargeline.wire.usage_encoder import FIELDS

Int64Array = npt.NDArray[np.int64]

BLOCK_EVENTS = 100_000  # enough for columns to pay, little enough for the memory
BLOCK_BYTES = 16 << 20  # half as many: their texts take more memory
_REPEATING = {name for name, field in FIELDS.items() if field.kind in ("string", "enum") and name not in PLAIN}
_TEXTS = (pa.string(), pa.large_string())


@dataclass(frozen=True)
class Block:
    """Some lines that are not empty, numbered through the file from `start`.

    Attributes:
        names: event_id by line; null: it has none.
        bad: lines that are no records, by number, with their codes.
    """

    start: int
    names: pa.StringArray
    records: Records | None
    bad: dict[int, str]


def blocks(source: BinaryIO, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """The blocks of a file of JSON lines."""
    reader, start, rest = EventLinesReader(), 0, b""
    while chunk := source.read(size):
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest += chunk
            continue
        block = _block(reader.read(rest + chunk[:cut]), start)
        rest = chunk[cut:]
        start += len(block.names)
        yield block
    if rest:
        yield _block(reader.read(rest), start)


def parquet_blocks(path: Path) -> Iterator[Block]:
    """The blocks of a Parquet file with the columns of UsageEvent v1.

    Raises:
        Unusable: no Parquet file, an unknown column or one of another type, or a required one with nulls.
    """
    try:
        start = 0
        repeating = [each.name for each in pq.read_schema(path) if each.name in _REPEATING and each.type in _TEXTS]
        for batch in pq.ParquetFile(path, read_dictionary=repeating).iter_batches(BLOCK_EVENTS):
            if batch.num_rows:
                columns = event_columns(dict(zip(batch.schema.names, batch.columns, strict=True)))
                records = _records(np.arange(start, start + batch.num_rows), columns)
                yield Block(start, columns["event_id"], records, {})
                start += batch.num_rows
    except (pa.ArrowInvalid, Refused) as error:
        raise Unusable([(path, Problem("UNUSABLE_FILE", str(error)))]) from error
    except OSError as error:
        raise Unusable([(path, unreadable(error))]) from error


def _records(offsets: Int64Array, columns: dict[str, pa.Array]) -> Records:
    usage = usage_of(columns, len(offsets))
    return Records(offsets, usage, content_of(usage))


def _block(lines: EventLines, start: int) -> Block:
    odd = {row: _odd_line(lines.text[row].as_py()) for row in lines.odd.tolist()}
    good = {row: each.event for row, each in odd.items() if isinstance(each, Line)}
    bad = {start + row: each.code for row, each in odd.items() if isinstance(each, BadLine)}
    columns, rows = lines.columns, lines.plain
    if good:
        columns, rows = _merged(columns, rows, good)
    names = columns["event_id"] if len(rows) else pa.array([], pa.string())
    if bad:
        of_bad = pa.array([odd[row - start].event_id for row in bad], pa.string())
        place = np.argsort(np.concatenate([rows, np.array(list(bad), np.int64) - start]), kind="stable")
        names = pa.concat_arrays([names, of_bad]).take(pa.array(place))
    return Block(start, names, _records(rows + start, columns) if len(rows) else None, bad)


def _merged(
    columns: dict[str, pa.Array], rows: Int64Array, good: dict[int, dict[str, Any]]
) -> tuple[dict[str, pa.Array], Int64Array]:
    """The columns with the events that the reader of single lines has found put in their places."""
    every = np.concatenate([rows, np.array(list(good), np.int64)])
    place = pa.array(np.argsort(every, kind="stable"))
    names = dict.fromkeys([*columns, *(name for event in good.values() for name in event)])
    whole = {}
    for name in names:
        kind = arrow_type(FIELDS[name])
        left = columns[name].cast(kind) if name in columns else pa.nulls(len(rows), kind)
        right = pa.array([_value(event.get(name)) for event in good.values()], kind)
        whole[name] = pa.concat_arrays([left, right]).take(place)
    return whole, np.sort(every)


def _value(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value


def _odd_line(line: bytes) -> Line | BadLine:
    try:
        return read_line(line.decode())
    except UnicodeDecodeError:
        return BadLine(None, "MALFORMED")
