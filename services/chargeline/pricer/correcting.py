"""Units with corrections: records whose order matters are judged one at a time, the usage between them in columns.

Usage of accounts that have nothing to correct is one run. Of the others, a run ends where a record is no usage, or an
event that a correction of this unit or one that waits is about. What a record leaves behind is seen by the records
after it, and by nobody else before the commit: the state is read, not changed.
Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from chargeline.domain.booked_entries import BookedEntry, Span, scope_keys_of
from chargeline.domain.corrections import TakenBack, take_back
from chargeline.domain.identities import Identities, Keys
from chargeline.domain.pricing import REASONS
from chargeline.domain.scope_states import KEY_BYTES, ScopeColumns, ScopeStates
from chargeline.domain.scope_step import ScopeState
from chargeline.domain.usage import CODES, GOOD, UsageColumns, no_usage
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.compute import Booked, Corrected, Prepared, Rules, book, prepare
from chargeline.pricer.correction_state import CorrectionFields, CorrectionState, WaitingRecord
from chargeline.pricer.facts import Facts
from chargeline.pricer.known_events import Event, Known, KnownEvents, names_of, stored_key
from chargeline.pricer.log_records import is_beyond_reach, is_equal, text_at
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.correction_rows import Row, rows_of, taken_back, unrated
from chargeline.wire.event_rows import Identity, event_row, value_of
from chargeline.wire.usage_decoder import identity_hashes

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
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


@dataclass(frozen=True)
class Verdict:
    """What became of one record, and the rows that it booked: those that take something back before its own."""

    outcome: str
    rows: tuple[Row, ...] = ()
    code: str = ""


class Refused(Exception):
    """The record is a dead letter; nothing has changed."""


def needs_care(prepared: Prepared, corrections: CorrectionFields) -> bool:
    """Whether any record of a unit is no usage, or is waited for."""
    return bool(len(no_usage(prepared.usage))) or bool(corrections.may_await(prepared.keys).any())


class Correcting:
    """The records of one part of a unit, in log order."""

    def __init__(
        self, batch: LogBatch, prepared: Prepared, known: Known, facts: Facts, rules: Rules, schema_of: SchemaOf
    ) -> None:
        self._batch, self._prepared = batch, prepared
        self._known, self._facts, self._rules = known, facts, rules
        self._schema_of = schema_of
        self._state = CorrectionState(known.corrections)
        self._scopes = ScopeStates.empty()  # those that were looked at, as they are now
        self._events = KnownEvents(known, self._state, batch.partition, int(batch.offsets[0]))
        self._runs: list[Booked] = []
        self._outcomes: Counter[str] = Counter()
        self._codes = prepared.refusals.codes.copy()
        self._codes[prepared.rows] = GOOD
        self._conflicts: list[int] = []
        self._waiting: list[tuple[int, bytes]] = []
        self._times: list[int] = []
        self._names = names_of(prepared.keys)
        self._accepted: list[int] = []

    def run(self, watermark: int | None) -> Booked:
        """Judge all of them."""
        usage = self._prepared.usage
        alone = no_usage(usage)
        about = self._originals(alone)
        wanted = set(about.values())
        apart = self._known.corrections.may_await(self._prepared.keys)
        apart[alone] = True
        if wanted:
            apart |= np.array([name in wanted for name in self._names], bool)
        accounts = usage.texts["billing_account_id"]
        busy = np.isin(accounts.codes, np.unique(accounts.codes[apart]))
        self._usage(np.flatnonzero(~busy), keep=False)
        left: dict[int, deque[int]] = {}
        for row in np.flatnonzero(busy).tolist():
            left.setdefault(int(accounts.codes[row]), deque()).append(row)
        while left:
            runs = [_next_run(rows, apart) for rows in left.values()]
            self._usage(np.array(sorted(row for run in runs for row in run if not apart[row]), np.int64), keep=True)
            for row in sorted(row for run in runs for row in run if apart[row]):
                self._single(row, about.get(row, b""))
            left = {name: rows for name, rows in left.items() if rows}
        return self._booked(watermark)

    def _originals(self, alone: Int64Array) -> dict[int, bytes]:
        """By row, the hash of the identity that it is about."""
        identities = [_original(self._prepared.usage.take(alone[at : at + 1])) for at in range(len(alone))]
        return dict(zip(alone.tolist(), identity_hashes(identities), strict=True))

    def _booked(self, watermark: int | None) -> Booked:
        base = self._known.scopes.take(self._scopes.keys)
        changes = self._scopes.columns.less(base)
        moved = (changes.quantity.values != 0) | (changes.amount.values != 0) | (changes.count != 0)
        moved[[*changes.quantity.large, *changes.amount.large]] = True
        at = np.flatnonzero(moved)
        keys = np.frombuffer(self._scopes.keys, np.uint8).reshape(-1, KEY_BYTES)[at].tobytes()
        self._outcomes["DEAD_LETTER"] += int((self._codes != GOOD).sum())
        times = [*self._times, *(int(each.watermark) for each in self._runs if each.watermark is not None)]
        after = max([*times, *([] if watermark is None else [watermark])], default=None)
        rows = [row for _, each in sorted(self._events.singles.items()) for row in each]
        corrected = Corrected(
            tuple(self._runs), tuple(self._events.tables), tuple(rows), tuple(self._waiting), dict(self._state.changes),
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
        last = {(row["source_offset"], row["identity_hash"]): row for row in rows}
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
            self._load(prepared.priced.uses.keys)
        booked = book(
            self._batch,
            prepared,
            known=self._known.identities,
            scopes=self._scopes,
            earlier=Keys.joined(self._events.keys) if self._events.keys else None,
            watermark=None,
            rules=self._rules,
        )
        self._scopes = self._scopes.apply(booked.scopes)
        self._codes[prepared.rows] = booked.codes[prepared.rows]
        self._outcomes += Counter(
            {name: booked.outcomes[name] for name in ("CHARGED", "UNRATED", "DUPLICATE", "CONFLICT")}
        )
        self._conflicts += booked.conflicts.tolist()
        self._runs.append(booked)
        self._events.tables.append(charges_alone(booked, self._facts.sequence, self._rules))
        if keep:
            self._events.know(booked.keys)

    def _load(self, keys: bytes) -> None:
        """Look at scopes that this unit has not looked at yet."""
        names = {keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)} - {bytes(KEY_BYTES)}
        if not names:
            return
        joined = b"".join(sorted(names))
        part = self._known.scopes.part(joined)
        self._scopes = part.merge(self._scopes)

    # One record

    def _single(self, row: int, original_name: bytes) -> None:
        record = self._record(self._prepared.take(np.array([row])), self._batch, original_name)
        try:
            verdict = self._judged(record)
        except Refused as refused:
            self._codes[self._prepared.rows[row]] = CODES.index(str(refused))
            return
        self._outcomes[verdict.outcome] += 1
        if verdict.outcome == "CONFLICT":
            self._conflicts.append(int(self._prepared.rows[row]))
        if verdict.rows:
            rows = [each | {"source_index": index} for index, each in enumerate(verdict.rows)]
            self._events.singles[record.offset] = rows
            if record.kind in ("USAGE", "AMEND"):
                self._times.append(int(record.prepared.usage.long("event_time")[0]) - self._rules.watermark_bound_us)
            if record.kind == "USAGE":
                self._accepted.append(row)  # one request, whatever becomes of its price

    def _record(self, prepared: Prepared, batch: LogBatch, original_name: bytes | None = None) -> Record:
        usage = prepared.usage
        kinds = usage.texts.get("event_kind")
        original = _original(usage)
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

    def _judged(self, record: Record) -> Verdict:
        content, offset = self._events.coordinate(record.name)
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

    def _accept(self, record: Record) -> Verdict:
        if record.kind == "USAGE":
            row, scopes = self._priced(record.prepared, record.batch, self._scopes)
            self._scopes = scopes
            self._events.remember(record.offset, row)
            return Verdict(row["outcome"], (row,))
        if self._state.is_claimed(record.original_name) or self._state.waiting(record.original_name) is not None:
            return Verdict("DUPLICATE")
        event = self._events.event(record.original, record.original_name)
        if record.original_name in self._events.claimed_before:
            return Verdict("DUPLICATE")
        if event is None:
            self._waiting.append((record.offset, record.original_name))
            place = int(record.prepared.rows[0])
            time, value = int(record.batch.append_times[place]), record.batch.values[place]
            self._state.wait(record.original_name, WaitingRecord(record.offset, time, value))
            return Verdict("WAITING")
        return self._take_back(record, event, record.offset)

    def _act_waiting(self, name: bytes, verdict: Verdict, offset: int) -> Verdict:
        """A cancel or amend that came first acts in the rows of its original."""
        waiting = self._state.waiting(name)
        if waiting is None:
            return verdict
        self._state.came(name)
        try:
            record = self._awake(waiting, offset)
            event = self._events.event(record.original, record.original_name)
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
        return self._record(prepared, batch)

    def _priced(self, prepared: Prepared, batch: LogBatch, scopes: ScopeStates) -> tuple[Row, ScopeStates]:
        """(the row of an event, the scopes after it)."""
        if prepared.priced.refused[0]:
            raise Refused(CODES[int(prepared.refusals.codes[prepared.rows[0]])])
        if prepared.priced.uses is not None:
            before = self._scopes
            self._load(prepared.priced.uses.keys)
            scopes = self._scopes if scopes is before else self._scopes.merge(scopes)
        booked = book(batch, prepared, known=Identities(), scopes=scopes, watermark=None, rules=self._rules)
        (row,) = rows_of(charges_alone(booked, self._facts.sequence, self._rules))
        return row, scopes.apply(booked.scopes)

    def _take_back(self, record: Record, event: Event, offset: int) -> Verdict:
        """CANCEL, or AMEND as a whole: one that cannot be rated leaves the original as it is."""
        time = self._append_time(offset)
        is_amend = record.kind == "AMEND"
        if self._is_beyond_reach(event, time):
            row = self._blank(record) if is_amend else self._named(event.row, record, offset)
            row = unrated(row, "TOO_LATE") | {"source_offset": offset}
            if is_amend:
                self._events.remember(offset, row)
            return Verdict("UNRATED", (row,))
        taken = self._undone(event)
        scopes = self._after(taken)
        fresh: tuple[Row, ...] = ()
        if is_amend:
            row, scopes = self._priced(record.prepared, record.batch, scopes)
            if row["outcome"] == "UNRATED":
                self._state.claim(record.original_name, record.name)
                self._events.remember(offset, row)
                return Verdict("UNRATED", (row,))
            fresh = (row,)
        self._state.take_back(record.original_name, record.name)
        self._scopes = scopes
        undone = self._named(taken_back(event.row, taken.entries), record, offset)
        self._events.remember(offset, undone, *fresh)
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
        row, _ = self._priced(replace(record.prepared, priced=blank), record.batch, self._scopes)
        return row

    def _rerate(self, record: Record) -> Verdict:
        """Rates one event anew with what is visible now; equal results write nothing."""
        target = record.original_name
        event = self._events.event(record.original, target)
        if event is None or self._state.is_void(target) or target in self._events.claimed_before or event.is_too_late:
            return Verdict("CONTROL")
        time = self._append_time(record.offset)
        if self._is_beyond_reach(event, time):
            return Verdict("CONTROL")
        undone = [event]
        if not event.is_rated and event.is_amend:
            identity = (*record.original[:2], event.row["amends_event_id"])
            first = self._events.event(identity, identity_hashes([identity])[0])
            assert first is not None
            undone = [first, event]
        taken = self._undone(undone[0])
        value = value_of(event.booked)
        batch = LogBatch(
            self._batch.topic, self._batch.partition, np.array([record.offset]), np.array([time]), [value],
            record.offset + 1,
        )  # fmt: skip
        prepared = prepare(batch, self._facts.rerating, self._rules, lambda _: USAGE_EVENT_SCHEMA)
        if not prepared.usage.length or prepared.priced.refused[0]:
            return Verdict("CONTROL")
        fresh, scopes = self._priced(prepared, batch, self._after(taken))
        is_same = event.is_rated and is_equal(event.booked, event_row(fresh), taken.entries)
        if fresh["outcome"] == "UNRATED" or is_same:
            return Verdict("CONTROL")
        return self._rerated(record, undone, taken, fresh, scopes)

    def _rerated(
        self, record: Record, undone: list[Event], taken: TakenBack, fresh: Row, scopes: ScopeStates
    ) -> Verdict:
        self._state.rerate(record.original_name, record.offset)
        self._scopes = scopes
        self._know(record, record.offset)
        back = [self._named(taken_back(each.row, taken.entries if each is undone[0] else ()), record, record.offset)
                for each in undone]  # fmt: skip
        row = self._named(fresh, record, record.offset)
        self._events.remember(record.offset, *back, row)
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
            "run_id": text_at(record.prepared.usage, "run_id"),
            "governance_sequence": self._facts.sequence,
        }

    # What is known

    def _append_time(self, offset: int) -> int:
        return int(self._batch.append_times[int(np.searchsorted(self._batch.offsets, offset))])

    def _know(self, record: Record, offset: int) -> None:
        keys = record.prepared.keys
        self._events.know(Keys(keys.high, keys.low, keys.content, np.array([offset], np.int64)))

    # Scopes

    def _undone(self, event: Event) -> TakenBack:
        if not event.is_rated:
            return TakenBack((), {})
        entries = event.booked.entries
        return take_back(event.booked.offset, entries, self._states(entries), self._facts.function, _open)

    def _after(self, taken: TakenBack) -> ScopeStates:
        if not taken.scopes:
            return self._scopes
        return self._scopes.merge(ScopeStates.of(b"".join(taken.scopes), ScopeColumns.of(list(taken.scopes.values()))))

    def _states(self, entries: Sequence[BookedEntry]) -> dict[bytes, ScopeState]:
        keys = scope_keys_of(entries)
        self._load(b"".join(keys))
        return self._scopes.states(keys)


def _open(period: Span) -> tuple[Span, str | None]:
    """No period is closed: PERIOD_CLOSE is not taken yet, so usage is billed in its own."""
    return period, None


def _next_run(rows: deque[int], apart: BoolArray) -> list[int]:
    """Usage up to the next record that stands apart, or that record alone."""
    run = [rows.popleft()]
    while not apart[run[0]] and rows and not apart[rows[0]]:
        run.append(rows.popleft())
    return run


def _original(usage: UsageColumns) -> Identity:
    account, source = usage.texts["billing_account_id"].at(0) or "", usage.texts["source"].at(0) or ""
    return account, source, text_at(usage, "amends_event_id") or ""


__all__ = ["Correcting", "Known", "needs_care"]
