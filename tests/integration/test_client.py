"""The producers' client on real servers: Kafka goes away and comes back under it."""

import os
import signal
from contextlib import contextmanager

import pytest

from chargeline.adapters.registry import SchemaRegistry
from chargeline.runtime.stack import load_stack
from chargeline.sdk.client import UsageClient
from tests.support.stack import kill, pid_of, rows, wait_until

pytestmark = pytest.mark.stack
EVENTS = 300  # emitted before, while and after Kafka is away


@contextmanager
def kafka_away(data):
    """Kafka dies by SIGKILL, and its supervisor sleeps for the time of the block."""
    supervisor = pid_of(data, "supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        kill(data, "kafka")
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


def emit(client, name):
    owner = {"billing_account_id": "acme", "provider_name": "openai", "request_model": "gpt-4o"}
    for number in range(EVENTS):
        client.emit(owner | {"event_id": f"{name}-{number}", "operation_name": "chat", "input_tokens": 1000})


def lines(file):
    return sum(bool(line) for line in file.read_text().splitlines()) if file.exists() else 0


def test_what_is_emitted_while_kafka_is_away_is_charged_once_without_another_client(stack, tmp_path):
    servers, spill = load_stack(str(stack)), tmp_path / "spill.jsonl"
    number = SchemaRegistry(servers.registry).id_of("usage-events-value")
    options = {"schema_id": number, "delivery_timeout_s": 1.0, "spill": spill, "config": {"log_level": 0}}
    with UsageClient(servers.kafka, source="early", **options) as client:
        emit(client, "before")
        assert client.flush() == 0
        with kafka_away(stack):
            emit(client, "while")
            wait_until(lambda: lines(spill) == EVENTS, "all events are kept")
            # One that starts while there is no Kafka has a file of its own.
            late = UsageClient(servers.kafka, source="late", **options)
            emit(late, "late")
            wait_until(lambda: lines(tmp_path / "spill-1.jsonl") == EVENTS, "these are kept too")
        wait_until(lambda: not list(tmp_path.glob("spill*.[js]*")), "all of them are sent", 90)
        emit(client, "after")
        late.close()
    sql = ("SELECT source, count() AS n, uniqExact(event_id) AS ids, sum(billed_cost) AS b FROM charges "
           "WHERE source IN ('early', 'late') GROUP BY source ORDER BY source")  # fmt: skip
    stored = [{"source": "early", "n": 3 * EVENTS, "ids": 3 * EVENTS, "b": "2.25"},
              {"source": "late", "n": EVENTS, "ids": EVENTS, "b": "0.75"}]  # fmt: skip
    wait_until(lambda: rows(stack, sql) == stored, "all are charged once", 90)
