"""One partition's part of a commit unit: from raw records to what becomes of each.

A pure function of the records, the facts visible to them and the state; nothing here is written anywhere.

    prepare:   decode -> refuse -> price          (knows no state)
    book:      drop duplicates -> price what accumulates
    aggregate: panes, charges and dead letters    (aggregate.py; while the next unit is prepared and booked)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.identities import Identities, Keys, first_of_each
from chargeline.domain.rating.entries import Entries
from chargeline.domain.rating.pricing import RATED, Priced, price
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.domain.rating.scoped_uses import book as book_scopes
from chargeline.domain.usage import GOOD, Refusals, UsageColumns, refuse
from chargeline.ports import LogBatch
from chargeline.wire.usage_decoder import Decoded, decode, identity_keys, misplaced

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rules:
    """What holds for a whole run. Times in milliseconds or microseconds as named.

    Attributes:
        accounts_required: an event of an account without facts is UNRATED.
        control_sources: who may write PERIOD_CLOSE; None: corrections and control records are refused.
        close_rows_max: rows of charges that one close may read.
    """

    partitions: int
    window_us: int
    watermark_bound_us: int
    future_bound_ms: int
    accounts_required: bool = False
    control_sources: frozenset[str] | None = None
    close_rows_max: int = 250_000


@dataclass(frozen=True)
class Prepared:
    """The records of one partition, decoded and priced: what depends on the records and the visible facts alone.

    Attributes:
        refusals: by record.
        rows: int64, the records that are not refused; usage, priced and keys have one row for each.
    """

    refusals: Refusals
    rows: Int64Array
    usage: UsageColumns
    priced: Priced
    keys: Keys

    def take(self, at: Int64Array) -> "Prepared":
        """Some of the records that are not refused (ascending)."""
        if len(at) == len(self.rows):
            return self
        priced = self.priced.take(at, self.usage.length)
        return Prepared(self.refusals, self.rows[at], self.usage.take(at), priced, self.keys.take(at))


@dataclass(frozen=True)
class Corrected:
    """What a unit with corrections books beside plain usage in columns.

    Attributes:
        runs: usage in columns; `tables`: its charges.
        rows: the other charges, in the order of their coordinates (wire/correction_rows.py).
        waiting: (offset, hash of the identity that it is about) of what waits for its original.
        changes: of the state of corrections.
        accepted: rows of `prepared` that are usage and stand in `rows`.
    """

    runs: tuple["Booked", ...]
    tables: tuple[pa.Table, ...]
    rows: tuple[dict[str, Any], ...]
    waiting: tuple[tuple[int, bytes], ...]
    changes: dict[bytes, bytes]
    accepted: Int64Array


@dataclass(frozen=True)
class Booked:
    """What became of the records of one partition: all that the units after it, and the state, have to know.

    Attributes:
        accepted: int64, rows of `prepared` that are charged or kept unrated.
        conflicts: int64, records whose identity is known with other content.
        outcomes: count by outcome; they sum to the records consumed.
        keys: identities that become known when the unit is committed.
        priced: of the accepted events.
        scoped: their entries of accumulating rates, in the pricing currency; None: none.
        scopes: what the unit changes of the scopes of accumulating rates.
        watermark_before, watermark: microseconds, before and after the unit.
        codes: by record, its dead letter code. A repeat is one, whatever its price would be.
        corrected: None: plain usage alone.
    """

    batch: LogBatch
    prepared: Prepared
    accepted: Int64Array
    conflicts: Int64Array
    outcomes: dict[str, int]
    keys: Keys
    priced: Priced
    scoped: Entries | None
    scopes: ScopeStates
    watermark_before: int | None
    watermark: int | None
    codes: Int64Array
    corrected: Corrected | None = None


def prepare(batch: LogBatch, table: RateTable, rules: Rules, schema_of: Callable[[int], str | None]) -> Prepared:
    """Decode, refuse and price. Raises TransientError where `schema_of` does."""
    return prepare_decoded(batch, decode(batch.values, batch.sizes, schema_of), table, rules)


def prepare_decoded(batch: LogBatch, decoded: Decoded, table: RateTable, rules: Rules) -> Prepared:
    """Refuse and price; the codes of `decoded` are added to."""
    refusals = decoded.refusals
    refuse(
        decoded.usage,
        refusals,
        append_times=batch.append_times,
        future_bound_ms=rules.future_bound_ms,
        misplaced=misplaced(decoded.usage, batch.partition, rules.partitions),
        control_sources=rules.control_sources,
    )
    rows = np.flatnonzero(refusals.good())
    usage = decoded.usage.take(rows)
    priced = price(usage, table, batch.append_times[rows], accounts_required=rules.accounts_required)
    if priced.not_allowed is not None:
        refusals.mark("PRICE_NOT_ALLOWED", _spread(priced.not_allowed, rows, len(refusals.codes)))
    if priced.overflow.any():
        refusals.mark("AMOUNT_OVERFLOW", _spread(priced.overflow, rows, len(refusals.codes)))
    return Prepared(refusals, rows, usage, priced, identity_keys(usage, decoded.content[rows], batch.offsets[rows]))


def book(
    batch: LogBatch,
    prepared: Prepared,
    *,
    known: Identities,
    scopes: ScopeStates | None = None,
    before: Booked | None = None,
    earlier: Keys | None = None,
    watermark: int | None,
    rules: Rules,
) -> Booked:
    """Drop what is known, and price what accumulates. The state is read, not changed.

    Args:
        scopes: of accumulating rates; None: none is known.
        before: a unit that is still being committed: its identities, and what it adds to scopes, count as known.
        earlier: identities that records before these in the same unit made known.
        watermark: microseconds, after that unit.
    """
    keys = prepared.keys
    refused = prepared.priced.refused
    fresh, duplicate, conflict = _judge(keys, known, ~refused, earlier if before is None else before.keys)
    codes = prepared.refusals.codes
    if refused.any():
        codes = codes.copy()
        codes[prepared.rows[refused & (duplicate | conflict)]] = GOOD
    accepted = np.flatnonzero(fresh)
    priced = prepared.priced.take(accepted, prepared.usage.length)
    unrated = int((priced.reason != RATED).sum())
    scoped, changes = None, ScopeStates.empty()
    if priced.uses is not None and len(priced.uses):
        scoped, changes = book_scopes(
            priced.uses, scopes or ScopeStates.empty(), None if before is None else before.scopes
        )
    outcomes = {
        "CHARGED": len(accepted) - unrated,
        "UNRATED": unrated,
        "DUPLICATE": int(duplicate.sum()),
        "CONFLICT": int(conflict.sum()),
        "DEAD_LETTER": int((codes != GOOD).sum()),
    }
    after = _watermark(prepared.usage.long("event_time")[accepted], watermark, rules)
    return Booked(
        batch,
        prepared,
        accepted,
        prepared.rows[conflict],
        outcomes,
        keys.take(accepted),
        priced,
        scoped,
        changes,
        watermark,
        after,
        codes,
    )


def _judge(
    keys: Keys, known: Identities, possible: npt.NDArray[np.bool_], before: Keys | None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(fresh, duplicate, conflict) of n valid events against the unit and the state.

    Only an accepted event makes an identity known, so one that cannot be booked (`possible` false) is nothing but a
    repeat of an accepted one before it, or none of the three.
    """
    content, offset = known.find(keys)
    rows = np.flatnonzero(possible)
    earlier = 0 if before is None else len(before)
    candidates = keys.take(rows) if before is None else Keys.joined([before, keys.take(rows)])
    first = first_of_each(candidates)[earlier:]
    is_first = first == np.arange(earlier, len(candidates))
    fresh = np.zeros(len(keys), bool)
    fresh[rows] = is_first & (offset[rows] < 0)
    reference = content.copy()
    later = (offset[rows] < 0) & ~is_first
    reference[rows[later]] = candidates.content[first[later]]
    repeated = possible & ~fresh
    if len(rows) < len(keys):
        others = np.flatnonzero(~possible)
        accepted = _accepted_before(keys, others, candidates, earlier, rows)
        is_later = accepted >= 0
        is_fresh = is_later & (offset[others] < 0)
        reference[others[is_fresh]] = candidates.content[accepted[is_fresh]]
        repeated[others] = (offset[others] >= 0) | is_later
    same = reference == keys.content
    return fresh, repeated & same, repeated & ~same


def _accepted_before(keys: Keys, others: Int64Array, candidates: Keys, earlier: int, rows: Int64Array) -> Int64Array:
    """The candidate of the same identity that came before each of the other rows; -1: none."""
    if not len(candidates):
        return np.full(len(others), -1, np.int64)
    first = first_of_each(Keys.joined([candidates, keys.take(others)]))[len(candidates) :]
    row = np.append(np.concatenate([np.full(earlier, -1, np.int64), rows]), len(keys))[
        np.minimum(first, len(candidates))
    ]
    return np.where((first < len(candidates)) & (row < others), first, -1)


def _watermark(event_time: Int64Array, before: int | None, rules: Rules) -> int | None:
    if not len(event_time):
        return before
    after = int(event_time.max()) - rules.watermark_bound_us
    return after if before is None else max(before, after)


def _spread(flags: npt.NDArray[np.bool_], rows: Int64Array, length: int) -> npt.NDArray[np.bool_]:
    spread = np.zeros(length, bool)
    spread[rows] = flags
    return spread
