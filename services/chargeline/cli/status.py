"""`chargeline status`: the processes, how far they are behind, how fast they go, and what was refused."""

import time
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from chargeline.cli.common import AsJson, DataDir, print_json, rows_table
from chargeline.domain.errors import ChargelineError
from chargeline.runtime.stack import Process, Stack, load_stack, readiness


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    data: DataDir = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh in place until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks; rates are over this.")] = 1.0,
) -> None:
    """Show processes, and the place and outcomes of every partition.

    Lag, rates, watermark, and the shares of outcomes and dead letters.

    Example: chargeline status --watch
    """
    stack = load_stack(data)
    if as_json:
        print_json(_processes(stack))
        return
    from chargeline.adapters.pipeline import Pipeline  # noqa: PLC0415 - connects

    pipeline = Pipeline(stack)
    try:
        if not watch:
            _look(stack, pipeline)
            time.sleep(interval)
            Console().print(_look(stack, pipeline))
            return
        with Live(_look(stack, pipeline), auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(_look(load_stack(data), pipeline), refresh=True)
    finally:
        pipeline.close()


def observed_state(process: Process) -> str:
    """What the state file says of a process, or `stopped` if it does not run, whatever the file says."""
    import psutil  # noqa: PLC0415 - of the embedded extra

    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        same = False
    return process.state if same else "stopped"


def _processes(stack: Stack) -> list[dict[str, Any]]:
    rows = []
    for each in stack.processes:
        row: dict[str, Any] = {"name": each.name, "pid": each.pid, "state": observed_state(each),
                               "address": each.address}  # fmt: skip
        waiting = readiness(each) if each in stack.services and row["state"] == "running" else {}
        rows.append(row | {"waiting": "; ".join(f"{what}: {why}" for what, why in waiting.items()) or None})
    return rows


def _look(stack: Stack, pipeline: Any) -> RenderableType:
    parts: list[RenderableType] = [rows_table(_processes(stack), "processes")]
    try:
        parts.append(rows_table(pipeline.partitions(), "partitions of usage-events"))
        stored = pipeline.totals()
        if stored:
            parts.append(rows_table(stored, "stored so far"))
    except ChargelineError as error:
        parts.append(Text(f"the pipeline cannot be asked: {error}", style="red"))
    return Group(*parts)
