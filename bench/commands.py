"""Running Chargeline's own commands, and parts of a benchmark in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from chargeline.runtime.stack import Stack


def command(*arguments: str) -> str:
    """What a command says."""
    line = [sys.executable, "-m", "chargeline.cli.main", *arguments]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def child(script: str, *arguments: object, stack: Stack, **settings: str) -> dict[str, float]:
    """The figures that a script beside this one prints as its last line."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / script), *map(str, arguments)],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ | stack.environment() | settings,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
