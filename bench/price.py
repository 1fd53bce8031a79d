"""How fast `chargeline price` is offline, from and to JSON lines and Parquet, with a card of 2,000 SKUs (cards.py).

    python bench/price.py [EVENTS]

Files lie in a temporary directory. `events_a_second` counts from the first event read to the last byte written, in this
process; the reading of the card comes on top and is told apart. Nothing but the command runs.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from cards import card, events

from chargeline.cli.price import price_file
from chargeline.cli.price_files import Documents, read_documents


def written(table: pa.Table, folder: Path) -> dict[str, Path]:
    """The events in both formats."""
    paths = {"json_lines": folder / "events.ndjson", "parquet": folder / "events.parquet"}
    pq.write_table(table, paths["parquet"])
    with paths["json_lines"].open("w") as sink:
        for batch in table.to_batches(max_chunksize=100_000):
            sink.write("".join(json.dumps(_line(row)) + "\n" for row in batch.to_pylist()))
    return paths


def _line(row: dict[str, Any]) -> dict[str, Any]:
    found = row | {"event_time": f"{row['event_time']:%Y-%m-%dT%H:%M:%S}.000Z"}
    found["extra_quantities"] = dict(row["extra_quantities"])
    return found if found["extra_quantities"] else {k: v for k, v in found.items() if k != "extra_quantities"}


def measured(documents: Documents, source: Path, target: Path, count: int) -> dict[str, Any]:
    """One run."""
    started, worked = time.perf_counter(), time.process_time()
    price_file(documents, source, target)
    seconds, busy = time.perf_counter() - started, time.process_time() - worked
    return {
        "events_a_second": int(count / seconds), "seconds": round(seconds, 2), "cpu_seconds": round(busy, 2),
        "cpu_us_an_event": round(busy / count * 1e6, 2), "bytes_in": source.stat().st_size,
        "bytes_out": target.stat().st_size,
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("events", type=int, nargs="?", default=1_000_000)
    count = options.parse_args().events
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "card.json").write_text(json.dumps(card()))
        paths = written(events(count), folder)
        started = time.perf_counter()
        documents = read_documents([folder / "card.json"], None, None)
        found: dict[str, Any] = {"events": count, "card_seconds": round(time.perf_counter() - started, 2)}
        for kind, source in paths.items():
            found[kind] = measured(documents, source, folder / f"out{source.suffix}", count)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
