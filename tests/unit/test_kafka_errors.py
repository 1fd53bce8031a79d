"""What the adapter makes of the Kafka client's answers."""

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

import chargeline.adapters.kafka_producer as adapter
from chargeline.adapters.kafka_errors import translate
from chargeline.domain.errors import Fault, TransientError


def answering(*answers):
    """A call that raises these, one after the other and the last for ever; None: it succeeds."""
    left = list(answers)

    def call():
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is not None:
            raise KafkaException(answer)

    return call


@pytest.fixture
def producer():
    return object.__new__(adapter.KafkaTransactionalProducer)


RETRIABLE = KafkaError(KafkaError._TIMED_OUT, "later", retriable=True)


def test_a_retriable_answer_is_asked_again(producer):
    producer._guard("committing", answering(RETRIABLE, RETRIABLE, None))


def test_a_retriable_answer_that_never_ends_stops_the_process(producer, monkeypatch):
    monkeypatch.setattr(adapter, "RETRIABLE_S", 0.05)
    with pytest.raises(Fault, match="committing"):
        producer._guard("committing", answering(RETRIABLE))


def test_a_call_that_never_returns_ends_the_process(producer, monkeypatch):
    ended = threading.Event()
    codes = []

    def end(code):
        codes.append(code)
        ended.set()

    monkeypatch.setattr("os._exit", end)
    monkeypatch.setattr(adapter, "GRACE_S", 0.05)
    producer._guard("committing", lambda: ended.wait(60), 0.0)
    assert codes == [1]


def test_a_partition_that_a_starting_broker_does_not_know_yet_is_waited_for():
    assert isinstance(translate(KafkaError(KafkaError._UNKNOWN_PARTITION), "asking"), TransientError)
    assert isinstance(translate(KafkaError(KafkaError._UNKNOWN_TOPIC), "asking"), Fault)
