"""A long run at a steady rate: is memory flat apart from the remembered ids, does anything else grow or stay open?

    python bench/soak.py --minutes 10 --rate 30000

A stack of its own takes `chargeline generate`. Every few seconds: resident memory of every process, remembered ids,
Redis keys and memory, open transactions, lag. Prints a table, and JSON to bench/results/soak.json; exit code 1 if
something is not as it should be.

Flat means: from the middle third of the run to the last one, the mean of what a process holds beyond its remembered
ids grew by less than 5 % and 16 MiB, whichever is more. The first third is left to warm up: heaps and caches fill.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import redis
import urllib3
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from chargeline.runtime.stack import Stack, load_stack

sys.path.insert(0, str(Path(__file__).parent))
from commands import line, running

RESULTS = Path(__file__).parent / "results"
CARD = Path(__file__).parent.parent / "examples" / "rates" / "openai.yaml"
OUTPUTS = ("charges", "cost-rollups", "performance-rollups", "usage-events-dlq")
MIB = 1 << 20
_ID_BYTES = 24  # in Redis; the pricer tells what its own take
_ALLOWED_MIB, _ALLOWED_SHARE = 16.0, 0.05
_SETTLE_S = 120.0

Sample = dict[str, float]


def scraped(stack: Stack) -> dict[str, float]:
    """The sums of the pricers' gauges over partitions, by name."""
    sums: dict[str, float] = {}
    for service in stack.services:
        text = urllib3.request("GET", f"{service.address}/metrics", timeout=5.0).data.decode()
        for sample in (each for family in text_string_to_metric_families(text) for each in family.samples):
            if service.name.startswith("pricer"):
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def open_transactions(admin: AdminClient, partitions: int) -> set[tuple[str, int, int]]:
    """(topic, partition, last stable offset) of the partitions on which a transaction is open."""
    places = [TopicPartition(topic, partition) for topic in OUTPUTS for partition in range(partitions)]
    asked = {place: OffsetSpec.latest() for place in places}

    def ends(level: IsolationLevel) -> dict[tuple[str, int], int]:
        answers = admin.list_offsets(asked, isolation_level=level, request_timeout=10)
        return {(place.topic, place.partition): future.result().offset for place, future in answers.items()}

    # Stable ends first: what is written in between must not look open for longer than it is.
    stable, high = ends(IsolationLevel.READ_COMMITTED), ends(IsolationLevel.READ_UNCOMMITTED)
    return {(*place, end) for place, end in stable.items() if end < high[place]}


class Watcher:
    """Takes samples of a running stack."""

    def __init__(self, data: str) -> None:
        self._data = data
        self.stack = load_stack(data)
        self._redis = redis.Redis.from_url(
            self.stack.redis_url, username=self.stack.redis_user, password=self.stack.redis_password
        )
        self._admin = AdminClient({"bootstrap.servers": self.stack.kafka})
        self._before: set[tuple[str, int, int]] = set()
        self._began = time.monotonic()

    def sample(self) -> Sample:
        """Everything once; MiB unless the name says otherwise."""
        values: Sample = {"at_s": round(time.monotonic() - self._began, 1)}
        metrics = scraped(self.stack)
        ids = metrics.get("chargeline_identities", 0.0)
        for process in load_stack(self._data).processes:
            values[f"{process.name} MiB"] = psutil.Process(process.pid).memory_info().rss / MIB
        memory: Any = self._redis.info("memory")
        stored = sum(int(self._redis.strlen(key)) for key in self._redis.scan_iter(match="*:ids:*", count=1000))
        keys = [key.decode() for key in self._redis.scan_iter(count=1000)]
        opened = open_transactions(self._admin, self.stack.partitions)
        values |= {
            "ids": ids,
            "ids in the pricers MiB": metrics.get("chargeline_identities_bytes", 0.0) / MIB,
            "ids in redis MiB": stored / MIB,
            "redis used MiB": float(memory["used_memory"]) / MIB,
            "redis keys of ids": float(sum(":ids:" in key for key in keys)),
            "redis keys of live windows": float(sum(":live:" in key for key in keys)),
            "redis other keys": float(sum(":ids:" not in key and ":live:" not in key for key in keys)),
            "lag events": metrics.get("chargeline_consumer_lag_events", 0.0),
            "events": metrics.get("chargeline_events_total", 0.0),
            "open transactions": float(len(opened)),
            # Open, and no further than one sample ago: longer than any unit takes.
            "stuck transactions": float(len(opened & self._before)),
        }
        self._before = opened
        return values


def beyond_ids(sample: Sample, name: str) -> float:
    """What a process holds apart from the ids that it must remember."""
    if name.startswith("pricer"):
        return sample[f"{name} MiB"] - sample["ids in the pricers MiB"]
    return sample[f"{name} MiB"] - (sample["ids in redis MiB"] if name == "redis" else 0.0)


def judged(samples: list[Sample], names: list[str]) -> dict[str, dict[str, float | bool]]:
    """By process: means of the middle and the last third of the run, beyond the ids, and whether that is flat."""
    third = len(samples) // 3
    found: dict[str, dict[str, float | bool]] = {}
    for name in names:
        middle = statistics.mean(beyond_ids(each, name) for each in samples[third : 2 * third])
        last = statistics.mean(beyond_ids(each, name) for each in samples[2 * third :])
        flat = last - middle <= max(_ALLOWED_MIB, _ALLOWED_SHARE * middle)
        found[name] = {"middle_mib": round(middle, 1), "last_mib": round(last, 1), "flat": flat}
    return found


def soak(data: str, minutes: float, rate: int, every_s: float) -> tuple[list[Sample], Sample]:
    """Samples under load, and one after everything was taken."""
    watcher = Watcher(data)
    # The traffic takes its own time; a share of duplicates and broken records keeps every path busy.
    arguments = ["--seed", "1", "--events", str(int(minutes * 60 * rate)), "--rate", str(rate), "--duplicates", "0.01"]
    traffic = subprocess.Popen(line("generate", *arguments, "--data-dir", data), stdout=subprocess.DEVNULL)
    samples = []
    try:
        while traffic.poll() is None:
            samples.append(watcher.sample())
            time.sleep(every_s)
    finally:
        traffic.terminate()
        traffic.wait()
    deadline = time.monotonic() + _SETTLE_S
    rest = watcher.sample()
    while (rest["lag events"] or rest["open transactions"]) and time.monotonic() < deadline:
        time.sleep(1.0)
        rest = watcher.sample()
    return samples, rest


def main() -> int:
    parser = argparse.ArgumentParser(description="a long run at a steady rate")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=30_000, help="events a second")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    options = parser.parse_args()
    with running(CARD.read_text()) as stack:
        samples, rest = soak(stack.data_dir, options.minutes, options.rate, options.every)
        names = [each.name for each in stack.processes]
    memory = judged(samples, names)
    took = samples[-1]["at_s"] - samples[0]["at_s"]
    reached = round((samples[-1]["events"] - samples[0]["events"]) / took)
    faults = [f"{name} grows: {each}" for name, each in memory.items() if not each["flat"]]
    faults += [f"{name} is {rest[name]:.0f} at the end" for name in ("lag events", "open transactions") if rest[name]]
    if stuck := max(each["stuck transactions"] for each in samples):
        faults.append(f"{stuck:.0f} transactions stayed open over two samples")
    if samples[-1]["redis other keys"] != samples[len(samples) // 3]["redis other keys"]:
        faults.append("keys of Redis grow that are neither ids nor live windows")
    result = {
        "minutes": options.minutes, "rate": options.rate, "events_per_s": reached,
        "ids": rest["ids"], "memory": memory, "faults": faults, "at_rest": rest, "samples": samples,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    show(samples, rest, memory, faults)
    return int(bool(faults))


def show(samples: list[Sample], rest: Sample, memory: dict[str, dict[str, float | bool]], faults: list[str]) -> None:
    shown = [samples[i * (len(samples) - 1) // 5] for i in range(6)] + [rest]
    table = Table(title="samples from begin to end, and at rest", header_style="bold")
    table.add_column("what")
    for _ in shown:
        table.add_column(justify="right")
    for name in rest:
        table.add_row(name, *(f"{each[name]:,.0f}" for each in shown))
    console = Console()
    console.print(table)
    for name, each in memory.items():
        console.print(f"{name}: {each['middle_mib']} -> {each['last_mib']} MiB beyond the ids", highlight=False)
    console.print("\n".join(faults) or "flat apart from the remembered ids; nothing stayed open", highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())
