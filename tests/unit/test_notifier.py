"""The notifier on fakes: every channel gets its alerts at least once and in order, whatever goes wrong."""

from itertools import pairwise

import pytest

from chargeline.adapters.memory import FakeClock, MemoryLog, MemoryLogConsumer
from chargeline.adapters.memory_budgets import MemoryLogWriter, MemoryNotifier
from chargeline.domain.alerts.text import notification
from chargeline.domain.errors import ChannelAway, Undeliverable
from chargeline.domain.retrying import delay_ms
from chargeline.notifier.processor import DEAD_LETTERS, TOPIC, Delivery
from tests.support.budgets import alert, read, record_of


@pytest.mark.parametrize(
    ("failures", "jitter", "wanted"),
    [
        (1, 0, 500),
        (1, 999, 999),
        (2, 0, 1000),
        (5, 500, 12_000),
        (9, 0, 128_000),
        (10, 0, 150_000),
        (500, 999, 299_850),
    ],
)
def test_pauses_double_up_to_a_cap_and_half_of_each_is_chance(failures, jitter, wanted):
    assert delay_ms(failures, jitter) == wanted


class Channels:
    """A log and deliveries on it."""

    def __init__(self, park_after_ms=3_600_000):
        self.clock = FakeClock(1_780_272_000_000)
        self.log = MemoryLog(self.clock, {TOPIC: 1, DEAD_LETTERS: 1})
        self.park_after_ms = park_after_ms

    def delivery(self, name, notifier, is_ours=lambda _: True):
        made = Delivery(
            channel=name, consumer=MemoryLogConsumer(self.log, f"notifier-{name}"), notifier=notifier,
            dead_letters=MemoryLogWriter(self.log), read=read, is_ours=is_ours, say=notification, clock=self.clock,
            chance=lambda: 0, park_after_ms=self.park_after_ms,
        )  # fmt: skip
        made.step()  # assigned
        made.step()  # the place is known
        return made

    def put(self, value):
        self.log.append(TOPIC, 0, b"acme", value)

    def parked(self):
        return [
            ({name.removeprefix("x-chargeline-"): text.decode() for name, text in each.headers}, each.value)
            for each in self.log.readable(DEAD_LETTERS, 0, 0, 100)
        ]


def keys(notifier):
    return [each.key for each in notifier.taken]


def steps(delivery, count=10):
    for _ in range(count):
        delivery.step()


def test_alerts_are_delivered_in_order_and_once_when_nothing_goes_wrong():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    for sequence in (1, 2, 3):
        channels.put(record_of(alert(sequence=sequence)))
    steps(delivery)
    assert keys(notifier) == ["a1/1", "a1/2", "a1/3"]


def test_a_channel_that_is_new_gets_what_comes_after_it():
    channels, notifier = Channels(), MemoryNotifier()
    channels.put(record_of(alert(sequence=1)))
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    assert keys(notifier) == ["a1/2"]


def test_a_channel_that_is_away_is_asked_again_after_growing_pauses():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert()))
    notifier.fails_with = ChannelAway("status 503")
    attempts = []
    for _ in range(80):
        before = notifier.attempts
        delivery.step()
        if notifier.attempts > before:
            attempts.append(channels.clock.now)
        channels.clock.now += 100
    assert [later - earlier for earlier, later in pairwise(attempts)] == [500, 1000, 2000, 4000]
    notifier.fails_with = None
    channels.clock.now += 300_000
    steps(delivery, 2)
    assert keys(notifier) == ["a1/1"]


def test_a_channel_that_says_when_is_not_asked_before():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert()))
    notifier.fails_with = ChannelAway("status 429", retry_after_s=60.0)
    steps(delivery, 1)
    channels.clock.now += 59_999
    steps(delivery, 1)
    assert notifier.attempts == 1
    channels.clock.now += 1
    steps(delivery, 1)
    assert notifier.attempts == 2


def test_a_clock_that_is_put_back_does_not_silence_a_channel():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert()))
    notifier.fails_with = ChannelAway("status 503")
    steps(delivery, 1)
    notifier.fails_with = None
    channels.clock.now -= 3_600_000
    steps(delivery, 2)
    assert keys(notifier) == ["a1/1"]


def test_a_dead_channel_holds_up_nobody_else():
    channels, dead, alive = Channels(), MemoryNotifier(), MemoryNotifier()
    dead.fails_with = ChannelAway("no answer")
    first, second = channels.delivery("dead", dead), channels.delivery("alive", alive)
    for sequence in range(1, 6):
        channels.put(record_of(alert(sequence=sequence)))
    for _ in range(10):
        first.step()
        second.step()
    assert keys(alive) == ["a1/1", "a1/2", "a1/3", "a1/4", "a1/5"]
    assert channels.log.groups["notifier-dead"].committed == {0: 0}
    assert channels.log.groups["notifier-alive"].committed == {0: 5}


def test_what_was_not_taken_is_delivered_after_a_restart():
    channels, notifier = Channels(), MemoryNotifier()
    notifier.fails_with = ChannelAway("no answer")
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert(sequence=1)))
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    delivery.close()
    notifier.fails_with = None
    steps(channels.delivery("ops", notifier))
    assert keys(notifier) == ["a1/1", "a1/2"]


def test_a_crash_after_the_delivery_repeats_it_under_the_same_key():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert()))

    def crash(next_offsets):
        raise RuntimeError

    delivery.consumer.commit = crash
    with pytest.raises(RuntimeError):
        delivery.step()
    channels.log.leave("notifier-ops", TOPIC, delivery.consumer.member)
    steps(channels.delivery("ops", notifier))
    assert keys(notifier) == ["a1/1", "a1/1"]


def test_an_alert_that_is_never_taken_is_parked_when_it_is_old_and_the_next_one_goes_on():
    channels, notifier = Channels(park_after_ms=60_000), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert(sequence=1)))
    notifier.fails_with = ChannelAway("status 500")
    for _ in range(100):
        delivery.step()
        channels.clock.now += 1_000
    ((headers, value),) = channels.parked()
    assert (headers["code"], headers["channel"], headers["offset"]) == ("EXPIRED", "ops", "0")
    assert read(value) == alert(sequence=1)
    notifier.fails_with = None
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    assert keys(notifier) == ["a1/2"]


@pytest.mark.parametrize(
    ("value", "error", "code"),
    [(None, Undeliverable("status 400"), "REFUSED"), (b"rubbish", None, "UNREADABLE")],
)
def test_what_can_never_be_delivered_is_parked_at_once(value, error, code):
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(value or record_of(alert()))
    notifier.fails_with = error
    steps(delivery, 2)
    assert [headers["code"] for headers, _ in channels.parked()] == [code]
    assert channels.log.groups["notifier-ops"].committed == {0: 1}


def test_an_alert_of_somebody_else_is_passed_over():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier, is_ours=lambda each: each.sequence == 2)
    channels.put(record_of(alert(sequence=1)))
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    assert keys(notifier) == ["a1/2"]


def test_memory_is_bounded_while_a_channel_is_away():
    channels, notifier = Channels(), MemoryNotifier()
    notifier.fails_with = ChannelAway("no answer")
    delivery = channels.delivery("ops", notifier)
    for sequence in range(300):
        channels.put(record_of(alert(sequence=sequence + 1)))
    steps(delivery, 50)
    assert len(delivery._waiting) <= 101
    notifier.fails_with = None
    channels.clock.now += 300_000
    steps(delivery, 320)
    assert keys(notifier) == [f"a1/{number + 1}" for number in range(300)]
