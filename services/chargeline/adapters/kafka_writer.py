"""Kafka behind the ports: single records, each durable before the next."""

from typing import Any, cast

from confluent_kafka import KafkaException, Producer

from chargeline.adapters.kafka import COMMON, QUIET
from chargeline.adapters.kafka_errors import translated
from chargeline.domain.errors import TransientError
from chargeline.ports import Headers

_DELIVERY_S = 30.0


class KafkaLogWriter:
    """`ports.LogWriter`."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {
                **COMMON,
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "delivery.timeout.ms": int(_DELIVERY_S * 1000),
            },
            logger=QUIET,
        )

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = ()) -> None:
        outcomes: list[Any] = []
        try:
            self._producer.produce(
                topic,
                value,
                key,
                partition,
                on_delivery=lambda error, _: outcomes.append(error),
                headers=cast("Any", list(headers)),
            )
        except KafkaException as error:
            raise translated(error, f"producing to {topic}") from error
        self._producer.flush(_DELIVERY_S + 5.0)
        if outcomes != [None]:
            raise TransientError(f"a record for {topic} was not written: {outcomes or 'no answer in time'}")

    def close(self) -> None:
        self._producer.flush(1.0)
