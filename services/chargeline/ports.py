"""What the services need from the outside, as protocols; their stores of state are in `state_ports`.

"next_offset" always means the offset of the next record to read; nobody adds one to anything.
Times of the log are milliseconds since 1970 UTC, as Kafka keeps them.

Errors of the ports (see `domain.errors` for the tree):
    TransientError      the system is away or busy: nothing happened, call again.
    AbortRequired       the open transaction cannot commit: abort it, seek back, go on.
    Fenced              another process owns the slot or the partition: stop, write nothing.
    ChannelAway         an alert channel takes nothing now: the same message again, later.
    Undeliverable       an alert channel refuses the message for good.
    OutcomePending      whether the last transaction committed is not known yet: wait, ask again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from chargeline.domain.alerts.text import Notification
from chargeline.domain.rating.scope_states import ScopeStates

Int64Array = npt.NDArray[np.int64]
Headers = Sequence[tuple[str, bytes]]


class Clock(Protocol):
    """The time of this process. Used for waiting and freshness, never for pricing."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""

    def sleep(self, seconds: float) -> None:
        """Block for so long; the fake moves its own time instead."""


@dataclass(frozen=True)
class LogBatch:
    """Records of one partition, in offset order, as parallel columns.

    Attributes:
        offsets: int64, ascending. Without gaps on `usage-events`, which has no transactional writer.
        append_times: int64 milliseconds, the broker's LogAppendTime.
        values: the raw bytes; empty for a record without value.
        next_offset: where to go on after this batch.
        sizes: int64, bytes of each value.
    """

    topic: str
    partition: int
    offsets: Int64Array
    append_times: Int64Array
    values: list[bytes]
    next_offset: int
    sizes: Int64Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", np.fromiter(map(len, self.values), np.int64, len(self.values)))

    def part(self, start: int, stop: int) -> "LogBatch":
        """The records from number `start` to `stop`, exclusive; at least one."""
        if stop - start == len(self.values):
            return self
        rows = slice(start, stop)
        last = int(self.offsets[stop - 1])
        return LogBatch(
            self.topic, self.partition, self.offsets[rows], self.append_times[rows], self.values[rows], last + 1
        )


@dataclass(frozen=True)
class Record:
    """One record with everything, for topics of few and large messages."""

    topic: str
    partition: int
    offset: int
    append_time: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class LogConsumer(Protocol):
    """A member of a consumer group: classic protocol, eager assignor, read_committed, no automatic commit.

    After an assignment nothing is fetched until `start` named the place: the owner of the state decides where.
    """

    def subscribe(
        self, topic: str, on_assign: Callable[[list[int]], None], on_revoke: Callable[[list[int]], None]
    ) -> None:
        """Join the group. Both callbacks run inside `poll`; on_revoke also when ownership was lost."""

    def poll(self, max_records: int, timeout_s: float) -> list[LogBatch]:
        """Fetch up to `max_records` of the started, unpaused partitions; may block for `timeout_s`; [] if none."""

    def poll_records(self, max_records: int, timeout_s: float) -> list[Record]:
        """The same for topics of few and large messages, with keys and headers."""

    def group_metadata(self) -> object:
        """The membership (member and generation) at this moment; opaque, for `send_offsets`."""

    def start(self, next_offsets: Mapping[int, int]) -> None:
        """Fetch these assigned partitions from there: at assignment, and to go back after an abort."""

    def pause(self, partitions: Sequence[int]) -> None:
        """Fetch nothing of these until `resume`; it outlives their assignment and `start`."""

    def resume(self, partitions: Sequence[int]) -> None:
        """End `pause`, also for partitions that are not assigned any more."""

    def committed(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Stable committed next_offsets of the group; None where there is none.

        Raises:
            OutcomePending: a transaction that may move one of them is still open.
        """

    def commit(self, next_offsets: Mapping[int, int]) -> None:
        """Commit outside any transaction (the sink). Raises Fenced when the partition is not ours any more."""

    def bounds(self, partition: int) -> tuple[int, int]:
        """(log start, end) offsets of a partition of the subscribed topic, asked now; end is read_committed."""

    def close(self) -> None:
        """Leave the group. Idempotent."""


class TransactionalProducer(Protocol):
    """One transactional writer per slot; opening it fences the one before."""

    def begin(self) -> None: ...

    def produce(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        """Add a record to the open transaction; may block for buffer space. Raises AbortRequired, Fenced."""

    def send_offsets(self, topic: str, next_offsets: Mapping[int, int], group_metadata: object) -> None:
        """Add the input's next_offsets to the transaction. Raises AbortRequired, Fenced."""

    def commit(self) -> Mapping[tuple[str, int], int]:
        """Commit; when it returns, it is decided. Retries retriable errors by itself.

        Readers of a partition see it once the marker has reached that partition, which may be moments later.

        Returns:
            By (topic, partition) the offset after the last record that the transaction wrote there.

        Raises:
            AbortRequired: nothing of it is or will be visible after `abort`.
            Fenced: another owner; nothing of it is visible.
            (any other error): the outcome is unknown: exit, recovery finds out.
        """

    def abort(self) -> None: ...

    def close(self) -> None: ...


class LogReader(Protocol):
    """Reads a range of a partition outside any group; read_committed."""

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(log start, stable end) offsets, asked of the broker at this call."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Records with start <= offset < end, in order; control markers and aborted records are left out.

        Raises:
            LogTruncated: `start` is below the log start.
        """

    def partitions(self, topic: str) -> int:
        """Number of partitions of the topic."""

    def close(self) -> None: ...


class Warehouse(Protocol):
    """ClickHouse, as the sink, `verify` and the commands need it."""

    def insert(self, table: str, rows: Any, token: str) -> None:
        """Insert one Arrow table as one block under a deduplication token; returns when durable.

        Inserting again under the same token adds nothing that is already there. Raises TransientError.
        """

    def stored_maximum(self, table: str, topic: str) -> dict[int, int]:
        """Largest stored log_offset by log partition of that topic; partitions without rows are left out."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Rows of a SELECT as an Arrow table."""


@dataclass(frozen=True)
class ClosingRows:
    """Which rows a close has to know: the own ones of closes, and of events those with an entry of one of the SKUs, or
    that are billed, in part at least, in a period.

    Attributes:
        period_start: of that period, microseconds; None: of none.
        attributes: of events that name scopes.
    """

    sku_ids: tuple[str, ...]
    period_start: int | None
    attributes: frozenset[str] = frozenset()


class ChargeArchive(Protocol):
    """Booked rows of long ago, complete and as plain values (`wire.left_out`); all calls raise TransientError."""

    def find(
        self, partition: int, identities: Collection[tuple[str, str, str]], before: int, held: int
    ) -> list[dict[str, Any]]:
        """All rows with a source offset below `before` that are of one of the (account, source, event_id) or name it.

        In order, each once.

        Args:
            held: the rows below this source offset must be there before an answer counts: at most the end of the last
                unit that booked any, since an archive of rows never hears of a unit without them.

        Raises:
            TransientError: they are not all there yet, too.
        """

    def rows(self, partition: int, offset: int) -> list[dict[str, Any]]:
        """The rows of one record in their order."""

    def scopes(self, partition: int, before: int) -> ScopeStates:
        """The scopes of accumulating rates after all rows with a source offset below `before`.

        Asked for what the log of charges has no more: whoever stores rows refuses to go on where it missed some.
        """

    def of_account(
        self, partition: int, billing_account_id: str, wanted: ClosingRows, before: int, held: int
    ) -> Iterable[dict[str, Any]]:
        """The account's rows below `before` that a close has to know, in order, read as they are asked for; see `find`.

        They may be without values that no close looks at.
        """


class LogWriter(Protocol):
    """Appends single records outside any transaction."""

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = ()) -> None:
        """Append one record; when it returns, the record is on every in-sync replica. May block.

        Raises:
            TransientError: it may have been written or not: whoever calls again may write it twice.
        """

    def close(self) -> None: ...


class Notifier(Protocol):
    """One channel to people. A message may be sent more than once; its key is the same every time."""

    def send(self, notification: Notification) -> None:
        """Hand one message over; when it returns, the channel has taken it. May block for some seconds.

        Raises:
            ChannelAway: nothing is known of it: call again later.
            Undeliverable: the channel refuses it for good.
        """

    def close(self) -> None:
        """Idempotent."""
