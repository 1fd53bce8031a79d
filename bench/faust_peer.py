"""The peer of the benchmark: a plain Faust agent that prices the same topic event by event into windows of a minute.

It is let off lightly: no dead letters, no charges, no exactly-once; duplicates are dropped by a set in memory, and the
table lives in memory with its changelog in Kafka. Prints one JSON line.
"""

import io
import json
import os
import shutil
import sys
import tempfile
import time
import uuid

import fastavro
import faust
from faust.serializers.codecs import Codec

from chargeline.wire.avro_schema import USAGE_EVENT

# Picos a token, as in the rate card of traffic.py: all models cost the same.
PICOS = {"input_tokens": 1_000_000, "cache_read_input_tokens": 1_250_000, "output_tokens": 1_500_000}
WINDOW_S = 60.0


class UsageEvents(Codec):
    """Framed Avro; None: no usage event."""

    def _loads(self, s: bytes) -> dict | None:
        try:
            return fastavro.schemaless_reader(io.BytesIO(s[5:]), USAGE_EVENT, None)
        except (EOFError, ValueError, IndexError):
            return None


def main(total: int, partitions: int, folder: str) -> None:
    app = faust.App(
        f"bench-faust-{uuid.uuid4()}",
        broker=f"kafka://{os.environ['CHARGELINE_KAFKA']}",
        store="memory://",
        datadir=folder,  # it stays empty
        topic_replication_factor=1,
        topic_partitions=partitions,
        web_enabled=False,
    )
    usage = app.topic("usage-events", value_serializer=UsageEvents(), key_serializer="raw")
    spend = app.Table("spend", default=int, partitions=partitions).tumbling(WINDOW_S, key_index=False)
    billed = spend.relative_to(lambda event: event.value["event_time"] / 1e6)

    @app.agent(usage)
    async def price(events: faust.Stream) -> None:
        seen: set[tuple[str, str, str]] = set()
        number, began = 0, 0.0
        async for event in events:
            if not number:
                began = time.perf_counter()
            number += 1
            if event is not None:
                identity = (event["billing_account_id"], event["source"], event["event_id"])
                if identity not in seen:
                    seen.add(identity)
                    group = (event["billing_account_id"], event["team"], event["project"], event["request_model"])
                    billed["/".join(group)] += sum(event[name] * picos for name, picos in PICOS.items())
            if number == total:
                took = time.perf_counter() - began
                print(json.dumps({"events_per_s": (total - 1) / took, "priced": len(seen)}), flush=True)
                shutil.rmtree(folder)
                os._exit(0)  # its own way to stop waits for a rebalance

    faust.Worker(app, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(int(sys.argv[1]), int(sys.argv[2]), folder)
