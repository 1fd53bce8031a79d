"""Records of a unit that are judged one at a time, in the order of `deciding`.

What a record leaves behind is seen by the records after it, and by nobody else before the commit: the state is read,
not changed. Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from chargeline.domain.corrections import TakenBack
from chargeline.domain.identities import Identities
from chargeline.domain.rating.booked_entries import BilledIn, Span, scope_keys_of
from chargeline.domain.rating.pricing import REASONS
from chargeline.domain.rating.scope_states import KEY_BYTES, ScopeColumns, ScopeStates
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.domain.usage import CODES
from chargeline.ports import ClosingRows, LogBatch
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.compute import Prepared, Rules, book, prepare
from chargeline.pricer.correction_state import CorrectionState, WaitingRecord
from chargeline.pricer.deciding import Deciding, Refused, scopes_of
from chargeline.pricer.facts import Facts
from chargeline.pricer.foreseen import Foreseen
from chargeline.pricer.known_events import Event, Known, KnownEvents
from chargeline.pricer.settling import Settled, has_terms, is_settled, settled_rows
from chargeline.pricer.single_records import Record, records_of
from chargeline.wire import correction_rows
from chargeline.wire.charge_rows import Row, rows_of
from chargeline.wire.correction_rows import closing, taken_back, unrated
from chargeline.wire.event_rows import EventRow, event_row
from chargeline.wire.usage_decoder import identity_hashes

SchemaOf = Callable[[int], str | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Verdict:
    """What became of one record, and the rows that it booked: those that take something back before its own."""

    outcome: str
    rows: tuple[Row, ...] = ()


class Judging(Deciding[Record, Event, Row, Verdict]):
    """The records of one part of a unit that are judged one at a time, in log order.

    Attributes:
        state: of corrections; events: what the unit has booked so far.
        scopes: those that were looked at, as they are now.
        foreseen: what RERATE records of the unit are about, priced anew.
        waiting: (offset, hash of the identity that it is about) of what waits for its original.
    """

    def __init__(self, batch: LogBatch, known: Known, facts: Facts, rules: Rules, schema_of: SchemaOf) -> None:
        super().__init__(facts)
        self._batch, self._known, self._rules = batch, known, rules
        self._schema_of = schema_of
        self._known_state, self.state = CorrectionState(known.corrections), CorrectionState(known.corrections)
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
        fresh = [record for record in records if self._known_content(record) is None and record.original[2]]
        rerated = {each.offset: each.original_name for each in fresh if each.kind == "RERATE"}
        asking = [each for each in fresh if each.offset in rerated or not self._is_claimed(each)]
        events = self.events.read({each.original_name: each.original for each in asking}, coming)
        self.load(b"".join(key for event in events for key in scope_keys_of(event.booked.entries)))
        self.foreseen.plan(rerated)
        if amends := [each for each in asking if each.kind == "AMEND"]:
            self.foreseen.price_amends(amends[0].records, [each.row for each in amends])

    # What is known

    def _known_content(self, record: Record) -> int | None:
        content, offset = self.events.coordinate(record.name)
        return content if offset >= 0 else None

    def _event(self, record: Record) -> Event | None:
        return self.events.event(record.original, record.original_name)

    def _is_claimed(self, record: Record) -> bool:
        name = record.original_name
        is_claimed = self.state.is_claimed(name) or self.state.waiting(name) is not None
        return is_claimed or name in self.events.claimed_before

    def _is_void(self, record: Record, event: Event) -> bool:
        del event
        return self.state.is_void(record.original_name) or record.original_name in self.events.claimed_before

    def _amended(self, amend: Event) -> Event:
        identity = (*amend.booked.identity[:2], amend.row["amends_event_id"])
        original = self.events.event(identity, identity_hashes([identity])[0])
        assert original is not None
        return original

    def _closed(self, account: str) -> frozenset[Span]:
        return self.state.closed(account)

    def _held(self) -> CorrectionState:
        return self.state

    def billed_in(self, account: str, append_time: int) -> BilledIn:
        """Where usage of an account is billed by a record appended at that time, milliseconds."""
        return self._where(account, append_time * 1000)

    # Prices

    def _priced(self, record: Record, scopes: ScopeStates) -> tuple[Row, ScopeStates]:
        if record.batch is self._batch and (row := self.foreseen.amend(record.offset)) is not None:
            return self._where_billed(row, record.append_time, scopes), scopes
        return self._price(record.prepared, record.batch, scopes)

    def _price(self, prepared: Prepared, batch: LogBatch, scopes: ScopeStates) -> tuple[Row, ScopeStates]:
        if prepared.priced.refused[0]:
            raise Refused(CODES[int(prepared.refusals.codes[prepared.rows[0]])])
        if prepared.priced.uses is not None:
            before = self.scopes
            self.load(prepared.priced.uses.keys)
            scopes = self.scopes if scopes is before else self.scopes.merge(scopes)
        booked = book(batch, prepared, known=Identities(), scopes=scopes, watermark=None, rules=self._rules)
        (row,) = rows_of(charges_alone(booked, self.facts.sequence, self._rules))
        time = int(batch.append_times[prepared.rows[0]]) * 1000
        return self._where_billed(row, time, scopes), scopes.apply(booked.scopes)

    def _where_billed(self, row: Row, time: int, scopes: ScopeStates) -> Row:
        """The row of an event in the period that is billed for it; `scopes`: before it."""
        if not self.state.closed(row["billing_account_id"]):
            return row
        return correction_rows.rebilled(row, *self._as_billed(event_row(row), time, scopes))

    def _anew(self, record: Record, event: Event, taken: TakenBack) -> tuple[Row, ScopeStates] | None:
        anew = self.foreseen.priced(record.offset, event, self._look_at)
        if anew is None:
            return None
        scopes = self._after(taken)  # not before: more scopes may be looked at by now
        if anew.row is not None and anew.holds(scopes):
            row = self._where_billed(anew.row, record.append_time, scopes)
            return row, scopes.merge(scopes_of(anew.after)) if anew.after else scopes
        self.foreseen.missed(anew)
        return self._price(anew.prepared, anew.batch, scopes)

    def _blank(self, record: Record) -> Row:
        """The row of a record by itself, whatever its price would be."""
        priced = record.prepared.priced
        blank = replace(
            priced,
            entries=priced.entries.at(np.zeros(0, np.int64)),
            uses=None,
            reason=np.array([REASONS.index("TOO_LATE")]),
            overflow=np.zeros(1, bool),
            not_allowed=None,
        )
        row, _ = self._price(replace(record.prepared, priced=blank), record.batch, self.scopes)
        return row

    def _is_rated(self, row: Row) -> bool:
        return bool(row["outcome"] == "CHARGED")

    def _event_row(self, row: Row) -> EventRow:
        return event_row(row)

    # What a record leaves behind

    def _nothing_booked(self, outcome: str) -> Verdict:
        return Verdict(outcome)

    def _know(self, record: Record) -> None:
        self.events.know_one(record.name, record.content, record.offset)

    def _wait(self, record: Record) -> None:
        self.waiting.append((record.offset, record.original_name))
        value = record.batch.values[record.place]
        self.state.wait(record.original_name, WaitingRecord(record.offset, record.append_time // 1000, value))

    def _awake(self, record: Record) -> Record | None:
        """Priced where its original lies, and with the facts that this one sees."""
        waiting = self.state.waiting(record.name)
        if waiting is None:
            return None
        self.state.came(record.name)
        batch, offset = self._batch, record.offset
        place = int(np.searchsorted(batch.offsets, offset))
        time = batch.append_times[place : place + 1]
        alone = LogBatch(batch.topic, batch.partition, np.array([offset]), time, [waiting.value], offset + 1)
        prepared = prepare(alone, self.facts.table, self._rules, self._schema_of)
        if not prepared.usage.length:
            raise Refused(CODES[int(prepared.refusals.codes[0])])
        return records_of(prepared, np.zeros(1, np.int64), alone)[0]

    def _charge(self, record: Record) -> Verdict:
        row, self.scopes = self._priced(record, self.scopes)
        self.events.remember(record.offset, row)
        return Verdict(row["outcome"], (row,))

    def _too_late(self, record: Record, event: Event) -> Verdict:
        is_amend = record.kind == "AMEND"
        row = self._blank(record) if is_amend else self._named(event.row, record)
        row = unrated(row, "TOO_LATE") | {"source_offset": record.offset}
        if is_amend:
            self.events.remember(record.offset, row)
        return Verdict("UNRATED", (row,))

    def _claim(self, record: Record, fresh: Row) -> Verdict:
        self.state.claim(record.original_name, record.name)
        self.events.remember(record.offset, fresh)
        return Verdict("UNRATED", (fresh,))

    def _replace(self, record: Record, event: Event, taken: TakenBack, fresh: Row | None) -> Verdict:
        self.state.take_back(record.original_name, record.name)
        undone = self._named(self._taken_back(event, taken, record), record)
        rows = (undone,) if fresh is None else (undone, fresh)
        self.events.remember(record.offset, *rows)
        return Verdict("CHARGED", rows)

    def _joined(self, verdict: Verdict, later: Record, change: Verdict) -> Verdict:
        is_amended = later.kind == "AMEND" and change.outcome == "CHARGED"
        return Verdict("CHARGED" if is_amended else verdict.outcome, verdict.rows + change.rows)

    def _rerated(self, record: Record, first: Event, event: Event, taken: TakenBack, fresh: Row) -> Verdict:
        self.state.rerate(record.original_name, record.offset)
        back = [self._taken_back(first, taken, record)]
        if first is not event:
            back.append(self._taken_back(event, TakenBack((), {}), record))
        rows = tuple(self._named(row, record) for row in (*back, fresh))
        self.events.remember(record.offset, *rows)
        return Verdict("CONTROL", rows)

    def _taken_back(self, event: Event, taken: TakenBack, record: Record) -> Row:
        account = event.row["billing_account_id"]
        period = self.facts.period(account, event.booked.event_time)
        where = self._where(account, record.append_time)(period)[0]
        return taken_back(event.row, event.event_id, taken.entries, where)

    def _named(self, row: Row, record: Record) -> Row:
        """A row in the name of the record that makes it."""
        return row | {
            "source_offset": record.offset,
            "append_time": _EPOCH + timedelta(microseconds=record.append_time),
            "identity_hash": record.name,
            "content_hash": record.content.to_bytes(4, "big"),
            "event_id": record.identity[2],
            "event_kind": record.kind,
            "amends_event_id": record.original[2],
            "run_id": record.run_id,
            "governance_sequence": self.facts.sequence,
        }

    # Closes

    def _closed_now(self, record: Record, period: Span) -> Verdict:
        settled = self._settled(closing(self._blank(record), period), period)
        carried = [row["carried"] for row in settled.rows if row["carried"] is not None]
        self.state.close(record.identity[0], period, carried)
        self._hold(settled.held)
        return Verdict("CONTROL", settled.rows)

    def _settled(self, row: Row, period: Span) -> Settled:
        account, facts = row["billing_account_id"], self.facts
        skus = sorted({each.sku.sku_id for each in facts.all_rates() if is_settled(each.sku)})
        is_whole = has_terms(facts.accounts, account) or self.state.carries(account)
        attributes = frozenset(name for each in facts.all_rates() for name in each.sku.scope_by)
        wanted = ClosingRows(tuple(skus), period[0] if is_whole else None, attributes)
        booked = self.events.of_account(account, wanted) if skus or is_whole else ()
        closed, rows_max = self.state.closed(account), self._rules.close_rows_max
        return settled_rows(row, period, booked, facts, closed, self.state, self.states, rows_max)

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
        return self.scopes.merge(scopes_of(moved)).columns

    def states(self, keys: Iterable[bytes]) -> dict[bytes, ScopeState]:
        names = list(keys)
        if not names:
            return {}
        self.load(b"".join(names))
        return self.scopes.states(names)


def _opened(states: Mapping[bytes, ScopeState], held: Mapping[bytes, int]) -> ScopeStates:
    return scopes_of({key: replace(each, opened=True, amount=each.amount + held[key]) for key, each in states.items()})
