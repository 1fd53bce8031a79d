"""Records that are judged one at a time: corrections, control records, and usage that one of these is about.

The order of the decisions is that of spec/rating.md. What a record leaves behind is seen by the records after it, and
by nobody else before the commit: the state is read, not changed.
Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np

from chargeline.domain import errors
from chargeline.domain.corrections import TakenBack, late_settlement, take_back
from chargeline.domain.identities import Identities
from chargeline.domain.rating.booked_entries import BilledIn, BookedEntry, Span, rebilled, scope_keys_of
from chargeline.domain.rating.pricing import REASONS
from chargeline.domain.rating.scope_states import KEY_BYTES, ScopeColumns, ScopeStates
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.domain.usage import CODES
from chargeline.ports import ClosingRows, LogBatch
from chargeline.pricer import closed_periods
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.compute import Prepared, Rules, book, prepare
from chargeline.pricer.correction_state import CorrectionState, WaitingRecord
from chargeline.pricer.facts import Facts
from chargeline.pricer.foreseen import Foreseen
from chargeline.pricer.known_events import Event, Known, KnownEvents
from chargeline.pricer.log_records import is_beyond_reach, is_equal
from chargeline.pricer.settling import Settled, has_terms, is_settled, settled_rows
from chargeline.pricer.single_records import Record, records_of
from chargeline.wire import correction_rows
from chargeline.wire.charge_rows import Row, rows_of
from chargeline.wire.correction_rows import closing, taken_back, unrated
from chargeline.wire.event_rows import event_row
from chargeline.wire.usage_decoder import identity_hashes

SchemaOf = Callable[[int], str | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Verdict:
    """What became of one record, and the rows that it booked: those that take something back before its own."""

    outcome: str
    rows: tuple[Row, ...] = ()
    code: str = ""


class Refused(Exception):
    """The record is a dead letter; nothing has changed."""


class Judging:
    """The records of one part of a unit that are judged one at a time, in log order.

    Attributes:
        state: of corrections; events: what the unit has booked so far.
        scopes: those that were looked at, as they are now.
        foreseen: what RERATE records of the unit are about, priced anew.
        waiting: (offset, hash of the identity that it is about) of what waits for its original.
    """

    def __init__(self, batch: LogBatch, known: Known, facts: Facts, rules: Rules, schema_of: SchemaOf) -> None:
        self._batch, self._known, self._facts, self._rules = batch, known, facts, rules
        self._schema_of = schema_of
        self._known_state, self.state = CorrectionState(known.corrections), CorrectionState(known.corrections)
        self.scopes = ScopeStates.empty()
        self._loaded = {bytes(KEY_BYTES)}  # that one is no scope
        self.events = KnownEvents(known, self.state, batch.partition, int(batch.offsets[0]), facts.period)
        self.foreseen = Foreseen(batch, self.events, facts, rules)
        self.waiting: list[tuple[int, bytes]] = []

    def look_ahead(self, records: Sequence[Record], coming: Collection[bytes]) -> None:
        """What is asked of each record that is no usage is asked for all of them at once, before they are judged.

        Args:
            coming: hashes of what the unit itself may make known.
        """
        self.events.look_up([name for record in records for name in (record.name, record.original_name)])
        fresh = [record for record in records if self.events.coordinate(record.name)[1] < 0 and record.original[2]]
        rerated = {each.offset: each.original_name for each in fresh if each.kind == "RERATE"}
        asking = [each for each in fresh if each.offset in rerated or not self._is_claimed(each.original_name)]
        events = self.events.read({each.original_name: each.original for each in asking}, coming)
        self.load(b"".join(key for event in events for key in scope_keys_of(event.booked.entries)))
        self.foreseen.plan(rerated)
        if amends := [each for each in asking if each.kind == "AMEND"]:
            self.foreseen.price_amends(amends[0].records, [each.row for each in amends])

    def judged(self, record: Record) -> Verdict:
        """What must become of a record. Raises Refused."""
        if record.kind == "PERIOD_CLOSE":
            return self._close(record)
        content, offset = self.events.coordinate(record.name)
        if offset >= 0:
            return Verdict("DUPLICATE" if content == record.content else "CONFLICT")
        if record.kind == "RERATE":
            return self._rerate(record)
        verdict = self._accept(record)
        if verdict.outcome in ("CHARGED", "UNRATED"):
            self._know(record, record.offset)
            if record.kind != "CANCEL":  # a cancel is no event: what is about it waits for ever
                verdict = self._act_waiting(record.name, verdict, record.offset)
        return verdict

    def _close(self, record: Record) -> Verdict:
        """Close a period for ever; a second close changes nothing."""
        account = record.identity[0]
        period = self._facts.period(account, int(record.prepared.usage.long("event_time")[0]))
        if period in self.state.closed(account):
            return Verdict("CONTROL")
        try:
            settled = self._settled(closing(self._blank(record), period), period)
        except errors.Refused as refused:
            raise Refused(refused.code) from None
        self.state.close(account, period, [row["carried"] for row in settled.rows if row["carried"] is not None])
        self._hold(settled.held)
        return Verdict("CONTROL", settled.rows)

    def _settled(self, row: Row, period: Span) -> Settled:
        account, facts = row["billing_account_id"], self._facts
        skus = sorted({each.sku.sku_id for each in facts.all_rates() if is_settled(each.sku)})
        is_whole = has_terms(facts.accounts, account) or self.state.carries(account)
        attributes = frozenset(name for each in facts.all_rates() for name in each.sku.scope_by)
        wanted = ClosingRows(tuple(skus), period[0] if is_whole else None, attributes)
        booked = self.events.of_account(account, wanted) if skus or is_whole else ()
        closed, rows_max = self.state.closed(account), self._rules.close_rows_max
        return settled_rows(row, period, booked, facts, closed, self.state, self._states_of, rows_max)

    def _accept(self, record: Record) -> Verdict:
        if record.kind == "USAGE":
            row, scopes = self._priced(record.prepared, record.batch, self.scopes)
            self.scopes = scopes
            self.events.remember(record.offset, row)
            return Verdict(row["outcome"], (row,))
        if self._is_claimed(record.original_name):
            return Verdict("DUPLICATE")
        event = self.events.event(record.original, record.original_name)
        if record.original_name in self.events.claimed_before:
            return Verdict("DUPLICATE")
        if event is None:
            self.waiting.append((record.offset, record.original_name))
            place = int(record.prepared.rows[0])
            time, value = int(record.batch.append_times[place]), record.batch.values[place]
            self.state.wait(record.original_name, WaitingRecord(record.offset, time, value))
            return Verdict("WAITING")
        return self._take_back(record, event, record.offset)

    def _is_claimed(self, original: bytes) -> bool:
        """Whether a cancel or amend of an event counts, or waits."""
        return self.state.is_claimed(original) or self.state.waiting(original) is not None

    def _act_waiting(self, name: bytes, verdict: Verdict, offset: int) -> Verdict:
        """A cancel or amend that came first acts in the rows of its original."""
        waiting = self.state.waiting(name)
        if waiting is None:
            return verdict
        self.state.came(name)
        try:
            record = self._awake(waiting, offset)
            event = self.events.event(record.original, record.original_name)
            assert event is not None
            later = self._take_back(record, event, offset)
        except Refused:  # the original must not be refused for a fault of what came before it
            return verdict
        self._know(record, offset)
        if later.outcome == "UNRATED":
            return replace(verdict, rows=verdict.rows + later.rows)
        if record.kind == "AMEND":
            later = self._act_waiting(record.name, later, offset)
        outcome = verdict.outcome if record.kind == "CANCEL" else "CHARGED"
        return Verdict(outcome, verdict.rows + later.rows)

    def _awake(self, waiting: WaitingRecord, offset: int) -> Record:
        """The record that waited, priced where its original lies and with the facts that this one sees."""
        place = int(np.searchsorted(self._batch.offsets, offset))
        time = self._batch.append_times[place : place + 1]
        batch = LogBatch(
            self._batch.topic, self._batch.partition, np.array([offset]), time, [waiting.value], offset + 1
        )
        prepared = prepare(batch, self._facts.table, self._rules, self._schema_of)
        if not prepared.usage.length:
            raise Refused(CODES[int(prepared.refusals.codes[0])])
        return records_of(prepared, np.zeros(1, np.int64), batch)[0]

    def _priced(self, prepared: Prepared, batch: LogBatch, scopes: ScopeStates) -> tuple[Row, ScopeStates]:
        """(the row of an event, the scopes after it)."""
        if prepared.priced.refused[0]:
            raise Refused(CODES[int(prepared.refusals.codes[prepared.rows[0]])])
        if prepared.priced.uses is not None:
            before = self.scopes
            self.load(prepared.priced.uses.keys)
            scopes = self.scopes if scopes is before else self.scopes.merge(scopes)
        booked = book(batch, prepared, known=Identities(), scopes=scopes, watermark=None, rules=self._rules)
        (row,) = rows_of(charges_alone(booked, self._facts.sequence, self._rules))
        return self._where_billed(row, int(batch.append_times[prepared.rows[0]]), scopes), scopes.apply(booked.scopes)

    def _amended(self, record: Record, scopes: ScopeStates) -> tuple[Row, ScopeStates]:
        """Likewise of the event that an AMEND record brings."""
        row = self.foreseen.amend(record.offset) if record.batch is self._batch else None
        if row is None:
            return self._priced(record.prepared, record.batch, scopes)
        return self._where_billed(row, self._append_time(record.offset), scopes), scopes

    def _where_billed(self, row: Row, append_time: int, scopes: ScopeStates) -> Row:
        """The row of an event in the period that is billed for it; `scopes`: before it."""
        if not self.state.closed(row["billing_account_id"]):
            return row
        where, event = self.billed_in(row["billing_account_id"], append_time), event_row(row)
        entries = [rebilled(entry, where) for entry in event.entries]
        states = scopes.states(scope_keys_of(entries))
        entries = late_settlement(entries, states, self._facts, where, self.state)
        return correction_rows.rebilled(row, entries, where(event.period)[0])

    def billed_in(self, account: str, append_time: int) -> BilledIn:
        """Where usage of an account is billed by a record appended at that time, milliseconds."""
        period_of = partial(self._facts.period, account)
        return closed_periods.billed_in(self.state.closed(account), period_of, append_time * 1000)

    def _take_back(self, record: Record, event: Event, offset: int) -> Verdict:
        """CANCEL, or AMEND as a whole: one that cannot be rated leaves the original as it is."""
        time = self._append_time(offset)
        is_amend = record.kind == "AMEND"
        if self._is_beyond_reach(event, time):
            row = self._blank(record) if is_amend else self._named(event.row, record, offset)
            row = unrated(row, "TOO_LATE") | {"source_offset": offset}
            if is_amend:
                self.events.remember(offset, row)
            return Verdict("UNRATED", (row,))
        taken = self._undone(event, time)
        scopes = self._after(taken)
        fresh: tuple[Row, ...] = ()
        if is_amend:
            row, scopes = self._amended(record, scopes)
            if row["outcome"] == "UNRATED":
                self.state.claim(record.original_name, record.name)
                self.events.remember(offset, row)
                return Verdict("UNRATED", (row,))
            fresh = (row,)
        self.state.take_back(record.original_name, record.name)
        self.scopes = scopes
        undone = self._named(self._taken_back(event, taken, time), record, offset)
        self.events.remember(offset, undone, *fresh)
        return Verdict("CHARGED", (undone, *fresh))

    def _is_beyond_reach(self, event: Event, append_time: int) -> bool:
        """Whether an event is too old for its account to be corrected at that time, milliseconds."""
        account = event.row["billing_account_id"]
        return is_beyond_reach(self._facts.accounts, account, event.booked.event_time, append_time * 1000)

    def _blank(self, record: Record) -> Row:
        """The row of an amend by itself, whatever its price would be."""
        priced = record.prepared.priced
        blank = replace(
            priced,
            entries=priced.entries.at(np.zeros(0, np.int64)),
            uses=None,
            reason=np.array([REASONS.index("TOO_LATE")]),
            overflow=np.zeros(1, bool),
            not_allowed=None,
        )
        row, _ = self._priced(replace(record.prepared, priced=blank), record.batch, self.scopes)
        return row

    def _rerate(self, record: Record) -> Verdict:
        """Rates one event anew with what is visible now; equal results write nothing."""
        target = record.original_name
        event = self.events.event(record.original, target)
        if event is None or self.state.is_void(target) or target in self.events.claimed_before or event.is_too_late:
            return Verdict("CONTROL")
        time = self._append_time(record.offset)
        if self._is_beyond_reach(event, time):
            return Verdict("CONTROL")
        undone = [event]
        if not event.is_rated and event.is_amend:
            identity = (*record.original[:2], event.row["amends_event_id"])
            first = self.events.event(identity, identity_hashes([identity])[0])
            assert first is not None
            undone = [first, event]
        taken = self._undone(undone[0], time)
        anew = self.foreseen.priced(record.offset, event, self._look_at)
        if anew is None:
            return Verdict("CONTROL")
        scopes = self._after(taken)
        if anew.row is not None and anew.holds(scopes):
            fresh = self._where_billed(anew.row, time, scopes)
            scopes = scopes.merge(_states_of(anew.after)) if anew.after else scopes
        else:
            self.foreseen.missed(anew)
            fresh, scopes = self._priced(anew.prepared, anew.batch, scopes)
        is_same = event.is_rated and is_equal(event.booked, event_row(fresh), taken.entries)
        if fresh["outcome"] == "UNRATED" or is_same:
            return Verdict("CONTROL")
        return self._rerated(record, undone, taken, fresh, scopes)

    def _rerated(
        self, record: Record, undone: list[Event], taken: TakenBack, fresh: Row, scopes: ScopeStates
    ) -> Verdict:
        self.state.rerate(record.original_name, record.offset)
        self.scopes = scopes
        self._know(record, record.offset)
        time, nothing = self._append_time(record.offset), TakenBack((), {})
        back = [
            self._named(self._taken_back(each, taken if each is undone[0] else nothing, time), record, record.offset)
            for each in undone
        ]
        row = self._named(fresh, record, record.offset)
        self.events.remember(record.offset, *back, row)
        return Verdict("CONTROL", (*back, row))

    def _named(self, row: Row, record: Record, offset: int) -> Row:
        """A row in the name of the record that makes it."""
        return row | {
            "source_offset": offset,
            "append_time": _EPOCH + timedelta(milliseconds=self._append_time(offset)),
            "identity_hash": record.name,
            "content_hash": record.content.to_bytes(4, "big"),
            "event_id": record.identity[2],
            "event_kind": record.kind,
            "amends_event_id": record.original[2],
            "run_id": record.run_id,
            "governance_sequence": self._facts.sequence,
        }

    # What is known

    def _append_time(self, offset: int) -> int:
        return int(self._batch.append_times[offset - int(self._batch.offsets[0])])

    def _know(self, record: Record, offset: int) -> None:
        self.events.know_one(record.name, record.content, offset)

    # Scopes

    def load(self, keys: bytes) -> None:
        """Look at scopes that this unit has not looked at yet."""
        names = {keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)} - self._loaded
        if not names:
            return
        self._loaded |= names
        joined = b"".join(sorted(names))
        part = self._with_held(self._known.scopes.part(joined), names)
        self.scopes = part.merge(self.scopes)

    def _look_at(self, keys: bytes) -> ScopeStates:
        self.load(keys)
        return self.scopes

    def _hold(self, held: Mapping[bytes, int]) -> None:
        """Scopes that a close of this unit opens without an event."""
        self.load(b"".join(held))
        states = self.scopes.states(held)
        self.scopes = self.scopes.merge(_opened(states, held))

    def _with_held(self, scopes: ScopeStates, names: Iterable[bytes]) -> ScopeStates:
        """With those open that closes before this unit opened: what is stored is what events have moved."""
        held = {name: amount for name in names if (amount := self._known_state.held(name)) is not None}
        states = scopes.states(held)
        return scopes.merge(_opened(states, held))

    def stored_scopes(self) -> ScopeColumns:
        """The columns of `scopes` as events have moved them."""
        keys = self.scopes.keys
        names = [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]
        held = {name: amount for name in names if (amount := self.state.held(name)) is not None}
        states = self.scopes.states(held)
        moved = {
            key: replace(each, opened=each.quantity != 0, amount=each.amount - held[key])
            for key, each in states.items()
        }
        return self.scopes.merge(_states_of(moved)).columns

    def _undone(self, event: Event, append_time: int) -> TakenBack:
        """What takes an event back by a record appended at that time, milliseconds."""
        if not event.is_rated:
            return TakenBack((), {})
        entries, where = event.booked.entries, self.billed_in(event.row["billing_account_id"], append_time)
        return take_back(event.booked.offset, entries, self._states(entries), self._facts, where, self.state)

    def _taken_back(self, event: Event, taken: TakenBack, append_time: int) -> Row:
        account = event.row["billing_account_id"]
        period = self._facts.period(account, event.booked.event_time)
        return taken_back(event.row, event.event_id, taken.entries, self.billed_in(account, append_time)(period)[0])

    def _after(self, taken: TakenBack) -> ScopeStates:
        if not taken.scopes:
            return self.scopes
        return self.scopes.merge(_states_of(taken.scopes))

    def _states(self, entries: Sequence[BookedEntry]) -> dict[bytes, ScopeState]:
        return self._states_of(scope_keys_of(entries))

    def _states_of(self, scope_keys: Iterable[bytes]) -> dict[bytes, ScopeState]:
        keys = list(scope_keys)
        if not keys:
            return {}
        self.load(b"".join(keys))
        return self.scopes.states(keys)


def _opened(states: Mapping[bytes, ScopeState], held: Mapping[bytes, int]) -> ScopeStates:
    return _states_of({key: replace(each, opened=True, amount=each.amount + held[key]) for key, each in states.items()})


def _states_of(states: Mapping[bytes, ScopeState]) -> ScopeStates:
    return ScopeStates.of(b"".join(states), ScopeColumns.of(list(states.values())))
