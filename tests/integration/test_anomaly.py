"""The anomaly service on real servers: an incident appears, the service is killed while it is open, nothing is lost."""

import json

import pytest
from confluent_kafka import Producer

from chargeline.adapters.kafka import KafkaLogReader
from chargeline.anomaly.app import parameters_of, rules_of
from chargeline.anomaly.processor import COST, PERFORMANCE, Partition
from chargeline.anomaly.settings import AnomalySettings
from chargeline.domain.anomaly.watch import Watch
from chargeline.runtime.stack import load_stack, readiness
from chargeline.wire.anomaly_records import anomaly_of, decode_anomaly
from tests.support.stack import asked, chargeline, kill, pid_of, rows, running_stack, wait_until

pytestmark = pytest.mark.stack
SETTINGS = {
    "CHARGELINE_WINDOW_S": "10",
    "CHARGELINE_ANOMALY_WINDOW_S": "10",
    "CHARGELINE_ANOMALY_MINIMUM_IMPACT": "0.2",
    "CHARGELINE_ANOMALY_SNAPSHOT_S": "1",
    "CHARGELINE_ANOMALY_SESSION_TIMEOUT_MS": "3000",
    "CHARGELINE_HEALTH_STEP_S_MAX": "30",
}
BEGIN = "2026-03-02T10:00:00Z"
LATER = "2026-03-02T10:10:00Z"


@pytest.fixture
def data(tmp_path, monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with running_stack(tmp_path / "data", "--partitions", "1") as data:
        chargeline(data, "rates", "publish", "examples/rates/openai.yaml")
        yield data


def published(data):
    """All records of cost-anomalies, in order."""
    records = asked(
        data, lambda reader: list(reader.read("cost-anomalies", 0, 0, reader.bounds("cost-anomalies", 0)[1]))
    )
    return [decode_anomaly(record.value) for record in records]


def oracle(data, monkeypatch):
    """What the pure fold makes of the panes in the log, read once and in order: by id and sequence."""
    for name, value in load_stack(str(data)).environment().items():
        monkeypatch.setenv(name, value)
    settings = AnomalySettings()  # type: ignore[call-arg]
    partition = Partition(Watch(0, rules_of(settings), parameters_of(settings)))
    reader = KafkaLogReader(settings.kafka)
    made = []
    for topic in (COST, PERFORMANCE):
        for record in reader.read(topic, 0, 0, reader.bounds(topic, 0)[1]):
            made += partition.record(topic, record.offset, record.headers, record.value or b"")
    reader.close()
    return {(each.anomaly_id, each.sequence): anomaly_of(each) for each in made}


def is_stored(data):
    """Whether the changelog holds the state after some unit."""
    topic = "chargeline-anomaly-state-changelog"
    records = asked(data, lambda reader: list(reader.read(topic, 0, 0, reader.bounds(topic, 0)[1])))
    manifests = [json.loads(record.value) for record in records if record.key == b"0/manifest"]
    return any(COST in each["next_offsets"] for each in manifests)


def abort_a_transaction(data):
    """Something that is no pane, in a transaction that is aborted."""
    producer = Producer({"bootstrap.servers": load_stack(str(data)).kafka, "transactional.id": "broken"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("cost-rollups", b"these are no panes", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)


def test_an_incident_survives_kill_9_of_the_service_while_it_is_open(data, monkeypatch):
    abort_a_transaction(data)
    pid = pid_of(data, "anomaly")
    chargeline(data, "generate", "--seed", 5, "--events", 20_000, "--accounts", 2, "--malformed", 0,
               "--spike", "team=team-1-0,factor=60,at=0.7", "--start", BEGIN)  # fmt: skip
    first = wait_until(lambda: published(data), "an incident is published", 40)
    assert any(each["dimensions"].get("team") == "team-1-0" and each["status"] == "OPEN" for each in first)
    assert pid_of(data, "anomaly") == pid, "records of an aborted transaction were read"
    wait_until(lambda: is_stored(data), "the state is stored", 20)
    kill(data, "anomaly")
    wait_until(lambda: pid_of(data, "anomaly") != pid, "the service is started again", 20)
    chargeline(data, "generate", "--seed", 6, "--events", 10_000, "--accounts", 2, "--malformed", 0, "--start", LATER)

    def all_told():
        wanted = oracle(data, monkeypatch)
        return wanted if {(each["anomaly_id"], each["sequence"]) for each in published(data)} >= set(wanted) else None

    wanted = wait_until(all_told, "every update is published", 40)
    for each in published(data):
        assert wanted[each["anomaly_id"], each["sequence"]] == each
    assert any(each["status"] == "RESOLVED" for each in wanted.values())
    wait_until(lambda: rows(data, "SELECT count() AS n FROM cost_anomalies FINAL") == [{"n": len(wanted)}],
               "every update is in ClickHouse once", 20)  # fmt: skip
    listed = json.loads(chargeline(data, "anomalies", "list", "--json"))
    assert {each["anomaly_id"] for each in listed} == {ident for ident, _ in wanted}
    explained = json.loads(chargeline(data, "anomalies", "explain", listed[0]["anomaly_id"], "--json"))
    assert explained["charges"]
    service = next(each for each in load_stack(str(data)).processes if each.name == "anomaly")
    assert not readiness(service)
    log = (data / "logs" / "anomaly.log").read_text()
    counted = [json.loads(line)["counted"] for line in log.splitlines() if "partition_ready" in line]
    assert counted[0] == 0
    assert counted[1] > 0, "the stored state was not used"
