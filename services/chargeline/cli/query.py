"""`chargeline query SQL`: ask ClickHouse as the read-only user of BI tools."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows, to_text
from chargeline.runtime.stack import load_stack


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    TSV = "tsv"


def register(app: typer.Typer) -> None:
    app.command()(query)


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT; tables: charges, cost_rollups, performance_rollups, …")],
    data: DataDir = None,
    form: Annotated[Format, typer.Option("--format", help="How rows are printed.")] = Format.TABLE,
    as_json: AsJson = False,
) -> None:
    """Run a query as the read-only user.

    Example: chargeline query "SELECT team, sum(billed_cost) FROM cost_rollups GROUP BY ALL"
    """
    stack = load_stack(data)
    warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_bi_user, stack.clickhouse_bi_password)
    rows: list[dict[str, Any]] = warehouse.query(sql).to_pylist()
    if as_json or form is Format.JSON:
        print_json(rows)
    elif form is Format.TABLE:
        print_rows(rows, verbatim=True)
    else:
        for row in rows:
            sys.stdout.write("\t".join(_field(value) for value in row.values()) + "\n")


def _field(value: object) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str | int | float | list | dict):
        return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    return str(to_text(value))
