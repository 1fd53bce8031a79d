"""What accumulating scopes remember, as columns: taken by a unit, changed by it, and stored.

A scope is named by 16 bytes, a hash of its key that the caller makes. Changes are differences, so the state is a fold
over what was booked: adding the changes of units in any cut gives the same columns.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.exact import Exact, Int64Array
from chargeline.domain.columns.exact_rows import as_decimals, exact_of, from_decimals, joined, negative, plus, put
from chargeline.domain.rating.scope_step import ScopeState

BoolArray = npt.NDArray[np.bool_]
UInt64Array = npt.NDArray[np.uint64]

KEY_BYTES = 16
_STORED = np.dtype([("key", "V16"), ("quantity", "<i8", 2), ("amount", "<i8", 2), ("count", "<i8"), ("opened", "u1")])


@dataclass(frozen=True)
class ScopeColumns:
    """n scopes; the columns are the attributes of `ScopeState`."""

    quantity: Exact
    amount: Exact
    count: Int64Array
    opened: BoolArray

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def empty(cls, length: int) -> "ScopeColumns":
        """Scopes without events."""
        none = np.zeros(length, np.int64)
        return cls(Exact(none), Exact(none), none, np.zeros(length, bool))

    @classmethod
    def of(cls, states: list[ScopeState]) -> "ScopeColumns":
        return cls(
            exact_of(state.quantity for state in states),
            exact_of(state.amount for state in states),
            np.array([state.count for state in states], np.int64),
            np.array([state.opened for state in states], bool),
        )

    def at(self, row: int) -> ScopeState:
        return ScopeState(
            self.quantity.at(row), self.amount.at(row), int(self.count[row]), opened=bool(self.opened[row])
        )

    def take(self, rows: Int64Array) -> "ScopeColumns":
        return ScopeColumns(self.quantity.take(rows), self.amount.take(rows), self.count[rows], self.opened[rows])

    def put(self, rows: Int64Array, new: "ScopeColumns") -> "ScopeColumns":
        """With the given rows (each once) replaced."""
        count, opened = self.count.copy(), self.opened.copy()
        count[rows], opened[rows] = new.count, new.opened
        return ScopeColumns(put(self.quantity, rows, new.quantity), put(self.amount, rows, new.amount), count, opened)

    def plus(self, change: "ScopeColumns") -> "ScopeColumns":
        """Row by row; a scope that was opened stays so."""
        return ScopeColumns(
            plus(self.quantity, change.quantity),
            plus(self.amount, change.amount),
            self.count + change.count,
            self.opened | change.opened,
        )

    def closed_where_empty(self) -> "ScopeColumns":
        """Every event that opens a scope moves it, so one without a quantity has none (any more)."""
        empty = self.quantity.values == 0
        empty[list(self.quantity.large)] = False
        if not (empty & self.opened).any():
            return self
        return ScopeColumns(self.quantity, self.amount, self.count, self.opened & ~empty)

    def less(self, before: "ScopeColumns") -> "ScopeColumns":
        """What was added since `before`."""
        return ScopeColumns(
            plus(self.quantity, negative(before.quantity)),
            plus(self.amount, negative(before.amount)),
            self.count - before.count,
            self.opened & ~before.opened,
        )


def _joined(first: ScopeColumns, second: ScopeColumns) -> ScopeColumns:
    return ScopeColumns(
        joined([first.quantity, second.quantity]),
        joined([first.amount, second.amount]),
        np.concatenate([first.count, second.count]),
        np.concatenate([first.opened, second.opened]),
    )


@dataclass(frozen=True)
class ScopeStates:
    """Many scopes, ascending by key, each key once.

    Attributes:
        high, low: the key as two big-endian numbers.
    """

    high: UInt64Array
    low: UInt64Array
    columns: ScopeColumns

    def __len__(self) -> int:
        return len(self.high)

    @classmethod
    def empty(cls) -> "ScopeStates":
        none = np.zeros(0, np.uint64)
        return cls(none, none, ScopeColumns.empty(0))

    @classmethod
    def of(cls, keys: bytes, columns: ScopeColumns) -> "ScopeStates":
        """Scopes in any order; `keys`: n times 16 bytes, all different."""
        high, low = split_keys(keys)
        order = np.lexsort((low, high))
        return cls(high[order], low[order], columns.take(order))

    def find(self, high: UInt64Array, low: UInt64Array) -> tuple[Int64Array, BoolArray]:
        """The row of each key, and whether it is there; of one that is not, the row before which it would stand."""
        row = np.searchsorted(self.high, high)
        if not len(self):
            return row, np.zeros(len(high), bool)
        last = len(self) - 1
        while True:  # once; again only for keys whose first 8 bytes are alike
            at = np.minimum(row, last)
            alike = (row <= last) & (self.high[at] == high)
            further = alike & (self.low[at] < low)
            if not further.any():
                return row, alike & (self.low[at] == low)
            row = row + further

    def take(self, keys: bytes) -> ScopeColumns:
        """The states of n scopes in their order; of an unknown one that without events."""
        high, low = split_keys(keys)
        row, found = self.find(high, low)
        if not len(self):
            return ScopeColumns.empty(len(high))
        known = np.flatnonzero(found)
        return ScopeColumns.empty(len(high)).put(known, self.columns.take(row[known]))

    def states(self, keys: Iterable[bytes]) -> dict[bytes, ScopeState]:
        """By key, the state of a scope; of an unknown one that without events."""
        names = list(keys)
        columns = self.take(b"".join(names))
        return {key: columns.at(place) for place, key in enumerate(names)}

    def part(self, keys: bytes) -> "ScopeStates":
        """The given scopes alone; all different."""
        return ScopeStates.of(keys, self.take(keys))

    def merge(self, newer: "ScopeStates") -> "ScopeStates":
        """All scopes of both; where both have one, that of `newer`."""
        row, found = self.find(newer.high, newer.low)
        columns = self.columns.put(row[found], newer.columns.take(np.flatnonzero(found)))
        return self._with(newer, columns, row, np.flatnonzero(~found))

    def apply(self, changes: "ScopeStates") -> "ScopeStates":
        """Add what a unit changed (`ScopeColumns.less`) to the scopes; unknown ones start without events.

        A scope from which all was taken back is closed: it opens anew with the next event.
        """
        row, found = self.find(changes.high, changes.low)
        known, new = np.flatnonzero(found), np.flatnonzero(~found)
        sums = self.columns.take(row[known]).plus(changes.columns.take(known)).closed_where_empty()
        if len(new):
            changes = ScopeStates(changes.high, changes.low, changes.columns.closed_where_empty())
        return self._with(changes, self.columns.put(row[known], sums), row, new)

    def _with(self, other: "ScopeStates", columns: ScopeColumns, row: Int64Array, new: Int64Array) -> "ScopeStates":
        """These scopes with new columns, and the `new` ones of `other`, each put in before its `row`."""
        if not len(new):
            return ScopeStates(self.high, self.low, columns)
        # Both are in order already: sorting a million scopes for each unit would take half a second.
        order = np.insert(np.arange(len(self)), row[new], len(self) + np.arange(len(new)))
        high = np.concatenate([self.high, other.high[new]])[order]
        low = np.concatenate([self.low, other.low[new]])[order]
        return ScopeStates(high, low, _joined(columns, other.columns.take(new)).take(order))

    @property
    def keys(self) -> bytes:
        both = np.empty((len(self), 2), ">u8")
        both[:, 0], both[:, 1] = self.high, self.low
        return both.tobytes()

    def stored(self) -> bytes:
        """57 bytes a scope: key 16, quantity 16, amount 16, count 8, opened 1; numbers little-endian, signed."""
        rows = np.empty(len(self), _STORED)
        rows["key"] = np.frombuffer(self.keys, "V16")
        rows["quantity"], rows["amount"] = _words(self.columns.quantity), _words(self.columns.amount)
        rows["count"], rows["opened"] = self.columns.count, self.columns.opened
        return rows.tobytes()

    @classmethod
    def from_stored(cls, stored: bytes) -> "ScopeStates":
        """The inverse of `stored`; scopes in any order."""
        rows = np.frombuffer(stored, _STORED)
        quantity, amount = _from_words(rows["quantity"]), _from_words(rows["amount"])
        columns = ScopeColumns(quantity, amount, rows["count"].astype(np.int64), rows["opened"].astype(bool))
        return cls.of(rows["key"].tobytes(), columns)


def split_keys(keys: bytes) -> tuple[UInt64Array, UInt64Array]:
    """Keys of 16 bytes as two numbers each."""
    both = np.frombuffer(keys, ">u8").reshape(-1, 2)
    return both[:, 0].astype(np.uint64), both[:, 1].astype(np.uint64)


def _words(numbers: Exact) -> Int64Array:
    """Each number as two words of 64 bits, the lower one first."""
    return np.frombuffer(as_decimals(numbers, 0).buffers()[1], np.int64)[: 2 * len(numbers)].reshape(-1, 2)


def _from_words(words: Int64Array) -> Exact:
    pairs = np.ascontiguousarray(words)
    return from_decimals(pa.Array.from_buffers(pa.decimal128(38, 0), len(pairs), [None, pa.py_buffer(pairs)]))
