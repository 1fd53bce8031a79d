"""One load of 200,000 events in which everything dies: afterwards the bill is the generator's and `verify` passes.

An account of its own pays tiers and percentages, and half of its events are amended or cancelled meanwhile.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psutil
import pyarrow as pa
import pytest
import redis

from chargeline.cli.sending import Sender
from chargeline.runtime.stack import load_stack
from chargeline.wire.usage_encoder import Framed
from tests.support import mixed
from tests.support.events import encoded
from tests.support.stack import (
    chargeline,
    committed,
    ends,
    kill,
    pid_of,
    rows,
    running_stack,
    verified,
    wait_until,
)

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.timeout(600)]
CARD = "examples/rates/openai.yaml"
EVENTS, PART = 200_000, 17_000
MIXED_RATE = 30.0  # events a second, so that they last as long as the others of a part


class Load:
    """Parts of 17,000 events, twelve or more; while one is sent, faults happen at random moments."""

    def __init__(self, data):
        self.data = data
        self.seed = random.randrange(10**6)
        print(f"seed {self.seed}")
        self.chance = random.Random(self.seed)
        self.done = []
        self.saved = {}
        self.parts = 0
        self.expected = []
        self.sending: Any = None
        self.mixed: list[mixed.Mixed] = []
        self.began_us = time.time_ns() // 1000 - 60_000_000
        self.sender = Sender(load_stack(str(data)))
        self.beside = ThreadPoolExecutor(1)
        self.correcting: Future[None]

    def run(self):
        faults = [*[self.kill_a_pricer_and_the_sink] * 5, self.kill_kafka, self.kill_redis, self.kill_clickhouse,
                  self.flush_redis, self.pause_a_pricer]  # fmt: skip
        self.chance.shuffle(faults)
        # The older copy is put back after the others, so that it is far behind.
        for fault in [self.save_redis, *faults, self.put_redis_back]:
            self.under_load()
            fault()
            self.done.append(fault.__name__)
            self.sent()
        self.expected = [json.loads(path.read_text()) for path in sorted(self.data.parent.glob("expected-*.json"))]

    def under_load(self):
        """Return at a random moment while a part is sent; on a busy machine a part may be over before it is seen."""
        for _ in range(5):
            start = self.charged()
            self.send()
            some = self.chance.randrange(200, 4000)
            wait_until(lambda n=start + some: self.charged() >= n or self.sending.poll() is not None, "progress")
            if self.sending.poll() is None:
                return
            self.sent()
        pytest.fail("five parts were over before a fault could happen")

    def sent(self):
        """The part is sent and charged: whatever died is at work again."""
        assert self.sending.wait(200) == 0, (self.done, self.errors.read_text()[-2000:])
        self.correcting.result(200)
        wait_until(lambda: committed(self.data) == ends(self.data), f"charging goes on after {self.done}")

    def send(self):
        number = self.parts = self.parts + 1
        self.errors = self.data.parent / f"errors-{number}.txt"
        self.sending = subprocess.Popen(
            [sys.executable, "-m", "chargeline.cli.main", "generate", "--data-dir", str(self.data),
             "--seed", str(self.seed * 100 + number), "--events", str(PART), "--rate", "4000",
             "--duplicates", "0.05", "--malformed", "0.01", "--disorder", "0.1", "--rates", CARD,
             "--expect", str(self.data.parent / f"expected-{number}.json")],
            stdout=subprocess.DEVNULL, stderr=self.errors.open("wb"),
        )  # fmt: skip
        self.mixed.append(mixed.mixed(number, self.chance, self.began_us))
        values = [encoded(each, self.sender.schema_id) for each in self.mixed[-1].events]
        framed = Framed(pa.array([mixed.ACCOUNT] * len(values)).dictionary_encode(), values)
        self.correcting = self.beside.submit(self.sender.send_all, [framed], len(values), MIXED_RATE, "mixed")

    def charged(self):
        return sum(committed(self.data).values())

    def kill_a_pricer_and_the_sink(self):
        """In any order, the second at a moment of its own."""
        first, second = self.chance.sample([f"pricer-{self.chance.randrange(2)}", "sink"], 2)
        self.kill(first)
        some = self.charged() + self.chance.randrange(2000)
        wait_until(lambda: self.charged() >= some or self.sending.poll() is not None, "progress")
        self.kill(second)

    def kill_kafka(self):
        self.kill("kafka")

    def kill_redis(self):
        self.kill("redis")

    def kill_clickhouse(self):
        self.kill("clickhouse")

    def kill(self, name):
        old = kill(self.data, name)
        wait_until(lambda: pid_of(self.data, name) != old, f"{name} is started again", 120)

    def pause_a_pricer(self):
        """Past its session time-out: the other one charges all that is there, then the first wakes."""
        pid = pid_of(self.data, f"pricer-{self.chance.randrange(2)}")
        os.kill(pid, signal.SIGSTOP)
        try:
            assert self.sending.wait(200) == 0
            self.correcting.result(200)
            wait_until(lambda: committed(self.data) == ends(self.data), "the other has taken over")
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
    with running_stack(tmp_path_factory.mktemp("load") / "data", "--pricers", "2", "--no-anomaly") as data:
        chargeline(data, "rates", "publish", CARD)
        (data.parent / "mixed.yaml").write_text(mixed.CARD)
        chargeline(data, "rates", "publish", data.parent / "mixed.yaml")
        running = Load(data)
        try:
            running.run()
        finally:
            print(running.done)
            if running.sending is not None and running.sending.poll() is None:
                running.sending.kill()
                running.sending.wait()
            running.beside.shutdown(cancel_futures=True)
            running.sender.close()
        yield running


def test_the_bill_is_the_generators_to_the_last_picodollar(load):
    billed = sum((Decimal(each["billed_cost"]["USD"]) for each in load.expected), Decimal(0))
    unique = sum(each["unique"] for each in load.expected)
    tokens = sum(each["quantities"]["input_tokens"] for each in load.expected)
    assert sum(each["events"] for each in load.expected) >= EVENTS
    sql = ("SELECT sum(billed_cost) AS b, count() AS n, uniqExact(source_partition, source_offset) AS u, "
           f"sum(input_tokens) AS i FROM charges WHERE billing_account_id != '{mixed.ACCOUNT}'")  # fmt: skip
    wait_until(lambda: rows(load.data, sql)[0]["n"] >= unique, "everything is stored")
    (found,) = rows(load.data, sql)
    assert found | {"b": Decimal(found["b"])} == {"b": billed, "n": unique, "u": unique, "i": tokens}


def test_tiers_are_those_of_what_corrections_left(load):
    sql = f"SELECT sum(billed_cost) AS b FROM cost_rollups WHERE billing_account_id = '{mixed.ACCOUNT}' AND sku_id = 'calls'"
    wanted = mixed.due(sum(each.calls for each in load.mixed))
    wait_until(lambda: Decimal(rows(load.data, sql)[0]["b"]) == wanted, f"{wanted} is billed")


def test_verify_finds_no_difference(load):
    report = verified(load.data)
    assert report["ends"] == report["stored"]
    outcomes = sum((Counter(counts) for counts in report["outcomes"].values()), Counter())
    corrected: Counter[str] = sum((each.outcomes for each in load.mixed), Counter())
    assert corrected["WAITING"] > 0
    assert outcomes == corrected + Counter(
        CHARGED=sum(each["unique"] for each in load.expected),
        DUPLICATE=sum(each["duplicates"] for each in load.expected),
        DEAD_LETTER=sum(each["malformed"] for each in load.expected),
    )


def test_everything_is_running_again(load):
    processes = load_stack(str(load.data)).processes
    assert {each.name for each in processes} == {
        "supervisor", "kafka", "registry", "redis", "clickhouse", "pricer-0", "pricer-1", "sink",
        "budgets",
    }  # fmt: skip
    wait_until(
        lambda: all(psutil.pid_exists(pid_of(load.data, each.name)) for each in processes), "every process is there"
    )
