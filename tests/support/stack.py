"""A local stack of real servers and services for tests, driven by the command line as a user would."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from chargeline.runtime.stack import load_stack


def chargeline(data, *arguments, check=True, timeout=240):
    """Run a command against the stack; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "chargeline.cli.main", *map(str, arguments), "--data-dir", str(data)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    if check and done.returncode:
        message = f"{arguments} exited {done.returncode}: {done.stderr[-2000:]} {done.stdout[-2000:]}"
        raise AssertionError(message)
    return done if not check else done.stdout


def rows(data, sql):
    return json.loads(chargeline(data, "query", sql, "--format", "json"))


def pid_of(data, name):
    return next(each.pid for each in load_stack(str(data)).processes if each.name == name)


def kill(data, name):
    """SIGKILL one process of the stack; returns its pid."""
    pid = pid_of(data, name)
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_until(condition, what, deadline_s=60):
    """Wait for a condition, not for a time."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            message = f"{what} did not come true in {deadline_s} s"
            raise AssertionError(message)
        time.sleep(0.1)


@contextmanager
def running_stack(data, *options):
    """A stack in `data`; whatever it started is gone afterwards."""
    chargeline(data, "up", "--detach", *options)
    try:
        yield data
    finally:
        chargeline(data, "down")
