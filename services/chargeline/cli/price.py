"""`chargeline price`: price a file of events with the very functions of the pricer; no server runs."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import typer

from chargeline.cli.common import to_text
from chargeline.cli.fx import read_fx
from chargeline.cli.price_results import PLATFORM, charged, totals, waived_objects, without_charge
from chargeline.domain.accounts import Accounts
from chargeline.domain.accounts_reader import read_accounts
from chargeline.domain.documents import BadDocument
from chargeline.domain.fx import FxTable
from chargeline.domain.identities import Identities
from chargeline.domain.rate_book import PublishedCard, RateBook
from chargeline.domain.rate_card import RateCard
from chargeline.domain.rate_card_reader import read_rate_card
from chargeline.domain.rate_checks import check_publication
from chargeline.domain.rate_table import RateTable
from chargeline.domain.scope_states import ScopeStates
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Computed, Rules, compute
from chargeline.sdk.jsonlines import BadLine, read_line
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.left_out import completed

_UNIT = 50_000
_RULES = Rules(partitions=1, window_us=60_000_000, watermark_bound_us=60_000_000, future_bound_ms=0)


def register(app: typer.Typer) -> None:
    app.command()(price)


def price(
    events: Annotated[Path, typer.Option(help="Events, one JSON object a line.", exists=True, dir_okay=False)],
    rates: Annotated[list[Path], typer.Option(help="A rate card; give the option again for more.", exists=True)],
    accounts: Annotated[Path | None, typer.Option(help="Facts about accounts.", exists=True, dir_okay=False)] = None,
    fx: Annotated[Path | None, typer.Option(help="Exchange rates, CSV or YAML.", exists=True, dir_okay=False)] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write (default: standard output).")] = None,
) -> None:
    """Price events in file order: one object a line, in input order, and a last line with the totals.

    Example: chargeline price --rates examples/rates/openai.yaml --events events.ndjson
    """
    # Everything is read before anything is written: an unusable file leaves no output behind.
    cards = [read_rate_card(path.read_text()) for path in rates]
    facts = Accounts() if accounts is None else read_accounts(accounts.read_text()).accounts
    table = table_of(cards, facts, FxTable() if fx is None else read_fx(fx))
    lines = [line for line in events.read_text().splitlines() if line.strip()]
    with output.open("w") if output else nullcontext(sys.stdout) as sink:
        for result in price_lines(lines, table, facts):
            _write(sink, result)


def table_of(cards: list[RateCard], accounts: Accounts, fx: FxTable) -> RateTable:
    """The prices of cards published in this order before all events. Raises BadDocument if one would be refused."""
    published: list[PublishedCard] = []
    for card in cards:
        found = check_publication(card, published, recorded_time=0, margin_ms=0, future_bound_ms=0)
        errors = [problem for problem in found if not problem.warning]
        if errors:
            raise BadDocument(errors)
        published.append(PublishedCard(card, 0, len(published)))
    return RateTable(RateBook(published, margin_ms=0, future_bound_ms=0), accounts, fx)


def price_lines(lines: list[str], table: RateTable, accounts: Accounts, unit: int = _UNIT) -> Iterator[dict[str, Any]]:
    """The objects of spec/formats.md 6 for the lines of a file, the totals last. `unit`: lines priced at a time."""
    known, scopes = Identities(), ScopeStates.empty()
    outcomes: Counter[str] = Counter()
    objects: list[tuple[str, dict[str, Any]]] = []
    rows: list[dict[str, Any]] = []
    for start in range(0, len(lines), unit):
        answers, computed = _unit(lines[start : start + unit], start, table, known, scopes)
        if computed is not None:
            known.add(computed.booked.keys)
            scopes = scopes.apply(computed.booked.scopes)
        for result, row in answers:
            outcomes[result["outcome"]] += 1
            objects.append(("" if row is None else row["billing_account_id"], result))
            if row is not None and any(entry["waived_cost"] is not None for entry in row["entries"]):
                rows.append(row)
            yield result
    for each in waived_objects(rows, accounts):
        objects.append((PLATFORM, each))
        yield each
    yield {"totals": totals(objects), "outcomes": dict(sorted(outcomes.items()))}


_Answer = tuple[dict[str, Any], dict[str, Any] | None]


def _unit(
    lines: list[str], start: int, table: RateTable, known: Identities, scopes: ScopeStates
) -> tuple[list[_Answer], Computed | None]:
    """(result, row of `charges`) of each line, and what the unit came to."""
    read = [read_line(line) for line in lines]
    good = [number for number, each in enumerate(read) if not isinstance(each, BadLine)]
    computed: Computed | None = None
    if good:
        values = [each.value for each in read if not isinstance(each, BadLine)]
        # Each event counts as appended right after it happened, on the only partition.
        appended = [-(-each.event_time // 1000) for each in read if not isinstance(each, BadLine)]
        batch = LogBatch(
            "usage-events",
            0,
            np.array(good, np.int64) + start,
            np.array(appended, np.int64),
            values,
            start + len(lines),
        )
        computed = compute(
            batch,
            known=known,
            scopes=scopes,
            watermark=None,
            table=table,
            governance_sequence=0,
            rules=_RULES,
            schema_of=lambda _: USAGE_EVENT_SCHEMA,
        )
    booked = [] if computed is None else completed(computed.charges.to_pylist(), "Charge")
    rows = {row["source_offset"]: row for row in booked}
    dead = {} if computed is None else {good[each.row]: each.code for each in computed.dead_letters}
    return [_answer(number, each, dead, rows.get(start + number)) for number, each in enumerate(read)], computed


def _answer(number: int, line: Any, dead: dict[int, str], row: dict[str, Any] | None) -> _Answer:
    if isinstance(line, BadLine):
        return without_charge(line.event_id, "DEAD_LETTER", line.code), None
    if number in dead:
        code = dead[number]
        outcome = "CONFLICT" if code == "CONFLICT" else "DEAD_LETTER"
        return without_charge(line.event_id, outcome, None if outcome == "CONFLICT" else code), None
    if row is not None:
        return charged(row), row
    return without_charge(line.event_id, "DUPLICATE", None), None


def _write(sink: TextIO, value: dict[str, Any]) -> None:
    sink.write(json.dumps(value, default=to_text, ensure_ascii=False, separators=(",", ":")) + "\n")
