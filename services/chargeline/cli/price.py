"""`chargeline price`: price a file of events with the very functions of the pricer; no server runs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from chargeline.cli.common import AsJson
from chargeline.cli.price_events import BLOCK_BYTES, Block, blocks
from chargeline.cli.price_files import Documents, Unusable, read_documents, unreadable
from chargeline.cli.price_objects import Object, Totals, answer_object, row_object, scope_object, waived_scopes, without_charge
from chargeline.cli.publishing import stderr
from chargeline.cli.whole_file import whole_file
from chargeline.pricer.log_close import LogCloser
from chargeline.pricer.log_pricer import Answers, LogPricer
from chargeline.wire.event_rows import event_rows

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def register(app: typer.Typer) -> None:
    app.command()(price)


def price(
    events: Annotated[Path, typer.Option(help="Events, one JSON object a line.")],
    rates: Annotated[list[Path], typer.Option(help="A rate card; give the option again for more.")],
    accounts: Annotated[Path | None, typer.Option(help="Accounts, YAML or JSON.")] = None,
    fx: Annotated[Path | None, typer.Option(help="Exchange rates: CSV by its name, else YAML or JSON.")] = None,
    close_period: Annotated[
        bool, typer.Option("--close-period", help="Close every billing period that the events touch.")
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
        try:
            source = events.open("rb")
        except OSError as error:
            raise Unusable([(events, unreadable(error))]) from error
        with source, whole_file(output) as sink:
            run(documents, source, sink, close_period=close_period)
    except Unusable as error:
        _complain(error, as_json=as_json)
        raise typer.Exit(2) from None


def run(
    documents: Documents,
    source: BinaryIO,
    sink: BinaryIO,
    *,
    close_period: bool,
    block_bytes: int = BLOCK_BYTES,
) -> None:
    """Price a file of events: objects of lines, then those of scopes, then the totals."""
    pricer, totals = LogPricer(documents.cards, documents.accounts, documents.fx), Totals()
    closer = LogCloser(pricer)
    skus = {
        (card.rate_card_id, card.version, sku.sku_id, sku.variant): (card, sku)
        for card in (each.card for each in documents.cards)
        for sku in card.skus
    }
    for block in blocks(source, block_bytes):
        answers = Answers() if block.records is None else pricer.price(block.records)
        sink.writelines(_line(each) for each in _objects(block, answers, totals))
    if close_period:
        for period, account in sorted((period, account) for account, period in pricer.touched):
            pricer.close(account, period)
    for closed in [*waived_scopes(pricer.waived, documents.accounts), *closer.closed]:
        each = scope_object(closed, skus)
        if each["billing_currency"] is not None:
            account = each["scope"]["billing_account_id"]
            totals.add_object(account, each)
        sink.write(_line(each))
    sink.write(_line(totals.line()))


def _objects(block: Block, answers: Answers, totals: Totals) -> Iterator[Object]:
    rows = {row.offset: row for table in answers.tables for row in event_rows(table)}
    for at, name in enumerate(block.names):
        offset = block.start + at
        row = rows.get(offset)
        if offset in block.bad:
            found = without_charge(name, "DEAD_LETTER", block.bad[offset])
            account = ""
        elif row is not None:
            found = row_object(name, "UNRATED" if row.reason else "CHARGED", row)
            account = row.identity[0]
        else:
            answer = answers.single[offset]
            found = answer_object(name, answer)
            account = "" if answer.row is None else answer.row.identity[0]
        totals.count(found["outcome"])
        if found["billing_currency"] is not None:
            totals.add_object(account, found)
        yield found


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


