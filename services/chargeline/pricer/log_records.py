"""Records of a log and what becomes of them, as the pricer of a whole log hands them about.

Source: spec/rating.md, sections 1 (outcomes) and 12; spec/formats.md, section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.accounts import Accounts
from chargeline.domain.identities import Keys
from chargeline.domain.rating.booked_entries import BookedEntry
from chargeline.domain.rating.pricing import months_before
from chargeline.domain.usage import Refusals, UsageColumns
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Rules
from chargeline.wire.event_rows import EventRow, Identity
from chargeline.wire.usage_decoder import Decoded

Int64Array = npt.NDArray[np.int64]

CONTROL_SOURCES = frozenset({"chargeline"})
# Every event counts as appended right after it happened, so none lies in the future; re-rated ones keep their time.
_NO_BOUND_MS = 10**13
_SHORTEST_MONTH = 28 * 86_400_000_000
RULES = Rules(
    partitions=1,
    window_us=60_000_000,
    watermark_bound_us=60_000_000,
    future_bound_ms=_NO_BOUND_MS,
    control_sources=CONTROL_SOURCES,
)


@dataclass(frozen=True)
class Records:
    """Records of a log, ascending by offset; each was appended right after it happened.

    Attributes:
        content: uint32, tells a repeated event from one with other content.
    """

    offsets: Int64Array
    usage: UsageColumns
    content: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def times(self) -> Int64Array:
        """event_time, microseconds."""
        return self.usage.long("event_time")

    @cached_property
    def is_usage(self) -> npt.NDArray[np.bool_]:
        """Which records are no correction and no control record."""
        flags = self.usage.is_symbol("event_kind", "USAGE")
        return np.ones(len(self), bool) if flags is None else flags

    def take(self, rows: Int64Array) -> "Records":
        if len(rows) == len(self):
            return self
        return Records(self.offsets[rows], self.usage.take(rows).compact(), self.content[rows])

    def batch(self) -> LogBatch:
        return _batch(self.offsets, self.times)

    def decoded(self) -> Decoded:
        return Decoded(self.usage, Refusals(len(self)), self.content)


@dataclass(frozen=True)
class Answer:
    """What became of one record. `row`: what it booked, null where it booked nothing."""

    outcome: str
    reason: str | None = None
    row: EventRow | None = None


@dataclass
class Answers:
    """What became of some records: rows in columns, and answers by offset for all others."""

    tables: list[pa.Table] = field(default_factory=list)
    single: dict[int, Answer] = field(default_factory=dict)


@dataclass
class Charge:
    """An event as it stands now. `booked`: with its own entries only; `is_void`: cancelled or amended."""

    booked: EventRow
    is_rated: bool
    is_void: bool = False
    is_too_late: bool = False

    @property
    def is_amend(self) -> bool:
        return self.booked.event_kind == "AMEND"


@dataclass(frozen=True)
class Record:
    """One record that is judged by itself, at its place in the log; times in microseconds."""

    offset: int
    append_time: int
    event_time: int
    kind: str
    identity: Identity
    original: Identity
    keys: Keys
    original_keys: Keys
    usage: UsageColumns

    @property
    def content(self) -> int:
        return int(self.keys.content[0])


def single(usage: UsageColumns, offset: int, time: int) -> tuple[LogBatch, Decoded]:
    """One event by itself, as if it stood at this place of the log and had been appended right after an instant."""
    content = np.zeros(1, np.uint32)  # who prices it anew knows what it is
    return _batch(np.array([offset]), np.array([time])), Decoded(usage, Refusals(1), content)


def _batch(offsets: Int64Array, times: Int64Array) -> LogBatch:
    return LogBatch("usage-events", 0, offsets, -(-times // 1000), [b""] * len(offsets), int(offsets[-1]) + 1)


def text_at(usage: UsageColumns, name: str) -> str | None:
    """A text of a single event."""
    if name in usage.plain:
        value = usage.plain[name][0].as_py()
        return None if value is None else str(value)
    return usage.texts[name].at(0) if name in usage.texts else None


def is_beyond_reach(accounts: Accounts, account: str, event_time: int, time: int) -> bool:
    """Whether an event is too old for its account to be corrected at an instant; microseconds."""
    months = accounts.at(account, event_time).correction_months
    if event_time >= time - months * _SHORTEST_MONTH:
        return False
    return event_time < int(months_before(np.array([time]), np.array([months]))[0])


def is_equal(booked: EventRow, fresh: EventRow, taken: Sequence[BookedEntry]) -> bool:
    """The same rates and exchange rates; or the same amounts, with nothing else to put right."""
    if _rates(booked.entries) == _rates(fresh.entries):
        return True
    shifts = [entry for entry in taken if entry.entry_kind != "REVERSAL"]
    return not shifts and _amounts(booked.entries) == _amounts(fresh.entries)


def _rates(entries: Sequence[BookedEntry]) -> list[tuple[Any, ...]]:
    return list(
        dict.fromkeys(
            (each.leaf, each.charge_time, each.rate_card_id, each.rate_card_version, each.sku_id, each.fx_rate)
            for each in entries
        )
    )


def _amounts(entries: Sequence[BookedEntry]) -> list[tuple[Any, ...]]:
    return [
        (each.entry_kind, each.sku_price_id, each.pricing_currency, each.contracted_cost, each.waived_cost)
        for each in entries
    ]
