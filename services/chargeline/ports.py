"""What the services need from the outside, as protocols.

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
from enum import Enum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from chargeline.domain.alerts.text import Notification
from chargeline.domain.budgets.spend import Cell, Spend
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


class ApplyOutcome(Enum):
    APPLIED = "APPLIED"  # the store went from start to end
    BEHIND = "BEHIND"  # the store is before `start`, or empty: write a snapshot or fold again
    AHEAD = "AHEAD"  # the store is beyond `start`: this process is not the owner any more


@dataclass(frozen=True)
class StateDelta:
    """What one commit unit adds to the stored state of one partition. One atomic step.

    Attributes:
        start, end: next_offset before and after.
        charges_next_offset: next_offset of the partition of `charges` after the unit.
        identities: 24 bytes an identity: hash 12, content 4, offset 8, big-endian (docs/state.md).
        last_append_time: of the unit's newest record.
        live: by window start (microseconds), the window's whole blob of totals after the unit.
        live_ttl_s: how long the blobs are kept.
        watermark: microseconds, after the unit; None before the first accepted event.
        scopes: the scopes of accumulating rates that the unit touched, as they are after it; 57 bytes each
            (docs/state.md).
        corrections: fields of the state of corrections that changed (docs/state.md); an empty value removes one.
    """

    start: int
    end: int
    charges_next_offset: int
    identities: bytes
    last_append_time: int
    live: Mapping[int, bytes] = field(default_factory=dict)
    live_ttl_s: int = 0
    watermark: int | None = None
    scopes: bytes = b""
    corrections: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class StateHead:
    """Up to where the stored state goes, in `usage-events` and in `charges`, and the watermark there."""

    next_offset: int
    charges_next_offset: int
    watermark: int | None = None


@dataclass(frozen=True)
class Segment:
    """Part of the known identities, at most `SEGMENT_IDENTITIES` of them, in log order."""

    number: int
    identities: bytes
    last_append_time: int


@dataclass(frozen=True)
class StateSizes:
    """How much is stored for a partition; nothing large is read for it.

    Attributes:
        segments, identities: by the index.
        damaged: segments that are not as long as the index says.
        bytes: of segments and live windows, as they are.
        scopes: of accumulating rates.
    """

    segments: int
    identities: int
    damaged: int
    bytes: int
    live_windows: int
    scopes: int


class StateStore(Protocol):
    """The stored state by source partition (Redis). It can always be folded again from `charges`."""

    def head(self, partition: int) -> StateHead | None:
        """None: nothing stored. Raises TransientError."""

    def segments(self, partition: int) -> Iterator[Segment]:
        """All of them, oldest first. Raises StateIncomplete if one named by the index is missing or short."""

    def apply(self, partition: int, delta: StateDelta) -> ApplyOutcome:
        """Compare next_offset with `start`, then write all of `delta` or nothing."""

    def replace(
        self,
        partition: int,
        head: StateHead,
        segments: Sequence[Segment],
        live: Mapping[int, bytes],
        scopes: bytes,
        corrections: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Put a snapshot in the place of whatever is stored; readers see the old or the new head, never a mix."""

    def scopes(self, partition: int) -> bytes:
        """The scopes of accumulating rates, in any order, as in `StateDelta`."""

    def corrections(self, partition: int) -> dict[bytes, bytes]:
        """All fields of the state of corrections."""

    def drop_segments(self, partition: int, before_append_time: int) -> None:
        """Forget the segments whose last append time lies before it. Raises TransientError."""

    def live(self, partition: int) -> dict[int, bytes]:
        """The blobs of the live windows by window start (microseconds)."""

    def sizes(self, partition: int) -> StateSizes:
        """How much is stored. Raises TransientError."""

    def invalidate(self, partition: int) -> None:
        """Remove the head: without it there is no state, and the owner writes or folds it again. Atomic."""


@dataclass(frozen=True)
class SpendHead:
    """Up to where the stored spend of a partition of `cost-rollups` goes.

    Attributes:
        next_offset: of `cost-rollups`.
        mark: (unit_end_offset, pane_index) of the newest pane that counted.
        complete_from: microseconds; spend of event times before it may be missing. None: nothing is.
    """

    next_offset: int
    mark: tuple[int, int]
    complete_from: int | None = None


@dataclass(frozen=True)
class SpendDelta:
    """What a step changes, atomically. Totals are whole values (picounits), not differences; None: the cell is gone.

    Attributes:
        start: the stored next_offset before; None: nothing is stored yet.
    """

    start: int | None
    head: SpendHead
    days: Mapping[Cell, int | None]
    fives: Mapping[Cell, int | None]


class SpendStore(Protocol):
    """The stored spend by partition of `cost-rollups`, and the documents for gateways. All raise TransientError."""

    def load(self, partition: int) -> tuple[SpendHead, Spend] | None:
        """All of it; None: nothing stored."""

    def apply(self, partition: int, delta: SpendDelta) -> ApplyOutcome:
        """Compare next_offset with `start`, then write all of `delta` or nothing."""

    def replace(self, partition: int, head: SpendHead, spend: Spend) -> None:
        """Put a snapshot in the place of whatever totals are stored, in one step."""

    def publish(self, partition: int, documents: Mapping[str, str], next_offset: int) -> None:
        """Write the documents of a partition's scopes by path, and remove those of scopes that are left out.

        A document of a larger next_offset stays: whoever writes an older one is not the owner any more.
        """

    def told(self, partition: int) -> dict[str, str]:
        """What was told of alerts, by id."""

    def tell(self, partition: int, told: Mapping[str, str | None]) -> None:
        """Note what was told; None: forget it."""

    def beat(self, updated_at: int) -> None:
        """Show gateways that documents are being written; microseconds since 1970 UTC."""


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
