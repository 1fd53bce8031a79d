"""What a stack without traffic costs: CPU time of every process over SECONDS (default 60), as JSON on standard output.

The limit is 15 % of one core. Exit code 1 if it is passed. CPU time is counted, so other programs do not disturb it.
"""

import json
import os
import sys
import time
from pathlib import Path

import psutil

from chargeline.runtime.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))
from commands import command, running

SECONDS = float(os.environ.get("SECONDS_IDLE", "60"))
LIMIT_PERCENT = 15.0
_SETTLE_S = 20.0  # compilers, caches and the first merges are no idle cost


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def measure(stack: Stack) -> dict[str, float]:
    """Percent of one core by process of a running stack."""
    processes = stack.processes
    before = {each.name: cpu_s(each.pid) for each in processes}
    began = time.monotonic()
    time.sleep(SECONDS)
    took = time.monotonic() - began
    return {each.name: round(100 * (cpu_s(each.pid) - before[each.name]) / took, 2) for each in processes}


def main() -> int:
    with running(None) as stack:
        # What a stack has been used for once keeps its connections and its tables.
        command("generate", "--seed", "1", "--events", "2000", "--wait", "--data-dir", stack.data_dir)
        time.sleep(_SETTLE_S)
        percent = measure(stack)
    total = round(sum(percent.values()), 2)
    result = {"seconds": SECONDS, "percent_of_a_core": percent, "total": total, "limit": LIMIT_PERCENT}
    print(json.dumps(result, indent=2))
    return int(total > LIMIT_PERCENT)


if __name__ == "__main__":
    raise SystemExit(main())
