"""`chargeline price`: price a file of events with the very functions of the pricer; no server runs."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

from chargeline.cli.common import AsJson, progress
from chargeline.cli.price_events import BLOCK_BYTES, Block, blocks, parquet_blocks
from chargeline.cli.price_files import Documents, Unusable, read_documents, unreadable
from chargeline.cli.price_objects import (
    Object,
    Totals,
    WaivedScope,
    answer_object,
    row_object,
    scope_object,
    waived_scopes,
    without_charge,
)
from chargeline.cli.publishing import stderr
from chargeline.cli.whole_file import whole_file
from chargeline.pricer.log_close import ClosedScope, LogCloser
from chargeline.pricer.log_pricer import LogPricer
from chargeline.pricer.log_records import Answers
from chargeline.wire.charge_lines import charge_lines, is_plain
from chargeline.wire.event_rows import event_rows, steps

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def register(app: typer.Typer) -> None:
    app.command()(price)


def price(
    events: Annotated[Path, typer.Option(help="Events: one JSON object a line, or Parquet by its name.")],
    rates: Annotated[list[Path], typer.Option(help="A rate card; give the option again for more.")],
    accounts: Annotated[Path | None, typer.Option(help="Accounts, YAML or JSON.")] = None,
    fx: Annotated[Path | None, typer.Option(help="Exchange rates: CSV by its name, else YAML or JSON.")] = None,
    close_period: Annotated[
        bool, typer.Option("--close-period", help="Close every billing period that the events touch.")
    ] = False,
    accounts_required: Annotated[
        bool, typer.Option("--accounts-required", help="Events of an account without facts are UNRATED.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Where to write (default: standard output).")] = None,
    as_json: AsJson = False,
) -> None:
    """Price events in file order: one object a line, in input order, and a last line with the totals.

    Exit code 0: every line has an answer, faults of single lines among them. 2: a file is unusable, nothing is written.

    Example: chargeline price --rates examples/rates/openai.yaml --events events.ndjson

    Example: chargeline price --rates card.yaml --accounts accounts.yaml --fx fx.csv --close-period --events e.ndjson
    """
    try:
        # Everything is read before anything is written: an unusable file leaves no output behind.
        documents = read_documents(rates, accounts, fx)
        if events.suffix.lower() == ".parquet":
            with whole_file(output) as sink:
                price_blocks(
                    documents,
                    shown(parquet_blocks(events)),
                    sink,
                    close_period=close_period,
                    accounts_required=accounts_required,
                )
            return
        try:
            source = events.open("rb")
        except OSError as error:
            raise Unusable([(events, unreadable(error))]) from error
        with source, whole_file(output) as sink:
            price_blocks(
                documents,
                shown(blocks(source)),
                sink,
                close_period=close_period,
                accounts_required=accounts_required,
            )
    except Unusable as error:
        _complain(error, as_json=as_json)
        raise typer.Exit(2) from None


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
    read = blocks(source, block_bytes)
    price_blocks(documents, read, sink, close_period=close_period, accounts_required=accounts_required)


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
    sink: BinaryIO,
    *,
    close_period: bool,
    accounts_required: bool = False,
) -> None:
    """Price blocks of events: objects of lines, then those of scopes, then the totals."""
    totals = Totals()
    pricer = LogPricer(documents.cards, documents.accounts, documents.fx, accounts_required=accounts_required)
    closer = LogCloser(pricer)
    skus = {
        (card.rate_card_id, card.version, sku.sku_id, sku.variant): (card, sku)
        for card in (each.card for each in documents.cards)
        for sku in card.skus
    }
    for block in read:
        answers = Answers() if block.records is None else pricer.price(block.records)
        _write(block, answers, totals, sink)
    if close_period:
        for period, account in sorted((period, account) for account, period in pricer.touched):
            pricer.close(account, period)
    scopes: list[WaivedScope | ClosedScope] = [*waived_scopes(pricer.waived, documents.accounts), *closer.closed]
    for closed in scopes:
        each = scope_object(closed, skus)
        if each["billing_currency"] is not None:
            account = each["scope"]["billing_account_id"]
            totals.add_object(account, each)
        sink.write(_line(each))
    sink.write(_line(totals.line()))


def _write(block: Block, answers: Answers, totals: Totals, sink: BinaryIO) -> None:
    """The lines of a block in their order."""
    lines: list[Any] = [None] * len(block.names)
    for table in answers.tables:
        plain = is_plain(table)
        if len(answers.tables) == 1 and table.num_rows == len(lines) and plain.all():
            _count(table, totals)
            sink.write(_bytes_of(charge_lines(table)))
            return
        written = table.filter(pa.array(plain))
        if written.num_rows:
            _count(written, totals)
            offsets = written.column("source_offset").to_pylist()
            for offset, line in zip(offsets, charge_lines(written).to_pylist(), strict=True):
                lines[offset - block.start] = line.encode()
        for row in event_rows(table.filter(pa.array(~plain))):
            found = row_object(row.identity[2], "UNRATED" if row.reason else "CHARGED", row)
            lines[row.offset - block.start] = _counted(found, row.identity[0], totals)
    for offset, code in block.bad.items():
        found = without_charge(block.names[offset - block.start], "DEAD_LETTER", code)
        lines[offset - block.start] = _counted(found, "", totals)
    for offset, answer in answers.single.items():
        account = "" if answer.row is None else answer.row.identity[0]
        found = answer_object(block.names[offset - block.start], answer)
        lines[offset - block.start] = _counted(found, account, totals)
    sink.writelines(lines)


def _counted(found: Object, account: str, totals: Totals) -> bytes:
    totals.count(found["outcome"])
    if found["billing_currency"] is not None:
        totals.add_object(account, found)
    return _line(found)


def _count(table: pa.Table, totals: Totals) -> None:
    """Outcomes and costs of rows in columns."""
    outcome = table.column("outcome") if "outcome" in table.schema.names else pa.repeat("CHARGED", table.num_rows)
    rows = pa.table(
        {
            "outcome": pc.fill_null(pc.cast(outcome, pa.string()), "CHARGED"),
            "account": table.column("billing_account_id").cast(pa.string()),
            "currency": table.column("billing_currency").cast(pa.string()),
            "cost": table.column("contracted_cost"),
        }
    )
    sums = rows.group_by(["outcome", "account", "currency"]).aggregate(
        [("cost", "sum"), ("cost", "count"), ([], "count_all")]
    )
    for row in sums.to_pylist():
        totals.count(row["outcome"], row["count_all"])
        if row["currency"] is not None and row["outcome"] == "CHARGED":
            cost = steps(row["cost_sum"])
            totals.add(row["account"], row["currency"], cost, cost)


def _bytes_of(lines: pa.LargeStringArray) -> memoryview:
    """The texts of a column one after the other."""
    bounds = np.frombuffer(lines.buffers()[1], np.int64)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[int(bounds[0]) : int(bounds[-1])]


def _line(found: Object) -> bytes:
    try:
        return (_ENCODE(found) + "\n").encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, but an escape
        return (json.dumps(found, separators=(",", ":")) + "\n").encode()


def _complain(error: Unusable, *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps(error.rows(), ensure_ascii=False) + "\n")
        return
    for row in error.rows():
        stderr().print(f"{row['file']}:{row['line']}:{row['column']} [bold]{row['code']}[/bold] {row['message']}")
