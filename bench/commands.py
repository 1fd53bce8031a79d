"""Running Chargeline's own commands, and parts of a benchmark in processes of their own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chargeline.runtime.stack import Stack, load_stack

NO_SERVICES = "--no-services"


def line(*arguments: str) -> list[str]:
    """The command line of one of them."""
    return [sys.executable, "-m", "chargeline.cli.main", *arguments]


def command(*arguments: str) -> str:
    """What a command says."""
    return subprocess.run(line(*arguments), check=True, capture_output=True, text=True).stdout


@contextmanager
def running(rates: str | None, *options: object) -> Iterator[Stack]:
    """A stack of its own with a rate card, until it is left; its directory, `data_dir`, goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "data")
        command("up", "--detach", "--data-dir", data, *map(str, options))
        try:
            if rates is not None:
                publish(rates, data)
            yield load_stack(data)
        finally:
            command("down", "--data-dir", data)


def publish(rates: str, data: str) -> None:
    """Publish a rate card, YAML or JSON."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(rates)
        file.flush()
        command("rates", "publish", file.name, "--data-dir", data)


def child(script: str, *arguments: object, stack: Stack, **settings: str) -> dict[str, float]:
    """The figures that a script beside this one prints as its last line."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / script), *map(str, arguments)],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ | stack.environment() | settings,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
