"""The anomaly service on real servers: killed while incidents are open, alone and beside a second worker.

Nothing is lost and nothing is told under a second name: what is published is what the pure fold makes of the log.
"""

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
from tests.support.stack import asked, chargeline, kill, pid_of, rows, running_stack, service, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.long]
SETTINGS = {
    "CHARGELINE_WINDOW_S": "10",
    "CHARGELINE_ANOMALY_WINDOW_S": "10",
    "CHARGELINE_ANOMALY_MINIMUM_IMPACT": "0.2",
    "CHARGELINE_ANOMALY_SNAPSHOT_S": "1",
    "CHARGELINE_ANOMALY_SESSION_TIMEOUT_MS": "3000",
    "CHARGELINE_HEALTH_STEP_S_MAX": "30",
}
NO_FAULTS = ("--accounts", 4, "--malformed", 0)
PARTITIONS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        for name, value in SETTINGS.items():
            environment.setenv(name, value)
        with running_stack(tmp_path_factory.mktemp("anomaly") / "data", "--partitions", PARTITIONS) as data:
            chargeline(data, "rates", "publish", "examples/rates/openai.yaml")
            for name, value in load_stack(str(data)).environment().items():
                environment.setenv(name, value)
            yield data


@pytest.fixture(scope="module")
def starts():
    """Event times, ten minutes apart: each batch of usage follows the one before, in whatever order tests run."""
    return (f"2026-03-02T{10 + ten // 6}:{ten % 6}0:00Z" for ten in range(12))


def loaded(data):
    """Up to where each partition was counted when a worker of the stack took it, in order."""
    log = (data / "logs" / "anomaly.log").read_text()
    return [json.loads(line)["counted"] for line in log.splitlines() if "partition_ready" in line]


def everything(data, topic):
    """All records of a topic, partition by partition."""

    def read(reader):
        return [record for number in range(reader.partitions(topic))
                for record in reader.read(topic, number, 0, reader.bounds(topic, number)[1])]  # fmt: skip

    return asked(data, read)


def published(data):
    """All records of cost-anomalies."""
    return [decode_anomaly(record.value) for record in everything(data, "cost-anomalies")]


def oracle():
    """What the pure fold makes of the panes in the log, read once and in order: by id and sequence."""
    settings = AnomalySettings()  # type: ignore[call-arg]
    reader = KafkaLogReader(settings.kafka)
    made = []
    for number in range(PARTITIONS):
        partition = Partition(Watch(number, rules_of(settings), parameters_of(settings)))
        for topic in (COST, PERFORMANCE):
            for record in reader.read(topic, number, 0, reader.bounds(topic, number)[1]):
                made += partition.record(topic, record.offset, record.headers, record.value or b"")
    reader.close()
    return {(each.anomaly_id, each.sequence): anomaly_of(each) for each in made}


def told_in_full(data):
    """Wait for every update of the oracle; each was published with the oracle's words, and no other."""

    def all_told():
        wanted = oracle()
        return wanted if {(each["anomaly_id"], each["sequence"]) for each in published(data)} >= set(wanted) else None

    wanted = wait_until(all_told, "every update is published", 40)
    for each in published(data):
        assert wanted[each["anomaly_id"], each["sequence"]] == each
    return wanted


def open_of(data, team):
    return [each for each in published(data) if each["dimensions"].get("team") == team and each["status"] == "OPEN"]


def is_stored(data):
    """Whether the changelog holds the state of every partition after some unit."""
    records = everything(data, "chargeline-anomaly-state-changelog")
    manifests = [record for record in records if record.key.endswith(b"/manifest")]
    return len({record.key for record in manifests if COST in json.loads(record.value)["next_offsets"]}) == PARTITIONS


def abort_a_transaction(data):
    """Something that is no pane, in a transaction that is aborted."""
    producer = Producer({"bootstrap.servers": load_stack(str(data)).kafka, "transactional.id": "broken"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("cost-rollups", b"these are no panes", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)


def test_an_incident_survives_kill_9_of_the_service_while_it_is_open(data, starts):
    abort_a_transaction(data)
    pid = pid_of(data, "anomaly")
    chargeline(data, "generate", "--seed", 5, "--events", 20_000, *NO_FAULTS,
               "--spike", "team=team-1-0,factor=60,at=0.7", "--start", next(starts))  # fmt: skip
    wait_until(lambda: open_of(data, "team-1-0"), "an incident is published", 40)
    assert pid_of(data, "anomaly") == pid, "records of an aborted transaction were read"
    wait_until(lambda: is_stored(data), "the state is stored", 20)
    before = len(loaded(data))
    kill(data, "anomaly")
    wait_until(lambda: pid_of(data, "anomaly") != pid, "the service is started again", 20)
    chargeline(data, "generate", "--seed", 6, "--events", 10_000, *NO_FAULTS, "--start", next(starts))
    wanted = told_in_full(data)
    assert any(each["status"] == "RESOLVED" for each in wanted.values())
    wait_until(lambda: rows(data, "SELECT count() AS n FROM cost_anomalies FINAL") == [{"n": len(wanted)}],
               "every update is in ClickHouse once", 20)  # fmt: skip
    listed = json.loads(chargeline(data, "anomalies", "list", "--json"))
    assert json.loads(chargeline(data, "anomalies", "list", "--team", "nobody", "--json")) == []
    assert {each["anomaly_id"] for each in listed} == {ident for ident, _ in wanted}
    explained = json.loads(chargeline(data, "anomalies", "explain", listed[0]["anomaly_id"], "--json"))
    assert explained["charges"]
    service = next(each for each in load_stack(str(data)).processes if each.name == "anomaly")
    assert not readiness(service)
    assert all(loaded(data)[before:]), "the stored state was not used"


def test_workers_come_and_go_while_incidents_are_open(data, starts):
    """One is added, the first one is killed, it comes back: partitions move three times."""
    with service(data, "-m", "chargeline.anomaly") as second:
        wait_until(lambda: second.said("partition_ready"), "the second worker has a partition", 30)
        chargeline(data, "generate", "--seed", 7, "--events", 20_000, *NO_FAULTS, "--start", next(starts),
                   "--spike", "team=team-2-0,factor=60,at=0.7", "--spike", "team=team-0-1,factor=60,at=0.7")  # fmt: skip
        wait_until(lambda: open_of(data, "team-2-0") and open_of(data, "team-0-1"), "incidents are published", 40)
        pid = kill(data, "anomaly")
        chargeline(data, "generate", "--seed", 8, "--events", 10_000, *NO_FAULTS, "--start", next(starts))
        wait_until(lambda: pid_of(data, "anomaly") != pid, "the first one is started again", 20)
        wanted = told_in_full(data)
        assert not second.ended()
    assert any(each["status"] == "RESOLVED" and each["dimensions"].get("team") == "team-2-0"
               for each in wanted.values())  # fmt: skip
    assert "state_dropped" not in (data / "logs" / "anomaly.log").read_text()
    assert not second.said("state_dropped")
