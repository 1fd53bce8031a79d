"""The anomaly service on real servers: killed while incidents are open, alone and beside a second worker.

Nothing is lost and nothing is told under a second name: what is published is what the pure fold makes of the log.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from confluent_kafka import Producer

from chargeline.anomaly.app import parameters_of, rules_of
from chargeline.anomaly.processor import COST, PERFORMANCE, Mark, Partition
from chargeline.anomaly.settings import AnomalySettings
from chargeline.anomaly.state_table import StateTable
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.errors import StateIncomplete
from chargeline.runtime.stack import load_stack, readiness
from chargeline.wire.anomaly_records import anomaly_of, decode_anomaly
from tests.support.peer import Peer
from tests.support.stack import (
    asked,
    away,
    chargeline,
    kill,
    pid_of,
    rows,
    running_stack,
    send,
    service,
    wait_until,
)

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
CHANGELOG = "chargeline-anomaly-state-changelog"


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


def marks_of(changelog, number):
    """All that the clock has decided of a partition; the changelog is too young to have been compacted."""
    marks = [record for record in changelog if record.key == f"{number}/marks".encode()]
    return [Mark(*each) for each in sorted({tuple(each) for record in marks for each in json.loads(record.value)})]


def folded(data):
    """The pure fold over the panes in the log, read once and in order: its state by partition; updates by name."""
    settings = AnomalySettings()  # type: ignore[call-arg]
    changelog = everything(data, CHANGELOG)

    def fold(reader):
        watches, made = [], []
        for number in range(PARTITIONS):
            marks = marks_of(changelog, number)
            partition = Partition(Watch(number, rules_of(settings), parameters_of(settings)), marks)
            for topic in (COST, PERFORMANCE):
                for record in reader.read(topic, number, 0, reader.bounds(topic, number)[1]):
                    made += partition.record(topic, record.offset, record.headers, record.value or b"")
            watches.append(partition.watch)
        return watches, {(each.anomaly_id, each.sequence): anomaly_of(each) for each in made}

    return asked(data, fold)


def stored_of(changelog, number):
    """The state of a partition as its changelog has it; None while it is being written."""
    settings = AnomalySettings()  # type: ignore[call-arg]
    parts = {record.key: record.value for record in changelog}
    kept = {key: value for key, value in parts.items() if value is not None}
    try:
        return StateTable(SimpleNamespace(data=kept)).load(number, rules_of(settings), parameters_of(settings)).watch
    except StateIncomplete:
        return None


def is_kept(data, wanted):
    """Whether the changelog's state is to the bit what the fold has learned: nothing that was read is missing."""
    changelog = everything(data, CHANGELOG)
    for number, watch in enumerate(wanted):
        found = stored_of(changelog, number)
        if found is None or (found.counted, found.complete) != (watch.counted, watch.complete):
            return False
        ours, theirs = watch.scorer.columns(), found.scorer.columns()
        assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []
    return True


def told_in_full(data):
    """Wait for every update of the oracle; each was published with the oracle's words, and no other."""

    def all_told():
        found = published(data)  # before the log is folded, which then has all that these came from
        watches, wanted = folded(data)
        is_told = {(each["anomaly_id"], each["sequence"]) for each in found} >= set(wanted)
        return (wanted, found) if is_told and is_kept(data, watches) else None

    wanted, found = wait_until(all_told, "every update is published, and the state stored", 40)
    for each in found:
        assert wanted[each["anomaly_id"], each["sequence"]] == each
    return wanted


def open_of(data, team):
    return [each for each in published(data) if each["dimensions"].get("team") == team and each["status"] == "OPEN"]


def is_stored(data):
    """Whether the changelog holds the state of every partition after some unit."""
    records = everything(data, CHANGELOG)
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


def incident_of_a_team(data, starts):
    """One that another test has left, or a new one."""
    listed = json.loads(chargeline(data, "anomalies", "list", "--json"))
    if not any("team" in each["dimensions"] for each in listed):
        chargeline(data, "generate", "--seed", 9, "--events", 20_000, *NO_FAULTS,
                   "--spike", "team=team-3-0,factor=60,at=0.7", "--start", next(starts))  # fmt: skip
        listed = json.loads(chargeline(data, "anomalies", "list", "--team", "team-3-0", "--wait", 60, "--json"))
    return next(each for each in listed if "team" in each["dimensions"])


def labelled(found):
    """Usage of an incident's scope and first window that carries intents and labels, as late as it may be."""
    usual = {"source": "late", "billing_account_id": found["billing_account_id"], "provider_name": "openai",
             "request_model": "gpt-4o", "operation_name": "chat", "event_time": found["window_start"]} | found["dimensions"]  # fmt: skip
    return [usual | {"event_id": f"late-{number}", "input_tokens": 400_000, "labels": {"job": "backfill"},
                     "user_intent": ("plan", "summarise")[number % 2]} for number in range(4)]  # fmt: skip


def test_people_ask_why_say_what_it_was_and_plan_ahead(data, starts, tmp_path):
    listed = incident_of_a_team(data, starts)
    ident = listed["anomaly_id"]
    send(data, tmp_path, "late", labelled(listed))
    found = json.loads(chargeline(data, "anomalies", "explain", ident, "--json"))
    causes = {(each["dimension"], each["value"]): each["actual_cost"] for each in found["charge_contributors"]}
    assert causes == {("label job", "backfill"): "4", ("user_intent", "plan"): "2", ("user_intent", "summarise"): "2"}
    assert found["charges"]
    assert all(found["window_start"] <= each["event_time"] < found["window_end"] for each in found["charges"])
    assert ident[:8] in chargeline(data, "anomalies", "list")

    with away(data, "clickhouse"):
        told = json.loads(chargeline(data, "anomalies", "explain", ident, "--json"))
        assert (told["charges"], told["charge_contributors"]) == (None, None)

    def shown():
        done = chargeline(data, "anomalies", "show", ident, "--json", check=False)
        return [] if done.stderr else json.loads(done.stdout)

    updates = wait_until(shown, "ClickHouse answers again", 60)
    assert told | {"charges": None} == next(each for each in updates if each["sequence"] == told["sequence"]) | {
        "charges": None, "charge_contributors": None}  # fmt: skip
    chargeline(data, "anomalies", "label", ident, "true")
    precision = json.loads(chargeline(data, "anomalies", "list", "--stats", "--json"))
    assert (precision[-1]["labelled"], precision[-1]["precision"]) == (1, 1.0)
    chargeline(data, "anomalies", "mute", "planned", "--dimension", "team=x", "--from", "2026-12-24", "--hours", 12,
               "--reason", "load test")  # fmt: skip
    assert json.loads(chargeline(data, "anomalies", "mutes", "--json")) == [
        {"name": "planned", "scope": "all accounts team=x", "kind": None, "anomaly_id": None,
         "from": "2026-12-24T00:00:00Z", "until": "2026-12-24T12:00:00Z"}]  # fmt: skip
    chargeline(data, "anomalies", "unmute", "planned")
    assert json.loads(chargeline(data, "anomalies", "mutes", "--json")) == []


ALERTS = """
channels:
  - {channel: hook, kind: webhook, url_env: HOOK_URL, secret_env: HOOK_SECRET}
  - {channel: dead, kind: webhook, url_env: DEAD_URL, secret_env: HOOK_SECRET}
default: [hook, dead]
"""


def test_alerts_arrive_under_their_keys_while_channels_the_notifier_and_kafka_go_away(data, starts, tmp_path):
    config = tmp_path / "alerts.yaml"
    config.write_text(ALERTS)
    peer = Peer()
    peer.down = True
    given = {"CHARGELINE_NOTIFIER_CONFIG": str(config), "HOOK_URL": peer.url, "HOOK_SECRET": "s",
             "DEAD_URL": "http://127.0.0.1:9", "CHARGELINE_NOTIFIER_SESSION_TIMEOUT_MS": "3000"}  # fmt: skip
    with service(data, "-m", "chargeline.notifier", **given) as first:
        wait_until(lambda: first.times("channel_ready") >= 2, "the channels have begun", 60)
        before = {(each["anomaly_id"], each["sequence"]) for each in published(data)}
        chargeline(data, "generate", "--seed", 10, "--events", 20_000, *NO_FAULTS,
                   "--spike", "team=team-1-0,factor=60,at=0.7", "--start", next(starts))  # fmt: skip
        wait_until(lambda: peer.seen, "an alert was tried", 60)
        first.kill()
    assert not peer.taken
    kill(data, "kafka")
    with service(data, "-m", "chargeline.notifier", **given):
        peer.down = False
        wanted = [key for key in sorted(told_in_full(data)) if key not in before]
        assert wanted

        def keys():
            found = [json.loads(body) for body in peer.taken]
            return list(dict.fromkeys((each["anomaly_id"], each["sequence"]) for each in found))

        def in_order(found, ident):
            return [number for name, number in found if name == ident]

        wait_until(lambda: set(keys()) >= set(wanted), "all are told", 90)
        for ident in dict(wanted):
            assert in_order(keys(), ident) == sorted(in_order(keys(), ident))
        delivered = set(keys())
        assert delivered <= set(folded(data)[1])
    peer.close()


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
