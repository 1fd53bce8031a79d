"""`chargeline replay FILE`: recorded usage as usage events."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

from chargeline.cli.common import AsJson, DataDir
from chargeline.cli.sending import Sender
from chargeline.domain.errors import Refused
from chargeline.runtime.stack import load_stack
from chargeline.sdk.avro_files import can_be_cut, cut
from chargeline.sdk.traces import event_ids, file_digest, read
from chargeline.wire.usage_encoder import Framed, framed

_OPERATION = "chat"


class Format(StrEnum):
    AZURE_LLM = "azure-llm"
    MOONCAKE = "mooncake"
    NDJSON = "ndjson"
    PARQUET = "parquet"
    AVRO = "avro"


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    file: Annotated[Path, typer.Argument(help="The file to replay.", exists=True, dir_okay=False)],
    form: Annotated[Format, typer.Option("--format", help="How the file is written.")],
    data: DataDir = None,
    billing_account: Annotated[str | None, typer.Option(help="Billing account of every row.")] = None,
    team: Annotated[str | None, typer.Option(help="Owning team of every row.")] = None,
    project: Annotated[str | None, typer.Option(help="Owning project of every row.")] = None,
    environment: Annotated[str | None, typer.Option(help="Environment of every row, e.g. production.")] = None,
    feature: Annotated[str | None, typer.Option(help="Product feature of every row.")] = None,
    provider: Annotated[str | None, typer.Option(help="Who serves the model, e.g. openai.")] = None,
    model: Annotated[str | None, typer.Option(help="Model that was asked, e.g. gpt-4o.")] = None,
    operation: Annotated[
        str | None, typer.Option(help="What was asked of it (default: what the file says, or chat).")
    ] = None,
    speed: Annotated[str, typer.Option(help="`max`, or events a second.")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many rows.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when everything is in ClickHouse.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the recorded usage of a file.

    Rows have stable ids: replaying it twice bills it once. The options for the owner and the model replace what the
    file says; azure-llm and mooncake, whose files do not, need --billing-account, --provider and --model.

    Example: chargeline replay trace.csv --format azure-llm --billing-account acme --provider openai --model gpt-4o
    """
    given = {
        "billing_account_id": billing_account,
        "team": team,
        "project": project,
        "environment": environment,
        "feature": feature,
        "provider_name": provider,
        "request_model": model,
        "operation_name": operation,
    }
    options = {name: value for name, value in given.items() if value is not None}
    if form in (Format.AZURE_LLM, Format.MOONCAKE):
        for name in ("billing_account_id", "provider_name", "request_model"):
            if name not in options:
                raise Refused("MISSING_OPTION", f"--format {form} needs --billing-account, --provider and --model")
    if speed != "max" and not speed.replace(".", "", 1).isdigit():
        raise Refused("BAD_OPTION", "--speed is `max` or a number of events a second")
    sender = Sender(load_stack(data))
    rate = None if speed == "max" else float(speed)
    sender.send_all(_batches(file, form, options, sender.schema_id, limit), limit, rate, f"replaying {file.name}")
    sender.outcomes(wait=wait, as_json=as_json)


def _batches(file: Path, form: Format, options: dict[str, Any], schema_id: int, limit: int | None) -> Iterator[Framed]:
    if form is Format.AVRO and can_be_cut(file):
        yield from _limited(cut(file, options, schema_id), limit)
        return
    name = event_ids(file_digest(file), {"operation_name": _OPERATION} | options)
    first = 0
    for batch in read(file, form):
        rows = batch if limit is None else batch.slice(0, limit - first)
        last = first + rows.num_rows
        columns = dict(zip(rows.schema.names, rows.columns, strict=True))
        # Rows that do not say so themselves.
        for field, own in (
            ("source", "replay"),
            ("operation_name", _OPERATION),
            ("event_id", name(np.arange(first, last))),
        ):
            columns[field] = _or(columns.get(field), own)
        yield framed(columns | options, rows.num_rows, schema_id)
        first = last
        if first == limit:
            return


def _or(column: pa.Array | None, own: str | pa.Array) -> Any:
    """The texts of a column, others where it is null; what is no text is left to the encoder to refuse by name."""
    if column is None or pa.types.is_null(column.type):
        return own
    return pc.coalesce(column, own) if pa.types.is_string(column.type) else column


def _limited(batches: Iterator[Framed], limit: int | None) -> Iterator[Framed]:
    for batch in batches:
        if limit is not None and len(batch.values) >= limit:
            yield Framed(batch.accounts[:limit], batch.values[:limit])
            return
        yield batch
        limit = limit and limit - len(batch.values)
