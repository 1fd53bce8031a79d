"""Which events are known: an exact set of identities in columns, at most 32 bytes each.

The identities lie in log order in plain columns (24 bytes each, the stored form); a hash index of 5 bytes a slot
finds them. The index is cut into shards that grow one by one, so growing touches a sixteenth of it and no
identity is ever moved. Looking up 100,000 identities is a few dozen array operations, whatever the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chargeline.domain.codes import dense_codes

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
UInt8Array = npt.NDArray[np.uint8]
UInt32Array = npt.NDArray[np.uint32]

# The stored form, big-endian so that a blob sorts as its hashes do (docs/state.md).
STORED = np.dtype([("hash_high", ">u8"), ("hash_low", ">u4"), ("content", ">u4"), ("offset", ">i8")])
_SHARD_BITS = 4
_START_BUCKETS = 256
_SLOTS = 16
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

    Slots of a bucket fill from the left, and what finds its bucket full goes to the next one. A lookup compares 16
    tags at once; only where a tag agrees is the log looked at. Tag 0: free.
    """

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.count = 0
        self.tags = np.zeros((buckets, _SLOTS), np.uint8)
        self.places = np.zeros((buckets, _SLOTS), np.uint32)

    def find(self, keys: Keys, log: _Log) -> Int64Array:
        """Place in the log of each key; -1: not known."""
        place = np.full(len(keys), -1, np.int64)
        tag = _tags(keys)
        active, bucket = np.arange(len(keys)), self._home(keys.low)
        while len(active):
            slots = self.tags[bucket]
            row, slot = np.divmod(np.flatnonzero(slots == tag[active, None]), _SLOTS)
            if len(row):
                at = self.places[bucket[row], slot]
                key = active[row]
                same = (log.high[at] == keys.high[key]) & (log.low[at] == keys.low[key])
                place[key[same]] = at[same]
            on = (slots[:, -1] != 0) & (place[active] < 0)
            active, bucket = active[on], (bucket[on] + 1) % self.buckets
        return place

    def add(self, low: UInt32Array, tag: UInt8Array, places: Int64Array) -> None:
        """Add what is neither known nor twice among itself."""
        self.count += len(low)
        bucket = self._home(low)
        # Stable sorting of 16-bit numbers is a radix sort.
        order = np.argsort(bucket.astype(np.uint16) if self.buckets <= 1 << 16 else bucket, kind="stable")
        bucket, tag, places = bucket[order], tag[order], places[order]
        while len(bucket):
            new = np.empty(len(bucket), bool)
            new[0] = True
            np.not_equal(bucket[1:], bucket[:-1], out=new[1:])
            starts = np.flatnonzero(new)
            free = np.count_nonzero(self.tags[bucket[starts]], axis=1) - starts
            slot = np.arange(len(bucket)) + free[np.cumsum(new) - 1]
            fits = slot < _SLOTS
            at = bucket[fits] * _SLOTS + slot[fits]
            self.tags.reshape(-1)[at] = tag[fits]
            self.places.reshape(-1)[at] = places[fits]
            # What goes on stays in order, except at the end of the table.
            bucket, tag, places = (bucket[~fits] + 1) % self.buckets, tag[~fits], places[~fits]
            if len(bucket) and bucket[-1] == 0:
                order = np.argsort(bucket, kind="stable")
                bucket, tag, places = bucket[order], tag[order], places[order]

    def _home(self, low: UInt32Array) -> Int64Array:
        return ((low.astype(np.uint64) * np.uint64(self.buckets)) >> np.uint64(32)).astype(np.int64)

    def grown(self, needed: int, log: _Log) -> "_Shard":
        """A larger one with the same content."""
        buckets = self.buckets
        while buckets * _SLOTS * _FULL < needed:
            buckets += buckets * 2 // 5
        used = self.tags != 0
        places = self.places[used].astype(np.int64)
        larger = _Shard(buckets)
        larger.add(log.low[places], self.tags[used], places)
        return larger


def _tags(keys: Keys) -> UInt8Array:
    return np.maximum(keys.high.astype(np.uint8), np.uint8(1))


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
        for number, rows in _split(keys):
            place[rows] = self._shards[number].find(keys.take(rows), self._log)
        content = np.zeros(len(keys), np.int64)
        offset = np.full(len(keys), -1, np.int64)
        known = np.flatnonzero(place >= 0)
        content[known] = self._log.content[place[known]]
        offset[known] = self._log.offset[place[known]]
        return content, offset

    def add(self, keys: Keys) -> None:
        """Remember keys, in log order, that `find` does not know and that are not twice among themselves."""
        places = np.arange(self._log.count, self._log.count + len(keys))
        self._log.append(keys)
        tag = _tags(keys)
        for number, rows in _split(keys):
            shard = self._shards[number]
            if shard.count + len(rows) > shard.buckets * _SLOTS * _FULL:
                shard = self._shards[number] = shard.grown(shard.count + len(rows), self._log)
            shard.add(keys.low[rows], tag[rows], places[rows])

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


def _split(keys: Keys) -> list[tuple[int, Int64Array]]:
    """The rows of each shard that has any."""
    number = (keys.high >> np.uint64(64 - _SHARD_BITS)).astype(np.uint8)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange((1 << _SHARD_BITS) + 1)).tolist()
    return [(i, order[bounds[i] : bounds[i + 1]]) for i in range(1 << _SHARD_BITS) if bounds[i] < bounds[i + 1]]


def first_of_each(keys: Keys) -> Int64Array:
    """For each of n keys the row of the first key of the same identity; its own row if it is the first."""
    codes, first = dense_codes(keys.high)
    first = first[codes]
    if (keys.low[first] == keys.low).all():
        return first
    # Two identities share eight bytes: rare enough to sort.
    order = np.lexsort((keys.low, keys.high))
    high, low = keys.high[order], keys.low[order]
    new = np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])]
    first[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]  # stable: the first of a run comes first
    return first
