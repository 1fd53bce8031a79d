"""The events of `chargeline price`: a file of JSON lines as records of a log, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chargeline.cli.price_files import Unusable, unreadable
from chargeline.domain.documents import Problem
from chargeline.domain.errors import Refused
from chargeline.pricer.log_records import Records
from chargeline.sdk.jsonlines import BadLine, Line, read_line
from chargeline.wire.event_lines import EventLines, EventLinesReader, event_columns
from chargeline.wire.usage_encoder import encode

BLOCK_EVENTS = 50_000  # enough for columns to pay, little enough for the memory
BLOCK_BYTES = 16 << 20  # about as many


@dataclass(frozen=True)
class Block:
    """Some lines that are not empty, numbered through the file from `start`.

    Attributes:
        names: event_id by line; None: it has none.
        bad: lines that are no records, by number, with their codes.
    """

    start: int
    names: list[str | None]
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
        for batch in pq.ParquetFile(path).iter_batches(BLOCK_EVENTS):
            columns = event_columns(dict(zip(batch.schema.names, batch.columns, strict=True)))
            values = encode(columns, batch.num_rows, 0)
            times, accounts, is_usage = _about(columns, batch.num_rows)
            offsets = np.arange(start, start + batch.num_rows)
            records = Records(offsets, values, times, pa.array(accounts, pa.string()), is_usage)
            yield Block(start, columns["event_id"].to_pylist(), records if batch.num_rows else None, {})
            start += batch.num_rows
    except (pa.ArrowInvalid, Refused) as error:
        raise Unusable([(path, Problem("UNUSABLE_FILE", str(error)))]) from error
    except OSError as error:
        raise Unusable([(path, unreadable(error))]) from error


def _block(lines: EventLines, start: int) -> Block:
    odd = {row: _odd_line(lines.text[row].as_py()) for row in lines.odd.tolist()}
    good = {row: each for row, each in odd.items() if isinstance(each, Line)}
    bad = {start + row: each.code for row, each in odd.items() if isinstance(each, BadLine)}
    names: list[str | None] = [None] * len(lines)
    plain = lines.plain.tolist()
    values: dict[int, bytes] = {}
    columns = lines.columns
    if plain:
        for row, name in zip(plain, columns["event_id"].to_pylist(), strict=True):
            names[row] = name
        values = dict(zip(plain, encode(columns, len(plain), 0), strict=True))
    for row, each in odd.items():
        names[row] = each.event_id
    if good:
        values |= {row: each.value for row, each in good.items()}
    if not values:
        return Block(start, names, None, bad)
    rows = np.array(sorted(values), np.int64)
    times, accounts, is_usage = _about(columns, len(plain))
    at = np.searchsorted(rows, lines.plain)
    records = Records(
        rows + start,
        [values[row] for row in rows.tolist()],
        _merged(times, at, [(row, each.event_time) for row, each in good.items()], rows),
        pa.array(_merged(accounts, at, [(row, each.account) for row, each in good.items()], rows), pa.string()),
        _merged(is_usage, at, [(row, each.event_kind == "USAGE") for row, each in good.items()], rows),
    )
    return Block(start, names, records, bad)


def _about(columns: dict[str, pa.Array], length: int) -> tuple[Any, Any, Any]:
    if not length:
        return np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0, bool)
    kinds = columns.get("event_kind")
    is_usage = np.ones(length, bool)
    if kinds is not None:
        is_usage = pc.fill_null(pc.equal(kinds, "USAGE"), fill_value=True).to_numpy(zero_copy_only=False)
    times = columns["event_time"].to_numpy(zero_copy_only=False)
    return times, columns["billing_account_id"].to_numpy(zero_copy_only=False), is_usage


def _merged(plain: Any, at: Any, others: list[tuple[int, Any]], rows: Any) -> Any:
    """A column with what the reader of single lines has found put in its place."""
    if not others:
        return plain
    whole = np.zeros(len(rows), plain.dtype)
    whole[at] = plain
    whole[np.searchsorted(rows, [row for row, _ in others])] = [value for _, value in others]
    return whole


def _odd_line(line: bytes) -> Line | BadLine:
    try:
        return read_line(line.decode())
    except UnicodeDecodeError:
        return BadLine(None, "MALFORMED")
