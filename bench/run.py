"""`make bench`: real servers, real processes, one machine; prints a table and writes bench/results/latest.json.

QUICK=1 takes a tenth of the events. RUNS (default 3) gives the medians; each run has a stack of its own.
"""

import json
import os
import platform
import statistics
import sys
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.cli.sending import Sender
from chargeline.runtime.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))
from commands import NO_SERVICES, child, command, running
from freshness import freshness
from traffic import batches, card, write_ndjson

PARTITIONS = 2
QUICK = os.environ.get("QUICK") == "1"
EVENTS = 200_000 if QUICK else 2_000_000
REPLAYED = 100_000 if QUICK else 500_000
FAUST_EVENTS = 3_000 if QUICK else 20_000  # the same topic's first ones
RUNS = int(os.environ.get("RUNS", "1" if QUICK else "3"))
RESULTS = Path(__file__).parent / "results"
console = Console(stderr=True)


def preload(stack: Stack) -> None:
    """Fill usage-events."""
    sender = Sender(stack)
    sender.send_all(batches(EVENTS, sender.schema_id), EVENTS, None, "preloading")
    sender.close()


def generate(data: str) -> float:
    """Events a second of `chargeline generate`, from the first one sent until Kafka has all of them."""
    said = command("generate", "--events", str(EVENTS), "--json", "--data-dir", data)
    return json.loads(said.splitlines()[-1])["events_per_s"]


def replay(data: str) -> float:
    """Events a second of `chargeline replay` from a file of JSON lines."""
    file = Path(data) / "usage.ndjson"
    write_ndjson(file, REPLAYED)
    said = command("replay", str(file), "--format", "ndjson", "--json", "--data-dir", data)
    return json.loads(said.splitlines()[-1])["events_per_s"]


def once(run: int) -> dict[str, float]:
    with running(card(), NO_SERVICES, "--partitions", PARTITIONS) as stack:
        preload(stack)
        consumed = child("child.py", "consume", EVENTS, stack=stack)
        priced = child("child.py", "pricer", EVENTS, stack=stack)
        rows = charged(stack)
        stored = child("child.py", "sink", rows, stack=stack)
        warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password)
        assert warehouse.query("SELECT count() AS n FROM charges").to_pylist() == [{"n": rows}]
        peer = child("faust_peer.py", FAUST_EVENTS, PARTITIONS, stack=stack)
        assert peer["priced"] > 0.95 * FAUST_EVENTS
        generated = generate(stack.data_dir)
        replayed = replay(stack.data_dir)
    result = {
        "pricer_events_per_s": priced["events_per_s"],
        "consume_events_per_s": consumed["events_per_s"],
        "faust_events_per_s": peer["events_per_s"],
        "sink_rows_per_s": stored["rows_per_s"],
        "sink_cpu_us_per_row": stored["cpu_us_per_row"],
        "generate_events_per_s": generated,
        "replay_events_per_s": replayed,
        "pricer_cpu_us_per_event": priced["cpu_us_per_event"],
        "dedupe_bytes_per_id": priced["dedupe_bytes_per_id"],
        "pricer_peak_mib": priced["peak_mib"],
    } | freshness(3.0 if QUICK else 20.0)
    console.print(f"run {run}: { ({name: round(value, 1) for name, value in result.items()}) }", highlight=False)
    return result


def charged(stack: Stack) -> int:
    """Rows that the pricer wrote."""
    from chargeline.adapters.kafka import KafkaLogReader
    from chargeline.adapters.pipeline import units

    reader = KafkaLogReader(stack.kafka)
    counts = [unit.outcomes for partition in range(PARTITIONS) for unit in units(reader, partition)]
    reader.close()
    assert not any(each["UNRATED"] for each in counts), "the events must have a price: see START in traffic.py"
    return sum(each["CHARGED"] for each in counts)


def main() -> None:
    runs = [once(number + 1) for number in range(RUNS)]
    medians: dict[str, object] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    table = Table(title=f"{EVENTS:,} events, median of {RUNS}", header_style="bold")
    for name in ("what", "median", "least", "most"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, median in medians.items():
        values = [run[name] for run in runs]
        table.add_row(name, f"{median:,.2f}", f"{min(values):,.2f}", f"{max(values):,.2f}")
    Console().print(table)
    medians |= {
        "events": EVENTS,
        "runs": runs,
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("chargeline", "confluent-kafka", "polars", "pyarrow", "numpy")},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
