"""`chargeline verify`: recompute the bill from the raw log and compare."""

import gc
import json
import multiprocessing
import os
import queue
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import AsJson, DataDir, print_json, progress
from chargeline.domain.errors import Refused
from chargeline.domain.money import plain
from chargeline.runtime.stack import Stack, load_stack
from chargeline.verify.compare import Report, Verification
from chargeline.verify.events import Rules
from chargeline.wire.units import OUTCOMES


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    data: DataDir = None,
    as_json: AsJson = False,
    until: Annotated[str | None, typer.Option(help='Input offsets to stop at, JSON: {"0": 1000}.')] = None,
) -> None:
    """Recompute every charge with an independent oracle.

    Exit code 1 and the first difference if there is one.

    Example: chargeline verify
    """
    stack = load_stack(data)
    reader = KafkaLogReader(stack.kafka)
    governance = GovernanceReader(reader, SystemClock(), max_clock_skew_ms=0)
    governance.refresh()
    partitions, required = governance.chain.input_topic().partitions, stack.accounts_required
    rules = Rules(partitions, stack.governance_margin_ms, 300_000, 60_000_000, accounts_required=required,
                  control_sources=frozenset(stack.control_sources.split(",")))  # fmt: skip
    total = sum(reader.bounds("usage-events", partition)[1] for partition in range(rules.partitions))
    reader.close()
    report = Report()
    with progress() as bar:
        task = bar.add_task("verifying", total=total, rate="")
        for part in _by_partition(stack, rules, _until(until), lambda n: bar.advance(task, n)):
            report.add(part)
    if as_json:
        print_json(_as_dict(report))
    else:
        _print(report)
    if report.difference is not None:
        raise typer.Exit(1)


def _by_partition(
    stack: Stack, rules: Rules, until: dict[int, int] | None, advance: Callable[[int], None]
) -> list[Report]:
    """The report of each partition; they share nothing, so each core takes one at a time."""
    spawn = multiprocessing.get_context("spawn")
    steps: Any = spawn.Queue()
    workers = min(rules.partitions, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, spawn, initializer=_tell, initargs=(steps,)) as pool:
        parts = [pool.submit(_partition, stack, rules, until, partition) for partition in range(rules.partitions)]
        while not all(part.done() for part in parts):
            with suppress(queue.Empty):
                advance(steps.get(timeout=0.2))
        return [part.result() for part in parts]


_steps: list[Any] = []


def _tell(steps: Any) -> None:
    gc.disable()  # the oracle keeps millions of objects and makes no cycles: looking for some takes a fifth of the time
    _steps.append(steps)


def _partition(stack: Stack, rules: Rules, until: dict[int, int] | None, partition: int) -> Report:
    reader = KafkaLogReader(stack.kafka)
    warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password)
    schema_of = SchemaRegistry(stack.registry).schema_of
    report = Verification(reader, warehouse, schema_of, rules, _steps[0].put).run(until, [partition])
    reader.close()
    return report


def _until(text: str | None) -> dict[int, int] | None:
    if text is None:
        return None
    try:
        return {int(partition): int(offset) for partition, offset in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise Refused("BAD_OPTION", '--until is a JSON object such as {"0": 1000}') from error


def _as_dict(report: Report) -> dict[str, object]:
    return {
        "ok": report.difference is None,
        "difference": report.difference,
        "ends": report.ends,
        "outcomes": {partition: dict(counts) for partition, counts in report.outcomes.items()},
        "dead_letters": dict(report.dead_letters),
        "billed_cost": {currency: plain(amount) for currency, amount in report.billed.items()},
        "units": report.units,
        "charges": report.charges,
        "panes": report.panes,
        "stored": report.stored,
        "beyond_horizon": report.beyond_horizon,
    }


def _print(report: Report) -> None:
    console = Console()
    table = Table(title="every record, one outcome", header_style="bold")
    table.add_column("partition")
    table.add_column("consumed", justify="right")
    for name in OUTCOMES[:5]:
        table.add_column(name.lower().replace("_", " "), justify="right")
    for partition, counts in sorted(report.outcomes.items()):
        table.add_row(str(partition), f"{counts.total():,}", *(f"{counts[name]:,}" for name in OUTCOMES[:5]))
    console.print(table)
    for currency, amount in sorted(report.billed.items()):
        console.print(f"billed {plain(amount)} {currency}", highlight=False)
    console.print(f"{report.units} units, {report.charges:,} charges, {report.panes:,} panes; in ClickHouse up to "
                  f"{report.stored or 'nothing'}", highlight=False)  # fmt: skip
    if report.beyond_horizon:
        console.print(f"charged again beyond the horizon: {report.beyond_horizon}", highlight=False)
    if report.difference is None:
        console.print("[green]verified[/green]: Kafka and ClickHouse hold exactly what the oracle computed")
    else:
        console.print(f"[red]DIFFERENT[/red] {report.difference}", highlight=False)
