"""Records of a log in memory that are judged one at a time, in the order of `deciding`, and what they leave behind.

Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12; spec/formats.md, section 6.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from chargeline.domain.accounts import Accounts
from chargeline.domain.corrections import TakenBack, own_entries
from chargeline.domain.fx import FxTable
from chargeline.domain.identities import Identities
from chargeline.domain.rates.book import PublishedCard, Rate, RateBook
from chargeline.domain.rating.booked_entries import BookedEntry, Span
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.domain.usage import CODES, GOOD, UsageColumns
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.charge_store import ChargeStore
from chargeline.pricer.compute import Rules, book, prepare_decoded
from chargeline.pricer.deciding import Deciding, Refused, scopes_of
from chargeline.pricer.facts import Facts
from chargeline.pricer.log_records import Answer, Charge, Record, Records, single, text_at
from chargeline.wire.event_rows import EventRow, Identity, columns_of, event_rows
from chargeline.wire.usage_columns import usage_of
from chargeline.wire.usage_decoder import identity_keys


class Closer(Protocol):
    """Books what is due at the close of an account's period."""

    def close(self, account: str, span: Span) -> None: ...


class LogJudging(Deciding[Record, Charge, EventRow, Answer]):
    """Everything that the records so far have left behind, and the decisions about the next one.

    Attributes:
        store: what they booked.
        closed: by account, the billing periods that are closed.
        touched: (account, period) that a record lies in or that a correction is billed in.
        waived: (offset, event_id, currency, entry) of what its owner does not pay.
        held: scopes that owe T(0) without an event, because the account has their rate by name and they are closed.
        waiting: by account, what came before its original, by that.
    """

    def __init__(self, cards: Sequence[PublishedCard], accounts: Accounts, fx: FxTable, rules: Rules) -> None:
        self.accounts, self.fx, self._rules = accounts, fx, rules
        self.book = RateBook(cards, margin_ms=0, future_bound_ms=0)
        self.table = RateTable(self.book, accounts, fx)
        super().__init__(Facts(self.table, list(cards), accounts, fx, -1, 0, 0))
        self.known = Identities()
        self.store = ChargeStore()
        self.closed: dict[str, set[Span]] = {}
        self.touched: set[tuple[str, Span]] = set()
        self.waived: list[tuple[int, str, str | None, BookedEntry]] = []
        self.held: set[bytes] = set()
        self.waiting: dict[str, dict[Identity, Record]] = {}
        self.closer: Closer | None = None
        self._charges: dict[Identity, Charge] = {}
        self._claims: set[Identity] = set()
        self._no_events: set[Identity] = set()

    def judge(self, alone: Records) -> Answer:
        """What must become of one record."""
        try:
            record = self._read(alone)
            answer = self.judged(record)
        except Refused as refused:
            return Answer("DEAD_LETTER", refused.code)
        if record.kind not in ("PERIOD_CLOSE", "RERATE"):
            end = record.usage.nullable.get("charge_period_end")
            time = record.event_time
            self.touch(record.identity[0], time, int(end[0][0]) if end is not None and end[1][0] else time + 1)
        return answer

    def _read(self, alone: Records) -> Record:
        """The record and what it is about. Raises Refused."""
        prepared = prepare_decoded(alone.batch(), alone.decoded(), self.table, self._rules)
        usage, time = prepared.usage, int(alone.times[0])
        if not usage.length:
            raise Refused(CODES[int(prepared.refusals.codes[0])])
        kinds, amends = usage.texts.get("event_kind"), text_at(usage, "amends_event_id")
        kind = "USAGE" if kinds is None else kinds.at(0) or "USAGE"
        account, source = usage.texts["billing_account_id"].at(0) or "", usage.texts["source"].at(0) or ""
        of = replace(usage, plain={**usage.plain, "event_id": pa.array([amends or ""], pa.string())})
        return Record(
            int(alone.offsets[0]),
            time,
            time,
            kind,
            (account, source, str(usage.plain["event_id"][0].as_py())),
            (account, source, amends or ""),
            prepared.keys,
            identity_keys(of, prepared.keys.content, prepared.keys.offset),
            usage,
        )

    # What is known

    def _known_content(self, record: Record) -> int | None:
        content, offset = self.known.find(record.keys)
        return int(content[0]) if offset[0] >= 0 else None

    def _event(self, record: Record) -> Charge | None:
        identity = record.original
        if identity in self._no_events:
            return None
        if identity not in self._charges:
            _, offset = self.known.find(record.original_keys)
            row = None if offset[0] < 0 else self.store.row(int(offset[0]))
            if row is None:
                return None
            row = replace(row, entries=tuple(own_entries(row.entries)))
            self._charges[identity] = Charge(row, row.reason is None, is_too_late=row.reason == "TOO_LATE")
        return self._charges[identity]

    def _is_claimed(self, record: Record) -> bool:
        return record.original in self._claims or record.original in self.waiting.get(record.original[0], ())

    def _is_void(self, record: Record, event: Charge) -> bool:
        del record
        return event.is_void

    def _amended(self, amend: Charge) -> Charge:
        return self._charges[_amended_by(amend)]

    def _closed(self, account: str) -> Collection[Span]:
        return self.closed.get(account, ())

    def _held(self) -> Container[bytes]:
        return self.held

    def states(self, keys: Iterable[bytes]) -> dict[bytes, ScopeState]:
        return self.scopes.states(keys)

    # Prices

    def _priced(self, record: Record, scopes: ScopeStates) -> tuple[EventRow, ScopeStates]:
        return self._price(record.usage, record, scopes, self.table)

    def _anew(self, record: Record, event: Charge, taken: TakenBack) -> tuple[EventRow, ScopeStates] | None:
        usage = usage_of(columns_of([event.booked]), 1)
        try:
            return self._price(usage, record, self._after(taken), self.facts.rerating)
        except Refused:
            return None

    def _price(
        self, usage: UsageColumns, place: Record, scopes: ScopeStates, table: RateTable
    ) -> tuple[EventRow, ScopeStates]:
        batch, decoded = single(usage, place.offset, place.append_time)
        prepared = prepare_decoded(batch, decoded, table, self._rules)
        if prepared.refusals.codes[0] != GOOD:
            raise Refused(CODES[int(prepared.refusals.codes[0])])
        booked = book(batch, prepared, known=Identities(), scopes=scopes, watermark=None, rules=self._rules)
        (row,) = event_rows(charges_alone(booked, 0, self._rules))
        entries, period = self._as_billed(row, place.append_time, scopes)
        return replace(row, entries=tuple(entries), period=period), scopes.apply(booked.scopes)

    def _is_rated(self, row: EventRow) -> bool:
        return row.reason is None

    def _event_row(self, row: EventRow) -> EventRow:
        return row

    # What a record leaves behind

    def _nothing_booked(self, outcome: str) -> Answer:
        return Answer(outcome)

    def _know(self, record: Record) -> None:
        self.known.add(record.keys)

    def _wait(self, record: Record) -> None:
        self.waiting.setdefault(record.original[0], {})[record.original] = record

    def _awake(self, record: Record) -> Record | None:
        mine = self.waiting.get(record.identity[0], {})
        waiting = mine.pop(record.identity, None)
        if waiting is None:
            return None
        if not mine:
            del self.waiting[record.identity[0]]
        return replace(waiting, offset=record.offset, append_time=record.append_time)

    def _charge(self, record: Record) -> Answer:
        row, scopes = self._priced(record, self.scopes)
        self._charges[record.identity] = Charge(row, row.reason is None, is_too_late=row.reason == "TOO_LATE")
        self.store.put(row)
        if row.reason is not None:
            return Answer("UNRATED", row.reason, row)
        self.scopes = scopes
        self._billed(row)
        return Answer("CHARGED", None, row)

    def _too_late(self, record: Record, event: Charge) -> Answer:
        row = replace(self._empty(record, event), reason="TOO_LATE")
        if record.kind == "AMEND":
            self._charges[record.identity] = Charge(row, is_rated=False, is_too_late=True)
        else:
            self._no_events.add(record.identity)
        return Answer("UNRATED", "TOO_LATE", row)

    def _claim(self, record: Record, fresh: EventRow) -> Answer:
        self._claims.add(record.original)
        self._charges[record.identity] = Charge(fresh, is_rated=False)
        self.store.put(fresh)
        return Answer("UNRATED", fresh.reason, fresh)

    def _replace(self, record: Record, event: Charge, taken: TakenBack, fresh: EventRow | None) -> Answer:
        row = replace(self._empty(record, event), entries=taken.entries)
        if event.is_rated:
            row = replace(row, currency=event.booked.currency)
        if fresh is None:
            self._no_events.add(record.identity)
        else:
            self._charges[record.identity] = Charge(fresh, is_rated=True)
            row = replace(fresh, entries=taken.entries + fresh.entries, currency=fresh.currency or row.currency)
        self._claims.add(record.original)
        event.is_void = True
        if not event.is_rated and event.is_amend and not event.is_too_late:
            # An amend that never was rated gives its original free again; one that came too late never had it.
            self._claims.discard(_amended_by(event))
        self.store.put(row)
        self._billed(row)
        return Answer("CHARGED", None, row)

    def _empty(self, record: Record, event: Charge) -> EventRow:
        """The row of a correction that books nothing."""
        account, time = record.original[0], event.booked.event_time
        currency = self.accounts.at(account, time).billing_currency
        period, _ = self._where(account, record.append_time)(self.facts.period(account, time))
        usage = event.booked.usage
        return EventRow(record.offset, record.identity, record.event_time, usage, None, currency, period, ())

    def _joined(self, verdict: Answer, later: Record, change: Answer) -> Answer:
        assert verdict.row is not None
        assert change.row is not None
        if change.outcome == "UNRATED":
            self.store.put(verdict.row)  # what the amend would have booked has the same place
            return verdict
        if verdict.outcome == "UNRATED" and later.kind == "CANCEL":
            return verdict
        row = replace(
            verdict.row,
            reason=None,
            entries=verdict.row.entries + change.row.entries,
            currency=change.row.currency or verdict.row.currency,
            cost_variance=change.row.cost_variance,
        )
        self.store.put(row)
        return Answer("CHARGED", None, row)

    def _rerated(self, record: Record, first: Charge, event: Charge, taken: TakenBack, fresh: EventRow) -> Answer:
        if first is not event:
            first.is_void = True
        event.booked, event.is_rated = fresh, True
        self._no_events.add(record.identity)
        row = replace(fresh, entries=taken.entries + fresh.entries)
        self.store.put(row)
        self._billed(row)
        return Answer("CONTROL", None, row)

    def _billed(self, row: EventRow) -> None:
        self.touched |= {(row.identity[0], entry.billing_period) for entry in row.entries}
        self.waive(row)

    def waive(self, row: EventRow) -> None:
        """Note what its owner does not pay of a row."""
        for entry in row.entries:
            if entry.waived_cost is not None:
                of = None if entry.corrects is None else self.store.row(entry.corrects)
                self.waived.append((row.offset, (of or row).identity[2], row.currency, entry))

    # Periods and scopes

    def touch(self, account: str, start: int, end: int) -> None:
        """Note the periods that usage lies in."""
        while start < end:
            period = self.facts.period(account, start)
            self.touched.add((account, period))
            start = period[1]

    def _closed_now(self, record: Record, period: Span) -> Answer:
        self.close(record.identity[0], period)
        return Answer("CONTROL")

    def close(self, account: str, period: Span) -> None:
        """Close a period for ever; a second close changes nothing. Raises errors.Refused."""
        if period in self._closed(account):
            return
        if self.closer is not None:
            self.closer.close(account, period)
        self.closed.setdefault(account, set()).add(period)

    def hold(self, scopes: Mapping[bytes, int]) -> None:
        """Scopes that owe T(0) from now on, with the running amount that they begin with."""
        self.held |= scopes.keys()
        states = self.scopes.states(scopes)
        opened = {key: replace(each, opened=True, amount=each.amount + scopes[key]) for key, each in states.items()}
        self.scopes = self.scopes.merge(scopes_of(opened))

    def all_rates(self) -> Iterable[Rate]:
        """Every rate of the cards, those for re-rating alone included."""
        return self.facts.all_rates()

    def row(self, offset: int) -> EventRow | None:
        """What a record has booked."""
        return self.store.row(offset)


def _amended_by(amend: Charge) -> Identity:
    account, source, _ = amend.booked.identity
    return account, source, amend.booked.usage["amends_event_id"]
