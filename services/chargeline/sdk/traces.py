"""Files of recorded usage, read as usage events. Rows have stable ids: replaying twice bills once."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_BLOCK = 512  # tokens of one hash id in the Mooncake traces
_START = datetime(2024, 6, 1, tzinfo=UTC)

Row = dict[str, Any]


def file_digest(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def event_ids(digest: str, options: Row) -> Callable[[int], str]:
    """Ids of a file's rows: a function of the file's content, the replay's options and the row's number."""
    base = hashlib.sha256(json.dumps([digest, options], sort_keys=True).encode()).hexdigest()[:24]
    return lambda row: f"{base}-{row:x}"


def azure_llm(path: Path) -> Iterator[Row]:
    """Azure's LLM inference traces: TIMESTAMP (seven fractional digits, UTC), ContextTokens, GeneratedTokens."""
    with path.open(newline="") as source:
        for row in csv.DictReader(source):
            moment = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)
            yield {
                "event_time": _micros(moment),
                "input_tokens": int(row["ContextTokens"]),
                "output_tokens": int(row["GeneratedTokens"]),
            }


def mooncake(path: Path) -> Iterator[Row]:
    """Mooncake traces: leading blocks of 512 prompt tokens that were seen before are read from the cache."""
    seen: set[int] = set()
    start = _micros(_START)
    with path.open() as source:
        for line in source:
            row = json.loads(line)
            blocks = row["hash_ids"]
            shared = 0
            while shared < len(blocks) and blocks[shared] in seen:
                shared += 1
            seen.update(blocks)
            cached = min(shared * _BLOCK, row["input_length"])
            yield {
                "event_time": start + row["timestamp"] * 1000,
                "input_tokens": row["input_length"] - cached,
                "cache_read_input_tokens": cached,
                "output_tokens": row["output_length"],
            }


def ndjson(path: Path) -> Iterator[Row]:
    """One event a line, under the names of UsageEvent."""
    with path.open() as source:
        for line in source:
            if line.strip():
                yield json.loads(line)


def parquet(path: Path) -> Iterator[Row]:
    """Columns under the names of UsageEvent."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and only this format needs it

    for batch in pq.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            yield {name: value for name, value in row.items() if value is not None}


def avro(path: Path) -> Iterator[Row]:
    """An Avro object container file of UsageEvents."""
    import fastavro  # noqa: PLC0415 - only this format needs it

    with path.open("rb") as source:
        for row in fastavro.reader(source):
            if isinstance(row, dict):
                yield {name: value for name, value in row.items() if value is not None}


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "azure-llm": azure_llm,
    "mooncake": mooncake,
    "ndjson": ndjson,
    "parquet": parquet,
    "avro": avro,
}


def _micros(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
