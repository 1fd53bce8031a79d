"""The two logs that the contract suite asks the same questions: the fake, and a real Kafka."""

import uuid

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from chargeline.adapters.kafka import COMMON, KafkaLogConsumer, KafkaLogReader
from chargeline.adapters.kafka_producer import KafkaTransactionalProducer
from chargeline.adapters.memory import (
    FakeClock,
    MemoryLog,
    MemoryLogConsumer,
    MemoryLogReader,
    MemoryTransactionalProducer,
)


class MemoryHarness:
    def __init__(self):
        self.log = MemoryLog(FakeClock(1_700_000_000_000), {})

    def topic(self, partitions=1):
        name = f"topic-{len(self.log.counts)}"
        self.log.counts[name] = partitions
        self.log.logs |= {(name, partition): [] for partition in range(partitions)}
        return name

    def append(self, topic, *values, partition=0):
        for value in values:
            self.log.append(topic, partition, None, value)

    def truncate(self, topic, offset):
        self.log.starts[topic, 0] = offset

    def sent(self, producer):
        """What the open transaction wrote has reached the log."""

    def consumer(self, group):
        return MemoryLogConsumer(self.log, group)

    def producer(self, name):
        return MemoryTransactionalProducer(self.log, name)

    def reader(self):
        return MemoryLogReader(self.log)

    def close(self):
        return


class KafkaHarness:
    def __init__(self, bootstrap):
        self._bootstrap = bootstrap
        self._admin = AdminClient({**COMMON, "bootstrap.servers": bootstrap})
        self._opened = []

    def topic(self, partitions=1):
        name = f"contract-{uuid.uuid4()}"
        created = self._admin.create_topics(
            [NewTopic(name, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})]
        )
        created[name].result(30)
        return name

    def append(self, topic, *values, partition=0):
        producer = Producer({**COMMON, "bootstrap.servers": self._bootstrap})
        for value in values:
            producer.produce(topic, value, partition=partition)
        assert producer.flush(30) == 0

    def truncate(self, topic, offset):
        (done,) = self._admin.delete_records([TopicPartition(topic, 0, offset)]).values()
        done.result(30)

    def sent(self, producer):
        producer._producer.flush(30)

    def consumer(self, group):
        return self._kept(KafkaLogConsumer(self._bootstrap, group, session_timeout_ms=6000))

    def producer(self, name):
        return self._kept(KafkaTransactionalProducer(self._bootstrap, name))

    def reader(self):
        return self._kept(KafkaLogReader(self._bootstrap))

    def close(self):
        for each in self._opened:
            each.close()

    def _kept(self, opened):
        self._opened.append(opened)
        return opened
