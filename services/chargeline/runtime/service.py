"""The thin main of every service: read settings, build, step until asked to stop, exit code."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from chargeline.runtime.lifecycle import stop_event
from chargeline.runtime.logging import configure
from chargeline.runtime.telemetry import Telemetry

log = structlog.get_logger()


class Steps(Protocol):
    """A service's loop body."""

    def step(self) -> bool: ...

    def close(self) -> None: ...


def run(
    name: str,
    read: Callable[[], Any],
    build: Callable[[Any, Telemetry], Steps],
    again: type[Exception],
    argv: list[str] | None = None,
) -> int:
    """Run a service. `again`: errors after which the step is made again; any other ends the process with 1."""
    parser = argparse.ArgumentParser(prog=f"python -m chargeline.{name}")
    parser.add_argument("--check-config", action="store_true", help="read the settings, then exit")
    only_check = parser.parse_args(argv).check_config
    try:
        settings = read()
    except ValidationError as error:
        for fault in error.errors():
            sys.stderr.write(f"CHARGELINE_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}\n")
        return 2
    if only_check:
        return 0
    configure(name, settings.log_level)
    stop = stop_event()
    with Telemetry(settings.health_step_s_max) as telemetry:
        log.info("service_started", address=telemetry.serve(settings.metrics_host, settings.metrics_port))
        telemetry.health.wait_for("start", "connecting")
        service = build(settings, telemetry)
        telemetry.health.go("start")
        try:
            while not stop.is_set():
                telemetry.health.beat()
                try:
                    service.step()
                except again as error:
                    telemetry.failed(error)
                    log.warning("waiting", reason=str(error))
                    stop.wait(0.5)
        except Exception:
            log.exception("service_stopped")
            return 1
        finally:
            service.close()
    return 0
