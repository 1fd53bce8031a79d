"""`chargeline fx …`: exchange rates."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from chargeline.adapters.clock import SystemClock
from chargeline.cli.common import AsJson, DataDir, print_json
from chargeline.cli.publishing import (
    FACT_BYTES_MAX,
    AlreadyPublished,
    Author,
    Wait,
    check,
    governance_log,
    governance_writer,
    problems_told,
    read_text,
    recorded_fact,
    stderr,
    wait_until_visible,
)
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.fx import FxTable
from chargeline.domain.fx_reader import changed_rates, fx_to_json, read_fx_csv, read_fx_document
from chargeline.domain.governance import GovernanceChain
from chargeline.runtime.stack import load_stack

_FORMS = "CSV by its name, else YAML or JSON."
Files = Annotated[list[Path], typer.Argument(help=f"Each is {_FORMS}", exists=True, dir_okay=False)]
File = Annotated[Path, typer.Argument(help=_FORMS, exists=True, dir_okay=False)]


def register(app: typer.Typer) -> None:
    fx = typer.Typer(help="Exchange rates: validate, publish.", no_args_is_help=True)
    fx.command()(validate)
    fx.command()(publish)
    app.add_typer(fx, name="fx")


def read_fx(path: Path) -> FxTable:
    """The rates of a file: CSV by its name, else YAML or JSON. Raises BadDocument."""
    text = read_text(path)
    return read_fx_csv(text) if path.suffix.lower() == ".csv" else read_fx_document(text)


def validate(files: Files, as_json: AsJson = False) -> None:
    """Check files of exchange rates; no server runs.

    Exit code 2, and every problem with its line, if one is wrong.

    Example: chargeline fx validate rates.csv
    """
    check(files, read_fx, as_json=as_json)


def publish(
    file: File, data: DataDir = None, wait: Wait = True, author: Author = None, as_json: AsJson = False
) -> None:
    """Publish exchange rates.

    They add to those before; a published rate never changes.

    Example: chargeline fx publish rates.csv
    """
    with problems_told(file, as_json=as_json):
        table = read_fx(file)
        text, digest = fx_to_json(table), hashlib.sha256(file.read_bytes()).hexdigest()
        if len(text.encode()) > FACT_BYTES_MAX:
            raise BadDocument([Problem("TOO_LARGE", f"rates have at most {FACT_BYTES_MAX} bytes: split the file")])
    stack, clock = load_stack(data), SystemClock()

    def may(chain: GovernanceChain) -> None:
        published = chain.fx()
        problems = changed_rates(table, published)
        if problems:
            raise BadDocument(problems)
        if set(table.rates) <= set(published.rates):
            raise AlreadyPublished

    with governance_log(stack, clock) as governance, problems_told(file, as_json=as_json):
        writer = governance_writer(stack, governance, author)
        try:
            fact = writer.append("FxPublished", {"fx_rates": text, "file_hash": digest}, may)
        except AlreadyPublished:
            stderr().print(f"{file} is published already: nothing changed")
            if as_json:
                print_json({"file": str(file), "published": False})
            return
    if as_json:
        print_json({"file": str(file), "rates": len(table.rates), **recorded_fact(fact, stack)})
    stderr().print(f"[green]published[/green] {len(table.rates)} rates of {file} as fact {fact.sequence}")
    if wait:
        wait_until_visible(fact.recorded_time, stack, clock)
