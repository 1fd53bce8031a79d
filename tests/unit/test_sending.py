"""What the commands send: nothing before it is due, and never more than the client's queue holds."""

import time

import pyarrow as pa
import pytest

from chargeline.cli.sending import Sender, _paced
from chargeline.wire.usage_encoder import Framed


def batch(first, count):
    names = pa.array([f"a{number % 3}" for number in range(first, first + count)]).dictionary_encode()
    return Framed(names, [b"%d" % number for number in range(first, first + count)])


@pytest.mark.parametrize(("rate", "step"), [(10_000.0, 200), (70.0, 1), (0.5, 1)])
def test_at_a_rate_every_event_is_sent_in_order_and_none_before_it_is_due(monkeypatch, rate, step):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    sent: list[tuple[str, bytes]] = []
    for part in _paced([batch(0, 1000), batch(1000, 1), batch(1001, 499)], rate):
        assert len(part.values) <= step
        sent += zip(part.accounts.to_pylist(), part.values, strict=True)
        assert len(sent) == pytest.approx(rate * (now[0] - 100.0))
    assert sent == [(f"a{number % 3}", b"%d" % number) for number in range(1500)]


class FullQueue:
    """A client whose queue takes three messages between two calls of poll."""

    def __init__(self):
        self.sent, self.room = [], 3

    def produce(self, _topic, value, key, partition):
        if not self.room:
            raise BufferError
        self.room -= 1
        self.sent.append((key, value, partition))

    def poll(self, _timeout):
        self.room = 3


def test_a_full_queue_makes_the_sender_wait_and_loses_nothing():
    sender = Sender.__new__(Sender)
    sender._producer, sender.partitions, sender.sent = FullQueue(), 2, 0
    sender.send_batch(batch(0, 10))
    found = sender._producer.sent
    assert [value for _, value, _ in found] == [b"%d" % number for number in range(10)]
    assert [key for key, _, _ in found] == [b"a%d" % (number % 3) for number in range(10)]
    assert sender.sent == 10
