"""Records of a log and what becomes of them, as the pricer of a whole log hands them about.

Source: spec/rating.md, sections 1 (outcomes) and 12; spec/formats.md, section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.accounts import Accounts
from chargeline.domain.booked_entries import BookedEntry
from chargeline.domain.identities import Keys
from chargeline.domain.pricing import months_before
from chargeline.domain.usage import UsageColumns
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Rules
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.event_rows import EventRow, Identity

Int64Array = npt.NDArray[np.int64]

CONTROL_SOURCES = frozenset({"chargeline"})
# Every event counts as appended right after it happened, so none lies in the future; re-rated ones keep their time.
_NO_BOUND_MS = 10**13
RULES = Rules(
    partitions=1,
    window_us=60_000_000,
    watermark_bound_us=60_000_000,
    future_bound_ms=_NO_BOUND_MS,
    control_sources=CONTROL_SOURCES,
)


@dataclass(frozen=True)
class Records:
    """Records of a log, ascending by offset.

    Attributes:
        values: framed events. times: event_time, microseconds. accounts: billing_account_id.
        is_usage: no correction and no control record.
    """

    offsets: Int64Array
    values: list[bytes]
    times: Int64Array
    accounts: pa.StringArray
    is_usage: npt.NDArray[np.bool_]

    def take(self, rows: Int64Array) -> "Records":
        if len(rows) == len(self.offsets):
            return self
        return Records(
            self.offsets[rows],
            [self.values[row] for row in rows.tolist()],
            self.times[rows],
            self.accounts.take(pa.array(rows)),
            self.is_usage[rows],
        )

    def batch(self) -> LogBatch:
        return LogBatch("usage-events", 0, self.offsets, -(-self.times // 1000), self.values, int(self.offsets[-1]) + 1)


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
    """An event as it stands now. `row`: with its own entries only; `is_void`: cancelled or amended."""

    row: EventRow
    is_rated: bool
    is_void: bool = False
    is_too_late: bool = False


class RefusedRecord(Exception):
    """A record that is a dead letter."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Record:
    """One record that is judged by itself."""

    offset: int
    value: bytes
    time: int
    kind: str
    identity: Identity
    original: Identity
    keys: Keys
    original_keys: Keys
    usage: UsageColumns


def batch_of(offset: int, value: bytes, time: int) -> LogBatch:
    """One record by itself."""
    return LogBatch("usage-events", 0, np.array([offset]), np.array([-(-time // 1000)]), [value], offset + 1)


def schema_of(_: int) -> str:
    """Records of a file are of this version's schema."""
    return USAGE_EVENT_SCHEMA


def text_at(usage: UsageColumns, name: str) -> str | None:
    """A text of a single event."""
    if name in usage.plain:
        value = usage.plain[name][0].as_py()
        return None if value is None else str(value)
    return usage.texts[name].at(0) if name in usage.texts else None


def is_beyond_reach(accounts: Accounts, account: str, event_time: int, time: int) -> bool:
    """Whether an event is too old for its account to be corrected at an instant; microseconds."""
    months = accounts.at(account, event_time).correction_months
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
