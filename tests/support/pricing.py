"""What prices a document in the tests of rating: every implementation must pass the same tables."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chargeline.cli.common import to_text
from chargeline.cli.price import price_lines
from chargeline.domain.accounts import Accounts
from chargeline.domain.accounts_reader import read_accounts
from chargeline.domain.fx import FxTable
from chargeline.domain.fx_reader import read_fx_document
from chargeline.domain.rate_book import PublishedCard, RateBook
from chargeline.domain.rate_card_format import PARAMETERS
from chargeline.domain.rate_card_reader import read_rate_card
from chargeline.domain.rate_table import RateTable
from chargeline.verify.rating.price import price_document

Document = dict[str, Any]
Price = Callable[..., list[Document]]


def engine(
    cards: list[Document],
    accounts: Document | None,
    fx: list[Document] | None,
    events: list[Any],
    close_period: bool = False,
    unit: int = 50_000,
) -> list[Document]:
    """The functions of the pricer, as `chargeline price` calls them; `unit`: lines priced at a time."""
    kinds = {each.get("event_kind", "USAGE") for each in events if isinstance(each, dict)}
    if close_period or kinds & {"PERIOD_CLOSE", "AMEND", "CANCEL", "RERATE"}:
        pytest.skip("the pricer has no closes and no corrections")
    table, facts = table_of(cards, accounts, fx)
    lines = [json.dumps(each) if each is not None else "no JSON" for each in events]
    return [json.loads(json.dumps(each, default=to_text)) for each in price_lines(lines, table, facts, unit)]


def table_of(cards: list[Document], accounts: Document | None, fx: list[Document] | None) -> tuple[RateTable, Accounts]:
    """The prices of parsed documents, and the facts about accounts; what publication would refuse is taken too."""
    facts = Accounts() if accounts is None else read_accounts(json.dumps(accounts)).accounts
    rates = FxTable() if not fx else read_fx_document(json.dumps({"rates": fx}))
    published = [PublishedCard(read_rate_card(json.dumps(_full(each))), 0, number) for number, each in enumerate(cards)]
    return RateTable(RateBook(published, margin_ms=0, future_bound_ms=0), facts, rates), facts


def _full(card: Document) -> Document:
    """The card as readers want it: the last tier says that it is open, and a rate has no parameters of others."""
    return card | {"skus": [_full_sku(each) for each in card["skus"]]}


def _full_sku(sku: Document) -> Document:
    if sku["charge_model"] == "threshold" and not sku.get("thresholds"):
        sku = sku | {"charge_model": "per_unit", "unit_price": sku["base"]}
    known = frozenset().union(*PARAMETERS.values()) - PARAMETERS[sku["charge_model"]]
    found = {key: value for key, value in sku.items() if key not in known}
    if found.get("tiers"):
        found["tiers"] = [{"up_to": None} | tier for tier in found["tiers"]]
    return found


# One line for each implementation: (cards, accounts, fx, events, close_period) -> the objects of spec/formats.md 6.
PRICERS: dict[str, Price] = {
    "reference": price_document,
    "engine": engine,
}
