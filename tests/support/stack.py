"""A local stack of real servers and services for tests, driven by the command line as a user would."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.pipeline import last_unit
from chargeline.cli.common import to_text
from chargeline.domain.errors import TransientError
from chargeline.runtime.stack import load_stack

# A process that was killed or stopped is replaced after this time; a busy machine may stand still for some of it.
SHORT = {"CHARGELINE_PRICER_SESSION_TIMEOUT_MS": "4000", "CHARGELINE_SINK_SESSION_TIMEOUT_MS": "4000"}
STOPPING = Path(__file__).parent / "stopping.py"


def chargeline(data, *arguments, check=True, timeout=240):
    """Run a command against the stack; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "chargeline.cli.main", *map(str, arguments), "--data-dir", str(data)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | SHORT | {"COLUMNS": "200"},
    )
    if check and done.returncode:
        message = f"{arguments} exited {done.returncode}: {done.stderr[-2000:]} {done.stdout[-2000:]}"
        raise AssertionError(message)
    return done if not check else done.stdout


def rows(data, sql):
    """What the read-only user is answered, as `chargeline query --format json` prints it."""
    where = load_stack(str(data))
    warehouse = ClickHouse(where.clickhouse_url, where.clickhouse_bi_user, where.clickhouse_bi_password)
    try:
        return json.loads(json.dumps(warehouse.query(sql).to_pylist(), default=to_text))
    finally:
        warehouse.close()


def pid_of(data, name):
    return next(each.pid for each in load_stack(str(data)).processes if each.name == name)


def kill(data, name):
    """SIGKILL one process of the stack; returns its pid."""
    pid = pid_of(data, name)
    os.kill(pid, signal.SIGKILL)
    return pid


@contextmanager
def away(data, name):
    """A process of the stack dies by SIGKILL, and its supervisor sleeps for the time of the block."""
    supervisor = pid_of(data, "supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        kill(data, name)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


def wait_until(condition, what, deadline_s=120):
    """Wait for a condition, not for a time; returns what it became."""
    end = time.monotonic() + deadline_s
    while not (became := condition()):
        if time.monotonic() > end:
            message = f"{what} did not come true in {deadline_s} s"
            raise AssertionError(message)
        time.sleep(0.1)
    return became


def pricer_restarted(data):
    """Kill the pricer, and wait for the one that the supervisor starts instead."""
    before = kill(data, "pricer-0")
    wait_until(lambda: pid_of(data, "pricer-0") != before, "the supervisor starts another pricer")


def send(data, folder, name, events):
    """Replay events from a file of that name and wait until they are stored; the command's summary."""
    file = folder / f"{name}.ndjson"
    file.write_text("".join(json.dumps(each) + "\n" for each in events))
    out = chargeline(data, "replay", file, "--format", "ndjson", "--wait", "--json")
    return json.loads(out.splitlines()[-1])


@contextmanager
def running_stack(data, *options):
    """A stack in `data`; whatever it started is gone afterwards."""
    chargeline(data, "up", "--detach", *options)
    try:
        yield data
    finally:
        chargeline(data, "down")


def verified(data):
    """The report of `chargeline verify`, which found no difference."""
    report = json.loads(chargeline(data, "verify", "--json", timeout=280))
    assert report["difference"] is None, report["difference"]
    return report


def asked(data, question):
    """The answer of a reader of the stack's log; asked again while Kafka is away."""
    answers: list[Any] = []

    def answered():
        reader = KafkaLogReader(load_stack(str(data)).kafka)
        try:
            answers.append(question(reader))
        except TransientError:
            return False
        finally:
            reader.close()
        return True

    wait_until(answered, "Kafka answers")
    return answers[-1]


def ends(data, topic="usage-events"):
    """Log ends by partition."""
    return asked(data, lambda reader: {p: reader.bounds(topic, p)[1] for p in range(reader.partitions(topic))})


def committed(data):
    """Input offsets up to which units are committed, by partition."""
    units = asked(data, lambda reader: {p: last_unit(reader, p) for p in range(reader.partitions("charges"))})
    return {partition: 0 if unit is None else unit.end for partition, unit in units.items()}


def generated(data, seed, prefix_events, *options):
    """Send made-up usage and wait until it is stored; its summary and what was expected of it."""
    expect = Path(data).parent / f"expected-{seed}.json"
    out = chargeline(data, "generate", "--seed", seed, "--events", prefix_events, "--rates",
                     "examples/rates/openai.yaml", "--expect", expect, "--wait", "--json", *options)  # fmt: skip
    return json.loads(out.splitlines()[-1]), json.loads(expect.read_text())


def assert_billed(data, seed, expected):
    """ClickHouse holds each event of `generate --seed` once, for exactly what its generator expected."""
    found = rows(data, "SELECT sum(billed_cost) AS b, count() AS n, uniqExact(source_partition, source_offset) AS u, "
                       f"sum(input_tokens) AS i FROM charges WHERE startsWith(event_id, 'g{seed:x}-')")  # fmt: skip
    assert found == [{"b": expected["billed_cost"]["USD"], "n": expected["unique"], "u": expected["unique"],
                      "i": expected["quantities"]["input_tokens"]}]  # fmt: skip


class Service:
    """A service that the test runs by itself, beside those of the stack."""

    def __init__(self, data, *command, **environment):
        where = load_stack(str(data))
        self.log = Path(data) / "logs" / f"test-{time.monotonic_ns()}.log"
        with self.log.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, command)], stdout=sink, stderr=sink, stdin=subprocess.DEVNULL,
                env=os.environ | where.environment() | environment,
            )  # fmt: skip

    def stopped(self):
        """Whether it stands still after SIGSTOP."""
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        return psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def ended(self):
        return self._process.poll() is not None

    def said(self, text):
        return text in self.log.read_text()

    def times(self, text):
        return self.log.read_text().count(text)

    def kill(self):
        """SIGKILL."""
        self._process.kill()
        self._process.wait(30)

    def end(self):
        if self._process.poll() is None:
            self.go_on()
            self._process.terminate()
            self._process.wait(30)


@contextmanager
def service(data, *command, **environment):
    """A service for as long as the block lasts."""
    running = Service(data, *command, **environment)
    try:
        yield running
    finally:
        running.end()
