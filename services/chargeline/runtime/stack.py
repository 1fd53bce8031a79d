"""Where everything is: the addresses of a local stack, from its state file, or of production, from the environment."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from chargeline.domain.errors import Refused

STATE_FILE = "stack.json"
DEFAULT_DIR = ".chargeline"
SERVICES = ("pricer", "sink", "anomaly", "budgets", "notifier")  # how the names of their processes begin


@dataclass(frozen=True)
class Process:
    """One process of a stack; `started` (seconds since boot, from the kernel) tells it from a later one of that pid."""

    name: str
    pid: int
    state: str
    address: str | None = None
    started: float = 0.0


@dataclass(frozen=True)
class Stack:
    """Addresses and secrets of a stack, and its processes where it is a local one."""

    kafka: str
    registry: str
    redis_url: str
    redis_user: str | None
    redis_password: str | None
    clickhouse_url: str
    clickhouse_user: str
    clickhouse_password: str
    clickhouse_bi_user: str
    clickhouse_bi_password: str
    governance_margin_ms: int
    accounts_required: bool = False
    control_sources: str = "chargeline"
    partitions: int = 0
    data_dir: str = ""
    processes: list[Process] = field(default_factory=list)

    @property
    def services(self) -> list[Process]:
        """The processes of ours that do work; the notifier only if it has a configuration."""
        return [each for each in self.processes if each.name.startswith(SERVICES)]

    def environment(self) -> dict[str, str]:
        """The settings that tell a service where everything is."""
        values = {
            "KAFKA": self.kafka,
            "REGISTRY": self.registry,
            "REDIS_URL": self.redis_url,
            "REDIS_USER": self.redis_user,
            "REDIS_PASSWORD": self.redis_password,
            "CLICKHOUSE_URL": self.clickhouse_url,
            "CLICKHOUSE_USER": self.clickhouse_user,
            "CLICKHOUSE_PASSWORD": self.clickhouse_password,
            "GOVERNANCE_MARGIN_MS": str(self.governance_margin_ms),
            "ACCOUNTS_REQUIRED": "true" if self.accounts_required else "false",
            "CONTROL_SOURCES": self.control_sources,
        }
        return {f"CHARGELINE_{name}": value for name, value in values.items() if value is not None}

    def save(self, data_dir: Path) -> None:
        """Write the state file in one step; it holds secrets, so it is for its owner alone."""
        path = data_dir / STATE_FILE
        fresh = path.with_suffix(".tmp")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(asdict(self), indent=2))
        fresh.replace(path)


def data_dir(given: str | None) -> Path:
    """The data directory: as given, else CHARGELINE_DATA_DIR, else `.chargeline` here."""
    return Path(given or os.environ.get("CHARGELINE_DATA_DIR") or DEFAULT_DIR).resolve()


def load_stack(given: str | None = None) -> Stack:
    """The stack of a data directory, or production's if CHARGELINE_KAFKA is set and no directory is named.

    Raises:
        Refused: NO_STACK.
    """
    if given is None and "CHARGELINE_KAFKA" in os.environ:
        return _from_environment()
    path = data_dir(given) / STATE_FILE
    if not path.exists():
        raise Refused("NO_STACK", f"no stack in {path.parent}: run `chargeline up --detach`, or name one by --data-dir")
    values: dict[str, Any] = json.loads(path.read_text())
    values["processes"] = [Process(**each) for each in values["processes"]]
    return Stack(**values)


def readiness(service: Process) -> dict[str, str]:
    """What a service of a local stack still waits for, and why; empty: it is ready."""
    if not service.address:
        return {"start": "the process does not listen yet"}
    try:
        answer = urllib3.request("GET", f"{service.address}/readyz", timeout=2.0, retries=False)
    except urllib3.exceptions.HTTPError:
        return {"start": "the process does not answer"}
    waiting: dict[str, str] = answer.json()["waiting"]
    return waiting


def _from_environment() -> Stack:
    def read(name: str, default: str | None = None) -> str | None:
        return os.environ.get(f"CHARGELINE_{name}", default)

    return Stack(
        kafka=read("KAFKA") or "",
        registry=read("REGISTRY") or "",
        redis_url=read("REDIS_URL") or "",
        redis_user=read("REDIS_USER"),
        redis_password=read("REDIS_PASSWORD"),
        clickhouse_url=read("CLICKHOUSE_URL") or "",
        clickhouse_user=read("CLICKHOUSE_USER", "default") or "",
        clickhouse_password=read("CLICKHOUSE_PASSWORD", "") or "",
        clickhouse_bi_user=read("CLICKHOUSE_BI_USER", "default") or "",
        clickhouse_bi_password=read("CLICKHOUSE_BI_PASSWORD", "") or "",
        governance_margin_ms=int(read("GOVERNANCE_MARGIN_MS", "10000") or 10_000),
        control_sources=read("CONTROL_SOURCES", "chargeline") or "",
        accounts_required=_is_true("ACCOUNTS_REQUIRED", read("ACCOUNTS_REQUIRED", "false") or "false"),
    )


def _is_true(name: str, text: str) -> bool:
    """A boolean is true, false or an error.

    Raises:
        Refused: BAD_SETTING.
    """
    if text.lower() not in ("true", "false"):
        raise Refused("BAD_SETTING", f"CHARGELINE_{name} is {text!r}: say true or false")
    return text.lower() == "true"
