"""Files of recorded usage, read in batches of columns under the names of UsageEvent.

Rows have stable ids: replaying a file twice bills it once.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.errors import Refused
from chargeline.sdk.columns import Int64Array, numbered
from chargeline.sdk.encode import micros
from chargeline.wire.usage_encoder import KINDS, TIMES

BATCH = 20_000  # rows
_BYTES = 1 << 22  # of text read at a time
_BLOCK = 512  # tokens of one hash id in the Mooncake traces
_START = micros(datetime(2024, 6, 1, tzinfo=UTC))
_JSON = {"string": pa.string(), "enum": pa.string(), "long": pa.int64(), "double": pa.float64()}
_MAPS = {"extra_quantities": pa.int64(), "tuning": pa.string(), "labels": pa.string()}


def file_digest(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def event_ids(digest: str, options: dict[str, Any]) -> Callable[[Int64Array], pa.Array]:
    """Ids of a file's rows: a function of the file's content, the replay's options and the row's number."""
    base = hashlib.sha256(json.dumps([digest, options], sort_keys=True).encode()).hexdigest()[:24]
    return lambda rows: numbered(f"{base}-", rows)


def read(path: Path, form: str) -> Iterator[pa.RecordBatch]:
    """The rows of a file. Raises Refused: BAD_FILE says what is wrong with it."""
    try:
        yield from READERS[form](path)
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise Refused("BAD_FILE", f"{path.name} cannot be read as {form}: {error}") from error


def azure_llm(path: Path) -> Iterator[pa.RecordBatch]:
    """Azure's LLM inference traces: TIMESTAMP (seven fractional digits, UTC), ContextTokens, GeneratedTokens."""
    import pyarrow.csv as pv  # noqa: PLC0415 - a format's reader is loaded when it is used

    types = {"TIMESTAMP": pa.string(), "ContextTokens": pa.int64(), "GeneratedTokens": pa.int64()}
    options = pv.ConvertOptions(column_types=types, include_columns=list(types))
    with pv.open_csv(path, convert_options=options) as batches:
        for batch in batches:
            times, prompts, answers = batch.columns
            yield _batch({"event_time": _instants(times), "input_tokens": prompts, "output_tokens": answers})


def mooncake(path: Path) -> Iterator[pa.RecordBatch]:
    """Mooncake traces: leading blocks of 512 prompt tokens that were seen before are read from the cache."""
    import pyarrow.json as pj  # noqa: PLC0415

    numbers = ("timestamp", "input_length", "output_length")
    schema = pa.schema([*((name, pa.int64()) for name in numbers), ("hash_ids", pa.list_(pa.int64()))])
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    seen: set[int] = set()
    with pj.open_json(path, pj.ReadOptions(block_size=_BYTES), options) as batches:
        for batch in batches:
            moments, prompts, answers = (batch[name].to_numpy() for name in numbers)
            shared = _shared_blocks(batch["hash_ids"], seen)
            cached = np.minimum(shared * _BLOCK, prompts)
            yield _batch(
                {
                    "event_time": pa.array(_START + moments * 1000),
                    "input_tokens": pa.array(prompts - cached),
                    "cache_read_input_tokens": pa.array(cached),
                    "output_tokens": pa.array(answers),
                }
            )


def _shared_blocks(blocks: pa.ListArray, seen: set[int]) -> Int64Array:
    """How many leading blocks of each row are in `seen` or in an earlier row; all of them are in `seen` then."""
    counts = pc.list_value_length(blocks).to_numpy().astype(np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    # The codes of the distinct ids rise in the order in which these come first.
    ids = blocks.flatten().dictionary_encode()
    codes = ids.indices.to_numpy()
    first = rows[np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))]
    distinct = ids.dictionary.to_pylist()
    old = np.fromiter(map(seen.__contains__, distinct), bool, len(distinct))
    seen.update(distinct)
    known = old[codes] | (first[codes] < rows)
    missing = np.flatnonzero(~known)
    # The first one of each row: later assignments win.
    shared = counts.copy()
    shared[rows[missing[::-1]]] = (missing - (np.cumsum(counts) - counts)[rows[missing]])[::-1]
    return shared


def ndjson(path: Path) -> Iterator[pa.RecordBatch]:
    """One event a line, under the names of UsageEvent."""
    names: set[str] = set()
    first = 1
    with path.open("rb") as source:
        while block := source.read(_BYTES) + source.readline():
            batch = _parsed(block, names)
            if batch is None:
                batch = _columns(_objects(block, first))
                names.update(batch.schema.names)
            yield batch
            first += batch.num_rows


def _parsed(block: bytes, names: set[str]) -> pa.RecordBatch | None:
    """Lines read in columns; None: one is bad or blank, has another name, a map, or a number where others have text."""
    import pyarrow.json as pj  # noqa: PLC0415

    if not names or any(KINDS.get(name) not in _JSON for name in names):
        return None
    schema = pa.schema([(name, pa.string() if name in TIMES else _JSON[KINDS[name]]) for name in sorted(names)])
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    try:
        table = pj.read_json(pa.BufferReader(block), pj.ReadOptions(block_size=len(block)), options)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != block.count(b"\n") + (not block.endswith(b"\n")):
        return None
    return _batch({name: _plain(name, table[name].combine_chunks()) for name in schema.names})


def _objects(block: bytes, first: int) -> list[dict[str, Any]]:
    texts = [text for text in block.decode().split("\n") if text and not text.isspace()]
    try:
        # One document is read much faster than many.
        rows = json.loads(f"[{','.join(texts)}]")
    except ValueError:
        rows = []
    if len(rows) != len(texts) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"event {first + _first_bad(texts)} is no JSON object")
    return rows


def parquet(path: Path) -> Iterator[pa.RecordBatch]:
    """Columns under the names of UsageEvent."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    for batch in pq.ParquetFile(path).iter_batches(BATCH):
        yield _batch({name: _plain(name, batch[name]) for name in batch.schema.names})


def avro(path: Path) -> Iterator[pa.RecordBatch]:
    """An Avro object container file of UsageEvents."""
    import fastavro  # noqa: PLC0415

    with path.open("rb") as source:
        rows = fastavro.reader(source)
        while events := list(islice(rows, BATCH)):
            yield _columns(events)


READERS: dict[str, Callable[[Path], Iterator[pa.RecordBatch]]] = {
    "azure-llm": azure_llm,
    "mooncake": mooncake,
    "ndjson": ndjson,
    "parquet": parquet,
    "avro": avro,
}


def _columns(rows: list[Any]) -> pa.RecordBatch:
    names = dict.fromkeys(chain(("event_time",), chain.from_iterable(rows)))
    return _batch({name: _plain(name, _column(name, [row.get(name) for row in rows])) for name in names})


def _column(name: str, values: list[Any]) -> pa.Array:
    try:
        if name in _MAPS:
            return pa.array([value and list(value.items()) for value in values], pa.map_(pa.string(), _MAPS[name]))
        return pa.array(values)
    except (pa.ArrowException, TypeError, AttributeError, OverflowError) as error:
        raise Refused("BAD_EVENT", f"{name}: {error}") from error


def _plain(name: str, column: pa.Array) -> pa.Array:
    """The column; texts of any kind as plain ones, those of numbers and times as numbers."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if KINDS.get(name) != "long" or not pa.types.is_string(column.type):
        return column
    if name not in TIMES:
        return column.cast(pa.int64())
    local = pc.invert(pc.ends_with(column, "Z"))
    if pc.any(local).as_py():
        raise Refused("BAD_EVENT", f"{name} must be UTC with Z: {column.filter(local)[0]}")
    return _instants(column)


def _instants(texts: pa.StringArray) -> pa.Array:
    """Microseconds of ISO 8601 texts; what is finer is cut off."""
    return pc.utf8_slice_codeunits(pc.utf8_rtrim(texts, "Z"), 0, 26).cast(pa.timestamp("us")).cast(pa.int64())


def _batch(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _first_bad(texts: list[str]) -> int:
    for number, text in enumerate(texts):
        try:
            if isinstance(json.loads(text), dict):
                continue
        except ValueError:
            pass
        return number
    return 0
