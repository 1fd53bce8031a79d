"""What must be there before the services start: topics, schemas, the partition fact, and the tables."""

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from chargeline.adapters.clickhouse_migrations import migrate
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader, GovernanceWriter
from chargeline.adapters.installation import SUBJECTS
from chargeline.adapters.kafka import COMMON, KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.errors import Refused
from chargeline.domain.governance import InputTopic
from chargeline.runtime.stack import Stack
from chargeline.wire._generated import TOPICS

INPUT = "usage-events"


def prepare(stack: Stack, partitions: int) -> None:
    """Create whatever is missing; running it again changes nothing."""
    create_topics(stack.kafka, partitions)
    registry = SchemaRegistry(stack.registry)
    ids = {subject: registry.register(subject, text) for subject, text in SUBJECTS.items()}
    record_input_topic(stack, partitions, ids["governance-log-value"])
    migrate(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password)


def create_topics(bootstrap: str, partitions: int) -> None:
    """Create the topics of schemas/topics that do not exist, with their settings."""
    client = AdminClient({**COMMON, "bootstrap.servers": bootstrap})
    wanted = [
        NewTopic(
            name,
            num_partitions=1 if topic["partitions"] == 1 else partitions,
            replication_factor=1,
            config={key: str(value) for key, value in topic["config"].items()},
        )
        for name, topic in TOPICS.items()
    ]
    for future in client.create_topics(wanted, operation_timeout=30).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    deadline = time.monotonic() + 30
    while set(TOPICS) - set(client.list_topics(timeout=10).topics):
        if time.monotonic() > deadline:
            raise Refused("TOPICS_MISSING", "Kafka did not show the new topics within 30 s")
        time.sleep(0.05)


def record_input_topic(stack: Stack, partitions: int, schema_id: int) -> None:
    """Record how accounts map to partitions; refuse if the log says otherwise."""
    reader = KafkaLogReader(stack.kafka)
    governance = GovernanceReader(reader, SystemClock(), max_clock_skew_ms=0)
    governance.refresh()
    if not any(governance.chain.of(InputTopic)):
        writer = GovernanceWriter(stack.kafka, governance, schema_id, "chargeline up")
        writer.append("InputTopicCreated", {"topic": INPUT, "partitions": partitions, "partitioner": "MURMUR2"})
    elif governance.chain.input_topic().partitions != reader.partitions(INPUT):
        raise Refused("PARTITIONS_CHANGED", "usage-events has another number of partitions than it was created with")
    reader.close()
