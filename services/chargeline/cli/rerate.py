"""`chargeline rerate`: book prices that came late, or were put right, for events that are billed already."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import typer

from chargeline.adapters.charge_archive import rows_of
from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.cli.common import AsJson, DataDir, moment, print_json, print_rows
from chargeline.cli.publishing import governance_log, instant_argument
from chargeline.cli.sending import Sender
from chargeline.domain.errors import Refused
from chargeline.domain.money import plain_picos
from chargeline.pricer.compute import Rules
from chargeline.pricer.facts import Facts, rate_table
from chargeline.pricer.rerating import Change, changes, newest, records, run_id
from chargeline.runtime.stack import Stack, load_stack

_FUTURE_BOUND_MS = 300_000
_AT_ONCE = 5_000
_ROWS_MAX = 2_000_000


def register(app: typer.Typer) -> None:
    app.command()(rerate)


def rerate(
    start: Annotated[str, typer.Option("--from", help="Usage from this instant on, e.g. 2026-06-01T00:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="Usage before this instant.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with every record.")],
    account: Annotated[list[str] | None, typer.Option(help="Only this billing account; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the corrections are in ClickHouse.")] = False,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Rate events anew that had no price, or a wrong one.

    Those that are UNRATED, and those whose price was put right for the past (`correction: true`).

    One control record for each event; the pricer books a reversal and the new charge. Running it again, after a crash
    too, changes nothing more.

    Example: chargeline rerate --from 2026-06-01 --to 2026-07-01 --reason "price list was late" --dry-run
    """
    first, last = instant_argument(start), instant_argument(end)
    if first >= last:
        raise Refused("BAD_OPTION", "--from must lie before --to")
    stack, clock, accounts = load_stack(data), SystemClock(), account or []
    with governance_log(stack, clock) as governance:
        chain = governance.chain
        count = int(chain.visible_count(np.array([clock.now_ms()]), stack.governance_margin_ms)[0])
        table = rate_table(chain, count, stack.governance_margin_ms, _FUTURE_BOUND_MS)
        facts = Facts.of(chain, count, table, stack.governance_margin_ms, _FUTURE_BOUND_MS)
        rules = Rules(chain.input_topic().partitions, 60_000_000, 60_000_000, _FUTURE_BOUND_MS,
                      control_sources=frozenset())  # fmt: skip
    found: list[Change] = []
    for rows in _by_partition(stack, first, last, accounts):
        events = newest(rows)
        for at in range(0, len(events), _AT_ONCE):
            found += changes(events[at : at + _AT_ONCE], facts, rules, clock.now_ms())
    run = run_id(first, last, accounts, reason, facts.sequence)
    if not dry_run and found:
        sender = Sender(stack)
        for at in range(0, len(found), _AT_ONCE):
            sender.send_batch(records(run, reason, found[at : at + _AT_ONCE], sender.schema_id))
        sender.flush()
        if wait:
            sender.wait()
        sender.close()
    _tell(run, found, dry_run=dry_run, as_json=as_json)


def _by_partition(stack: Stack, first: int, last: int, accounts: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The rows of the time asked for, in log order."""
    warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password)
    where = "event_time >= {first:DateTime64(6, 'UTC')} AND event_time < {last:DateTime64(6, 'UTC')}"
    given: dict[str, Any] = {"first": moment(first), "last": moment(last)}
    if accounts:
        where += " AND billing_account_id IN {accounts:Array(String)}"
        given["accounts"] = accounts
    sql = f"SELECT source_partition AS p, count() AS n FROM charges WHERE {where} GROUP BY p ORDER BY p"
    for part in warehouse.query(sql, given).to_pylist():
        if part["n"] > _ROWS_MAX:
            raise Refused("TOO_MANY", f"{part['n']:,} charges in one partition: ask for a shorter time, or an account")
        mine = f"source_partition = {{p:Int32}} AND {where}"
        sql = f"SELECT * FROM charges WHERE {mine} ORDER BY source_offset, source_index"
        yield rows_of(warehouse.query(sql, given | {"p": part["p"]}))
    warehouse.close()


def _tell(run: str, found: list[Change], *, dry_run: bool, as_json: bool) -> None:
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for each in found:
        for sku_id in {*each.before, *each.after}:
            day = datetime.fromtimestamp(each.day // 1_000_000, UTC).date().isoformat()
            row = sums[each.row["billing_account_id"], sku_id, day, each.currency]
            row[0] += 1
            row[1] += each.before.get(sku_id, 0)
            row[2] += each.after.get(sku_id, 0)
            row[3] += each.is_estimate
    impact = [
        {"billing_account_id": account, "sku_id": sku_id, "day": day, "events": events, "before": plain_picos(before),
         "after": plain_picos(after), "change": plain_picos(after - before), "currency": currency,
         "estimated_events": estimates}
        for (account, sku_id, day, currency), (events, before, after, estimates) in sorted(sums.items(), key=repr)
    ]  # fmt: skip
    if as_json:
        print_json({"run_id": run, "dry_run": dry_run, "events": len(found), "sent": 0 if dry_run else len(found),
                    "impact": impact})  # fmt: skip
        return
    if impact:
        print_rows(impact, f"what {'would change' if dry_run else 'changes'}")
    sys.stdout.write(f"run {run}: {len(found)} events{', nothing sent' if dry_run else ' sent to be rated anew'}\n")
