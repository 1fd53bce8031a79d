"""Which booked events another price would change, and the control records that ask for it.

What a run would book is worked out with the rates that are visible now. Events of accumulating rates are priced as if
they came first in their scope: their amounts are an estimate, the pricer books them where the scope stands.
Source: spec/rating.md, sections 7.6 and 12.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Rules
from chargeline.pricer.facts import Facts
from chargeline.pricer.foreseen import prepared_anew, rows_anew
from chargeline.pricer.log_records import is_equal
from chargeline.wire.charge_rows import Row
from chargeline.wire.correction_rows import are_last
from chargeline.wire.event_rows import EventRow, event_row
from chargeline.wire.usage_encoder import Framed, framed

SOURCE_FIELDS = ("billing_account_id", "source", "provider_name", "request_model", "operation_name", "event_time")
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Change:
    """One event that would be priced otherwise.

    Attributes:
        event_id: of the event itself, whatever row holds its newest price.
        before, after: contracted cost by SKU, picounits of the billing currency; before is empty where it is UNRATED.
        is_estimate: a rate of it accumulates.
    """

    row: Row
    event_id: str
    day: int
    currency: str | None
    before: Mapping[str, int]
    after: Mapping[str, int]
    is_estimate: bool


def newest(rows: Sequence[Row]) -> list[Row]:
    """The rows of events that count, each with its newest price, in log order; rows that take back are left out.

    Args:
        rows: all of some partition and time of the usage, in log order.
    """
    events: dict[tuple[str, str, str], Row] = {}
    for row, is_last in zip(rows, are_last(rows), strict=True):
        account, source = row["billing_account_id"], row["source"]
        about = (account, source, row["amends_event_id"] or "")
        if row["event_kind"] == "RERATE":
            if is_last:
                events[about] = row
        elif row["event_kind"] == "PERIOD_CLOSE":
            continue
        elif row["event_kind"] == "CANCEL" or not is_last:
            events.pop(about, None)
        else:
            events[account, source, row["event_id"]] = row
    return sorted(events.values(), key=lambda row: (row["source_partition"], row["source_offset"], row["source_index"]))


def changes(rows: Sequence[Row], facts: Facts, rules: Rules, now_ms: int) -> list[Change]:
    """What a re-rating of some events of one partition would change; `rows` as `newest` gives them."""
    wanted = [row for row in rows if row["reason"] != "TOO_LATE"]
    if not wanted:
        return []
    booked = [event_row(row) for row in wanted]
    partition = wanted[0]["source_partition"]
    count = len(wanted)
    places = LogBatch("usage-events", partition, np.arange(count), np.full(count, now_ms, np.int64), [], count)
    batch, prepared = prepared_anew(booked, places, facts, rules)
    none = ScopeStates.empty()
    fresh = {offset: event_row(row) for offset, row in rows_anew(batch, prepared, none, facts, rules).items()}
    found = []
    for place, (row, before) in enumerate(zip(wanted, booked, strict=True)):
        after = fresh.get(place)
        if after is None or after.reason is not None or (before.reason is None and is_equal(before, after, ())):
            continue
        found.append(_change(row, before, after))
    return found


def _change(row: Row, before: EventRow, after: EventRow) -> Change:
    event_id = row["amends_event_id"] if row["event_kind"] == "RERATE" else row["event_id"]
    return Change(
        row,
        event_id,
        before.event_time // _DAY * _DAY,
        after.currency,
        _by_sku(before) if before.reason is None else {},
        _by_sku(after),
        any(entry.scope_key is not None for entry in after.entries),
    )


def _by_sku(row: EventRow) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in row.entries:
        sums[entry.sku_id] = sums.get(entry.sku_id, 0) + entry.contracted_cost
    return sums


def run_id(start: int, end: int, accounts: Sequence[str], reason: str, governance_sequence: int) -> str:
    """The same for the same question to the same facts, so that a run that is started again changes nothing."""
    text = "\n".join([str(start), str(end), *sorted(accounts), reason, str(governance_sequence)])
    return f"rerate-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def records(run: str, reason: str, found: Sequence[Change], schema_id: int) -> Framed:
    """One RERATE record for each event; its id is made of the run's and the event's."""
    columns: dict[str, Any] = {
        name: pa.array([each.row[name] for each in found])
        for name in SOURCE_FIELDS
    }  # fmt: skip
    length = len(found)
    columns["event_id"] = pa.array([f"{run}/{each.event_id}" for each in found])
    columns["amends_event_id"] = pa.array([each.event_id for each in found])
    columns["event_kind"] = pa.array(["RERATE"] * length)
    columns["run_id"] = pa.array([run] * length)
    columns["labels"] = pa.array([[("reason", reason)]] * length, pa.map_(pa.string(), pa.string()))
    return framed(columns, length, schema_id)
