"""Records of a unit that are judged one at a time, in the order of `deciding`.

What a record leaves behind is seen by the records after it, and by nobody else before the commit: the state is read,
not changed. Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from chargeline.domain.corrections import TakenBack
from chargeline.domain.identities import Identities, Keys
from chargeline.domain.rating.booked_entries import BilledIn, Span
from chargeline.domain.rating.pricing import REASONS
from chargeline.domain.rating.scope_states import KEY_BYTES, ScopeColumns, ScopeStates
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.domain.usage import CODES, UsageColumns
from chargeline.ports import ClosingRows, LogBatch
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.compute import Prepared, Rules, book, prepare
from chargeline.pricer.correction_state import CorrectionState, WaitingRecord
from chargeline.pricer.deciding import Deciding, Refused, scopes_of
from chargeline.pricer.facts import Facts
from chargeline.pricer.foreseen import Foreseen
from chargeline.pricer.known_events import Event, Known, KnownEvents, names_of
from chargeline.pricer.log_records import text_at
from chargeline.pricer.settling import Settled, has_terms, is_settled, settled_rows
from chargeline.wire import correction_rows
from chargeline.wire.correction_rows import Row, closing, rows_of, taken_back, unrated
from chargeline.wire.event_rows import EventRow, Identity, event_row
from chargeline.wire.usage_decoder import identity_hashes

SchemaOf = Callable[[int], str | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    """One record that is judged by itself. `name`, `original_name`: the hashes of the identities."""

    prepared: Prepared
    batch: LogBatch
    kind: str
    identity: Identity
    original: Identity
    name: bytes
    original_name: bytes
    content: int

    @property
    def offset(self) -> int:
        return int(self.prepared.keys.offset[0])

    @property
    def event_time(self) -> int:
        return int(self.prepared.usage.long("event_time")[0])

    @property
    def append_time(self) -> int:
        """Microseconds."""
        return int(self.batch.append_times[self.prepared.rows[0]]) * 1000


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
        self.events = KnownEvents(known, self.state, batch.partition, int(batch.offsets[0]), facts.period)
        self.foreseen = Foreseen(batch, self.events, facts, rules)
        self.waiting: list[tuple[int, bytes]] = []

    def record(self, prepared: Prepared, batch: LogBatch, original_name: bytes | None = None) -> Record:
        """One record; `original_name`: the hash of what it is about, if it is known already."""
        usage = prepared.usage
        kinds = usage.texts.get("event_kind")
        original = original_of(usage)
        return Record(
            prepared,
            batch,
            "USAGE" if kinds is None else kinds.at(0) or "USAGE",
            (*original[:2], str(usage.plain["event_id"][0].as_py())),
            original,
            names_of(prepared.keys)[0],
            identity_hashes([original])[0] if original_name is None else original_name,
            int(prepared.keys.content[0]),
        )

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

    def _anew(self, record: Record, event: Event, scopes: ScopeStates) -> tuple[Row, ScopeStates] | None:
        anew = self.foreseen.priced(record.offset, event)
        if anew is None:
            return None
        if anew.row is None:
            return self._price(anew.prepared, anew.batch, scopes)
        return self._where_billed(anew.row, record.append_time, scopes), scopes

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
        keys = record.prepared.keys
        self.events.know(Keys(keys.high, keys.low, keys.content, np.array([record.offset], np.int64)))

    def _wait(self, record: Record) -> None:
        self.waiting.append((record.offset, record.original_name))
        place = int(record.prepared.rows[0])
        time, value = int(record.batch.append_times[place]), record.batch.values[place]
        self.state.wait(record.original_name, WaitingRecord(record.offset, time, value))

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
        return self.record(prepared, alone)

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
        entries = [replace(entry, event_id=event.event_id) for entry in taken.entries]
        return taken_back(event.row, entries, self._where(account, record.append_time)(period)[0])

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
            "run_id": text_at(record.prepared.usage, "run_id"),
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
        names = {keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)} - {bytes(KEY_BYTES)}
        if not names:
            return
        joined = b"".join(sorted(names))
        part = self._with_held(self._known.scopes.part(joined), names)
        self.scopes = part.merge(self.scopes)

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
        self.load(b"".join(names))
        return self.scopes.states(names)


def _opened(states: Mapping[bytes, ScopeState], held: Mapping[bytes, int]) -> ScopeStates:
    return scopes_of({key: replace(each, opened=True, amount=each.amount + held[key]) for key, each in states.items()})


def original_of(usage: UsageColumns) -> Identity:
    """What a single record is about."""
    account, source = usage.texts["billing_account_id"].at(0) or "", usage.texts["source"].at(0) or ""
    return account, source, text_at(usage, "amends_event_id") or ""


__all__ = ["Judging", "Refused", "SchemaOf", "original_of"]
