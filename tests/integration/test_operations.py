"""Running it: the state made void under a running pricer, what services say of themselves, and the AOT cache."""

import json
import signal
import subprocess
import sys

import psutil
import pytest
import urllib3

from chargeline.runtime.stack import load_stack, readiness
from tests.support.stack import chargeline, kill, pid_of, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.long]
TRAIN = """
import sys
from pathlib import Path
from chargeline.embedded import aot
aot.aot_cache = lambda: Path(sys.argv[1])
sys.exit(0 if aot.train() else 1)
"""


def events(path, prefix):
    line = {"event_time": "2026-06-10T08:00:00Z", "billing_account_id": prefix, "provider_name": "openai",
            "request_model": "gpt-4o", "operation_name": "chat", "input_tokens": 1000}  # fmt: skip
    path.write_text("".join(json.dumps(line | {"event_id": f"{prefix}-{n}"}) + "\n" for n in range(200)))
    return path


def replayed(data, file):
    sent = json.loads(chargeline(data, "replay", file, "--format", "ndjson", "--wait", "--json"))
    return sent["charged"], sent["duplicates"]


def states(data):
    return {row["state"] for row in json.loads(chargeline(data, "state", "show", "--json"))}


def kill_pricer(data):
    old = kill(data, "pricer-0")
    wait_until(lambda: pid_of(data, "pricer-0") != old, "the pricer is started again")


def test_a_state_made_void_forgets_no_identity_whether_the_pricer_runs_or_starts_anew(stack, tmp_path):
    file = events(tmp_path / "events.ndjson", "void")
    assert replayed(stack, file) == (200, 0)
    chargeline(stack, "state", "rebuild")
    assert "EMPTY" in states(stack)
    assert replayed(stack, file) == (0, 200)  # the owner still knows them, and writes its snapshot
    partition = next(row["partition"] for row in json.loads(chargeline(stack, "state", "show", "--json"))
                     if row["state"] == "EQUAL")  # fmt: skip
    kill_pricer(stack)
    assert replayed(stack, file) == (0, 200)  # from the snapshot
    chargeline(stack, "state", "rebuild", "--partition", partition)
    kill_pricer(stack)
    assert replayed(stack, file) == (0, 200)  # folded from charges
    wait_until(lambda: states(stack) == {"EQUAL"}, "the state is that of the log")


def is_broker(process):
    try:
        return "kafka.Kafka" in process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return False


def test_a_partition_that_does_not_exist_is_refused(stack):
    refused = chargeline(stack, "state", "rebuild", "--partition", 99, check=False)
    assert refused.returncode == 1
    assert "NO_SUCH_PARTITION" in refused.stderr


def test_services_show_metrics_and_health_where_status_says(stack):
    wait_until(lambda: not any(readiness(each) for each in load_stack(str(stack)).services), "all are ready")
    rows = json.loads(chargeline(stack, "status", "--json"))["processes"]
    found = {row["name"]: row["address"] for row in rows if row["name"] in {"pricer-0", "sink"}}
    assert len(found) == 2
    for address in found.values():
        assert urllib3.request("GET", f"{address}/healthz", timeout=5.0).status == 200
        assert urllib3.request("GET", f"{address}/readyz", timeout=5.0).status == 200
        assert b"chargeline_consumer_lag_events" in urllib3.request("GET", f"{address}/metrics", timeout=5.0).data


def test_the_aot_cache_is_made_by_a_run_that_ends_by_itself(tmp_path):
    cache = tmp_path / "kafka.aot"
    done = subprocess.run([sys.executable, "-c", TRAIN, str(cache)], timeout=240, check=False)
    assert done.returncode == 0
    assert cache.stat().st_size > 1_000_000
    again = subprocess.run([sys.executable, "-c", TRAIN, str(cache)], timeout=60, check=False)
    assert again.returncode == 0


def test_an_aot_run_that_is_asked_to_stop_leaves_neither_file_nor_process(tmp_path):
    cache = tmp_path / "kafka.aot"
    training = subprocess.Popen([sys.executable, "-c", TRAIN, str(cache)])
    brokers: list[psutil.Process] = []

    def broker_runs():
        brokers[:] = [each for each in psutil.Process(training.pid).children() if is_broker(each)]
        return brokers

    wait_until(broker_runs, "the broker runs", 120)
    training.send_signal(signal.SIGTERM)
    assert training.wait(60) == 1
    assert not cache.exists()
    assert not any(each.is_running() for each in brokers)
