"""`chargeline rates …`: rate cards."""

import getpass
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader, GovernanceWriter
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.errors import Refused
from chargeline.domain.rate_card import RateCard, read_rate_card
from chargeline.domain.rate_checks import check
from chargeline.runtime.stack import Stack, load_stack

FUTURE_BOUND_MS = 300_000
Files = Annotated[list[Path], typer.Argument(help="Rate cards, YAML or JSON.", exists=True, dir_okay=False)]


def register(app: typer.Typer) -> None:
    rates = typer.Typer(help="Rate cards: validate, publish, list.", no_args_is_help=True)
    rates.command()(publish)
    rates.command()(validate)
    rates.command("list")(list_cards)
    app.add_typer(rates, name="rates")


def publish(
    files: Files,
    data: DataDir = None,
    wait: Annotated[bool, typer.Option(help="Return when the cards are visible to new events.")] = True,
    author: Annotated[str | None, typer.Option(help="Who publishes (default: the user of this machine).")] = None,
) -> None:
    """Publish rate cards. A card that is published already is left alone.

    Example: chargeline rates publish examples/rates/openai.yaml
    """
    stack = load_stack(data)
    clock = SystemClock()
    cards = [(path, _read(path)) for path in files]
    reader = KafkaLogReader(stack.kafka)
    governance = GovernanceReader(reader, clock, max_clock_skew_ms=0)
    console = Console(stderr=True)
    published = False
    for path, card in cards:
        governance.refresh()
        if any(each.card.text == card.text for each in governance.chain.cards()):
            console.print(f"{card.rate_card_id} version {card.version} is published already", highlight=False)
            continue
        _accepted(path, card, governance, stack, clock)
        writer = GovernanceWriter(stack.kafka, governance, _schema_id(stack), author or getpass.getuser())
        fact = {"rate_card_id": card.rate_card_id, "rate_card_version": card.version, "card": card.text}
        sequence = writer.append("RateCardPublished", fact)
        published = True
        console.print(
            f"[green]published[/green] {card.rate_card_id} version {card.version} as fact {sequence}", highlight=False
        )
    if published and wait:
        # Visible means: any event appended from now on sees the card.
        recorded = governance.chain.facts[-1].recorded_time
        time.sleep(max(0.0, (recorded + stack.governance_margin_ms - clock.now_ms()) / 1000))
    reader.close()


def validate(files: Files, as_json: AsJson = False) -> None:
    """Check rate cards without a stack; exit code 2 and every problem with its line if one is wrong.

    Example: chargeline rates validate examples/rates/openai.yaml --json
    """
    problems: list[dict[str, Any]] = []
    for path in files:
        try:
            found = check(read_rate_card(path.read_text()), [], recorded_time=None, margin_ms=0, future_bound_ms=0)
        except BadDocument as error:
            found = error.problems
        problems += [
            {"file": str(path), "line": each.line, "column": each.column, "code": each.code, "message": each.message,
             "warning": each.warning}
            for each in found
        ]  # fmt: skip
    if as_json:
        print_json(problems)
    elif problems:
        print_rows(problems)
    else:
        Console(stderr=True).print("[green]no problems[/green]")
    if any(not problem["warning"] for problem in problems):
        raise typer.Exit(2)


def list_cards(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the published cards.

    Example: chargeline rates list
    """
    stack = load_stack(data)
    reader = KafkaLogReader(stack.kafka)
    governance = GovernanceReader(reader, SystemClock(), max_clock_skew_ms=0)
    governance.refresh()
    rows = [
        {
            "rate_card_id": each.card.rate_card_id,
            "version": each.card.version,
            "scope": each.card.account or "default",
            "currency": each.card.currency,
            "skus": len(each.card.skus),
            "fact": each.sequence,
        }
        for each in governance.chain.cards()
    ]
    reader.close()
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, "rate cards")


def _read(path: Path) -> RateCard:
    return read_rate_card(path.read_text())


def _accepted(path: Path, card: RateCard, governance: GovernanceReader, stack: Stack, clock: SystemClock) -> None:
    found = check(
        card,
        governance.chain.cards(),
        recorded_time=clock.now_ms(),
        margin_ms=stack.governance_margin_ms,
        future_bound_ms=FUTURE_BOUND_MS,
    )
    errors: list[Problem] = [each for each in found if not each.warning]
    if errors:
        raise BadDocument(errors)
    for each in found:
        Console(stderr=True).print(f"{path}:{each.line} warning {each.code} {each.message}", highlight=False)


def _schema_id(stack: Stack) -> int:
    number = SchemaRegistry(stack.registry).id_of("governance-log-value")
    if number is None:
        raise Refused("NOT_REGISTERED", "governance-log-value is not in the schema registry: run `chargeline up`")
    return number
