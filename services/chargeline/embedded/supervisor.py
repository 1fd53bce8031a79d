"""Runs a local stack: starts the servers, prepares them, starts the services, and restarts what dies.

Every process is a child with a process group and a log file of its own; the state file always says what runs.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from chargeline.domain.errors import Refused
from chargeline.embedded import servers
from chargeline.embedded.servers import Ports, Secrets, Server
from chargeline.runtime.stack import SERVICES, Process, Stack

_READY_S = 120.0
_CHECK_S = 0.2
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SERVICE_STOP_S = 15.0
# glibc keeps freed arrays for itself once it has seen some of their size, in holes that others do not fit. With a fixed
# threshold large ones go back to the system; in the pricer that is only what it remembers, as arrays of a unit come
# again at once. Arrow's own allocator keeps what it freed by thread; the sink has many, each with a peak of its own.
ALLOCATORS = {
    "pricer": {"MALLOC_MMAP_THRESHOLD_": "2097152", "MALLOC_TRIM_THRESHOLD_": "33554432"},
    "sink": {"MALLOC_MMAP_THRESHOLD_": "262144", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    "anomaly": {"MALLOC_MMAP_THRESHOLD_": "262144"},
}


class Supervised:
    """One process: its command, whether it should run, and how often it died lately."""

    def __init__(self, server: Server, data: Path) -> None:
        self.server = server
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        self.started = 0.0
        self.next_try = 0.0
        self.address = server.address
        self._log = data / "logs" / f"{server.name}.log"

    def start(self) -> None:
        self._log.parent.mkdir(exist_ok=True)
        with self._log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.server.command,
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                cwd=self.server.directory,
                env={**os.environ, **self.server.environment},
                start_new_session=True,
            )
        self.started = time.monotonic()
        self.address = self.server.address

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to the whole group if that is not enough."""
        if self.process is None:
            return
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(self.server.stop_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def described(self) -> Process:
        running = self.alive()
        pid = self.process.pid if self.process is not None else 0
        return Process(
            self.server.name, pid, "running" if running else "restarting", self.address or None, _started(pid)
        )

    def look_for_address(self) -> bool:
        """Find where a service listens that took a free port; whether that is news."""
        if self.address or not self.alive():
            return False
        self.address = _listening(self.process.pid if self.process is not None else 0)
        return bool(self.address)


def _listening(pid: int) -> str:
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return ""
    ports = [connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN]
    return f"http://127.0.0.1:{ports[0]}" if ports else ""


def _started(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time() if pid else 0.0
    except psutil.Error:
        return 0.0


class Supervisor:
    """The stack of one data directory."""

    def __init__(
        self, data: Path, *, pricers: int, partitions: int, say: Callable[[str], None], alerts: Path | None = None
    ) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._pricers = pricers
        self._alerts = alerts
        self._say = say
        self._lock = threading.Lock()
        settings = _settings(data, partitions)
        self._ports, self._secrets = Ports(**settings["ports"]), Secrets(**settings["secrets"])
        self.partitions = int(settings["partitions"])
        self._children: list[Supervised] = []
        self._training: Supervised | None = None
        self.stack = Stack(
            kafka=f"127.0.0.1:{self._ports.kafka}",
            registry=f"http://127.0.0.1:{self._ports.registry}/apis/ccompat/v7",
            redis_url=f"redis://127.0.0.1:{self._ports.redis}/0",
            redis_user="chargeline",
            redis_password=self._secrets.redis,
            clickhouse_url=f"http://127.0.0.1:{self._ports.clickhouse}",
            clickhouse_user="chargeline",
            clickhouse_password=self._secrets.clickhouse,
            clickhouse_bi_user="bi",
            clickhouse_bi_password=self._secrets.bi,
            governance_margin_ms=2000,
            partitions=self.partitions,
            data_dir=str(data),
        )

    def start_servers(self) -> None:
        """Start the four servers at the same time and wait until each answers."""
        makers: list[Callable[[], Server]] = [
            lambda: servers.kafka(self._data, self._ports),
            lambda: servers.registry(self._data, self._ports),
            lambda: servers.redis_server(self._data, self._ports, self._secrets),
            lambda: servers.clickhouse(self._data, self._ports, self._secrets),
        ]
        self._children.append(_this_process(self._data))
        with ThreadPoolExecutor(len(makers)) as threads:
            list(threads.map(self._start_server, makers))

    def start_services(self, *, anomaly: bool = True) -> None:
        """Start the services against the servers; the notifier only if it has a configuration."""
        environment = self.stack.environment()
        for slot in range(self._pricers):
            self._start_service(f"pricer-{slot}", "pricer", {**environment, "CHARGELINE_PRICER_SLOT": str(slot)})
        self._start_service("sink", "sink", environment)
        self._start_service("budgets", "budgets", environment)
        if self._alerts is not None:
            given = {**environment, "CHARGELINE_NOTIFIER_CONFIG": str(self._alerts)}
            self._start_service("notifier", "notifier", given)
        if anomaly:
            # Windows as long as a pane: on a laptop there is something to see within minutes.
            window_s = os.environ.get("CHARGELINE_ANOMALY_WINDOW_S") or os.environ.get("CHARGELINE_WINDOW_S", "60")
            given = {**environment, "CHARGELINE_ANOMALY_WINDOW_S": window_s}
            self._start_service("anomaly", "anomaly", given)
        self.write_state()

    def train(self) -> None:
        """Make Kafka's AOT cache beside the stack, if there is none; it ends by itself, or with the stack."""
        if not servers.aot_cache().exists():
            command = [sys.executable, "-m", "chargeline.embedded.aot"]
            self._training = Supervised(Server("aot", command, "", lambda: True), self._data)
            self._training.start()

    def watch(self, stop: threading.Event) -> None:
        """Restart what dies, with growing pauses, until asked to stop."""
        while not stop.wait(_CHECK_S):
            if self._training is not None and not self._training.alive():
                self._training = None
            for child in self._children:
                if child.process is None or child.alive():
                    if child.look_for_address():
                        self.write_state()
                    continue
                now = time.monotonic()
                if child.next_try <= child.started:
                    if now - child.started > 60:
                        child.deaths = 0
                    pause = _BACKOFF_S[min(child.deaths, len(_BACKOFF_S) - 1)]
                    child.deaths += 1
                    child.next_try = now + pause
                    self.write_state()
                elif now >= child.next_try:
                    self._say(f"{child.server.name} died (exit {child.process.returncode}); starting it again")
                    child.start()
                    self.write_state()

    def stop(self) -> None:
        """Stop the services, then the servers."""
        if self._training is not None:
            self._training.stop()
        started = [child for child in self._children if child.process is not None]
        services = [child for child in started if child.server.name.startswith(SERVICES)]
        for group in (services, [child for child in started if child not in services]):
            if group:
                with ThreadPoolExecutor(len(group)) as threads:
                    list(threads.map(Supervised.stop, group))
        self.stack = replace(self.stack, processes=[])
        self.stack.save(self._data)

    def write_state(self) -> None:
        with self._lock:
            self.stack = replace(self.stack, processes=[child.described() for child in self._children])
            self.stack.save(self._data)

    def _start_server(self, make: Callable[[], Server]) -> None:
        child = Supervised(make(), self._data)
        child.start()
        with self._lock:
            self._children.append(child)
        self.write_state()
        deadline = time.monotonic() + _READY_S
        while not child.server.is_ready():
            if not child.alive() or time.monotonic() > deadline:
                raise Refused(
                    "SERVER_NOT_READY",
                    f"{child.server.name} did not start: see {self._data}/logs/{child.server.name}.log",
                )
            time.sleep(0.1)
        self._say(f"{child.server.name} is ready at {child.server.address}")

    def _start_service(self, name: str, module: str, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", f"chargeline.{module}"]
        child = Supervised(
            Server(name, command, "", lambda: True, environment | ALLOCATORS.get(module, {}), stop_s=_SERVICE_STOP_S),
            self._data,
        )
        child.start()
        self._children.append(child)


def _this_process(data: Path) -> Supervised:
    own = Supervised(Server("supervisor", [], "", lambda: True), data)
    own.described = lambda: Process("supervisor", os.getpid(), "running", None, _started(os.getpid()))  # type: ignore[method-assign]
    return own


def _settings(data: Path, partitions: int) -> dict[str, Any]:
    """Ports, passwords and partitions of a data directory; made at its first start, for its owner alone."""
    path = data / "settings.json"
    if path.exists():
        settings: dict[str, Any] = json.loads(path.read_text())
        if not _free(settings["ports"]):
            settings["ports"] = asdict(servers.free_ports())
    else:
        fresh = Secrets(*(secrets.token_urlsafe(24) for _ in range(3)))
        settings = {"ports": asdict(servers.free_ports()), "secrets": asdict(fresh), "partitions": partitions}
        path.touch(mode=0o600)
    path.write_text(json.dumps(settings, indent=2))
    return settings


def _free(ports: object) -> bool:
    used = {connection.laddr.port for connection in psutil.net_connections("tcp") if connection.status == "LISTEN"}
    return isinstance(ports, dict) and not used & set(ports.values())


def end_processes(stack: Stack) -> list[str]:
    """End every process that the state file names and that is still the same one; the supervisor first.

    Returns:
        The names of those that were running.
    """
    ended = []
    ordered = sorted(stack.processes, key=lambda each: each.name != "supervisor")
    for each in ordered:
        try:
            process = psutil.Process(each.pid)
            if abs(process.create_time() - each.started) > 1.0:
                continue
            process.terminate()
            process.wait(60 if each.name == "supervisor" else 15)
        except psutil.TimeoutExpired:
            process.kill()
        except psutil.Error:
            continue
        ended.append(each.name)
    return ended
