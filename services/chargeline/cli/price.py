"""`chargeline price`: price a file of events with the very functions of the pricer; no server runs."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Protocol

import typer

from chargeline.cli.common import AsJson, progress
from chargeline.cli.price_events import BLOCK_BYTES, Block, blocks, parquet_blocks
from chargeline.cli.price_files import Documents, Unusable, read_documents, unreadable
from chargeline.cli.price_lines import JsonLines
from chargeline.cli.price_objects import Object, Totals, WaivedScope, scope_object, waived_scopes
from chargeline.cli.price_rows import ParquetRows
from chargeline.cli.price_threads import Behind, ahead
from chargeline.cli.publishing import stderr
from chargeline.cli.whole_file import whole_file
from chargeline.pricer.account_close import ClosedScope
from chargeline.pricer.log_close import LogCloser
from chargeline.pricer.log_pricer import LogPricer
from chargeline.pricer.log_records import Answers


class Writer(Protocol):
    """Where the objects of spec/formats.md 6 go, in their order."""

    def block(self, block: Block, answers: Answers) -> None:
        """The objects of the lines of a block."""

    def scope(self, found: Object) -> None:
        """An object that belongs to no single event."""

    def end(self) -> None:
        """The totals of all that was written."""


def register(app: typer.Typer) -> None:
    app.command()(price)


def price(
    events: Annotated[Path, typer.Option(help="Events: one JSON object a line; Parquet if the name ends so.")],
    rates: Annotated[list[Path], typer.Option(help="A rate card; give the option again for more.")],
    accounts: Annotated[Path | None, typer.Option(help="Accounts, YAML or JSON.")] = None,
    fx: Annotated[Path | None, typer.Option(help="Exchange rates: CSV by its name, else YAML or JSON.")] = None,
    close_period: Annotated[
        bool, typer.Option("--close-period", help="Close every billing period that the events touch.")
    ] = False,
    accounts_required: Annotated[
        bool, typer.Option("--accounts-required", help="Events of an account without facts are UNRATED.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Where to write, likewise (default: standard output).")] = None,
    as_json: AsJson = False,
) -> None:
    """Price the events of a file; no server runs.

    One object a line, in input order, and a last line with the totals.

    As Parquet: one row an object, and the totals in the file's metadata under `totals`.

    Exit code 0: every line has an answer, faults of single lines among them. 2: a file is unusable, nothing is written.

    Example: chargeline price --rates examples/rates/openai.yaml --events events.ndjson

    Example: chargeline price --rates card.yaml --events events.parquet --output charges.parquet

    Example: chargeline price --rates card.yaml --accounts accounts.yaml --fx fx.csv --close-period --events e.ndjson
    """
    try:
        # Everything is read before anything is written: an unusable file leaves no output behind.
        documents = read_documents(rates, accounts, fx)
        price_file(documents, events, output, close_period=close_period, accounts_required=accounts_required)
    except Unusable as error:
        _complain(error, as_json=as_json)
        raise typer.Exit(2) from None


def price_file(
    documents: Documents,
    events: Path,
    output: Path | None,
    *,
    close_period: bool = False,
    accounts_required: bool = False,
) -> None:
    """Price a file of events; both formats follow from the names. Raises Unusable."""
    with _opened(events) as read, whole_file(output) as sink:
        price_blocks(
            documents,
            shown(read),
            _writer(output, sink),
            close_period=close_period,
            accounts_required=accounts_required,
        )


@contextmanager
def _opened(events: Path) -> Iterator[Iterator[Block]]:
    """The blocks of a file, made ahead in a thread."""
    if _is_parquet(events):
        yield ahead(parquet_blocks(events))
        return
    try:
        source = events.open("rb")
    except OSError as error:
        raise Unusable([(events, unreadable(error))]) from error
    with source:
        yield ahead(blocks(source))


def _writer(output: Path | None, sink: BinaryIO) -> Writer:
    return ParquetRows(sink, Totals()) if output is not None and _is_parquet(output) else JsonLines(sink, Totals())


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def run(
    documents: Documents,
    source: BinaryIO,
    sink: BinaryIO,
    *,
    close_period: bool,
    accounts_required: bool = False,
    block_bytes: int = BLOCK_BYTES,
) -> None:
    """Price a file of events as JSON lines."""
    price_blocks(
        documents,
        ahead(blocks(source, block_bytes)),
        JsonLines(sink, Totals()),
        close_period=close_period,
        accounts_required=accounts_required,
    )


def shown(read: Iterable[Block]) -> Iterator[Block]:
    """The same blocks, with a bar on standard error for people who wait for a long file."""
    with progress() as bar:
        task, lines, started = bar.add_task("pricing", total=None, rate="", visible=False), 0, time.monotonic()
        for block in read:
            yield block
            lines += len(block.names)
            seconds = time.monotonic() - started
            bar.update(task, completed=lines, rate=f"{lines / max(seconds, 0.001):,.0f}/s", visible=seconds > 1)


def price_blocks(
    documents: Documents,
    read: Iterable[Block],
    writer: Writer,
    *,
    close_period: bool,
    accounts_required: bool = False,
) -> None:
    """Price blocks of events: objects of lines, then those of scopes, then the totals."""
    pricer = LogPricer(documents.cards, documents.accounts, documents.fx, accounts_required=accounts_required)
    closer = LogCloser(pricer)
    with Behind() as behind:
        for block in read:
            answers = Answers() if block.records is None else pricer.price(block.records)
            behind.do(writer.block, block, answers)
        behind.wait()
    if close_period:
        for period, account in sorted((period, account) for account, period in pricer.touched):
            pricer.close(account, period)
    skus = {
        (card.rate_card_id, card.version, sku.sku_id, sku.variant): (card, sku)
        for card in (each.card for each in documents.cards)
        for sku in card.skus
    }
    scopes: list[WaivedScope | ClosedScope] = [*waived_scopes(pricer.waived, documents.accounts), *closer.closed]
    for closed in scopes:
        writer.scope(scope_object(closed, skus))
    writer.end()


def _complain(error: Unusable, *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps(error.rows(), ensure_ascii=False) + "\n")
        return
    for row in error.rows():
        stderr().print(f"{row['file']}:{row['line']}:{row['column']} [bold]{row['code']}[/bold] {row['message']}")
