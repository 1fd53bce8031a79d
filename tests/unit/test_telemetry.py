"""Metrics, health and progress: what the process shows is what happened."""

import json
import re
import threading
from pathlib import Path

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.errors import TransientError
from chargeline.runtime.health import Health
from chargeline.runtime.lag import Lag
from chargeline.runtime.metrics import Metric, Metrics
from chargeline.runtime.progress import Progress
from chargeline.runtime.telemetry import Telemetry


class Now:
    """A clock that is moved by hand."""

    def __init__(self):
        self.s = 100.0

    def __call__(self):
        return self.s


def exposed(metrics):
    """Samples by name and sorted label values."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(s.name, *(v for _, v in sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_what_is_exposed_is_the_closed_list_and_what_the_documentation_says():
    families = list(text_string_to_metric_families(Metrics().exposition().decode()))
    own = {(f.name, f.type) for f in families if not f.name.startswith("process_")}
    assert own == {(metric.value.name.removesuffix("_total"), metric.value.kind) for metric in Metric}
    written = re.findall(
        r"^\| `(chargeline_\w+)` \| (\w+) \| ([^|]+) \| ([^|]*) \| ([^|]+) \|$",
        Path("docs/operations.md").read_text(),
        re.MULTILINE,
    )
    listed = [(m.name, m.kind, m.unit, ", ".join(m.labels), m.meaning) for m in (each.value for each in Metric)]
    assert [(a, b, c, d.strip(), e) for a, b, c, d, e in written] == listed


def test_a_label_that_the_list_does_not_name_is_an_error():
    with pytest.raises(ValueError, match="label"):
        Metrics().put(Metric.LAG_EVENTS, 1, topic="usage-events", account="acme")


def test_a_series_that_was_forgotten_is_gone_and_the_others_stay():
    metrics = Metrics()
    for partition in (0, 1):
        metrics.put(Metric.IDENTITIES, 7 + partition, partition=partition)
    metrics.forget(Metric.IDENTITIES, partition=0)
    metrics.forget(Metric.IDENTITIES, partition=5)
    assert {key: value for key, value in exposed(metrics).items() if key[0] == "chargeline_identities"} == {
        ("chargeline_identities", "1"): 8
    }


def lag_of(metrics):
    found = exposed(metrics)
    return (
        found.get(("chargeline_consumer_lag_events", "0", "t")),
        found.get(("chargeline_consumer_lag_seconds", "0", "t")),
    )


@pytest.mark.parametrize(
    ("told", "end", "now_ms", "expected"),
    [
        ([("at", 10, 5000)], 10, 9000, (0, 0.0)),
        ([("at", 10, 5000)], 13, 9000, (3, 4.0)),  # nothing appended up to 5000 waits
        ([("at", 10, 5000), ("idle", 8000)], 13, 9000, (3, 1.0)),  # nor anything up to the empty poll
        ([("at", 10, 5000), ("idle", 8000), ("at", 12, 6000)], 13, 9000, (1, 3.0)),  # records came after it
        ([("at", 10, None)], 13, 9000, (3, 0.0)),  # at assignment the age is not known yet
        ([("at", 10, 5000)], 7, 9000, (0, 0.0)),  # the end was asked for before the last unit
    ],
)
def test_lag_is_what_lies_between_the_place_and_the_end(told, end, now_ms, expected):
    metrics = Metrics()
    lag = Lag(metrics)
    for what, *values in told:
        lag.at("t", 0, *values) if what == "at" else lag.caught_up("t", *values)
    lag.measure(lambda _topic, _partition: end, lambda: now_ms)
    assert lag_of(metrics) == expected


def test_markers_at_the_end_are_no_lag_once_a_poll_after_the_look_was_empty():
    metrics = Metrics()
    lag = Lag(metrics)
    lag.at("t", 0, 10, 5000)
    lag.measure(lambda *_: 11, lambda: 6000)
    assert lag_of(metrics)[0] == 1
    lag.caught_up("t", 6100)
    lag.measure(lambda *_: 11, lambda: 11_000)
    assert lag_of(metrics) == (0, 0.0)
    lag.measure(lambda *_: 12, lambda: 16_000)
    assert lag_of(metrics)[0] == 2


def test_a_partition_that_moved_has_no_lag_here():
    metrics = Metrics()
    lag = Lag(metrics)
    lag.at("t", 0, 10, 5000)
    lag.measure(lambda *_: 11, lambda: 6000)
    lag.drop("t", 0)
    lag.measure(lambda *_: 12, lambda: 6000)
    assert lag_of(metrics) == (None, None)


def test_a_silent_loop_is_not_alive_and_the_others_are():
    now = Now()
    health = Health(60.0, now)
    health.beat("charges")
    now.s += 50
    health.beat("cost-rollups")
    assert health.stuck() == {}
    now.s += 11
    assert health.stuck() == {"charges": 61.0}
    health.beat("charges")
    assert health.stuck() == {}


def test_health_and_metrics_are_answered_on_one_port_with_their_status():
    with Telemetry(60.0) as telemetry:
        address = telemetry.serve("127.0.0.1", 0)

        def get(path):
            answer = urllib3.request("GET", address + path, timeout=5.0, retries=False)
            return answer.status, answer.data

        telemetry.health.wait_for("partition 0", "folding charges: 1 of 2")
        status, body = get("/readyz")
        assert (status, json.loads(body)) == (
            503,
            {"ready": False, "waiting": {"partition 0": "folding charges: 1 of 2"}},
        )
        telemetry.health.go("partition 0")
        assert get("/readyz")[0] == 200
        assert get("/healthz")[0] == 200
        telemetry.metrics.add(Metric.UNITS, 3)
        assert b"chargeline_units_total 3.0" in get("/metrics")[1]
        assert get("/nothing")[0] == 404


def test_a_peer_that_does_not_answer_makes_the_process_not_ready():
    asked = threading.Semaphore(0)

    def away():
        asked.release()
        raise TransientError("Redis: connection refused")

    with Telemetry(60.0) as telemetry:
        telemetry.watch({"redis": away, "kafka": asked.release})
        assert asked.acquire(timeout=10)
        assert asked.acquire(timeout=10)  # kafka is asked after redis was judged
        assert telemetry.health.waiting()["redis"] == "Redis: connection refused"


@pytest.mark.parametrize(
    ("peer", "call"),
    [
        ("redis", lambda: RedisStateStore("redis://127.0.0.1:1/0").ping()),
        ("registry", lambda: SchemaRegistry("http://127.0.0.1:1").schema_of(1)),
        ("registry", lambda: SchemaRegistry("http://127.0.0.1:1").id_of("usage-events-value")),
        ("clickhouse", lambda: ClickHouse("http://127.0.0.1:1", "u", "p").query("SELECT 1")),
        ("kafka", lambda: KafkaLogReader("127.0.0.1:1").partitions("t")),
    ],
)
def test_an_error_is_counted_for_the_peer_that_made_it(peer, call):
    telemetry = Telemetry(60.0)
    with pytest.raises(TransientError) as raised:
        call()
    telemetry.failed(raised.value)
    found = {key: value for key, value in exposed(telemetry.metrics).items() if "errors" in key[0]}
    assert found == {("chargeline_transient_errors_total", peer): 1.0}


def test_progress_tells_the_time_that_is_left_at_the_rate_so_far():
    now = Now()
    progress = Progress(1_000, now)
    assert progress.eta_s is None
    now.s += 0.5
    assert not progress.is_due(100)
    now.s += 1.5
    assert progress.is_due(250)
    assert progress.eta_s == 6.0  # 250 in 2 s, 750 to go
    assert str(progress) == "250 of 1,000, about 6 s left"
    now.s += 0.5
    assert not progress.is_due(300)
