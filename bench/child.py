"""What the benchmark runs in processes of their own: `consume`, `pricer`, `sink`. Prints one JSON line."""

import gc
import json
import resource
import sys
import time
from functools import partial

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogConsumer
from chargeline.pricer.app import build
from chargeline.pricer.settings import PricerSettings
from chargeline.runtime.logging import configure
from chargeline.runtime.telemetry import Telemetry
from chargeline.sink.processor import TopicSink
from chargeline.sink.settings import SinkSettings


def consume(total: int) -> dict[str, float]:
    """A bare loop over the client's `consume`, as fast as it goes: nothing is looked at."""
    from confluent_kafka import Consumer

    gc.disable()

    settings = PricerSettings()
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka, "group.id": f"bench-{time.time_ns()}", "auto.offset.reset": "earliest",
         "enable.auto.commit": False, "queued.min.messages": 400_000,
         "queued.max.messages.kbytes": 262_144, "fetch.message.max.bytes": 8_388_608, "fetch.max.bytes": 33_554_432}
    )  # fmt: skip
    consumer.subscribe(["usage-events"])
    seen = 0
    began = None
    while seen < total:
        seen += len(consumer.consume(100_000, 0.2))
        if began is None and seen:
            began = time.perf_counter()
            first = seen
    assert began is not None
    took = time.perf_counter() - began
    consumer.close()
    return {"events_per_s": (total - first) / took}


def pricer(total: int) -> dict[str, float]:
    """The real pricer, from the first poll with records to the last committed unit."""
    settings = PricerSettings()
    service = build(settings, Telemetry(settings.health_step_s_max))
    while not service.states:
        service.step()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    began = time.perf_counter()
    while service.consumed < total:
        service.step()
    took = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "events_per_s": total / took,
        "cpu_us_per_event": (usage.ru_utime + usage.ru_stime - cpu) / total * 1e6,
        "units": service.units,
        "peak_mib": usage.ru_maxrss / 1024,
        "dedupe_bytes_per_id": sum(s.identities.nbytes for s in service.states.values())
        / max(1, sum(len(s.identities) for s in service.states.values())),
    }
    service.close()
    return result


def sink(total: int) -> dict[str, float]:
    """The real sink of `charges`, until every row is acknowledged."""
    settings = SinkSettings()
    topic = TopicSink(
        "charges",
        KafkaLogConsumer(settings.kafka, f"bench-sink-{time.time_ns()}"),
        partial(
            ClickHouse,
            settings.clickhouse_url,
            settings.clickhouse_user,
            settings.clickhouse_password.get_secret_value(),
        ),
        SystemClock(),
    )
    while not topic.rows:
        topic.step()
    began, first, cpu = time.perf_counter(), topic.rows, time.process_time()
    while topic.rows < total:
        topic.step()
    took = time.perf_counter() - began
    cpu = time.process_time() - cpu
    topic.close()
    return {"rows_per_s": (topic.rows - first) / took, "cpu_us_per_row": cpu / (topic.rows - first) * 1e6}


if __name__ == "__main__":
    configure("bench", "WARNING")
    what, number = sys.argv[1], int(sys.argv[2])
    print(json.dumps({"consume": consume, "pricer": pricer, "sink": sink}[what](number)))
