"""`chargeline normalise`: usage blocks of model providers as disjoint quantities; no server runs."""

import json
import os
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from chargeline.cli.common import AsJson
from chargeline.sdk.normalise import normalise_row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of a key that is there twice nobody knows which one is meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


# Numbers keep their text. Made once, because `json.loads` with an option makes one each time.
_DECODE = json.JSONDecoder(parse_float=Decimal, parse_constant=_constant, object_pairs_hook=_object).decode
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_ENCODE_ASCII = json.JSONEncoder(separators=(",", ":"), default=str).encode


class _Unusable(Exception):
    """A file that cannot be read or written, or standard input that is no JSON."""


def register(app: typer.Typer) -> None:
    app.command()(normalise)


def normalise(
    provider: Annotated[str | None, typer.Option(help="Who answered, e.g. openai, anthropic, vertex_ai.")] = None,
    model: Annotated[str | None, typer.Option(help="Model, where the answer does not name it.")] = None,
    api_flavor: Annotated[
        str | None, typer.Option(help="Answer format: chat, responses, embeddings, anthropic, default.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="Rows with id, provider, api_flavor, model, usage.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write (default: standard output).")] = None,
    as_json: AsJson = False,
) -> None:
    """Disjoint quantities of what a provider's answer says it used.

    Of one answer on standard input, or of each row of a file, in order.

    Exit code 0: every row has an answer, faults of single rows among them. 2: a file is unusable, nothing is written.

    Example: chargeline normalise --provider openai --model gpt-4o < answer.json

    Example: chargeline normalise --input answers.jsonl --output quantities.jsonl
    """
    try:
        _write(_single(provider, model, api_flavor) if source is None else _rows(source), output)
    except (_Unusable, OSError) as error:
        _complain(str(error), as_json=as_json)
        raise typer.Exit(2) from None


def _single(provider: str | None, model: str | None, api_flavor: str | None) -> Iterator[bytes]:
    try:
        usage = _parsed(sys.stdin.buffer.read())
    except _NotJson:
        raise _Unusable("standard input is no JSON document in UTF-8") from None
    yield _line(normalise_row({"provider": provider, "model": model, "api_flavor": api_flavor, "usage": usage}))


class _NotJson(ValueError):
    pass


def _parsed(line: bytes) -> Any:
    try:
        return _DECODE(line.decode())
    except (ValueError, RecursionError, InvalidOperation):  # a number may be too long to be read, or nested too deep
        raise _NotJson from None


def _rows(source: Path) -> Iterator[bytes]:
    """The answer of each line that is not empty; a line that is no JSON has one, too."""
    with source.open("rb") as lines:
        for line in lines:
            if line.isspace():
                continue
            try:
                row = _parsed(line)
            except _NotJson:
                row = None
            yield _line(normalise_row(row))


def _line(row: dict[str, Any]) -> bytes:
    try:
        return (_ENCODE(row) + "\n").encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, but an escape
        return (_ENCODE_ASCII(row) + "\n").encode()
    except RecursionError:  # an id that is a deep structure cannot be given back
        return _line(row | {"id": None})


def _write(rows: Iterator[bytes], output: Path | None) -> None:
    """All rows or none: a file appears under its name when it is whole."""
    if output is None:
        first = next(rows, b"")  # an unusable input shows before anything is written
        _pour(sys.stdout.buffer, first, rows)
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():
        with output.open("wb") as sink:
            _pour(sink, b"", rows)
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as sink:
            _pour(sink, b"", rows)
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


def _pour(sink: BinaryIO, first: bytes, rows: Iterator[bytes]) -> None:
    sink.write(first)
    sink.writelines(rows)


def _complain(problem: str, *, as_json: bool) -> None:
    text = json.dumps([{"code": "UNUSABLE_FILE", "message": problem}], ensure_ascii=False) if as_json else problem
    sys.stderr.write(text + "\n")
