"""What corrections leave behind in a partition: a fold over `charges`, kept in the state store beside the identities.

Fields, each named by a letter and the 12 bytes of an identity's hash (docs/state.md):

    c original   -> the record that cancelled or amended it
    p amend      -> its original: the amend could not be rated yet, so its original is still billed
    r event      -> offset of the RERATE record that holds its newest price
    w original   -> a cancel or amend that came before it: offset, append time and value of that record

And, named by the account itself:

    k account    -> start and end of each of its closed billing periods
    t account    -> 1: a close has carried on commitments, minimums or grants

And by the key of a scope (16 bytes):

    h scope      -> it owes T(0) without an event; the running amount that a close has opened it with

Source: spec/rating.md, sections 1 (period state), 7.6 and 12.
"""

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.identities import Keys
from chargeline.domain.rating.booked_entries import Span
from chargeline.pricer.carried import has_terms, held_of
from chargeline.wire._generated import LEFT_OUT
from chargeline.wire.correction_rows import are_last
from chargeline.wire.usage_decoder import identity_hashes

_PLACE = struct.Struct(">qq")
_OFFSET = struct.Struct(">q")
_PERIOD = struct.Struct(">qq")
_AMOUNT_BYTES = 16
_NAMES = ("source_offset", "source_index", "event_kind", "billing_account_id", "source", "amends_event_id", "outcome",
          "reason", "billing_period_start", "billing_period_end", "carried")  # fmt: skip
_PLAIN = {"source_offset": pa.int64(), "source_index": pa.int32(), "billing_period_start": pa.int64(),
          "billing_period_end": pa.int64()}  # fmt: skip


class CorrectionFields(dict[bytes, bytes]):
    """The fields of a partition after its last committed unit.

    What is derived of them is kept until they change: every unit asks for it.
    """

    def __init__(self, fields: Mapping[bytes, bytes] | None = None) -> None:
        super().__init__(fields or {})
        self._heads: npt.NDArray[np.uint64] | None = None
        self._ends: dict[str, int] | None = None

    def apply(self, changes: Mapping[bytes, bytes]) -> None:
        """Take over what a unit changed; an empty value removes a field."""
        for name, value in changes.items():
            if value:
                self[name] = value
            else:
                self.pop(name, None)
            if name[:1] == b"w":
                self._heads = None
            elif name[:1] == b"k":
                self._ends = None

    def may_await(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Whether something may wait for each event; the first 8 bytes of its hash are looked at."""
        heads = self._awaited_heads()
        return np.isin(keys.high, heads) if len(heads) else np.zeros(len(keys), bool)

    def awaited(self) -> list[bytes]:
        """The events that something waits for."""
        return [name[1:] for name in self if name[:1] == b"w"]

    @property
    def closed_ends(self) -> Mapping[str, int]:
        """By account with a closed period, the end of the last one, microseconds."""
        if self._ends is None:
            self._ends = {
                name[1:].decode(): max(end for _, end in _periods(value))
                for name, value in self.items()
                if name[:1] == b"k"
            }
        return self._ends

    def closed(self, billing_account_id: str) -> frozenset[Span]:
        """The account's closed billing periods."""
        return _periods(self.get(b"k" + billing_account_id.encode()))

    @property
    def is_awaiting(self) -> bool:
        return bool(len(self._awaited_heads()))

    def _awaited_heads(self) -> npt.NDArray[np.uint64]:
        # All fields are looked through once, and again only when what waits has changed: a fold asks for each message.
        if self._heads is None:
            self._heads = np.array([int.from_bytes(each[:8], "big") for each in self.awaited()], np.uint64)
        return self._heads


@dataclass(frozen=True)
class WaitingRecord:
    """A cancel or amend before its original. `value` is empty where only its place is known: read it there."""

    offset: int
    append_time: int
    value: bytes

    def stored(self) -> bytes:
        return _PLACE.pack(self.offset, self.append_time) + self.value

    @classmethod
    def from_stored(cls, stored: bytes) -> "WaitingRecord":
        offset, append_time = _PLACE.unpack(stored[: _PLACE.size])
        return cls(offset, append_time, stored[_PLACE.size :])


@dataclass
class CorrectionState:
    """The fields, and what changed of them since it was made; an empty value in `changes` removes a field."""

    fields: CorrectionFields = field(default_factory=CorrectionFields)
    changes: dict[bytes, bytes] = field(default_factory=dict)

    def get(self, name: bytes) -> bytes | None:
        """The value of a field; None: there is none."""
        found = self.changes[name] if name in self.changes else self.fields.get(name)
        return found or None

    def waiting(self, original: bytes) -> WaitingRecord | None:
        """What waits for an event."""
        stored = self.get(b"w" + original)
        return None if stored is None else WaitingRecord.from_stored(stored)

    def is_claimed(self, original: bytes) -> bool:
        """Whether a cancel or amend of the event counts, or waits for its price."""
        return self.get(b"c" + original) is not None

    def is_void(self, event: bytes) -> bool:
        """Whether the event counts no more."""
        by = self.get(b"c" + event)
        return by is not None and self.get(b"p" + by) is None

    def closed(self, billing_account_id: str) -> frozenset[Span]:
        """The account's closed billing periods."""
        return _periods(self.get(b"k" + billing_account_id.encode()))

    def close(self, billing_account_id: str, period: Span, carried: Iterable[str] = ()) -> None:
        """`carried`: what the rows of the close hand on."""
        name = b"k" + billing_account_id.encode()
        self.changes[name] = (self.get(name) or b"") + _PERIOD.pack(*period)
        for text in carried:
            self.carry(billing_account_id, text)

    def carry(self, billing_account_id: str, text: str) -> None:
        """One row of a close hands something on."""
        if has_terms(text):
            self.changes[b"t" + billing_account_id.encode()] = b"1"
        for scope, amount in held_of(text).items():
            self.changes[b"h" + scope] = amount.to_bytes(_AMOUNT_BYTES, "big", signed=True)

    def carries(self, billing_account_id: str) -> bool:
        """Whether closes of the account have carried on commitments, minimums or grants."""
        return self.get(b"t" + billing_account_id.encode()) is not None

    def __contains__(self, scope: object) -> bool:
        """Whether a scope owes T(0) without an event."""
        return isinstance(scope, bytes) and self.held(scope) is not None

    def held(self, scope: bytes) -> int | None:
        """The running amount, picounits, that a close has opened a scope with; None: it owes nothing without events."""
        stored = self.get(b"h" + scope)
        return None if stored is None else int.from_bytes(stored, "big", signed=True)

    def rerated_at(self, event: bytes) -> int | None:
        """Where the newest price of an event lies, if not in the row of its own record."""
        stored = self.get(b"r" + event)
        return None if stored is None else int(_OFFSET.unpack(stored)[0])

    def wait(self, original: bytes, record: WaitingRecord) -> None:
        self.changes[b"w" + original] = record.stored()

    def came(self, event: bytes) -> None:
        """The event is there: nothing waits for it any more."""
        if self.get(b"w" + event) is not None:
            self.changes[b"w" + event] = b""

    def take_back(self, original: bytes, by: bytes) -> None:
        """The event counts no more. An amend that never was rated gives its original free again."""
        freed = self.get(b"p" + original)
        if freed is not None:
            self.changes[b"c" + freed] = b""
            self.changes[b"p" + original] = b""
        self.changes[b"c" + original] = by

    def claim(self, original: bytes, amend: bytes) -> None:
        """The amend has no price yet, so its original counts until it has one."""
        self.changes[b"c" + original] = amend
        self.changes[b"p" + amend] = original

    def rerate(self, event: bytes, offset: int) -> None:
        """The newest price of an event lies in the row of a RERATE record; an amend that has one takes effect."""
        self.changes[b"r" + event] = _OFFSET.pack(offset)
        if self.get(b"p" + event) is not None:
            self.changes[b"p" + event] = b""

    def book(self, charges: pa.Table | None, waiting: Iterable[tuple[int, bytes]] = ()) -> None:
        """Fold the rows of a committed unit in (None: none matter); `waiting` as in its header."""
        for offset, original in waiting:
            self.wait(original, WaitingRecord(offset, 0, b""))
        if charges is None:
            return
        is_awaited = self.fields.is_awaiting or any(name[:1] == b"w" for name in self.changes)
        if "event_kind" not in charges.column_names:
            for event in _hashes(charges) if is_awaited else ():
                self.came(event)
            return
        kinds = charges.column("event_kind").cast(pa.string())
        is_usage = pc.equal(kinds, "USAGE")
        for event in _hashes(charges.filter(is_usage)) if is_awaited else ():
            self.came(event)
        rows = charges.filter(pc.invert(is_usage))
        if rows.num_rows:
            self._corrections(rows)

    def _corrections(self, charges: pa.Table) -> None:
        names = [name for name in (*_NAMES, "identity_hash") if name in charges.column_names]
        columns = {name: charges.column(name) for name in names}
        columns |= {name: columns[name].cast(kind) for name, kind in _PLAIN.items() if name in columns}
        rows = pa.table(columns).to_pylist()
        originals = identity_hashes(
            [(row["billing_account_id"], row["source"], row["amends_event_id"]) for row in rows]
        )
        for row in rows:
            if row.get("carried") is not None:
                self.carry(row["billing_account_id"], row["carried"])
        for row, original, is_last in zip(rows, originals, are_last(rows), strict=True):
            if is_last:
                self._correction(row, original, row["identity_hash"])

    def _correction(self, row: Mapping[str, Any], original: bytes, by: bytes) -> None:
        kind, is_rated = row["event_kind"], row.get("outcome", "CHARGED") == "CHARGED"
        if kind == "RERATE":
            self.rerate(original, row["source_offset"])
            return
        if kind == "PERIOD_CLOSE":
            self.close(row["billing_account_id"], (row["billing_period_start"], row["billing_period_end"]))
            return
        # An amend that waited and could not be rated in its original's row leaves what waits for itself waiting.
        if kind == "AMEND" and (is_rated or not row.get("source_index", 0)):
            self.came(by)
        if is_rated:
            self.take_back(original, by)
        elif kind == "AMEND" and row.get("reason") != "TOO_LATE":
            self.claim(original, by)


def _periods(stored: bytes | None) -> frozenset[Span]:
    return frozenset(_PERIOD.iter_unpack(stored)) if stored else frozenset()


def needed(names: Collection[str], *, is_awaiting: bool) -> tuple[str, ...]:
    """Which columns of a message of `charges` matter to corrections; none where no row can matter.

    Args:
        names: its columns.
        is_awaiting: something waits for an event, or may by now.
    """
    return (*_NAMES, "identity_hash") if is_awaiting or "event_kind" in names else ()


def relevant(charges: pa.Table) -> pa.Table:
    """The columns of a message of `charges` that matter to corrections, all there."""
    columns = {"identity_hash": charges.column("identity_hash")}
    for name in _NAMES:
        kind = _PLAIN.get(name, pa.string())
        if name in charges.column_names:
            columns[name] = charges.column(name).cast(kind)
        else:
            columns[name] = pa.repeat(pa.scalar(LEFT_OUT["Charge"][name], kind), charges.num_rows)
    return pa.table(columns)


def _hashes(charges: pa.Table) -> list[bytes]:
    return [bytes(each) for each in charges.column("identity_hash").to_pylist()]
