"""`chargeline top`: the live windows, spend and rate by team and model, refreshed in place."""

import time
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
import typer
from rich.live import Live
from rich.table import Table

from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.cli.common import AsJson, DataDir, print_json
from chargeline.domain.money import plain
from chargeline.pricer.live import SUMS, VARIANCE, newest_rows
from chargeline.runtime.stack import load_stack


def register(app: typer.Typer) -> None:
    app.command()(top)


def top(
    data: DataDir = None,
    as_json: AsJson = False,
    once: Annotated[bool, typer.Option("--once", help="Print once and return.")] = False,
    windows: Annotated[int, typer.Option(min=1, max=120, help="How many of the newest windows (minutes).")] = 10,
    limit: Annotated[int, typer.Option(min=1, help="Most rows.")] = 20,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between refreshes.")] = 1.0,
) -> None:
    """Spend and rate by team and model in the newest windows.

    ± is the standard error of what sampled events cost.

    Example: chargeline top --once --windows 5
    """
    stack = load_stack(data)
    reader = KafkaLogReader(stack.kafka)
    partitions = reader.partitions("usage-events")
    reader.close()
    store = RedisStateStore(stack.redis_url, username=stack.redis_user, password=stack.redis_password)
    if as_json or once:
        rows = _rows(store, partitions, windows, limit)
        if as_json:
            print_json(rows)
        else:
            from rich.console import Console  # noqa: PLC0415

            Console().print(_table(rows, windows))
        return
    with Live(_table([], windows), auto_refresh=False) as live:
        while True:
            live.update(_table(_rows(store, partitions, windows, limit), windows), refresh=True)
            time.sleep(interval)


def _rows(store: RedisStateStore, partitions: int, windows: int, limit: int) -> list[dict[str, Any]]:
    recent = newest_rows([store.live(partition) for partition in range(partitions)], windows)
    if recent is None:
        return []
    sums = [name for name in (*SUMS, VARIANCE) if name in recent.columns]
    grouped = recent.group_by("team", "request_model", "billing_currency").agg(pl.col(sums).sum())
    grouped = grouped.sort("billed_cost", "event_count", descending=True).head(limit)
    minutes = recent["window_start"].n_unique()
    rows = grouped.to_dicts()
    for row in rows:
        row["cost_per_minute"] = row["billed_cost"] / minutes
        variance = row.pop(VARIANCE, None)
        row["standard_error"] = round(variance.sqrt(), 12) if variance else None
    return rows


def _table(rows: list[dict[str, Any]], windows: int) -> Table:
    table = Table(title=f"the newest {windows} windows", header_style="bold")
    for name in ("team", "model", "billed", "per minute", "events", "errors", "unrated"):
        table.add_column(name, justify="left" if name in {"team", "model"} else "right")
    for row in rows:
        currency = row["billing_currency"] or ""
        table.add_row(
            row["team"] or "-",
            row["request_model"],
            f"{plain(round(row['billed_cost'], 6))}{_estimated(row['standard_error'])} {currency}",
            f"{plain(round(row['cost_per_minute'], 6))} {currency}",
            f"{row['event_count']:,}",
            f"{row['error_count']:,}",
            f"{row['unrated_count']:,}",
        )
    return table


def _estimated(standard_error: Decimal | None) -> str:
    return "" if standard_error is None else f" ± {plain(round(standard_error, 6))}"
