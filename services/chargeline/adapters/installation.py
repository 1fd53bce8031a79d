"""Whether everything that the services talk to answers, and is as they need it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clickhouse_migrations import missing
from chargeline.adapters.kafka import COMMON, REQUEST_TIMEOUT_S, KafkaLogReader
from chargeline.adapters.kafka_errors import translated
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.errors import ChargelineError, Fault
from chargeline.runtime.stack import Stack
from chargeline.wire._generated import (
    ANOMALY_NOTE_SCHEMA,
    COST_ANOMALY_SCHEMA,
    GOVERNANCE_RECORD_SCHEMA,
    TOPICS,
    USAGE_EVENT_SCHEMA,
)

SUBJECTS = {
    "usage-events-value": USAGE_EVENT_SCHEMA,
    "governance-log-value": GOVERNANCE_RECORD_SCHEMA,
    "cost-anomalies-value": COST_ANOMALY_SCHEMA,
    "anomaly-notes-value": ANOMALY_NOTE_SCHEMA,
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what is wrong with it (None: nothing)."""

    name: str
    found: str
    fault: str | None = None
    advice: str = ""


def inspect(stack: Stack) -> Iterator[Finding]:
    """Ask every system of an installation; one that does not answer is a finding like any other."""
    started = "`chargeline up --detach`, or look into the log of the process in the data directory"
    checks: list[tuple[str, Callable[[Stack], str], str]] = [
        ("kafka", _kafka, started),
        ("topics", _topics, "create them with the settings of schemas/topics, or move to an empty installation"),
        ("registry", _registry, started),
        ("schemas", _schemas, "`chargeline up` registers them; in production register schemas/events yourself"),
        ("redis", _redis, started),
        ("clickhouse", _clickhouse, started),
        ("tables", _tables, "run `chargeline migrate`"),
    ]
    for name, check, advice in checks:
        try:
            yield Finding(name, check(stack))
        except ChargelineError as error:
            yield Finding(name, "", str(error), advice)


def _kafka(stack: Stack) -> str:
    reader = KafkaLogReader(stack.kafka)
    try:
        return f"{stack.kafka} answers, usage-events has {reader.partitions('usage-events')} partitions"
    finally:
        reader.close()


def _topics(stack: Stack) -> str:
    client = AdminClient({**COMMON, "bootstrap.servers": stack.kafka})
    try:
        known = client.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in TOPICS if name in known]
        futures = client.describe_configs(asked, request_timeout=REQUEST_TIMEOUT_S)
        times = {resource.name: each.result()["message.timestamp.type"].value for resource, each in futures.items()}
    except KafkaException as error:
        raise translated(error, "asking for the topics") from error
    if absent := sorted(set(TOPICS) - set(known)):
        raise Fault(f"{', '.join(absent)} do not exist")
    partitions = {len(known[name].partitions) for name, topic in TOPICS.items() if topic["partitions"] == "input"}
    if len(partitions) > 1:
        raise Fault(f"usage-events and the output topics have different numbers of partitions: {sorted(partitions)}")
    # Pricing judges what is visible and what lies in the future by the broker's time.
    if wrong := sorted(name for name, kind in times.items() if kind != "LogAppendTime"):
        raise Fault(f"message.timestamp.type of {', '.join(wrong)} is not LogAppendTime")
    return f"{len(TOPICS)} topics, {partitions.pop()} partitions, LogAppendTime"


def _registry(stack: Stack) -> str:
    SchemaRegistry(stack.registry).ping()
    return f"{stack.registry} answers"


def _schemas(stack: Stack) -> str:
    registry = SchemaRegistry(stack.registry)
    ids = {subject: registry.id_of(subject) for subject in SUBJECTS}
    if absent := [subject for subject, number in ids.items() if number is None]:
        raise Fault(f"{', '.join(absent)} not registered")
    return ", ".join(f"{subject} has id {number}" for subject, number in ids.items())


def _redis(stack: Stack) -> str:
    store = RedisStateStore(stack.redis_url, username=stack.redis_user, password=stack.redis_password)
    try:
        return store.version()
    finally:
        store.close()


def _clickhouse(stack: Stack) -> str:
    rows = _warehouse(stack).query("SELECT version() AS version").to_pylist()
    return f"version {rows[0]['version']}"


def _tables(stack: Stack) -> str:
    if absent := missing(_warehouse(stack)):
        raise Fault(f"migrations that were not applied: {', '.join(absent)}")
    return "all migrations are applied"


def _warehouse(stack: Stack) -> ClickHouse:
    user, password = stack.clickhouse_user, stack.clickhouse_password
    return ClickHouse(stack.clickhouse_url, user, password, answer_s=int(REQUEST_TIMEOUT_S))
