"""`chargeline price`: price a file of events with the very functions of the pricer; no server runs."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import typer

from chargeline.cli.common import to_text
from chargeline.domain.documents import BadDocument
from chargeline.domain.identities import Identities
from chargeline.domain.money import plain
from chargeline.domain.rate_book import PublishedCard, RateBook
from chargeline.domain.rate_card_reader import read_rate_card
from chargeline.domain.rate_checks import check_publication
from chargeline.domain.rate_table import RateTable
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Computed, Rules, compute
from chargeline.sdk.jsonlines import BadLine, read_line
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.left_out import completed

_UNIT = 50_000
_RULES = Rules(partitions=1, window_us=60_000_000, watermark_bound_us=60_000_000, future_bound_ms=0)
_ENTRY_KEYS = ("entry_kind", "sku_id", "sku_price_id", "rate_card_id", "rate_card_version", "leaf",
               "pricing_quantity", "pricing_unit", "list_unit_price", "contracted_unit_price", "contracted_cost",
               "list_cost")  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command()(price)


def price(
    events: Annotated[Path, typer.Option(help="Events, one JSON object a line.", exists=True, dir_okay=False)],
    rates: Annotated[list[Path], typer.Option(help="A rate card; give the option again for more.", exists=True)],
    output: Annotated[Path | None, typer.Option(help="Where to write (default: standard output).")] = None,
) -> None:
    """Price events in file order: one object a line, in input order, and a last line with the totals.

    Example: chargeline price --rates examples/rates/openai.yaml --events events.ndjson
    """
    # Everything is read before anything is written: an unusable file leaves no output behind.
    cards: list[PublishedCard] = []
    for path in rates:
        card = read_rate_card(path.read_text())
        found = check_publication(card, cards, recorded_time=0, margin_ms=0, future_bound_ms=0)
        errors = [problem for problem in found if not problem.warning]
        if errors:
            raise BadDocument(errors)
        cards.append(PublishedCard(card, 0, len(cards)))
    table = RateTable(RateBook(cards, margin_ms=0, future_bound_ms=0))
    lines = [line for line in events.read_text().splitlines() if line.strip()]
    with output.open("w") if output else nullcontext(sys.stdout) as sink:
        _run(lines, table, sink)


def _run(lines: list[str], table: RateTable, sink: TextIO) -> None:
    known = Identities()
    outcomes: Counter[str] = Counter()
    totals: dict[str, dict[str, list[Decimal]]] = {}
    for start in range(0, len(lines), _UNIT):
        for result, account in _unit(lines[start : start + _UNIT], start, table, known):
            outcomes[result["outcome"]] += 1
            if result["billing_currency"] is not None:
                sums = totals.setdefault(account, {}).setdefault(result["billing_currency"], [Decimal(0), Decimal(0)])
                sums[0] += Decimal(result["contracted_cost"])
                sums[1] += Decimal(result["billed_cost"])
            _write(sink, result)
    _write(
        sink,
        {
            "totals": {
                account: {
                    currency: {"contracted_cost": plain(contracted), "billed_cost": plain(billed)}
                    for currency, (contracted, billed) in sorted(by_currency.items())
                }
                for account, by_currency in sorted(totals.items())
            },
            "outcomes": dict(sorted(outcomes.items())),
        },
    )


def _unit(lines: list[str], start: int, table: RateTable, known: Identities) -> Iterator[tuple[dict[str, Any], str]]:
    """(result, billing_account_id) of each line."""
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
            watermark=None,
            table=table,
            governance_sequence=0,
            rules=_RULES,
            schema_of=lambda _: USAGE_EVENT_SCHEMA,
        )
        known.add(computed.booked.keys)
    booked = [] if computed is None else completed(computed.charges.to_pylist(), "Charge")
    rows = {row["source_offset"]: row for row in booked}
    dead = {} if computed is None else {good[each.row]: each.code for each in computed.dead_letters}
    for number, each in enumerate(read):
        if isinstance(each, BadLine):
            yield _without_charge(each.event_id, "DEAD_LETTER", each.code), ""
        elif number in dead:
            code = dead[number]
            outcome = "CONFLICT" if code == "CONFLICT" else "DEAD_LETTER"
            yield _without_charge(each.event_id, outcome, None if outcome == "CONFLICT" else code), ""
        elif start + number in rows:
            yield _charged(rows[start + number]), rows[start + number]["billing_account_id"]
        else:
            yield _without_charge(each.event_id, "DUPLICATE", None), ""


def _charged(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": row["event_id"],
        "outcome": row["outcome"],
        "reason": row["reason"],
        "billing_period": row["billing_period_start"],
        "contracted_cost": None if row["contracted_cost"] is None else plain(row["contracted_cost"]),
        "billed_cost": None if row["billed_cost"] is None else plain(row["billed_cost"]),
        "billing_currency": row["billing_currency"],
        "entries": [{name: entry[name] for name in _ENTRY_KEYS} for entry in row["entries"]],
    }


def _without_charge(event_id: str | None, outcome: str, reason: str | None) -> dict[str, Any]:
    costs = {"billing_period": None, "contracted_cost": None, "billed_cost": None, "billing_currency": None}
    return {"event_id": event_id, "outcome": outcome, "reason": reason, **costs, "entries": []}


def _write(sink: TextIO, value: dict[str, Any]) -> None:
    sink.write(json.dumps(value, default=to_text, ensure_ascii=False, separators=(",", ":")) + "\n")
