"""`python -m chargeline.embedded.aot`: makes Kafka's AOT cache, which halves the time of every later start, and ends.

A broker of its own runs until it answers, with ports and data of its own; the JVM writes what it learned when it is
asked to stop. The file takes its place in one step. Lowest priority: nothing that runs beside it is disturbed.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from chargeline.embedded.servers import aot_cache, free_ports, kafka
from chargeline.runtime.lifecycle import stop_event

_LIMIT_S = 600.0  # of each part; some 5 s on an idle machine, but the lowest priority may have to wait long
_PREFIX = "aot-"


def train() -> bool:
    """Make the cache if there is none; whether it is there afterwards. Stops early when the process is asked to."""
    if aot_cache().exists():
        return True
    folder = aot_cache().parent
    with aot_cache().with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # another one is at it
        for left in folder.glob(f"{_PREFIX}*"):
            shutil.rmtree(left)  # of a run that was killed
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as home:
            made = _made(Path(home))
            if made is not None:
                made.replace(aot_cache())
    return aot_cache().exists()


def _made(home: Path) -> Path | None:
    """Run a broker once, with everything it does recorded; None: it was not to be."""
    stop = stop_event()
    output = home / "kafka.aot"
    server = kafka(home, free_ports(), aot_output=output)
    broker = subprocess.Popen(server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _LIMIT_S
        while not server.is_ready():
            if stop.wait(0.5) or broker.poll() is not None or time.monotonic() > deadline:
                return None
        broker.terminate()
        deadline = time.monotonic() + _LIMIT_S
        while broker.poll() is None:
            if stop.wait(0.5) or time.monotonic() > deadline:
                return None
        return output if output.exists() else None
    finally:
        with suppress(ProcessLookupError):
            broker.kill()
        broker.wait()


def main() -> int:
    os.nice(19)
    return 0 if train() else 1


if __name__ == "__main__":
    sys.exit(main())
