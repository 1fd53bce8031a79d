"""Which events are known: an exact set of identities in columns, 24 bytes an entry, at most 32 with the free slots.

The table is open addressing over buckets of 16 slots, in shards that grow by a quarter each: growing copies one
shard and not the whole, and two thirds of a table are never free. Looking up 100,000 identities is a few dozen
array operations, whatever the table's size.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chargeline.domain.codes import dense_codes

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# The stored form, big-endian so that a blob sorts as its hashes do (docs/state.md).
STORED = np.dtype([("hash_high", ">u8"), ("hash_low", ">u4"), ("content", ">u4"), ("offset", ">i8")])
_SHARD_BITS = 6
_START_BUCKETS = 1 << _SHARD_BITS
_SLOTS = 16
_FULL = 0.92  # of a shard's slots; 0.92 / 1.25 = 0.736 is the least after growing


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


class _Shard:
    """Buckets of one part of the hash space. A zero in `high` is a free slot; slots of a bucket fill from the left."""

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.count = 0
        self.high = np.zeros((buckets, _SLOTS), np.uint64)
        self.low = np.zeros((buckets, _SLOTS), np.uint32)
        self.content = np.zeros((buckets, _SLOTS), np.uint32)
        self.offset = np.zeros((buckets, _SLOTS), np.int64)

    def home(self, keys: Keys) -> Int64Array:
        return (keys.low.astype(np.int64)) % self.buckets

    def find(self, keys: Keys) -> tuple[Int64Array, Int64Array]:
        """(content, offset) of each known key; offset -1: not known. A bucket with a free slot ends the search."""
        content = np.zeros(len(keys), np.int64)
        offset = np.full(len(keys), -1, np.int64)
        active = np.arange(len(keys))
        bucket = self.home(keys)
        while len(active):
            slots = self.high[bucket]
            same = slots == keys.high[active, None]
            hit = same.any(axis=1)
            where = same.argmax(axis=1)[hit]
            if (self.low[bucket[hit], where] != keys.low[active[hit]]).any():  # eight equal bytes, and not the same
                same &= self.low[bucket] == keys.low[active, None]
                hit = same.any(axis=1)
                where = same.argmax(axis=1)[hit]
            content[active[hit]] = self.content[bucket[hit], where]
            offset[active[hit]] = self.offset[bucket[hit], where]
            on = ~hit & (slots[:, -1] != 0)
            active, bucket = active[on], (bucket[on] + 1) % self.buckets
        return content, offset

    def add(self, keys: Keys) -> None:
        """Add keys that are neither known nor twice among themselves."""
        if self.count + len(keys) > self.buckets * _SLOTS * _FULL:
            self._grow(self.count + len(keys))
        self.count += len(keys)
        active = np.arange(len(keys))
        bucket = self.home(keys)
        while len(active):
            order = np.argsort(bucket, kind="stable")
            active, bucket = active[order], bucket[order]
            starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
            rank = np.arange(len(bucket)) - np.repeat(starts, np.diff(np.r_[starts, len(bucket)]))
            slot = (self.high[bucket] != 0).sum(axis=1) + rank
            fits = slot < _SLOTS
            rows, at = active[fits], (bucket[fits], slot[fits])
            self.high[at], self.low[at] = keys.high[rows], keys.low[rows]
            self.content[at], self.offset[at] = keys.content[rows], keys.offset[rows]
            active, bucket = active[~fits], (bucket[~fits] + 1) % self.buckets

    def keys(self) -> Keys:
        used = self.high != 0
        return Keys(self.high[used], self.low[used], self.content[used], self.offset[used])

    def _grow(self, needed: int) -> None:
        known = self.keys()
        buckets = self.buckets
        while buckets * _SLOTS * _FULL < needed:
            buckets += buckets // 4
        self.__init__(buckets)  # type: ignore[misc]
        self.add(known)


class Identities:
    """The identities of one partition that were accepted, with where they lie and what they contain."""

    def __init__(self) -> None:
        # Unequal from the start, so that they do not all grow in the same unit.
        self._shards = [_Shard(_START_BUCKETS + number) for number in range(1 << _SHARD_BITS)]
        self._forgotten_before = 0

    def __len__(self) -> int:
        return sum(shard.count for shard in self._shards)

    @property
    def nbytes(self) -> int:
        """Bytes of the table's arrays."""
        return sum(shard.buckets * _SLOTS * 24 for shard in self._shards)

    def find(self, keys: Keys) -> tuple[Int64Array, Int64Array]:
        """What is known of n keys: (content hash, offset), int64; offset -1: not known."""
        keys = _findable(keys)
        content = np.zeros(len(keys), np.int64)
        offset = np.full(len(keys), -1, np.int64)
        for shard, rows in self._split(keys):
            content[rows], offset[rows] = shard.find(keys.take(rows))
        offset[offset < self._forgotten_before] = -1
        return content, offset

    def add(self, keys: Keys) -> None:
        """Remember keys that `find` does not know and that are not twice among themselves."""
        keys = _findable(keys)
        for shard, rows in self._split(keys):
            shard.add(keys.take(rows))

    def forget_before(self, offset: int) -> None:
        """Forget what lies before an offset: the end of the horizon."""
        if offset <= self._forgotten_before:
            return
        self._forgotten_before = offset
        for number, shard in enumerate(self._shards):
            known = shard.keys()
            fresh = _Shard(_START_BUCKETS + number)
            fresh.add(known.take(known.offset >= offset))
            self._shards[number] = fresh

    def keys(self) -> Keys:
        """All of them in log order, for a snapshot."""
        parts = [shard.keys() for shard in self._shards]
        every = Keys(
            np.concatenate([part.high for part in parts]),
            np.concatenate([part.low for part in parts]),
            np.concatenate([part.content for part in parts]),
            np.concatenate([part.offset for part in parts]),
        )
        return every.take(np.argsort(every.offset, kind="stable"))

    def _split(self, keys: Keys) -> list[tuple[_Shard, Int64Array]]:
        number = (keys.high >> np.uint64(64 - _SHARD_BITS)).astype(np.int64)
        order = np.argsort(number.astype(np.uint8), kind="stable")
        bounds = np.searchsorted(number[order], np.arange((1 << _SHARD_BITS) + 1))
        return [
            (shard, order[bounds[i] : bounds[i + 1]])
            for i, shard in enumerate(self._shards)
            if bounds[i] < bounds[i + 1]
        ]


def _findable(keys: Keys) -> Keys:
    """Zero marks a free slot, so a hash that begins with eight zero bytes is kept under one; 2**-64 of all do."""
    if keys.high.all():
        return keys
    return Keys(np.maximum(keys.high, np.uint64(1)), keys.low, keys.content, keys.offset)


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
