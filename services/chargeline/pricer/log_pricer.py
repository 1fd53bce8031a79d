"""Prices a whole log in memory, record after record, with the functions of the pricer.

Usage of accounts that have nothing to correct is priced a unit at a time. Where corrections, control records or closed
periods matter the order of the account's records does, too: its usage is priced in runs between them.
Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12; spec/formats.md, section 6.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.accounts import Accounts
from chargeline.domain.columns.codes import combine, dense_codes
from chargeline.domain.corrections import late_settlement, own_entries, take_back
from chargeline.domain.errors import Refused
from chargeline.domain.fx import FxTable
from chargeline.domain.identities import Identities, Keys
from chargeline.domain.rates.book import PublishedCard, Rate, RateBook
from chargeline.domain.rating.booked_entries import BilledIn, BookedEntry, Span, rebilled, scope_keys_of
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import ScopeColumns, ScopeStates
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.domain.usage import CODES, GOOD, UsageColumns
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.charge_store import ChargeStore
from chargeline.pricer.closed_periods import billed_in, in_closed
from chargeline.pricer.compute import Prepared, book, prepare_decoded
from chargeline.pricer.facts import Facts
from chargeline.pricer.log_records import (
    RULES,
    Answer,
    Answers,
    Charge,
    Record,
    Records,
    RefusedRecord,
    is_beyond_reach,
    is_equal,
    single,
    text_at,
)
from chargeline.wire.event_rows import EventRow, Identity, columns_of, event_rows
from chargeline.wire.usage_columns import usage_of
from chargeline.wire.usage_decoder import identity_keys

Int64Array = npt.NDArray[np.int64]

_DAY = 86_400_000_000


class LogPricer:
    """Everything that the records so far have left behind.

    Attributes:
        store: what they booked.
        closed: by account, the billing periods that are closed.
        touched: (account, period) that a record lies in or that a correction is billed in.
        waived: (offset, event_id, currency, entry) of what its owner does not pay.
        held: scopes that owe T(0) without an event, because the account has their rate by name and they are closed.
    """

    def __init__(
        self, cards: Sequence[PublishedCard], accounts: Accounts, fx: FxTable, *, accounts_required: bool = False
    ) -> None:
        self._rules = replace(RULES, accounts_required=accounts_required)
        self.cards, self.accounts, self.fx = cards, accounts, fx
        self.book = RateBook(cards, margin_ms=0, future_bound_ms=0)
        self._table = RateTable(self.book, accounts, fx)
        self._facts = Facts(self._table, list(cards), accounts, fx, -1, 0, 0)
        self.known = Identities()
        self.scopes = ScopeStates.empty()
        self.store = ChargeStore()
        self.closed: dict[str, set[Span]] = {}
        self.touched: set[tuple[str, Span]] = set()
        self.waived: list[tuple[int, str, str | None, BookedEntry]] = []
        self.held: set[bytes] = set()
        self.closer: Any = None
        self._charges: dict[Identity, Charge] = {}
        self._claims: set[Identity] = set()
        self._waiting: dict[Identity, Record] = {}
        self._waiting_accounts: set[str] = set()
        self._no_events: set[Identity] = set()

    # A block of records

    def price(self, records: Records) -> Answers:
        """Judge records that come next in the log."""
        answers = Answers()
        busy = self._busy(records)
        if busy is None:
            self._usage(records, answers)
            return answers
        self._usage(records.take(np.flatnonzero(~busy)), answers)
        accounts = records.usage.texts["billing_account_id"].codes.tolist()
        left: dict[int, deque[int]] = {}
        for row in np.flatnonzero(busy).tolist():
            left.setdefault(accounts[row], deque()).append(row)
        while left:
            runs = [self._next_run(records, rows) for rows in left.values()]
            usage = sorted(row for run in runs for row in run if records.is_usage[row])
            self._usage(records.take(np.array(usage, np.int64)), answers)
            for row in sorted(row for run in runs for row in run if not records.is_usage[row]):
                answers.single[int(records.offsets[row])] = self._judge(records.take(np.array([row])))
            left = {account: rows for account, rows in left.items() if rows}
        return answers

    def _busy(self, records: Records) -> npt.NDArray[np.bool_] | None:
        """Records of accounts whose order matters; None: there are none."""
        accounts = records.usage.texts["billing_account_id"]
        codes, names = accounts.codes, accounts.values.to_pylist()
        flags = np.array([name in self.closed or name in self._waiting_accounts for name in names], bool)
        flags[codes[~records.is_usage]] = True
        return flags[codes] if flags.any() else None

    def _next_run(self, records: Records, rows: deque[int]) -> list[int]:
        """Usage up to the next record that is no usage, or that record alone."""
        run = [rows.popleft()]
        while records.is_usage[run[0]] and rows and records.is_usage[rows[0]]:
            run.append(rows.popleft())
        return run

    def _usage(self, records: Records, answers: Answers) -> None:
        """Usage of a unit, with whatever waits for it or is late in it."""
        if not len(records):
            return
        batch = records.batch()
        prepared = prepare_decoded(batch, records.decoded(), self._table, self._rules)
        apart = self._apart(prepared)
        if apart.any():
            self._one_by_one(records, prepared, answers)
            return
        booked = book(batch, prepared, known=self.known, scopes=self.scopes, watermark=None, rules=self._rules)
        self.known.add(booked.keys)
        if len(booked.scopes):
            self.scopes = self.scopes.apply(booked.scopes)
        self._touch(prepared)
        table = charges_alone(booked, 0, self._rules)
        self.store.add(table)
        if table.num_rows:
            answers.tables.append(table)
            if any(field.name == "waived_cost" for field in table.schema.field("entries").type.value_type):
                for waiving in event_rows(table):
                    self._waive(waiving)
        codes = booked.codes
        for row in np.flatnonzero(codes != GOOD).tolist():
            answers.single[int(records.offsets[row])] = Answer("DEAD_LETTER", CODES[int(codes[row])])
        for row in booked.conflicts.tolist():
            answers.single[int(records.offsets[row])] = Answer("CONFLICT")
        rest = np.ones(len(records), bool)
        rest[codes != GOOD] = False
        rest[booked.conflicts] = False
        rest[prepared.rows[booked.accepted]] = False
        for row in np.flatnonzero(rest).tolist():
            answers.single[int(records.offsets[row])] = Answer("DUPLICATE")

    def _apart(self, prepared: Prepared) -> npt.NDArray[np.bool_]:
        """Events that a correction waits for, or that lie (in part) in a closed period."""
        usage = prepared.usage
        account = usage.texts["billing_account_id"]
        ends = {name: max(end for _, end in spans) for name, spans in self.closed.items()}
        flags = in_closed(usage, ends, self.closed.__getitem__)
        for code, name in enumerate(account.values.to_pylist()):
            mine = account.codes == code
            if name in self._waiting_accounts and mine.any():
                wanted = {each[2] for each in self._waiting if each[0] == name}
                for row in np.flatnonzero(mine).tolist():
                    flags[row] |= usage.plain["event_id"][row].as_py() in wanted
        return flags

    def _one_by_one(self, records: Records, prepared: Prepared, answers: Answers) -> None:
        """Runs of usage between the events that stand apart, and these by themselves."""
        apart = np.zeros(len(records), bool)
        apart[prepared.rows[self._apart(prepared)]] = True
        edges = np.flatnonzero(apart)
        start = 0
        for edge in edges.tolist():
            self._usage(records.take(np.arange(start, edge)), answers)
            answers.single[int(records.offsets[edge])] = self._judge(records.take(np.array([edge])))
            start = edge + 1
        self._usage(records.take(np.arange(start, len(records))), answers)

    def _touch(self, prepared: Prepared) -> None:
        usage, priced = prepared.usage, prepared.priced
        good = ~priced.refused
        account = usage.texts["billing_account_id"]
        start, end = priced.period_start[good], priced.period_end[good]
        # A start tells its end: cycle days are at most 28, so a period begins on its cycle day.
        period, _ = dense_codes(start)
        code = account.codes[good]
        _, first = combine([(code, len(account.values)), (period, len(period) + 1)], len(code))
        names = account.values.to_pylist()
        found = zip(code[first].tolist(), start[first].tolist(), end[first].tolist(), strict=True)
        self.touched |= {(names[each], (low, high)) for each, low, high in found}
        ends = usage.nullable.get("charge_period_end")
        if ends is not None:
            for row in np.flatnonzero(good & ends[1] & (ends[0] > priced.period_end)).tolist():
                self._touch_span(names[account.codes[row]], int(priced.period_end[row]), int(ends[0][row]))

    def _touch_span(self, account: str, start: int, end: int) -> None:
        while start < end:
            period = self.period(account, start)
            self.touched.add((account, period))
            start = period[1]

    # One record

    def _judge(self, alone: Records) -> Answer:
        """What must become of one record."""
        time = int(alone.times[0])
        try:
            record = self._read(alone)
            answer = self._judged(record)
        except RefusedRecord as refused:
            return Answer("DEAD_LETTER", refused.code)
        if record.kind not in ("PERIOD_CLOSE", "RERATE"):
            end = record.usage.nullable.get("charge_period_end")
            self._touch_span(record.identity[0], time, int(end[0][0]) if end is not None and end[1][0] else time + 1)
        return answer

    def _read(self, alone: Records) -> Record:
        """The record and what it is about. Raises RefusedRecord."""
        prepared = prepare_decoded(alone.batch(), alone.decoded(), self._table, self._rules)
        usage = prepared.usage
        if not usage.length:
            raise RefusedRecord(CODES[int(prepared.refusals.codes[0])])
        kinds, amends = usage.texts.get("event_kind"), text_at(usage, "amends_event_id")
        kind = "USAGE" if kinds is None else kinds.at(0) or "USAGE"
        account, source = usage.texts["billing_account_id"].at(0) or "", usage.texts["source"].at(0) or ""
        of = replace(usage, plain={**usage.plain, "event_id": pa.array([amends or ""], pa.string())})
        return Record(
            int(alone.offsets[0]),
            int(alone.times[0]),
            kind,
            (account, source, str(usage.plain["event_id"][0].as_py())),
            (account, source, amends or ""),
            prepared.keys,
            identity_keys(of, prepared.keys.content, prepared.keys.offset),
            usage,
        )

    def _judged(self, record: Record) -> Answer:
        if record.kind == "PERIOD_CLOSE":
            try:
                self.close(record.identity[0], self.period(record.identity[0], record.time))
            except Refused as refused:
                raise RefusedRecord(refused.code) from None
            return Answer("CONTROL")
        content, found = self.known.find(record.keys)
        if found[0] >= 0:
            return Answer("DUPLICATE" if content[0] == record.keys.content[0] else "CONFLICT")
        if record.kind == "RERATE":
            return self._rerate(record)
        answer = self._accept(record)
        if answer.outcome in ("CHARGED", "UNRATED"):
            self.known.add(record.keys)
            if record.kind != "CANCEL":  # a cancel is no event: what is about it waits for ever
                answer = self._act_waiting(record.identity, answer, record.time)
        return answer

    def _accept(self, record: Record) -> Answer:
        if record.kind == "USAGE":
            return self._charge(record)
        original = record.original
        if original in self._claims or original in self._waiting:
            return Answer("DUPLICATE")
        if self._charge_of(original, record.original_keys) is None:
            self._waiting[original] = record
            self._waiting_accounts.add(original[0])
            return Answer("WAITING")
        return self._take_back(record, record.time, record.offset)

    def _act_waiting(self, identity: Identity, answer: Answer, time: int) -> Answer:
        """A cancel or amend that came first acts in the row of its original."""
        record = self._waiting.pop(identity, None)
        if record is None:
            return answer
        self._waiting_accounts = {each[0] for each in self._waiting}
        assert answer.row is not None
        try:
            later = self._take_back(record, time, answer.row.offset)
        except RefusedRecord:  # the original must not be refused for a fault of what came before it
            return answer
        self.known.add(record.keys)
        if later.outcome == "UNRATED":
            self.store.put(answer.row)  # what the amend would have booked has the same place
            return answer
        if record.kind == "AMEND":
            later = self._act_waiting(record.identity, later, time)
        assert later.row is not None
        if answer.outcome == "UNRATED" and record.kind == "CANCEL":
            return answer
        row = replace(
            answer.row,
            reason=None,
            entries=answer.row.entries + later.row.entries,
            currency=later.row.currency or answer.row.currency,
            cost_variance=later.row.cost_variance,
        )
        self.store.put(row)
        return Answer("CHARGED", None, row)

    def _charge(self, record: Record) -> Answer:
        row, scopes = self._priced(record.usage, record.offset, record.time, self.scopes, self._table)
        self._charges[record.identity] = Charge(row, row.reason is None, is_too_late=row.reason == "TOO_LATE")
        self.store.put(row)
        if row.reason is not None:
            return Answer("UNRATED", row.reason, row)
        self.scopes = scopes
        self._billed(row)
        return Answer("CHARGED", None, row)

    def _priced(
        self, usage: UsageColumns, offset: int, time: int, scopes: ScopeStates, table: RateTable
    ) -> tuple[EventRow, ScopeStates]:
        """(the row of an event, the scopes after it), where it is billed. Raises RefusedRecord."""
        batch, decoded = single(usage, offset, time)
        prepared = prepare_decoded(batch, decoded, table, self._rules)
        if prepared.refusals.codes[0] != GOOD:
            raise RefusedRecord(CODES[int(prepared.refusals.codes[0])])
        booked = book(batch, prepared, known=Identities(), scopes=scopes, watermark=None, rules=self._rules)
        (row,) = event_rows(charges_alone(booked, 0, self._rules))
        where = self._billed_in(row.identity[0], time)
        entries = [rebilled(entry, where) for entry in row.entries]
        states = scopes.states(scope_keys_of(entries))
        entries = late_settlement(entries, states, self._facts, where, self.held)
        period, _ = where(row.period)
        return replace(row, entries=tuple(entries), period=period), scopes.apply(booked.scopes)

    def _take_back(self, record: Record, time: int, offset: int) -> Answer:
        """CANCEL, or AMEND as a whole: one that cannot be rated leaves the original as it is."""
        charge = self._charge_of(record.original, record.original_keys)
        assert charge is not None
        account = record.original[0]
        where = self._billed_in(account, time)
        empty = EventRow(
            offset,
            record.identity,
            record.time,
            charge.row.usage,
            None,
            self.accounts.at(account, charge.row.event_time).billing_currency,
            where(self.period(account, charge.row.event_time))[0],
            (),
        )
        is_amend = record.kind == "AMEND"
        if is_beyond_reach(self.accounts, account, charge.row.event_time, time):
            if is_amend:
                self._charges[record.identity] = Charge(empty, is_rated=False, is_too_late=True)
            else:
                self._no_events.add(record.identity)
            return Answer("UNRATED", "TOO_LATE", replace(empty, reason="TOO_LATE"))
        taken, scopes = self._undone(charge, where)
        row = replace(empty, entries=taken, currency=charge.row.currency if charge.is_rated else empty.currency)
        if is_amend:
            fresh, scopes = self._priced(record.usage, offset, time, scopes, self._table)
            self._claims.add(record.original)
            self._charges[record.identity] = Charge(fresh, fresh.reason is None)
            if fresh.reason is not None:
                self.store.put(fresh)
                return Answer("UNRATED", fresh.reason, fresh)
            row = replace(fresh, entries=taken + fresh.entries, currency=fresh.currency or row.currency)
        else:
            self._no_events.add(record.identity)
        self._claims.add(record.original)
        self._void(record.original, charge)
        self.scopes = scopes
        self.store.put(row)
        self._billed(row)
        return Answer("CHARGED", None, row)

    def _void(self, identity: Identity, charge: Charge) -> None:
        """The event counts no more. An amend that never was rated gives its original free again."""
        charge.is_void = True
        if not charge.is_rated and charge.row.event_kind == "AMEND":
            self._claims.discard((identity[0], identity[1], charge.row.usage["amends_event_id"]))

    def _undone(self, charge: Charge, where: BilledIn) -> tuple[tuple[BookedEntry, ...], ScopeStates]:
        if not charge.is_rated:
            return (), self.scopes
        taken = take_back(
            charge.row.offset,
            charge.row.entries,
            self.scopes.states(scope_keys_of(charge.row.entries)),
            self._facts,
            where,
            self.held,
        )
        if not taken.scopes:
            return taken.entries, self.scopes
        columns = ScopeColumns.of(list(taken.scopes.values()))
        return taken.entries, self.scopes.merge(ScopeStates.of(b"".join(taken.scopes), columns))

    def _rerate(self, record: Record) -> Answer:
        """Rates one event anew with what is visible now; equal results write nothing."""
        charge = self._charge_of(record.original, record.original_keys)
        if charge is None or charge.is_void or charge.is_too_late:
            return Answer("CONTROL")
        if is_beyond_reach(self.accounts, record.original[0], charge.row.event_time, record.time):
            return Answer("CONTROL")
        first = charge
        if not charge.is_rated and charge.row.event_kind == "AMEND":
            first = self._charges[(record.original[0], record.original[1], charge.row.usage["amends_event_id"])]
        taken, scopes = self._undone(first, self._billed_in(record.original[0], record.time))
        try:
            usage = usage_of(columns_of([charge.row]), 1)
            fresh, scopes = self._priced(usage, record.offset, record.time, scopes, self._facts.rerating)
        except RefusedRecord:
            return Answer("CONTROL")
        if fresh.reason is not None or (charge.is_rated and is_equal(charge.row, fresh, taken)):
            return Answer("CONTROL")
        if first is not charge:
            first.is_void = True
        charge.row, charge.is_rated = fresh, True
        self.scopes = scopes
        self.known.add(record.keys)
        self._no_events.add(record.identity)
        row = replace(fresh, entries=taken + fresh.entries)
        self.store.put(row)
        self._billed(row)
        return Answer("CONTROL", None, row)

    def _charge_of(self, identity: Identity, keys: Keys) -> Charge | None:
        """An event that is known; None: it has not come, or it is no event."""
        if identity in self._no_events:
            return None
        if identity not in self._charges:
            _, offset = self.known.find(keys)
            row = None if offset[0] < 0 else self.store.row(int(offset[0]))
            if row is None:
                return None
            row = replace(row, entries=tuple(own_entries(row.entries)))
            self._charges[identity] = Charge(row, row.reason is None, is_too_late=row.reason == "TOO_LATE")
        return self._charges[identity]

    # Periods and scopes

    def period(self, account: str, time: int) -> Span:
        """The billing period of an instant."""
        return self._facts.period(account, time)

    def close(self, account: str, period: Span) -> None:
        """Close a period for ever; a second close changes nothing."""
        if period in self.closed.get(account, ()):
            return
        if self.closer is not None:
            self.closer.close(account, period)
        self.closed.setdefault(account, set()).add(period)

    def hold(self, scopes: Mapping[bytes, int]) -> None:
        """Scopes that owe T(0) from now on, with the running amount that they begin with."""
        self.held |= scopes.keys()
        states = self.scopes.states(scopes)
        opened = [replace(each, opened=True, amount=each.amount + scopes[key]) for key, each in states.items()]
        self.scopes = self.scopes.merge(ScopeStates.of(b"".join(scopes), ScopeColumns.of(opened)))

    def _billed_in(self, account: str, time: int) -> BilledIn:
        """Where usage of an account is billed by a record of that time."""
        return billed_in(self.closed.get(account, set()), partial(self.period, account), time)

    def _billed(self, row: EventRow) -> None:
        self.touched |= {(row.identity[0], entry.billing_period) for entry in row.entries}
        self._waive(row)

    def _waive(self, row: EventRow) -> None:
        for entry in row.entries:
            if entry.waived_cost is not None:
                of = None if entry.corrects is None else self.store.row(entry.corrects)
                self.waived.append((row.offset, (of or row).identity[2], row.currency, entry))

    def states(self, keys: Iterable[bytes]) -> dict[bytes, ScopeState]:
        """The scopes of some keys as they are now."""
        return self.scopes.states(keys)

    def all_rates(self) -> Iterable[Rate]:
        """Every rate of the cards, those for re-rating alone included."""
        return self._facts.all_rates()

    def row(self, offset: int) -> EventRow | None:
        """What a record has booked."""
        return self.store.row(offset)
