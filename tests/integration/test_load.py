"""One load of 200,000 events in which everything dies: afterwards the bill is the generator's and `verify` passes."""

import json
import os
import random
import signal
import subprocess
import sys

import psutil
import pytest
import redis

from chargeline.runtime.stack import load_stack
from tests.support.stack import (
    SHORT,
    assert_billed,
    chargeline,
    committed,
    kill,
    pid_of,
    running_stack,
    verified,
    wait_until,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
CARD = "examples/rates/openai.yaml"
EVENTS = 200_000


class Load:
    """Faults at random moments while events go through."""

    def __init__(self, data, expect):
        self.data, self.expect = data, expect
        self.seed = random.randrange(10**6)
        print(f"seed {self.seed}")
        self.chance = random.Random(self.seed)
        self.done = []
        self.saved = {}
        self.sending = subprocess.Popen(
            [sys.executable, "-m", "chargeline.cli.main", "generate", "--data-dir", str(data), "--seed", str(self.seed),
             "--events", str(EVENTS), "--rate", "2500", "--duplicates", "0.05", "--malformed", "0.01",
             "--disorder", "0.1", "--rates", CARD, "--expect", str(expect), "--wait", "--json"],
            stdout=subprocess.PIPE, text=True, env=os.environ | SHORT,
        )  # fmt: skip

    def run(self):
        faults = [*[self.kill_a_pricer] * 5, *[self.kill_the_sink] * 5, self.kill_kafka, self.kill_redis,
                  self.kill_clickhouse, self.flush_redis, self.pause_a_pricer]  # fmt: skip
        self.chance.shuffle(faults)
        # The older copy is put back after the others, so that it is far behind.
        for fault in [self.save_redis, *faults, self.put_redis_back]:
            self.await_progress(self.chance.randrange(500, 5000))
            fault()
            self.done.append((fault.__name__, self.sending.poll() is None))
        out, _ = self.sending.communicate(timeout=400)
        assert self.sending.returncode == 0
        self.sent = json.loads(out.splitlines()[-1])
        self.expected = json.loads(self.expect.read_text())

    def await_progress(self, events):
        start = sum(committed(self.data).values())
        wait_until(lambda: sum(committed(self.data).values()) >= start + events or self.sending.poll() is not None,
                   "progress", 120)  # fmt: skip

    def kill_a_pricer(self):
        self.kill(f"pricer-{self.chance.randrange(2)}")

    def kill_the_sink(self):
        self.kill("sink")

    def kill_kafka(self):
        self.kill("kafka")

    def kill_redis(self):
        self.kill("redis")

    def kill_clickhouse(self):
        self.kill("clickhouse")

    def kill(self, name):
        old = kill(self.data, name)
        wait_until(lambda: pid_of(self.data, name) != old, f"{name} is started again")

    def pause_a_pricer(self):
        """Past its session time-out: the other one goes on with its partition, then it wakes."""
        pid = pid_of(self.data, f"pricer-{self.chance.randrange(2)}")
        before = committed(self.data)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: all(now > before[p] for p, now in committed(self.data).items()), "the other took over")
        finally:
            os.kill(pid, signal.SIGCONT)

    def flush_redis(self):
        with self.redis() as store:
            store.flushall()

    def save_redis(self):
        with self.redis() as store:
            self.saved = {key: store.dump(key) for key in store.keys("{usage-events:*")}

    def put_redis_back(self):
        """In one step, as the restart of a server with an older file would."""
        with self.redis() as store, store.pipeline(transaction=True) as together:
            together.flushall()
            for key, value in self.saved.items():
                together.restore(key, 0, value)
            together.execute()

    def redis(self):
        where = load_stack(str(self.data))
        return redis.Redis.from_url(where.redis_url, username=where.redis_user, password=where.redis_password)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tmp_path_factory.mktemp("load")
    with running_stack(folder / "data", "--pricers", "2") as data:
        chargeline(data, "rates", "publish", CARD)
        running = Load(data, folder / "expected.json")
        try:
            running.run()
        finally:
            if running.sending.poll() is None:
                running.sending.kill()
                running.sending.wait()
        yield running


def test_the_faults_happened_while_events_went_through(load):
    print(load.done)
    assert len(load.done) == 17
    assert all(under_load for _, under_load in load.done)


def test_the_bill_is_the_generators_to_the_last_picodollar(load):
    assert (load.sent["charged"], load.sent["duplicates"], load.sent["dead_letters"]) == (
        load.expected["unique"], load.expected["duplicates"], load.expected["malformed"],
    )  # fmt: skip
    assert_billed(load.data, load.seed, load.expected)


def test_verify_finds_no_difference(load):
    report = verified(load.data)
    assert report["ends"] == report["stored"]
    assert report["beyond_horizon"] == 0


def test_everything_is_running_again(load):
    processes = load_stack(str(load.data)).processes
    assert {each.name for each in processes} == {
        "supervisor", "kafka", "registry", "redis", "clickhouse", "pricer-0", "pricer-1", "sink",
    }  # fmt: skip
    wait_until(
        lambda: all(psutil.pid_exists(pid_of(load.data, each.name)) for each in processes), "every process is there"
    )
