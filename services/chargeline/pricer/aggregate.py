"""What the transaction of a unit will hold for one partition: panes, charges and letters about what was refused.

A pure function of what was booked; it knows no state, and runs while the next unit is prepared and booked (compute.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.collector import nothing_collected
from chargeline.domain.identities import Identities
from chargeline.domain.panes import Groups, cost_panes, group, performance_panes
from chargeline.domain.rating.entries import Entries, converted, merged, waived, without_list
from chargeline.domain.rating.pricing import Priced
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.domain.usage import CODES, GOOD, UsageColumns
from chargeline.ports import LogBatch
from chargeline.pricer.compute import Booked, Corrected, Rules, book, prepare
from chargeline.pricer.live import LiveTotals
from chargeline.wire.charge_batches import Source, charges, cost_rollups, performance_rollups
from chargeline.wire.correction_rows import encoded, joined, numbered, panes_of, signs_of

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DeadLetter:
    """A refused record; `row` is its place in the batch."""

    row: int
    code: str
    reason: str


@dataclass(frozen=True)
class Computed:
    """What a unit adds for one partition: the content of the transaction.

    Attributes:
        live: totals by live window that the unit adds.
    """

    booked: Booked
    charges: pa.Table
    cost_rollups: pa.Table | None
    performance_rollups: pa.Table | None
    dead_letters: list[DeadLetter]
    live: LiveTotals


def compute(
    batch: LogBatch,
    *,
    known: Identities,
    scopes: ScopeStates | None = None,
    watermark: int | None,
    table: RateTable,
    governance_sequence: int,
    rules: Rules,
    schema_of: Callable[[int], str | None],
) -> Computed:
    """All three at once: `prepare`, `book`, `aggregate`."""
    prepared = prepare(batch, table, rules, schema_of)
    booked = book(batch, prepared, known=known, scopes=scopes, watermark=watermark, rules=rules)
    return aggregate(booked, governance_sequence, rules)


def aggregate(booked: Booked, governance_sequence: int, rules: Rules) -> Computed:
    """What the transaction will hold of the accepted events, and the letters about the refused ones."""
    if booked.corrected is not None:
        return _aggregate_corrected(booked, booked.corrected, rules)
    prepared = booked.prepared
    usage = prepared.usage.take(booked.accepted)
    priced = _whole(booked.priced, booked.scoped)
    groups = group(usage, rules.window_us)
    names = _pane_names(booked)
    cost, performance = None, None
    if usage.length:
        cost = cost_rollups(cost_panes(usage, priced, groups), usage, groups, names)
        performance = performance_rollups(performance_panes(usage, groups), usage, groups, names)
    return Computed(
        booked=booked,
        charges=_charges(booked, usage, priced, groups, governance_sequence),
        cost_rollups=cost,
        performance_rollups=performance,
        dead_letters=_dead_letters(booked.codes, booked.conflicts),
        live=LiveTotals.of(cost),
    )


@nothing_collected()
def _aggregate_corrected(booked: Booked, corrected: Corrected, rules: Rules) -> Computed:
    """Likewise of a unit with corrections. A request is measured once, when it happened: corrections have no speed."""
    names = _pane_names(booked)
    tables = []
    for run in corrected.runs:
        usage = run.prepared.usage.take(run.accepted)
        if usage.length:
            groups = group(usage, rules.window_us)
            tables.append(cost_rollups(cost_panes(usage, _whole(run.priced, run.scoped), groups), usage, groups, names))
    single = panes_of(corrected.rows, signs_of(corrected.rows), names, rules.window_us)
    cost = numbered(tables if single is None else [*tables, single])
    in_runs = [np.searchsorted(booked.prepared.rows, run.prepared.rows[run.accepted]) for run in corrected.runs]
    usage = booked.prepared.usage.take(np.sort(np.concatenate([*in_runs, corrected.accepted])))
    performance = None
    if usage.length:
        groups = group(usage, rules.window_us)
        performance = performance_rollups(performance_panes(usage, groups), usage, groups, names)
    return Computed(
        booked=booked,
        charges=encoded(joined(corrected.tables, corrected.rows)),
        cost_rollups=cost,
        performance_rollups=performance,
        dead_letters=_dead_letters(booked.codes, booked.conflicts),
        live=LiveTotals.of(cost),
    )


def _pane_names(booked: Booked) -> dict[str, Any]:
    return {
        "source_partition": booked.batch.partition,
        "unit_end_offset": booked.batch.next_offset,
        "watermark_before": booked.watermark_before,
        "watermark": booked.watermark,
    }


def charges_alone(booked: Booked, governance_sequence: int, rules: Rules) -> pa.Table:
    """The charges of `aggregate`, without panes and letters: for who needs no more."""
    usage = booked.prepared.usage.take(booked.accepted)
    priced = _whole(booked.priced, booked.scoped)
    return _charges(booked, usage, priced, group(usage, rules.window_us), governance_sequence)


def _charges(booked: Booked, usage: UsageColumns, priced: Priced, groups: Groups, governance_sequence: int) -> pa.Table:
    append_times = booked.batch.append_times[booked.prepared.rows[booked.accepted]]
    source = Source(booked.batch.partition, booked.keys.offset, append_times)
    return charges(usage, priced, booked.keys, source, groups, governance_sequence)


def _whole(priced: Priced, scoped: Entries | None) -> Priced:
    """With the entries of accumulating rates."""
    if scoped is None:
        return priced
    if scoped.fx is not None:
        scoped = converted(scoped, priced.table.fx_ratios())
    return replace(priced, entries=without_list(merged(priced.entries, waived(scoped))))


_ADVICE = {
    "TOO_LARGE": "the message is above 8 MiB, a text above 1 KiB, or a map above 64 entries: shorten it",
    "MALFORMED": "the value is not exactly one framed Avro datum: check the producer's serializer",
    "UNKNOWN_SCHEMA": "the schema id is no registered version of UsageEvent: register it under usage-events-value",
    "MISSING_FIELD": "a required text is empty",
    "BAD_NUMBER": "a number is NaN or infinite",
    "BAD_TIME": "event_time or charge_period_end lies before 2000 or after 2100: times are microseconds UTC",
    "FUTURE_EVENT": "event_time lies further ahead of the append time than allowed: check the producer's clock",
    "MISPLACED": "the record is not on its account's partition: set the key to billing_account_id and the producer's "
    "partitioner to murmur2 (librdkafka: partitioner=murmur2_random), then `chargeline dlq replay --code MISPLACED`",
    "UNSUPPORTED": "an enum value or event kind that this version does not handle",
    "NEGATIVE_QUANTITY": "a quantity is below zero, as given or after the conversion to disjoint token leaves",
    "INTERVAL_REVERSED": "charge_period_end must be later than event_time",
    "BAD_SAMPLE_WEIGHT": "sample_weight must be at least 1",
    "PRICE_NOT_ALLOWED": "this source may not give the price of a dynamic SKU: name it in the card's price_sources",
    "AMOUNT_OVERFLOW": "an amount or quantity does not fit Decimal(38, 12)",
    "CONFLICT": "the identity is known with other content: nothing was billed; give a changed event an id of its own",
}


def _dead_letters(codes: Int64Array, conflicts: Int64Array) -> list[DeadLetter]:
    refused = np.flatnonzero(codes != GOOD).tolist()
    letters = [(row, CODES[int(codes[row])]) for row in refused]
    letters += [(row, "CONFLICT") for row in conflicts.tolist()]
    return [DeadLetter(row, code, _ADVICE.get(code, code)) for row, code in sorted(letters)]
