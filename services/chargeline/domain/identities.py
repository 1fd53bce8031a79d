"""Which events are known: an exact set of identities in columns, at most 32 bytes each.

The identities lie in log order in plain columns (24 bytes each, the stored form); a hash index of 5 bytes a slot
finds them. The index is cut into shards that grow one by one, so growing touches a sixteenth of it and no
identity is ever moved.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.compiled import compiled

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
UInt64Array = npt.NDArray[np.uint64]
UInt32Array = npt.NDArray[np.uint32]

# The stored form, big-endian so that a blob sorts as its hashes do (docs/state.md).
STORED = np.dtype([("hash_high", ">u8"), ("hash_low", ">u4"), ("content", ">u4"), ("offset", ">i8")])
_SHARD_BITS = 4
_START_BUCKETS = 256
_SLOTS = 16
_BYTE, _ONE, _32 = np.uint64(0xFF), np.uint64(1), np.uint64(32)
_SEED = np.uint64(secrets.randbits(64) | 1)  # nobody who names events can know which ones collide
_FULL = 0.88  # of a shard's slots; 0.88 / 1.4 = 0.63 is the least after growing


@dataclass(frozen=True)
class Keys:
    """n identities and what their events contain.

    Attributes:
        high, low: uint64, uint32: the first 12 bytes of the identity's hash, read big-endian.
        content: uint32: the first 4 bytes of the content's hash, read big-endian.
        offset: int64: where the event lies; the partition is the table's.
    """

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint32]
    content: npt.NDArray[np.uint32]
    offset: Int64Array

    def __len__(self) -> int:
        return len(self.high)

    def take(self, rows: Int64Array | BoolArray) -> "Keys":
        return Keys(self.high[rows], self.low[rows], self.content[rows], self.offset[rows])

    @classmethod
    def joined(cls, parts: Sequence["Keys"]) -> "Keys":
        """All of them, in this order."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate(columns) for columns in zip(*(each.columns() for each in parts), strict=True)))

    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.high, self.low, self.content, self.offset

    def stored(self) -> bytes:
        """24 bytes an identity, as the state store keeps them."""
        rows = np.empty(len(self), STORED)
        rows["hash_high"], rows["hash_low"], rows["content"], rows["offset"] = (
            self.high,
            self.low,
            self.content,
            self.offset,
        )
        return rows.tobytes()

    @classmethod
    def from_stored(cls, blob: bytes) -> "Keys":
        rows = np.frombuffer(blob, STORED)
        return cls(
            rows["hash_high"].astype(np.uint64),
            rows["hash_low"].astype(np.uint32),
            rows["content"].astype(np.uint32),
            rows["offset"].astype(np.int64),
        )


class _Log:
    """Identities in log order, in columns that grow in place."""

    def __init__(self) -> None:
        self.count = 0
        self.high = np.empty(0, np.uint64)
        self.low = np.empty(0, np.uint32)
        self.content = np.empty(0, np.uint32)
        self.offset = np.empty(0, np.int64)

    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.high, self.low, self.content, self.offset

    def append(self, keys: Keys) -> None:
        end = self.count + len(keys)
        if end > len(self.high):
            for column in self.columns():
                # The allocator moves large blocks by their pages: nothing is copied, nothing is held twice.
                column.resize(end + (end >> 6) + 1024, refcheck=False)
        for column, added in zip(self.columns(), keys.columns(), strict=True):
            column[self.count : end] = added
        self.count = end

    def keys(self, start: int = 0) -> Keys:
        return Keys(*(column[start : self.count] for column in self.columns()))


class _Shard:
    """An index of one part of the hash space: buckets of 16 slots, each a tag of the hash and a place in the log.

    Slots of a bucket fill from the left, and what finds its bucket full goes to the next one. Only where a tag agrees
    is the log looked at. Tag 0: free.
    """

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.count = 0
        self.tags = np.zeros((buckets, _SLOTS), np.uint8)
        self.places = np.zeros((buckets, _SLOTS), np.uint32)

    def find(self, keys: Keys, rows: Int64Array, log: _Log, place: Int64Array) -> None:
        """Write the place in the log of each of these rows; those of unknown keys stay as they are."""
        _find(self.tags, self.places, keys.high, keys.low, rows, log.high, log.low, place)

    def add(self, high: UInt64Array, low: UInt32Array, places: Int64Array) -> None:
        """Add what is neither known nor twice among itself, and has room."""
        self.count += len(places)
        _add(self.tags, self.places, high, low, places)

    def grown(self, needed: int, log: _Log) -> "_Shard":
        """A larger one with the same content."""
        buckets = self.buckets
        while buckets * _SLOTS * _FULL < needed:
            buckets += buckets * 2 // 5
        larger = _Shard(buckets)
        larger.add(log.high, log.low, self.places[self.tags != 0].astype(np.int64))
        return larger


@compiled
def _find(
    tags: npt.NDArray[np.uint8],
    places: UInt32Array,
    highs: UInt64Array,
    lows: UInt32Array,
    rows: Int64Array,
    log_high: UInt64Array,
    log_low: UInt32Array,
    found: Int64Array,
) -> None:
    buckets = len(tags)
    for row in rows:
        high, low = highs[row], lows[row]
        tag, bucket = _tag(high), _home(low, buckets)
        slot = 0
        while tags[bucket, slot]:
            if tags[bucket, slot] == tag:
                at = places[bucket, slot]
                if log_high[at] == high and log_low[at] == low:
                    found[row] = at
                    break
            slot += 1
            if slot == _SLOTS:
                bucket, slot = (bucket + 1) % buckets, 0


@compiled
def _add(
    tags: npt.NDArray[np.uint8], places: UInt32Array, log_high: UInt64Array, log_low: UInt32Array, added: Int64Array
) -> None:
    buckets = len(tags)
    for at in added:
        bucket, slot = _home(log_low[at], buckets), 0
        while tags[bucket, slot]:
            slot += 1
            if slot == _SLOTS:
                bucket, slot = (bucket + 1) % buckets, 0
        tags[bucket, slot], places[bucket, slot] = _tag(log_high[at]), at


@compiled
def _tag(high: np.uint64) -> np.uint8:
    return np.uint8(max(high & _BYTE, _ONE))


@compiled
def _home(low: np.uint32, buckets: int) -> np.int64:
    return np.int64((np.uint64(low) * np.uint64(buckets)) >> _32)


class Identities:
    """The identities of one partition that were accepted, with where they lie and what they contain."""

    def __init__(self) -> None:
        self._log = _Log()
        self._shards = _shards()

    def __len__(self) -> int:
        return self._log.count

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        index = sum(shard.buckets * _SLOTS * 5 for shard in self._shards)
        return index + sum(column.nbytes for column in self._log.columns())

    @property
    def first_offset(self) -> int | None:
        """Where the oldest one lies; None: there is none."""
        return int(self._log.offset[0]) if self._log.count else None

    def find(self, keys: Keys) -> tuple[Int64Array, Int64Array]:
        """What is known of n keys: (content hash, offset), int64; offset -1: not known."""
        place = np.full(len(keys), -1, np.int64)
        for number, rows in _split(keys.high):
            self._shards[number].find(keys, rows, self._log, place)
        content = np.zeros(len(keys), np.int64)
        offset = np.full(len(keys), -1, np.int64)
        known = np.flatnonzero(place >= 0)
        content[known] = self._log.content[place[known]]
        offset[known] = self._log.offset[place[known]]
        return content, offset

    def add(self, keys: Keys) -> None:
        """Remember keys, in log order, that `find` does not know and that are not twice among themselves."""
        begin = self._log.count
        self._log.append(keys)
        for number, rows in _split(keys.high):
            shard = self._shards[number]
            if shard.count + len(rows) > shard.buckets * _SLOTS * _FULL:
                shard = self._shards[number] = shard.grown(shard.count + len(rows), self._log)
            shard.add(self._log.high, self._log.low, begin + rows)

    def forget_before(self, offset: int) -> None:
        """Forget what lies before an offset: the end of the horizon."""
        start = int(np.searchsorted(self._log.offset[: self._log.count], offset))
        if start:
            kept = self._log.keys(start)
            self._log, self._shards = _Log(), _shards()
            self.add(kept)

    def keys(self) -> Keys:
        """All of them in log order, for a snapshot."""
        return self._log.keys().take(np.arange(len(self)))


def _shards() -> list[_Shard]:
    # Unequal from the start, so that they do not all grow in the same unit.
    return [_Shard(_START_BUCKETS + 6 * number) for number in range(1 << _SHARD_BITS)]


def _split(high: UInt64Array) -> list[tuple[int, Int64Array]]:
    """The rows of each shard that has any."""
    number = (high >> np.uint64(64 - _SHARD_BITS)).astype(np.uint8)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange((1 << _SHARD_BITS) + 1)).tolist()
    return [(i, order[bounds[i] : bounds[i + 1]]) for i in range(1 << _SHARD_BITS) if bounds[i] < bounds[i + 1]]


def first_of_each(keys: Keys) -> Int64Array:
    """For each of n keys the row of the first key of the same identity; its own row if it is the first."""
    first = np.empty(len(keys), np.int64)
    _first_of_each(keys.high, keys.low, np.full(1 << (2 * len(keys)).bit_length(), -1, np.int32), _SEED, first)
    return first


@compiled
def _first_of_each(
    high: UInt64Array, low: UInt32Array, slots: npt.NDArray[np.int32], seed: np.uint64, first: Int64Array
) -> None:
    """`slots`: free ones, a power of two above n."""
    mask = len(slots) - 1
    for row in range(len(high)):
        slot = np.int64(((high[row] ^ np.uint64(low[row])) * seed) >> _32) & mask
        while slots[slot] >= 0 and (high[slots[slot]] != high[row] or low[slots[slot]] != low[row]):
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot] = row
        first[row] = slots[slot]
