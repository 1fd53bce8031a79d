"""`chargeline migrate`: bring the ClickHouse tables up to date."""

from typing import Annotated

import typer
from rich.console import Console

from chargeline.adapters.clickhouse_migrations import migrate as apply
from chargeline.cli.common import DataDir
from chargeline.runtime.stack import load_stack


def register(app: typer.Typer) -> None:
    app.command()(migrate)


def migrate(
    data: DataDir = None,
    replicated: Annotated[bool, typer.Option("--replicated", help="Use Replicated… engines (a cluster).")] = False,
    production: Annotated[bool, typer.Option("--production", help="Also create the SQL users of BI.")] = False,
) -> None:
    """Apply the migrations of ClickHouse that were not applied yet.

    They are those of deploy/clickhouse.

    Example: chargeline migrate --replicated --production
    """
    stack = load_stack(data)
    done = apply(
        stack.clickhouse_url,
        stack.clickhouse_user,
        stack.clickhouse_password,
        replicated=replicated,
        production=production,
    )
    Console(stderr=True).print(f"applied: {', '.join(done) or 'nothing, all is up to date'}", highlight=False)
