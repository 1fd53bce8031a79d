"""`chargeline rates diff`, `history` and `as-of`: what rate cards say, side by side and over time."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from chargeline.adapters.clock import SystemClock
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.cli.publishing import FUTURE_BOUND_MS, governance_log, in_file, instant_argument, read_text, stderr
from chargeline.domain.documents import BadDocument
from chargeline.domain.money import plain
from chargeline.domain.rates.book import PublishedCard
from chargeline.domain.rates.card import RateCard, Scope, Sku, instant
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rates.history import RateVersion, SkuChange, as_of, changes, history, price_text
from chargeline.domain.rates.prices import named_prices
from chargeline.runtime.stack import load_stack

_SUBSECOND = re.compile(r"\.[0-9]+Z$")
Card = Annotated[Path, typer.Argument(help="A rate card, YAML or JSON.", exists=True, dir_okay=False)]


def register(rates: typer.Typer) -> None:
    """Add the commands to `chargeline rates`."""
    rates.command()(diff)
    rates.command("history")(show_history)
    rates.command("as-of")(show_as_of)


def diff(before: Card, after: Card, as_json: AsJson = False) -> None:
    """Compare two rate cards; no server runs.

    SKUs added, removed and changed, with old and new prices.

    Example: chargeline rates diff old.yaml new.yaml
    """
    found = changes(_card(before), _card(after))
    if as_json:
        print_json([_changed(each) for each in found])
    elif found:
        print_rows([_shown(each) for each in found], "changed rates")
    else:
        stderr().print("[green]no SKU differs[/green]")


def show_history(
    sku_id: Annotated[str, typer.Argument(help="The SKU, such as gpt-4o/input.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show every published version of a SKU's rates, and its time.

    Example: chargeline rates history gpt-4o/input
    """
    cards, margin = _published(data)
    found = history(cards, sku_id, margin_ms=margin, future_bound_ms=FUTURE_BOUND_MS)
    _print([_version(each) for each in found], f"history of {sku_id}", as_json=as_json)


def show_as_of(
    time: Annotated[str, typer.Argument(help="The event time asked for, such as 2026-06-01T00:00:00Z.")],
    known_on: Annotated[str | None, typer.Option(help="By what was recorded until then (default: now).")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the rates of a time, by what was known at another one.

    Example: chargeline rates as-of 2026-06-01T00:00:00Z --known-on 2026-05-20T00:00:00Z
    """
    moment = instant_argument(time)
    known_ms = None if known_on is None else instant_argument(known_on) // 1000
    cards, margin = _published(data)
    found = as_of(cards, moment, known_on_ms=known_ms, margin_ms=margin, future_bound_ms=FUTURE_BOUND_MS)
    _print([_version(each) for each in found], f"rates as of {instant(moment)}", as_json=as_json)


def scope_text(scope: Scope) -> str:
    """Whom a card is for, in words."""
    return scope.kind if scope.name is None else f"{scope.kind} {scope.name}"


def _published(data: str | None) -> tuple[list[PublishedCard], int]:
    """The cards of the log, and the margin after which a fact is visible."""
    stack = load_stack(data)
    with governance_log(stack, SystemClock()) as governance:
        return governance.chain.cards(), stack.governance_margin_ms


def _print(rows: list[dict[str, Any]], title: str, *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    print_rows([_short(row, rows) for row in rows], title)


def _short(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For people: no parts of a second, and neither variant nor end where no row has one."""
    found = {
        "sku_id": row["sku_id"],
        "variant": row["variant"],
        "card": f"{row['rate_card_id']} v{row['version']} ({row['scope']}{', correction' * row['correction']})",
        "price": row["price"],
        "holds_from": _day(row["holds_from"]),
        "holds_to": _day(row["holds_to"]),
        "recorded": _SUBSECOND.sub("Z", row["recorded_time"]),
    }
    unused = {name for name in ("variant", "holds_to") if not any(each[name] for each in rows)}
    return {name: value for name, value in found.items() if name not in unused}


def _day(moment: str | None) -> str | None:
    return None if moment is None else moment.removesuffix("T00:00:00Z")


def _version(each: RateVersion) -> dict[str, Any]:
    card = each.published.card
    return {
        "sku_id": each.sku.sku_id,
        "variant": each.sku.variant,
        "scope": scope_text(card.scope),
        "rate_card_id": card.rate_card_id,
        "version": card.version,
        "supersedes": card.supersedes,
        "correction": card.correction,
        "currency": card.currency,
        "price": price_text(each.sku),
        "prices": _prices(each.sku),
        "effective_from": instant(card.effective_from),
        "effective_to": None if card.effective_to is None else instant(card.effective_to),
        "holds_from": None if each.start is None else instant(each.start),
        "holds_to": None if each.end is None else instant(each.end),
        "in_force": each.start is not None,
        "recorded_time": instant(each.published.recorded_time * 1000),
        "fact": each.published.sequence,
    }


def _changed(change: SkuChange) -> dict[str, Any]:
    sku = change.after or change.before
    return {
        "change": change.kind,
        "sku_id": None if sku is None else sku.sku_id,
        "variant": None if sku is None else sku.variant,
        "old_price": _prices(change.before),
        "new_price": _prices(change.after),
        "old_pricing_unit": None if change.before is None else change.before.pricing_unit,
        "new_pricing_unit": None if change.after is None else change.after.pricing_unit,
        "differing": list(change.differing),
    }


def _shown(change: SkuChange) -> dict[str, Any]:
    row = _changed(change)
    return {
        **{key: row[key] for key in ("change", "sku_id", "variant")},
        "old_price": None if change.before is None else price_text(change.before),
        "new_price": None if change.after is None else price_text(change.after),
        "differing": ", ".join(row["differing"]),
    }


def _prices(sku: Sku | None) -> dict[str, str] | None:
    return None if sku is None else {name: plain(price) for name, price in named_prices(sku)}


def _card(path: Path) -> RateCard:
    try:
        return read_rate_card(read_text(path))
    except BadDocument as error:
        raise in_file(path, error.problems) from error
