"""Small real implementations of the ports in memory, for simulations and tests: a log with transactions and consumer
groups, and a clock that is moved by hand. The stores of state are in `memory_state` and `memory_budgets`, the
warehouse is in `memory_warehouse`.

They keep the rules that the commit protocol leans on: read_committed readers stop at the first open transaction,
control markers take an offset, a newer producer of a slot fences the older one and aborts what it left open, and
offsets are fenced by the member and generation that travel with them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from chargeline.domain.errors import Fenced, LogTruncated, OutcomePending
from chargeline.ports import Headers, LogBatch, Record

Fault = Callable[[str], None]
_TRANSACTION_MS = 10_000


def no_faults(_point: str) -> None:
    """The default: nothing goes wrong at any point."""


class FakeClock:
    """`ports.Clock` moved by hand; sleeping moves it."""

    def __init__(self, now_ms: int) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(1, int(seconds * 1000))


@dataclass
class _Entry:
    record: Record | None  # None: a control marker
    transaction: tuple[str, int] | None = None
    state: str = "committed"  # open, committed, aborted
    decided_ms: int = 0  # from when on readers of this partition know it


@dataclass
class _Group:
    generation: int = 0
    members: dict[int, list[int]] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)
    pending: dict[tuple[str, int], dict[int, int]] = field(default_factory=dict)


class MemoryLog:
    """The broker."""

    def __init__(self, clock: FakeClock, partitions: Mapping[str, int]) -> None:
        self.clock = clock
        self.logs: dict[tuple[str, int], list[_Entry]] = {
            (topic, partition): [] for topic, count in partitions.items() for partition in range(count)
        }
        self.counts = dict(partitions)
        self.starts: dict[tuple[str, int], int] = {}  # where a log begins, if records were deleted
        self.groups: dict[str, _Group] = {}
        self.epochs: dict[str, int] = {}
        self.begun: dict[tuple[str, int], int] = {}
        self.marker_lag_ms = 0  # a commit is decided first; its markers reach the partitions a moment later
        self._next_member = 0

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
        """Append outside any transaction; the offset."""
        return self.put(topic, partition, key, value, headers, None)

    def put(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        transaction: tuple[str, int] | None,
    ) -> int:
        log = self.logs[topic, partition]
        if transaction is not None:
            self.begun.setdefault(transaction, self.clock.now)
        record = Record(topic, partition, len(log), self.clock.now, key, value, tuple(headers))
        log.append(_Entry(record, transaction, "committed" if transaction is None else "open"))
        return len(log) - 1

    def stable_end(self, topic: str, partition: int) -> int:
        """The offset before which every transaction is decided."""
        log, now = self.logs[topic, partition], self.clock.now
        undecided = (n for n, entry in enumerate(log) if entry.state == "open" or entry.decided_ms > now)
        return next(undecided, len(log))

    def readable(self, topic: str, partition: int, start: int, end: int, *, committed: bool = True) -> list[Record]:
        log = self.logs[topic, partition]
        limit = min(end, self.stable_end(topic, partition)) if committed else end
        wanted = {"committed"} if committed else {"committed", "open", "aborted"}
        return [entry.record for entry in log[start:limit] if entry.record is not None and entry.state in wanted]

    def expire(self) -> None:
        """Abort what has been open for too long, and fence its writer."""
        for transaction, begun in list(self.begun.items()):
            if self.clock.now - begun > _TRANSACTION_MS:
                self.epochs[transaction[0]] = max(self.epochs[transaction[0]], transaction[1] + 1)
                self.end_transaction(transaction, commit=False)

    def end_transaction(self, transaction: tuple[str, int], *, commit: bool) -> None:
        self.begun.pop(transaction, None)
        for log in self.logs.values():
            touched = [entry for entry in log if entry.transaction == transaction and entry.state == "open"]
            for entry in touched:
                entry.state = "committed" if commit else "aborted"
                entry.decided_ms = self.clock.now + self.marker_lag_ms
            if touched:
                log.append(_Entry(None))
        for group in self.groups.values():
            offsets = group.pending.pop(transaction, {})
            if commit:
                group.committed |= offsets

    def join(self, group: str, topic: str) -> int:
        self._next_member += 1
        self.groups.setdefault(group, _Group()).members[self._next_member] = []
        self.rebalance(group, topic)
        return self._next_member

    def leave(self, group: str, topic: str, member: int) -> None:
        if self.groups[group].members.pop(member, None) is not None:
            self.rebalance(group, topic)

    def rebalance(self, group: str, topic: str) -> None:
        """Deal the partitions out anew; every membership of before is out of date."""
        state = self.groups[group]
        state.generation += 1
        members = sorted(state.members)
        for member in members:
            state.members[member] = []
        for partition in range(self.counts[topic] if members else 0):
            state.members[members[partition % len(members)]].append(partition)


class MemoryLogConsumer:
    """`ports.LogConsumer`."""

    def __init__(self, log: MemoryLog, group: str, faults: Fault = no_faults, *, committed: bool = True) -> None:
        self._log, self._group, self._faults, self._committed = log, group, faults, committed
        self._topic = ""
        self._member = 0
        self._generation = 0
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._on_assign: Callable[[list[int]], None] = lambda _: None
        self._on_revoke: Callable[[list[int]], None] = lambda _: None
        self._owned: list[int] = []

    @property
    def member(self) -> int:
        return self._member

    def subscribe(
        self, topic: str, on_assign: Callable[[list[int]], None], on_revoke: Callable[[list[int]], None]
    ) -> None:
        self._topic, self._on_assign, self._on_revoke = topic, on_assign, on_revoke
        self._member = self._log.join(self._group, topic)

    def poll(self, max_records: int, timeout_s: float) -> list[LogBatch]:
        del timeout_s
        self._rebalanced()
        self._faults("poll")
        batches = []
        for partition, records in self._fetch(max_records):
            offsets = np.array([record.offset for record in records], np.int64)
            times = np.array([record.append_time for record in records], np.int64)
            values = [record.value or b"" for record in records]
            batches.append(LogBatch(self._topic, partition, offsets, times, values, int(offsets[-1]) + 1))
        return batches

    def poll_records(self, max_records: int, timeout_s: float) -> list[Record]:
        del timeout_s
        self._rebalanced()
        return [record for _, records in self._fetch(max_records) for record in records]

    def group_metadata(self) -> object:
        # As the real client: its own threads rejoin, so a later answer may already be of a later generation.
        group = self._log.groups[self._group]
        return (self._group, self._member, group.generation if self._member in group.members else self._generation)

    def start(self, next_offsets: Mapping[int, int]) -> None:
        self._positions = dict(next_offsets)

    def pause(self, partitions: Sequence[int]) -> None:
        self._paused |= set(partitions)

    def resume(self, partitions: Sequence[int]) -> None:
        self._paused -= set(partitions)

    def committed(self, partitions: Sequence[int]) -> dict[int, int | None]:
        self._log.expire()
        group = self._log.groups[self._group]
        if any(partition in offsets for offsets in group.pending.values() for partition in partitions):
            raise OutcomePending("a transaction is open")
        return {partition: group.committed.get(partition) for partition in partitions}

    def commit(self, next_offsets: Mapping[int, int]) -> None:
        self._faults("consumer.commit")
        group = self._log.groups[self._group]
        if self._member not in group.members or self._generation != group.generation:
            raise Fenced("not a member of this generation")
        group.committed |= next_offsets

    def bounds(self, partition: int) -> tuple[int, int]:
        return self._log.starts.get((self._topic, partition), 0), self._log.stable_end(self._topic, partition)

    def close(self) -> None:
        self._log.leave(self._group, self._topic, self._member)

    def _rebalanced(self) -> None:
        group = self._log.groups[self._group]
        if self._generation == group.generation and self._member in group.members:
            return
        if self._owned:
            self._on_revoke(self._owned)
        self._positions, self._owned = {}, []
        if self._member not in group.members:
            self._member = self._log.join(self._group, self._topic)
        self._generation = group.generation
        self._owned = list(group.members[self._member])
        self._on_assign(self._owned)

    def _fetch(self, max_records: int) -> Iterator[tuple[int, list[Record]]]:
        for partition, position in list(self._positions.items()):
            if partition in self._paused:
                continue
            end = len(self._log.logs[self._topic, partition])
            records = self._log.readable(self._topic, partition, position, end, committed=self._committed)[:max_records]
            if records:
                self._positions[partition] = records[-1].offset + 1
                yield partition, records


class MemoryTransactionalProducer:
    """`ports.TransactionalProducer`."""

    def __init__(self, log: MemoryLog, transactional_id: str, faults: Fault = no_faults) -> None:
        self._log, self._id, self._faults = log, transactional_id, faults
        self._epoch = log.epochs.get(transactional_id, 0) + 1
        log.end_transaction((transactional_id, self._epoch - 1), commit=False)
        log.epochs[transactional_id] = self._epoch
        self._written: dict[tuple[str, int], int] = {}

    @property
    def _transaction(self) -> tuple[str, int]:
        if self._log.epochs[self._id] != self._epoch:
            raise Fenced(f"a newer producer of {self._id}")
        return self._id, self._epoch

    def begin(self) -> None:
        self._written = {}
        self._faults("begin")

    def produce(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        self._faults("produce")
        offset = self._log.put(topic, partition, key, value, headers, self._transaction)
        self._written[topic, partition] = offset + 1

    def send_offsets(self, topic: str, next_offsets: Mapping[int, int], group_metadata: object) -> None:
        del topic
        self._faults("send_offsets")
        assert isinstance(group_metadata, tuple)
        name, member, generation = group_metadata
        group = self._log.groups[name]
        if member not in group.members or generation != group.generation:
            raise Fenced("offsets of a membership that ended")
        group.pending[self._transaction] = dict(next_offsets)

    def commit(self) -> Mapping[tuple[str, int], int]:
        self._faults("commit.before")
        self._log.end_transaction(self._transaction, commit=True)
        self._faults("commit.after")
        return self._written

    def abort(self) -> None:
        self._log.end_transaction(self._transaction, commit=False)

    def close(self) -> None:
        return


class MemoryLogReader:
    """`ports.LogReader`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self._log.starts.get((topic, partition), 0), self._log.stable_end(topic, partition)

    def partitions(self, topic: str) -> int:
        return self._log.counts[topic]

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        low, _ = self.bounds(topic, partition)
        if start < low:
            raise LogTruncated(f"{topic}/{partition} begins at {low}; {start} is needed and gone")
        yield from self._log.readable(topic, partition, start, end)

    def close(self) -> None:
        return
