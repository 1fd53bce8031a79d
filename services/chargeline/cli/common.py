"""What several commands share: the option that names the stack, output for machines, progress."""

import json
import re
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chargeline.domain.money import plain

DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", help="Directory of the stack (default: CHARGELINE_DATA_DIR, then .chargeline)."),
]
SHORT_S = 8  # a person waits, and is told without ClickHouse what the log knows
_NUMBER = re.compile(r"-|-?[0-9][0-9.,]*%?")
_KEY = 32  # characters
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


def to_text(value: object) -> Any:
    """JSON's form of what JSON does not know: money as text, times in ISO 8601 with Z, bytes in hex."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    raise TypeError(type(value).__name__)


def moment(micros: int) -> str:
    """An instant in microseconds as a DateTime64(6) in UTC of ClickHouse."""
    whole, rest = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}.{rest:06d}"


def print_json(value: object) -> None:
    """One JSON document, on one line of standard output; a reader has it at once."""
    sys.stdout.write(json.dumps(value, default=to_text, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_rows(
    rows: list[dict[str, Any]], title: str | None = None, *, whole: Collection[str] = (), verbatim: bool = False
) -> None:
    """Rows as a table for people; without any, that there are none.

    Args:
        whole: columns in which no word is cut; a first column of short keys is one always.
        verbatim: the names of the columns are not ours, nor words.
    """
    if rows:
        Console().print(rows_table(rows, title, whole=whole, verbatim=verbatim))
    else:
        Console().print(f"[dim]{title or 'rows'}: none[/dim]")


def rows_table(
    rows: list[dict[str, Any]], title: str | None = None, *, whole: Collection[str] = (), verbatim: bool = False
) -> Table:
    """The same, to be shown later."""
    table = Table(title=title, header_style="bold")
    for place, name in enumerate(rows[0] if rows else ()):
        cells, header = [_cell(row[name]) for row in rows], name if verbatim else name.replace("_", " ")
        is_number = all(_NUMBER.fullmatch(cell) for cell in cells)
        words = [len(word) for text in (header, *cells) for word in text.split()]
        is_whole = name in whole or (place == 0 and max(words, default=0) <= _KEY)
        table.add_column(
            header,
            justify="right" if is_number else "left",
            overflow="fold",
            min_width=max(words, default=0) if is_whole else None,
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal | datetime | bytes):
        return str(to_text(value))
    return str(value)


def progress() -> Progress:
    """A progress bar with a rate, on standard error so that output can be piped."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
