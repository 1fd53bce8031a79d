"""`chargeline status`: the processes, how far they are behind, how fast they go, and what was refused."""

import time
from contextlib import nullcontext, suppress
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from chargeline.cli.common import SHORT_S, AsJson, DataDir, print_json, rows_table
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

    Lag, rates, watermark, and the shares of outcomes and dead letters. With --json and --watch: one document a line.

    Example: chargeline status --watch
    """
    stack = load_stack(data)
    from chargeline.adapters.pipeline import Pipeline  # noqa: PLC0415 - connects

    pipeline = Pipeline(stack, answer_s=SHORT_S)
    try:
        with suppress(ChargelineError):
            pipeline.partitions()  # rates are those from here on
        with nullcontext() if as_json or not watch else Live(auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                found = _found(load_stack(data), pipeline)
                if as_json:
                    print_json(found)
                elif live is None:
                    Console().print(_shown(found))
                else:
                    live.update(_shown(found), refresh=True)
                if not watch:
                    return
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


def _found(stack: Stack, pipeline: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"processes": _processes(stack), "partitions": [], "stored": [], "problems": []}
    for name, ask in (("partitions", pipeline.partitions), ("stored", pipeline.totals)):
        try:
            found[name] = ask()
        except ChargelineError as error:
            found["problems"].append({"unknown": name, "reason": str(error)})
    return found


def _shown(found: dict[str, list[Any]]) -> RenderableType:
    titles = {"processes": "processes", "partitions": "partitions of usage-events", "stored": "stored so far"}
    parts: list[RenderableType] = [rows_table(found[name], title) for name, title in titles.items() if found[name]]
    parts += [Text(f"{titles[each['unknown']]}: {each['reason']}", style="red") for each in found["problems"]]
    return Group(*parts)
