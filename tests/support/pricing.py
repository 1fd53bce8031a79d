"""What prices a document in the tests of rating: every implementation must pass the same tables."""

import io
import json
from collections.abc import Callable
from typing import Any

from chargeline.cli.price import run
from chargeline.cli.price_files import Documents
from chargeline.domain.accounts import Accounts
from chargeline.domain.accounts_reader import read_accounts
from chargeline.domain.fx import FxTable
from chargeline.domain.fx_reader import read_fx_document
from chargeline.domain.rates.book import PublishedCard, RateBook
from chargeline.domain.rates.card_format import PARAMETERS
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rating.rate_table import RateTable
from chargeline.verify.rating.price import price_document

Document = dict[str, Any]
Price = Callable[..., list[Document]]
_LINE_BYTES = 300


def engine(
    cards: list[Document],
    accounts: Document | None,
    fx: list[Document] | None,
    events: list[Any],
    close_period: bool = False,
    unit: int = 50_000,
    *,
    accounts_required: bool = False,
) -> list[Document]:
    """`chargeline price` in this process; `unit`: about so many lines are priced at a time."""
    published, facts, rates = documents_of(cards, accounts, fx)
    lines = "".join((json.dumps(each) if each is not None else "no JSON") + "\n" for each in events)
    sink = io.BytesIO()
    documents = Documents(tuple(published), facts, rates)
    run(
        documents,
        io.BytesIO(lines.encode()),
        sink,
        close_period=close_period,
        accounts_required=accounts_required,
        block_bytes=unit * _LINE_BYTES,
    )
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def documents_of(
    cards: list[Document], accounts: Document | None, fx: list[Document] | None
) -> tuple[list[PublishedCard], Accounts, FxTable]:
    """Parsed documents as the command reads them; what publication would refuse is taken too."""
    facts = Accounts() if accounts is None else read_accounts(json.dumps(accounts)).accounts
    rates = FxTable() if not fx else read_fx_document(json.dumps({"rates": fx}))
    published = [PublishedCard(read_rate_card(json.dumps(_full(each))), 0, number) for number, each in enumerate(cards)]
    return published, facts, rates


def table_of(cards: list[Document], accounts: Document | None, fx: list[Document] | None) -> tuple[RateTable, Accounts]:
    """The prices of parsed documents, and the facts about accounts."""
    published, facts, rates = documents_of(cards, accounts, fx)
    return RateTable(RateBook(published, margin_ms=0, future_bound_ms=0), facts, rates), facts


def _full(card: Document) -> Document:
    """The card as readers want it: the last tier says that it is open, and a rate has no parameters of others."""
    return card | {"skus": [_full_sku(each) for each in card["skus"]]}


def _full_sku(sku: Document) -> Document:
    if sku["charge_model"] == "threshold" and not sku.get("thresholds"):
        sku = sku | {"charge_model": "per_unit", "unit_price": sku["base"]}
    known = frozenset().union(*PARAMETERS.values()) - PARAMETERS[sku["charge_model"]]
    found = {key: value for key, value in sku.items() if key not in known}
    if found.get("quantity") == "recurring_units":
        found.pop("match", None)
    if found.get("tiers"):
        found["tiers"] = [{"up_to": None} | tier for tier in found["tiers"]]
    return found


# One line for each implementation: (cards, accounts, fx, events, close_period) -> the objects of spec/formats.md 6.
PRICERS: dict[str, Price] = {
    "reference": price_document,
    "command": engine,
}
