"""`chargeline up` and `down`: the local stack."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chargeline.cli.common import DataDir
from chargeline.cli.status import observed_state
from chargeline.domain.errors import Refused
from chargeline.runtime.stack import STATE_FILE, data_dir, load_stack, readiness

_READY_S = 180.0
_STARTS_MAX = 4  # of one service: by then it is not an accident


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)


def up(
    data: DataDir = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return as soon as everything is ready.")] = False,
    pricers: Annotated[int, typer.Option(min=1, max=16, help="Number of pricer processes.")] = 1,
    partitions: Annotated[int, typer.Option(min=1, max=256, help="Partitions of usage-events (first start only).")] = 2,
    services: Annotated[bool, typer.Option(help="Start the pricers, the sink, budgets and anomalies too.")] = True,
    alerts: Annotated[
        Path | None,
        typer.Option(help="File of alert channels (docs/alerts.md); starts the notifier.", exists=True, dir_okay=False),
    ] = None,
    anomaly: Annotated[bool, typer.Option(help="Start the anomaly service with them.")] = True,
) -> None:
    """Start Kafka, the registry, Redis, ClickHouse and the services.

    Example: chargeline up --detach
    """
    from chargeline.embedded.downloads import fetch  # noqa: PLC0415 - of the embedded extra

    home = data_dir(data)
    if _running(home):
        raise Refused("ALREADY_UP", f"the stack in {home} is running: `chargeline status`, `chargeline down`")
    if alerts is not None:
        from chargeline.cli.notify import checked  # noqa: PLC0415 - only where there are alerts

        checked(alerts)
    fetch()
    if detach:
        _detached(home, pricers, partitions, services=services, anomaly=anomaly, alerts=alerts)
        return
    # The servers are an extra of the package: only this command needs them.
    from chargeline.embedded.prepare import prepare  # noqa: PLC0415
    from chargeline.embedded.supervisor import Supervisor  # noqa: PLC0415
    from chargeline.runtime.lifecycle import stop_event  # noqa: PLC0415

    stop = stop_event()
    console = Console(stderr=True)
    supervisor = Supervisor(
        home,
        pricers=pricers,
        partitions=partitions,
        say=lambda text: console.print(text, highlight=False),
        alerts=None if alerts is None else alerts.resolve(),
    )
    try:
        supervisor.start_servers()
        prepare(supervisor.stack, supervisor.partitions)
        if services:
            supervisor.start_services(anomaly=anomaly)
        (home / "ready").touch()
        console.print(f"the servers are ready in {home}; stop with Ctrl-C or `chargeline down`", highlight=False)
        then = supervisor.train if services else lambda: None
        threading.Thread(target=_tell_when_ready, args=(home, console, stop, then), daemon=True).start()
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


def _detached(home: Path, pricers: int, partitions: int, *, services: bool, anomaly: bool, alerts: Path | None) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "logs").mkdir(exist_ok=True)
    (home / "ready").unlink(missing_ok=True)
    command = [sys.executable, "-m", "chargeline.cli.main", "up", "--data-dir", str(home), "--pricers", str(pricers)]
    command += ["--partitions", str(partitions), "--services" if services else "--no-services"]
    command += [] if alerts is None else ["--alerts", str(alerts.resolve())]
    command += ["--anomaly" if anomaly else "--no-anomaly"]
    path = home / "logs" / "supervisor.log"
    with path.open("ab") as sink:
        child = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True)
    console = Console(stderr=True)
    with console.status("starting kafka, registry, redis and clickhouse") as shown:
        deadline = time.monotonic() + _READY_S
        while not (home / "ready").exists():
            lines = path.read_text(errors="replace").splitlines()
            if child.poll() is not None or time.monotonic() > deadline:
                child.terminate()
                tail = "\n".join(lines[-15:])
                raise Refused("NOT_STARTED", f"the stack did not start; the end of {path}:\n{tail}")
            shown.update(f"starting the servers: {lines[-1]}" if lines else "starting the servers")
            time.sleep(0.1)
        _wait_for_services(home, shown.update, lambda: child.poll() is not None)
    for each in load_stack(str(home)).processes:
        console.print(f"{each.name:<12} {each.address or ''}", highlight=False)
    console.print(f"[green]ready[/green] in {home}", highlight=False)


def _tell_when_ready(home: Path, console: Console, stop: threading.Event, then: Callable[[], None]) -> None:
    """What the services wait for, a line whenever it is something else; `then`: what may be done at leisure."""
    told: set[str] = set()

    def say(text: str) -> None:
        kind = text.partition(":")[0]
        if kind not in told:
            told.add(kind)
            console.print(f"waiting for {text}", highlight=False)

    try:
        _wait_for_services(home, say, stop.is_set)
    except Refused as error:
        console.print(f"[red]{error.code}[/red] {error.reason}", highlight=False)
    else:
        console.print("[green]ready[/green]", highlight=False)
        then()


def _wait_for_services(home: Path, say: Callable[[str], None], ended: Callable[[], bool]) -> None:
    """Until every pricer and the sink are ready, telling what they wait for.

    A recovery may take as long as it takes, because its words change. Raises Refused if nothing changes any more, or
    if a service dies again and again.
    """
    before, changed = "", time.monotonic()
    pids: dict[str, set[int]] = {}
    while True:
        services = load_stack(str(home)).services
        waits = [f"{each.name}: {what}: {why}" for each in services for what, why in readiness(each).items()]
        if not waits:
            return
        for each in services:
            pids.setdefault(each.name, set()).add(each.pid)
            if len(pids[each.name]) > _STARTS_MAX:
                raise Refused("SERVICE_DIES", f"{each.name} died {_STARTS_MAX} times; {_last_words(home, each.name)}")
        text = "; ".join(waits)
        if text != before:
            before, changed = text, time.monotonic()
            say(text)
        if ended() or time.monotonic() - changed > _READY_S:
            raise Refused("SERVICES_NOT_READY", f"still waiting for {text}: see {home}/logs")
        time.sleep(0.1)


def _last_words(home: Path, name: str) -> str:
    path = home / "logs" / f"{name}.log"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return f"the end of {path}:\n{chr(10).join(lines[-3:])}"


def _running(home: Path) -> bool:
    if not (home / STATE_FILE).exists():
        return False
    return any(
        each.name == "supervisor" and observed_state(each) == "running" for each in load_stack(str(home)).processes
    )
