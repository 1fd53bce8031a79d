"""The stores of the state that services keep, as protocols.

"next_offset", times and errors are those of `ports`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from chargeline.domain.budgets.spend import Cell, Spend


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
