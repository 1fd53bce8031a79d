"""A ClickHouse that accepts connections and never answers: who has something to tell without it does not wait long."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.cli import anomalies, incidents
from chargeline.cli.main import build
from chargeline.domain.errors import TransientError
from chargeline.runtime.stack import Stack
from chargeline.wire.anomaly_records import decode_anomaly

# Less than the 60 s that a service waits: who forgets the shorter time fails here.
pytestmark = pytest.mark.timeout(50)
GOLDEN = Path("schemas/events/cost_anomaly/golden/v1.bin")
NOWHERE = Stack("", "", "", None, None, "", "u", "p", "b", "p", 0)


@pytest.fixture
def silent():
    """The address of one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def update():
    """An incident as the log tells it."""
    found = decode_anomaly(bytes(5) + GOLDEN.read_bytes())
    return found | {name: [each[key] for each in found[name]] for name, key in (("kinds", "name"), ("reasons", "text"))}


@pytest.mark.parametrize(
    "call",
    [lambda asked: asked.query("SELECT 1"), lambda asked: asked.insert("t", pa.table({"a": [1]}), "token")],
    ids=["query", "insert"],
)
def test_silence_is_transient(silent, call):
    with pytest.raises(TransientError):
        call(ClickHouse(silent, "u", "p", answer_s=1))


@pytest.mark.parametrize("is_stored", [False, True], ids=["from the start", "since it told the incident"])
def test_explain_tells_what_is_missing_and_all_that_the_log_knows(silent, update, monkeypatch, caplog, is_stored):
    monkeypatch.setattr(anomalies, "load_stack", lambda _: replace(NOWHERE, clickhouse_url=silent))
    monkeypatch.setattr(incidents, "_of_log", lambda *_: [update])
    if is_stored:
        monkeypatch.setattr(anomalies, "updates_of", lambda *_: ([update], True))
    command = ["anomalies", "explain", update["anomaly_id"], "--clickhouse-timeout", "1"]
    done, text = (CliRunner().invoke(build(["anomalies"]), [*command, *form]) for form in (["--json"], []))
    assert (done.exit_code, text.exit_code) == (0, 0)
    found = json.loads(done.stdout)
    assert (found["charges"], found["charge_contributors"]) == (None, None)
    assert found["anomaly_id"] == update["anomaly_id"]
    assert update["reasons"][0] in text.stdout
    for each in (done, text):
        assert "ClickHouse does not answer" in each.stderr
        assert "left out: intents, labels and single charges" in each.stderr
    assert not caplog.records
