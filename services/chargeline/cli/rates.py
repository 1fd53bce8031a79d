"""`chargeline rates …`: rate cards."""

from pathlib import Path
from typing import Any

import typer

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader, GovernanceWriter
from chargeline.cli import rate_reports
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.cli.publishing import (
    FUTURE_BOUND_MS,
    AlreadyPublished,
    Author,
    Files,
    Wait,
    check,
    governance_log,
    governance_writer,
    problems_told,
    read_text,
    recorded_fact,
    stderr,
    wait_until_visible,
    warn,
)
from chargeline.cli.rate_reports import scope_text
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.errors import Refused
from chargeline.domain.governance import Fact, GovernanceChain
from chargeline.domain.rates.book import PublishedCard, live_cards
from chargeline.domain.rates.card import RateCard, instant
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rates.checks import check_card, check_publication
from chargeline.runtime.stack import Stack, load_stack


def register(app: typer.Typer) -> None:
    rates = typer.Typer(help="Rate cards: validate, compare, publish, list, look back.", no_args_is_help=True)
    rates.command()(publish)
    rates.command()(validate)
    rates.command("list")(list_cards)
    rate_reports.register(rates)
    app.add_typer(rates, name="rates")


def publish(
    files: Files, data: DataDir = None, wait: Wait = True, author: Author = None, as_json: AsJson = False
) -> None:
    """Publish rate cards.

    A card that is published already is left alone. With --json, a line for each card.

    Example: chargeline rates publish examples/rates/openai.yaml
    """
    cards = [(path, _read(path, as_json=as_json)) for path in files]
    stack, clock = load_stack(data), SystemClock()
    with governance_log(stack, clock) as governance:
        writer = governance_writer(stack, governance, author)
        last = None
        for path, card in cards:
            told: dict[str, Any] = {"rate_card_id": card.rate_card_id, "version": card.version}
            try:
                with problems_told(path, as_json=as_json):
                    last = _publish_one(path, card, governance, writer, stack, clock)
                told |= recorded_fact(last, stack)
                stderr().print(
                    f"[green]published[/green] {card.rate_card_id} version {card.version} as fact {last.sequence}"
                )
            except AlreadyPublished:
                told["published"] = False
                stderr().print(f"{card.rate_card_id} version {card.version} is published already: nothing changed")
            if as_json:
                print_json(told)
    if last is not None and wait:
        wait_until_visible(last.recorded_time, stack, clock)


def validate(files: Files, as_json: AsJson = False) -> None:
    """Check rate cards; no server runs.

    Exit code 2, and every problem with its line, if one is wrong.

    Example: chargeline rates validate examples/rates/openai.yaml --json
    """
    check(files, lambda path: read_rate_card(read_text(path)), check_card, as_json=as_json)


def list_cards(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the published cards.

    Example: chargeline rates list
    """
    stack, clock = load_stack(data), SystemClock()
    with governance_log(stack, clock) as governance:
        cards = governance.chain.cards()
    live = live_cards(cards, margin_ms=stack.governance_margin_ms, future_bound_ms=FUTURE_BOUND_MS)
    rows = [
        {
            "rate_card_id": each.card.rate_card_id,
            "version": each.card.version,
            "scope": scope_text(each.card.scope),
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
            raise AlreadyPublished
        found = check_publication(
            card, published, recorded_time=clock.now_ms(), margin_ms=margin, future_bound_ms=bound
        )
        errors = [each for each in found if not each.warning]
        if errors:
            raise BadDocument(errors)
        warnings[:] = found

    body = {"rate_card_id": card.rate_card_id, "rate_card_version": card.version, "card": card.text}
    fact = writer.append("RateCardPublished", body, may)
    warn(path, warnings)
    cards = [*governance.chain.cards(fact.sequence), PublishedCard(card, fact.recorded_time, fact.sequence)]
    live = live_cards(cards, margin_ms=margin, future_bound_ms=bound)
    if (card.rate_card_id, card.version) not in live.versions:
        # Judged by our clock it was early enough; what counts is the time at which the log took it.
        raise Refused("RECORDED_TOO_LATE", f"{path} is in the log but prices nothing: give it a later effective_from")
    return fact


def _read(path: Path, *, as_json: bool) -> RateCard:
    with problems_told(path, as_json=as_json):
        return read_rate_card(read_text(path))
