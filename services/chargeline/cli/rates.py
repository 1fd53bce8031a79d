"""`chargeline rates …`: rate cards."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
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
from chargeline.domain.governance import Fact, GovernanceChain
from chargeline.domain.rate_book import live_cards
from chargeline.domain.rate_card import RateCard, instant
from chargeline.domain.rate_card_reader import read_rate_card
from chargeline.domain.rate_checks import check_card, check_publication
from chargeline.runtime.stack import Stack, load_stack

FUTURE_BOUND_MS = 300_000
_SUBJECT = "governance-log-value"
Files = Annotated[list[Path], typer.Argument(help="Rate cards, YAML or JSON.", exists=True, dir_okay=False)]


class _Published(Exception):
    """The very same card is in the log already."""


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
    stack, clock = load_stack(data), SystemClock()
    cards = [(path, _read(path)) for path in files]
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with _governance(stack, clock) as governance:
        writer = GovernanceWriter(stack.kafka, governance, _schema_id(stack), author or _user())
        recorded = 0
        for path, card in cards:
            try:
                fact = _publish_one(path, card, governance, writer, stack, clock)
            except _Published:
                console.print(f"{card.rate_card_id} version {card.version} is published already: nothing changed")
                continue
            recorded = fact.recorded_time
            console.print(
                f"[green]published[/green] {card.rate_card_id} version {card.version} as fact {fact.sequence}"
            )
    if recorded and wait:
        # Visible means: any event appended from now on sees the card.
        clock.sleep(max(0.0, (recorded + stack.governance_margin_ms - clock.now_ms()) / 1000))


def validate(files: Files, as_json: AsJson = False) -> None:
    """Check rate cards without a stack; exit code 2 and every problem with its line if one is wrong.

    Example: chargeline rates validate examples/rates/openai.yaml --json
    """
    rows: list[dict[str, Any]] = []
    for path in files:
        try:
            found = check_card(read_rate_card(_text(path)))
        except BadDocument as error:
            found = error.problems
        rows += [{"file": str(path), **asdict(each)} for each in found]
    if as_json:
        print_json(rows)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for row in () if as_json else rows:
        kind = "[yellow]warning[/yellow] " if row["warning"] else ""
        console.print(f"{row['file']}:{row['line']}:{row['column']} {kind}[bold]{row['code']}[/bold] {row['message']}")
    if not rows and not as_json:
        console.print("[green]no problems[/green]")
    if any(not row["warning"] for row in rows):
        raise typer.Exit(2)


def list_cards(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the published cards.

    Example: chargeline rates list
    """
    stack, clock = load_stack(data), SystemClock()
    with _governance(stack, clock) as governance:
        cards = governance.chain.cards()
    live = live_cards(cards, margin_ms=stack.governance_margin_ms, future_bound_ms=FUTURE_BOUND_MS)
    rows = [
        {
            "rate_card_id": each.card.rate_card_id,
            "version": each.card.version,
            "scope": " ".join(filter(None, (each.card.scope.kind, each.card.scope.name))),
            "currency": each.card.currency,
            "effective_from": instant(each.card.effective_from),
            "effective_to": None if each.card.effective_to is None else instant(each.card.effective_to),
            "skus": len(each.card.skus),
            "in_force": any(rate.card is each.card for rate in live.rates),
            "recorded_time": instant(each.recorded_time * 1000),
            "fact": each.sequence,
        }
        for each in cards
    ]
    if as_json:
        print_json(rows)
    else:
        shown = ("rate_card_id", "version", "scope", "effective_from", "effective_to", "skus", "in_force")
        print_rows([{key: row[key] for key in shown} for row in rows], "rate cards")


def _publish_one(
    path: Path, card: RateCard, governance: GovernanceReader, writer: GovernanceWriter, stack: Stack, clock: SystemClock
) -> Fact:
    margin, bound = stack.governance_margin_ms, FUTURE_BOUND_MS
    warnings: list[Problem] = []

    def may(chain: GovernanceChain) -> None:
        published = chain.cards()
        if any(each.card == card for each in published):
            raise _Published
        found = check_publication(
            card, published, recorded_time=clock.now_ms(), margin_ms=margin, future_bound_ms=bound
        )
        errors = [each for each in found if not each.warning]
        if errors:
            raise _in_file(path, errors)
        warnings[:] = found

    body = {"rate_card_id": card.rate_card_id, "rate_card_version": card.version, "card": card.text}
    fact = writer.append("RateCardPublished", body, may)
    for each in warnings:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"{path}:{each.line}:{each.column} [yellow]warning[/yellow] {each.code} {each.message}"
        )
    live = live_cards(governance.chain.cards(), margin_ms=margin, future_bound_ms=bound)
    if (card.rate_card_id, card.version) not in live.versions:
        # Judged by our clock it was early enough; what counts is the time at which the log took it.
        raise Refused("RECORDED_TOO_LATE", f"{path} is in the log but prices nothing: give it a later effective_from")
    return fact


@contextmanager
def _governance(stack: Stack, clock: SystemClock) -> Iterator[GovernanceReader]:
    reader = KafkaLogReader(stack.kafka)
    try:
        governance = GovernanceReader(reader, clock, max_clock_skew_ms=0)
        governance.refresh()
        yield governance
    finally:
        reader.close()


def _read(path: Path) -> RateCard:
    try:
        return read_rate_card(_text(path))
    except BadDocument as error:
        raise _in_file(path, error.problems) from error


def _in_file(path: Path, problems: list[Problem]) -> BadDocument:
    return BadDocument([replace(each, message=f"{path}: {each.message}") for each in problems])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadDocument([Problem("NOT_UTF8", f"{path} is not UTF-8")]) from error


def _user() -> str:
    """The login name; containers often run as a number without one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _schema_id(stack: Stack) -> int:
    number = SchemaRegistry(stack.registry).id_of(_SUBJECT)
    if number is None:
        raise Refused("NOT_REGISTERED", f"{_SUBJECT} is not in the schema registry: run `chargeline up`")
    return number
