"""Units with corrections: records whose order matters are judged one at a time, the usage between them in columns.

Usage of accounts that have nothing to correct is one run. Of the others, a run ends where a record is no usage, or an
event that a correction of this unit or one that waits is about. What a record leaves behind is seen by the records
after it, and by nobody else before the commit: the state is read, not changed.
Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12.
"""

from collections import Counter, deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.collector import nothing_collected
from chargeline.domain.identities import Keys
from chargeline.domain.rating.scope_states import KEY_BYTES, ScopeStates
from chargeline.domain.usage import CODES, GOOD, no_usage
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.closed_periods import in_closed, late_periods
from chargeline.pricer.compute import Booked, Corrected, Prepared, Rules, book
from chargeline.pricer.correction_state import CorrectionFields
from chargeline.pricer.deciding import Refused
from chargeline.pricer.facts import Facts
from chargeline.pricer.judging import Judging, SchemaOf
from chargeline.pricer.known_events import Known, names_of, stored_key
from chargeline.pricer.settling import is_settled
from chargeline.pricer.single_records import Record, records_of
from chargeline.wire.charge_rows import Row
from chargeline.wire.correction_rows import billed_elsewhere

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def needs_care(prepared: Prepared, corrections: CorrectionFields) -> bool:
    """Whether any record of a unit is no usage, or is waited for, or lies in a closed period."""
    usage = prepared.usage
    is_careful = bool(len(no_usage(usage))) or bool(corrections.may_await(prepared.keys).any())
    return is_careful or bool(in_closed(usage, corrections.closed_ends, corrections.closed).any())


class Correcting:
    """The records of one part of a unit, in log order."""

    def __init__(
        self, batch: LogBatch, prepared: Prepared, known: Known, facts: Facts, rules: Rules, schema_of: SchemaOf
    ) -> None:
        self._batch, self._prepared = batch, prepared
        self._known, self._facts, self._rules = known, facts, rules
        self._judging = Judging(batch, known, facts, rules, schema_of)
        self._late = np.zeros(prepared.usage.length, bool)
        self._runs: list[Booked] = []
        self._outcomes: Counter[str] = Counter()
        self._codes = prepared.refusals.codes.copy()
        self._codes[prepared.rows] = GOOD
        self._conflicts: list[int] = []
        self._times: list[int] = []
        self._names = names_of(prepared.keys)
        self._accepted: list[int] = []

    @nothing_collected()
    def run(self, watermark: int | None) -> Booked:
        """Judge all of them."""
        usage = self._prepared.usage
        alone = no_usage(usage)
        about = records_of(self._prepared, alone, self._batch)
        self._judging.look_ahead(about, frozenset(self._names))
        wanted = {record.original_name for record in about}
        apart = self._known.corrections.may_await(self._prepared.keys)
        apart[alone] = True
        self._late = self._in_closed()
        apart |= self._late & self._is_by_itself()
        if wanted:
            apart |= np.array([name in wanted for name in self._names], bool)
        accounts = usage.texts["billing_account_id"]
        singles = {record.row: record for record in self._singles(about, np.flatnonzero(apart))}
        busy = np.isin(accounts.codes, np.unique(accounts.codes[apart]))
        self._usage(np.flatnonzero(~busy), keep=False)
        left: dict[int, deque[int]] = {}
        for row in np.flatnonzero(busy).tolist():
            left.setdefault(int(accounts.codes[row]), deque()).append(row)
        while left:
            runs = [_next_run(rows, apart) for rows in left.values()]
            self._usage(np.array(sorted(row for run in runs for row in run if not apart[row]), np.int64), keep=True)
            for row in sorted(row for run in runs for row in run if apart[row]):
                self._single(singles[row])
            left = {name: rows for name, rows in left.items() if rows}
        return self._booked(watermark)

    def _is_by_itself(self) -> BoolArray:
        """Late usage that a run does not take: intervals of several periods, and where a volume rate may be paid."""
        ends = self._prepared.usage.nullable.get("charge_period_end")
        if any(is_settled(sku) for each in self._facts.cards for sku in each.card.skus):
            return np.ones(self._prepared.usage.length, bool)
        return np.zeros(self._prepared.usage.length, bool) if ends is None else ends[1]

    def _in_closed(self) -> BoolArray:
        """Usage of periods that are closed, or that a record of this unit before it closes."""
        usage, fields = self._prepared.usage, self._known.corrections
        late = in_closed(usage, fields.closed_ends, fields.closed)
        closes = usage.is_symbol("event_kind", "PERIOD_CLOSE")
        for row in [] if closes is None else np.flatnonzero(closes).tolist():
            account = usage.texts["billing_account_id"].at(row) or ""
            period = self._facts.period(account, int(usage.long("event_time")[row]))
            later = np.arange(row + 1, usage.length)
            spans = {account: (period,)}
            late[later] |= in_closed(usage.take(later), {account: period[1]}, spans.__getitem__)
        return late

    def _booked(self, watermark: int | None) -> Booked:
        judging = self._judging
        base = self._known.scopes.take(judging.scopes.keys)
        changes = judging.stored_scopes().less(base)
        moved = (changes.quantity.values != 0) | (changes.amount.values != 0) | (changes.count != 0)
        moved[[*changes.quantity.large, *changes.amount.large]] = True
        at = np.flatnonzero(moved)
        keys = np.frombuffer(judging.scopes.keys, np.uint8).reshape(-1, KEY_BYTES)[at].tobytes()
        self._outcomes["DEAD_LETTER"] += int((self._codes != GOOD).sum())
        times = [*self._times, *(int(each.watermark) for each in self._runs if each.watermark is not None)]
        after = max([*times, *([] if watermark is None else [watermark])], default=None)
        rows = [row for _, each in sorted(judging.events.singles.items()) for row in each]
        corrected = Corrected(
            tuple(self._runs), tuple(judging.events.tables), tuple(rows), tuple(judging.waiting),
            dict(judging.state.changes),
            np.array(sorted(self._accepted), np.int64),
        )  # fmt: skip
        return Booked(
            self._batch,
            self._prepared,
            np.zeros(0, np.int64),
            np.array(sorted(self._conflicts), np.int64),
            dict(self._outcomes),
            self._keys(rows),
            self._prepared.priced,
            None,
            ScopeStates.of(keys, changes.take(at)),
            watermark,
            after,
            self._codes,
            corrected,
        )

    def _keys(self, rows: Sequence[Row]) -> Keys:
        """The identities that become known, in log order, as `charges` tells of them."""
        parts = [each.keys for each in self._runs]
        known = [row for row in rows if row["event_kind"] != "PERIOD_CLOSE"]
        last = {(row["source_offset"], row["identity_hash"]): row for row in known}
        if last:
            stored = [stored_key(name, row["content_hash"], offset) for (offset, name), row in last.items()]
            parts.append(Keys.from_stored(b"".join(stored)))
        if not parts:
            return self._prepared.keys.take(np.zeros(0, np.int64))
        joined = Keys.joined(parts)
        return joined.take(np.argsort(joined.offset, kind="stable"))

    # Usage in columns

    def _usage(self, rows: Int64Array, *, keep: bool) -> None:
        """A run of usage. `keep`: its accounts have corrections, so that what it makes known may be asked for."""
        if not len(rows):
            return
        prepared = self._prepared.take(rows)
        if prepared.priced.uses is not None:
            self._judging.load(prepared.priced.uses.keys)
        booked = book(
            self._batch,
            prepared,
            known=self._known.identities,
            scopes=self._judging.scopes,
            earlier=self._judging.events.fresh(),
            watermark=None,
            rules=self._rules,
        )
        self._judging.scopes = self._judging.scopes.apply(booked.scopes)
        self._codes[prepared.rows] = booked.codes[prepared.rows]
        self._outcomes += Counter(
            {name: booked.outcomes[name] for name in ("CHARGED", "UNRATED", "DUPLICATE", "CONFLICT")}
        )
        self._conflicts += booked.conflicts.tolist()
        self._runs.append(booked)
        self._judging.events.tables.append(self._charges(booked))
        if keep:
            self._judging.events.know(booked.keys)

    def _charges(self, booked: Booked) -> pa.Table:
        """The charges of a run; late usage costs what it costs, and is billed where a correction is."""
        table = charges_alone(booked, self._facts.sequence, self._rules)
        places = booked.prepared.rows[booked.accepted]
        late = np.flatnonzero(self._late[np.searchsorted(self._prepared.rows, places)])
        if not len(late):
            return table
        account = booked.prepared.usage.texts["billing_account_id"].take(booked.accepted[late])
        start, end = booked.priced.period_start[late], booked.priced.period_end[late]
        times = self._batch.append_times[places[late]]
        return billed_elsewhere(table, late, *late_periods(account, start, end, times, self._judging.billed_in))

    # One record

    def _singles(self, about: Sequence[Record], apart: Int64Array) -> list[Record]:
        """The records that are judged one at a time; `about`: those that are no usage."""
        usage = np.setdiff1d(apart, np.array([record.row for record in about], np.int64))
        return [*about, *records_of(self._prepared, usage, self._batch)]

    def _single(self, record: Record) -> None:
        row = record.row
        try:
            verdict = self._judging.judged(record)
        except Refused as refused:
            self._codes[self._prepared.rows[row]] = CODES.index(str(refused))
            return
        self._outcomes[verdict.outcome] += 1
        if verdict.outcome == "CONFLICT":
            self._conflicts.append(int(self._prepared.rows[row]))
        if verdict.rows:
            rows = [each | {"source_index": index} for index, each in enumerate(verdict.rows)]
            self._judging.events.singles[record.offset] = rows
            if record.kind in ("USAGE", "AMEND"):
                self._times.append(int(record.prepared.usage.long("event_time")[0]) - self._rules.watermark_bound_us)
            if record.kind == "USAGE":
                self._accepted.append(row)  # one request, whatever becomes of its price


def _next_run(rows: deque[int], apart: BoolArray) -> list[int]:
    """Usage up to the next record that stands apart, or that record alone."""
    run = [rows.popleft()]
    while not apart[run[0]] and rows and not apart[rows[0]]:
        run.append(rows.popleft())
    return run
