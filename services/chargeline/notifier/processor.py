"""Alerts of `cost-anomalies` to one channel, at least once and in order. Every channel is a consumer group of its own.

    1. at assignment: start at the committed next_offset; a channel that is new starts at the end, and says so at once
    2. poll: this also keeps the membership while the channel is away
    3. send the oldest alert; a channel that is away gets the same one again, after a pause that doubles
    4. commit next_offset once the channel has taken it, or once it stands in the dead letters

What is pending is what lies in the log beyond the committed offset: it survives every crash, and a channel that is
dead holds up nobody but itself. A crash between 3 and 4: the alert is sent again under the same key. An alert that
was not taken for `park_after_ms`, that is refused for good, or that cannot be read is parked: a dead letter with its
channel, code and reason, then the next one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from chargeline.domain.alerts.alert import Alert
from chargeline.domain.alerts.text import Notification
from chargeline.domain.errors import ChannelAway, Fenced, InvalidEvent, Undeliverable
from chargeline.domain.retrying import delay_ms
from chargeline.notifier.observer import Observer
from chargeline.ports import Clock, LogConsumer, LogWriter, Notifier, Record

TOPIC = "cost-anomalies"
DEAD_LETTERS = "cost-anomalies-dlq"
EXPIRED, REFUSED, UNREADABLE = "EXPIRED", "REFUSED", "UNREADABLE"
_POLL_S = 0.2
_WAITING_MAX = 100  # alerts in memory; the others wait in the log
log = structlog.get_logger()


@dataclass
class Delivery:
    """One channel. `step` is the loop's body.

    Attributes:
        read: the alert of a record's value; raises InvalidEvent if it is none, TransientError if it cannot tell now.
        is_ours: whether the alert goes to this channel.
        say: the message of an alert.
        chance: 0 to 999, for the pauses.
        park_after_ms: age of a record, by its append time, at which a channel that is away loses it.
    """

    channel: str
    consumer: LogConsumer
    notifier: Notifier
    dead_letters: LogWriter
    read: Callable[[bytes], Alert]
    is_ours: Callable[[Alert], bool]
    say: Callable[[Alert], Notification]
    clock: Clock
    chance: Callable[[], int]
    park_after_ms: int
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        self._assigned: list[int] | None = None
        self._waiting: deque[Record] = deque()
        self._owned: set[int] = set()
        self._is_paused = False
        self._failures = 0
        self._pause = (0, 0)
        self.consumer.subscribe(TOPIC, self._on_assign, self._on_revoke)

    def step(self) -> bool:
        """Deliver the oldest alert, if there is one and it is time; False if there was none.

        Raises:
            TransientError: Kafka or the registry is away: call again.
            Fault: the log is not what it was.
        """
        self.observer.began(self.channel)
        try:
            if self._assigned is not None:
                self._begin()
            return self._deliver()
        except Fenced as error:
            log.warning("partitions_lost", channel=self.channel, reason=str(error))
            self._forget()
            return True

    def close(self) -> None:
        """Leave the group; what was not delivered is delivered by the next owner."""
        self._forget()
        self.consumer.close()
        self.notifier.close()

    def _deliver(self) -> bool:
        self._poll()
        now = self.clock.now_ms()
        if not self._waiting:
            self.observer.waits(self.channel, 0)
            return False
        record = self._waiting[0]
        self.observer.waits(self.channel, max(0, now - record.append_time) / 1000)
        if self._is_early(now) or not self._is_done(record, now):
            return True
        self._failures, self._pause = 0, (0, 0)
        self.consumer.commit({record.partition: record.offset + 1})
        self._waiting.popleft()
        return True

    def _is_done(self, record: Record, now: int) -> bool:
        """Whether the record needs nothing more: delivered, parked, or not for this channel."""
        try:
            alert = self.read(record.value or b"")
        except InvalidEvent as error:
            return self._park(record, UNREADABLE, error.reason)
        if not self.is_ours(alert):
            self.observer.outcome(self.channel, "SKIPPED")
            return True
        try:
            self.notifier.send(self.say(alert))
        except Undeliverable as error:
            return self._park(record, REFUSED, str(error))
        except ChannelAway as error:
            self._failures += 1
            if now - record.append_time >= self.park_after_ms:
                return self._park(record, EXPIRED, f"{self._failures} attempts since the last success: {error}")
            pause = max(delay_ms(self._failures, self.chance()), int(error.retry_after_s * 1000))
            since = self.clock.now_ms()
            self._pause = (since, since + pause)
            self.observer.outcome(self.channel, "RETRIED")
            log.warning("channel_away", channel=self.channel, attempt=self._failures, pause_ms=pause, reason=str(error))
            return False
        self.observer.outcome(self.channel, "DELIVERED")
        log.info("alert_delivered", channel=self.channel, key=alert.key)
        return True

    def _park(self, record: Record, code: str, reason: str) -> bool:
        headers = {
            "code": code,
            "reason": reason,
            "channel": self.channel,
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            "append-time": str(record.append_time),
        }
        # Durable before the offset moves: a crash in between parks it twice, the other order would lose it.
        self.dead_letters.append(
            DEAD_LETTERS,
            record.partition,
            record.key,
            record.value or b"",
            [(f"x-chargeline-{name}", text.encode()) for name, text in headers.items()],
        )
        self.observer.outcome(self.channel, "PARKED")
        log.error("alert_parked", channel=self.channel, code=code, offset=record.offset, partition=record.partition)
        return True

    def _is_early(self, now: int) -> bool:
        """Whether the channel is to be left alone; a clock that is put back does not lengthen its pause."""
        return self._pause[0] <= now < self._pause[1]

    def _poll(self) -> None:
        is_full = len(self._waiting) >= _WAITING_MAX
        if is_full != self._is_paused and self._owned:
            (self.consumer.pause if is_full else self.consumer.resume)(sorted(self._owned))
            self._is_paused = is_full
        # At least one even then: the client tells of a rebalance inside a poll only.
        room = max(1, _WAITING_MAX - len(self._waiting))
        is_due = bool(self._waiting) and not self._is_early(self.clock.now_ms())
        records = self.consumer.poll_records(room, 0.0 if is_due else _POLL_S)
        self._waiting.extend(record for record in records if record.partition in self._owned)

    def _on_assign(self, partitions: list[int]) -> None:
        self._assigned = partitions
        self.observer.assigned(self.channel)

    def _on_revoke(self, partitions: list[int]) -> None:
        del partitions  # the eager assignor takes all of them
        self._forget()

    def _forget(self) -> None:
        if self._is_paused:
            self.consumer.resume(sorted(self._owned))
        self._assigned, self._owned, self._is_paused = None, set(), False
        self._waiting.clear()
        self._failures, self._pause = 0, (0, 0)

    def _begin(self) -> None:
        partitions = self._assigned or []
        committed = self.consumer.committed(partitions)
        bounds = {partition: self.consumer.bounds(partition) for partition in partitions}
        # A new channel is not sent what others were told long ago.
        fresh = {partition: bounds[partition][1] for partition in partitions if committed[partition] is None}
        if fresh:
            self.consumer.commit(fresh)
        starts = {partition: max(bounds[partition][0], committed[partition] or 0) for partition in partitions} | fresh
        for partition, start in starts.items():
            if start > (committed[partition] or start):
                log.error("alerts_lost", channel=self.channel, partition=partition, before=start)
        self._assigned, self._owned = None, set(partitions)
        self._waiting.clear()
        self.consumer.start(starts)
        self.observer.ready(self.channel)
        log.info("channel_ready", channel=self.channel, next_offsets=starts)
