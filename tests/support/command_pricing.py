"""`chargeline price` as the tables of rating call it: documents written to files, the command run in this process."""

import io
import json
from typing import Any

from chargeline.cli.price import run
from chargeline.cli.price_files import Documents, published
from chargeline.domain.accounts import Accounts
from chargeline.domain.accounts_reader import accounts_from_json
from chargeline.domain.fx import FxTable
from chargeline.domain.fx_reader import fx_from_json
from chargeline.domain.rate_card_reader import from_json


def price_with_command(
    cards: list[dict[str, Any]],
    accounts: dict[str, Any] | None,
    fx: list[dict[str, Any]] | None,
    events: list[Any],
    close_period: bool = False,
) -> list[dict[str, Any]]:
    """The objects that the command writes; arguments as those of the reference."""
    documents = Documents(
        published([from_json(json.dumps(each)) for each in cards]),
        Accounts() if accounts is None else accounts_from_json(json.dumps(accounts)),
        FxTable() if fx is None else fx_from_json(json.dumps({"rates": fx})),
    )
    lines = "".join((json.dumps(each) if each is not None else "no json") + "\n" for each in events)
    sink = io.BytesIO()
    run(documents, io.BytesIO(lines.encode()), sink, close_period=close_period)
    return [json.loads(line) for line in sink.getvalue().splitlines()]
