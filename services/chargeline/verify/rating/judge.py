"""Judges the records of one log in order: the outcome of each, what it books, and what the closes book.

Source: spec/rating.md, sections 1 (outcomes), 7.6, 12 and 14.
"""

from collections import ChainMap
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from chargeline.verify.closes import attributes_of
from chargeline.verify.events import Dead
from chargeline.verify.rating.accumulate import Scope, ScopeKey
from chargeline.verify.rating.charges import Books, Event, Priced, View, identity_of, price_event
from chargeline.verify.rating.closing import close
from chargeline.verify.rating.corrections import undo
from chargeline.verify.rating.entries import Entry, Identity, Row
from chargeline.verify.rating.ledger import Ledger
from chargeline.verify.rating.times import Period, months_before

_LIMIT = 10**38  # picounits that Decimal(38, 12) cannot hold


@dataclass(frozen=True)
class Part:
    """One row of `charges`.

    Attributes:
        event: whose attributes it has; `by`: the record that makes it.
        count: 1: a new event; -1: one is taken back; 0: neither.
    """

    event: Event
    by: Event
    row: Row
    count: int


@dataclass(frozen=True)
class Judgement:
    """What must become of a record. `reason`: of an UNRATED or DEAD_LETTER one. `row`: what it booked, in `parts`."""

    outcome: str
    reason: str | None = None
    row: Row | None = None
    parts: tuple[Part, ...] = ()


@dataclass
class Charge:
    """An event as it stands now. `row`: its own entries, null while it is UNRATED; `is_void`: cancelled or amended."""

    event: Event
    row: Row | None
    is_void: bool = False
    is_too_late: bool = False


@dataclass
class State:
    """All that the records so far have left behind.

    Attributes:
        known: the content of every CHARGED or UNRATED identity.
        claims: by event, the record that cancelled or amended it.
        waiting: by event that has not come yet, the record that cancels or amends it, with its content.
        log: rows with entries, in log order.
        closings: what the closes have booked, in order; `ledgers`: by account, what they must remember.
        touched: periods that an event lies in or that a correction is billed in.
    """

    known: dict[Identity, Any] = field(default_factory=dict)
    charges: dict[Identity, Charge] = field(default_factory=dict)
    claims: dict[Identity, Identity] = field(default_factory=dict)
    waiting: dict[Identity, tuple[Event, Any]] = field(default_factory=dict)
    scopes: dict[ScopeKey, Scope] = field(default_factory=dict)
    closed: set[tuple[str, Period]] = field(default_factory=set)
    log: list[Row] = field(default_factory=list)
    closings: list[Row] = field(default_factory=list)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    touched: set[tuple[str, Period]] = field(default_factory=set)


class Judge:
    """One record at a time; the state changes only where a record is accepted."""

    def __init__(self, *, accounts_required: bool = False, platform_account: str = "platform") -> None:
        self.state = State()
        self._accounts_required = accounts_required
        self._platform = platform_account

    def judge(self, event: Event, append_time: int, view: View, content: Any) -> Judgement:
        """What must become of a valid record.

        Args:
            append_time: microseconds.
            content: whatever tells a repeat from a conflict.

        Raises:
            Dead: PRICE_NOT_ALLOWED, AMOUNT_OVERFLOW, or UNSUPPORTED; nothing has changed.
        """
        identity = identity_of(event)
        if event["event_kind"] == "PERIOD_CLOSE":
            return self._closed(event, view)
        if identity in self.state.known:
            return Judgement("DUPLICATE" if self.state.known[identity] == content else "CONFLICT")
        if event["event_kind"] == "RERATE":
            return self._rerate(event, append_time, view, content)
        judged = self._accept(event, append_time, view, content)
        if judged.outcome in ("CHARGED", "UNRATED"):
            self.state.known[identity] = content
            if event["event_kind"] != "CANCEL":  # a cancel is no event: what is about it waits for ever
                judged = self._act_waiting(identity, judged, append_time, view)
        return judged

    def _accept(self, event: Event, append_time: int, view: View, content: Any) -> Judgement:
        if event["event_kind"] == "USAGE":
            return self._charge(event, append_time, view)
        original = _original(event)
        if original in self.state.claims or original in self.state.waiting:
            return Judgement("DUPLICATE")
        if original not in self.state.charges:
            self.state.waiting[original] = (event, content)
            return Judgement("WAITING")
        return self._take_back(event, append_time, view)

    def _act_waiting(self, identity: Identity, judged: Judgement, append_time: int, view: View) -> Judgement:
        """A cancel or amend that came first acts in the row of its original."""
        waiting = self.state.waiting.pop(identity, None)
        if waiting is None:
            return judged
        event, content = waiting
        own = identity_of(event)
        try:
            later = self._take_back(event, append_time, view)
        except Dead:  # the original must not be refused for a fault of what came before it
            return judged
        self.state.known[own] = content
        if later.outcome == "UNRATED":
            return replace(judged, parts=judged.parts + later.parts)
        if event["event_kind"] == "AMEND":
            later = self._act_waiting(own, later, append_time, view)
        assert judged.row is not None
        assert later.row is not None
        parts = judged.parts + later.parts
        if judged.outcome == "UNRATED" and event["event_kind"] == "CANCEL":
            return replace(judged, parts=parts)
        row = replace(_joined(judged.row, later.row), reason=None, period=judged.row.period)
        return Judgement("CHARGED", None, row, parts)

    def _charge(self, event: Event, append_time: int, view: View) -> Judgement:
        priced = price_event(event, append_time, view, self._books(event, append_time, view))
        if priced.reason is not None:
            is_too_late = priced.reason == "TOO_LATE"
            self.state.charges[identity_of(event)] = Charge(event, None, is_too_late=is_too_late)
            return Judgement("UNRATED", priced.reason, priced.row, (Part(event, event, priced.row, 1),))
        self.state.charges[identity_of(event)] = Charge(event, priced.row)
        self.state.scopes |= priced.scopes
        self._book(priced.row)
        return Judgement("CHARGED", None, priced.row, (Part(event, event, priced.row, 1),))

    def _take_back(self, event: Event, append_time: int, view: View) -> Judgement:
        """CANCEL, or AMEND as a whole: one that cannot be rated leaves the original as it is."""
        identity, original = identity_of(event), _original(event)
        charge = self.state.charges[original]
        facts = view.accounts.facts(original[0], charge.event["event_time"])
        is_amend = event["event_kind"] == "AMEND"
        period = self._billed_in(original[0], append_time, view)(
            view.accounts.period(original[0], charge.event["event_time"])
        )[0]
        empty = Row(original[0], period, facts.billing_currency, identity=identity)
        if charge.event["event_time"] < months_before(append_time, facts.correction_months):
            if is_amend:
                self.state.charges[identity] = Charge(event, None, is_too_late=True)
            late = replace(empty, reason="TOO_LATE")
            part = Part(event, event, late, 1) if is_amend else Part(charge.event, event, late, 0)
            return Judgement("UNRATED", "TOO_LATE", late, (part,))
        row, scopes = self._undone(charge, empty, append_time, view)
        parts: tuple[Part, ...] = (Part(charge.event, event, row, -1),)
        if is_amend:
            priced = self._amended(event, scopes, append_time, view)
            self.state.claims[original] = identity
            self.state.charges[identity] = Charge(event, None if priced.reason else priced.row)
            if priced.reason is not None:
                return Judgement("UNRATED", priced.reason, priced.row, (Part(event, event, priced.row, 1),))
            parts = (*parts, Part(event, event, priced.row, 1))
            row = _joined(row, priced.row)
            scopes |= priced.scopes
        self.state.claims[original] = identity
        self._void(original)
        self.state.scopes |= scopes
        self._book(row)
        return Judgement("CHARGED", None, row, parts)

    def _void(self, identity: Identity) -> None:
        """The event counts no more. An amend that never was rated gives its original free again."""
        charge = self.state.charges[identity]
        if charge.row is None and charge.event["event_kind"] == "AMEND" and not charge.is_too_late:
            del self.state.claims[_original(charge.event)]
        charge.is_void = True

    def _undone(self, charge: Charge, empty: Row, append_time: int, view: View) -> tuple[Row, dict[ScopeKey, Scope]]:
        if charge.row is None:
            return empty, {}
        taken = undo(charge.row, self.state.scopes, view.accounts, self._billed_in(empty.account, append_time, view))
        currency = charge.row.currency
        return replace(empty, currency=currency, entries=taken.entries, foreign=taken.foreign), taken.scopes

    def _amended(self, event: Event, scopes: dict[ScopeKey, Scope], append_time: int, view: View) -> Priced:
        books = self._books(event, append_time, view)
        return price_event(event, append_time, view, replace(books, scopes=ChainMap(scopes, self.state.scopes)))

    def _rerate(self, event: Event, append_time: int, view: View, content: Any) -> Judgement:
        """Rates one event anew with what is visible now; equal results write nothing."""
        target = _original(event)
        charge = self.state.charges.get(target)
        if charge is None or charge.is_void or charge.is_too_late:
            return Judgement("CONTROL")
        is_amend = charge.event["event_kind"] == "AMEND"
        first = self.state.charges[_original(charge.event)] if charge.row is None and is_amend else charge
        empty = Row(target[0], None, None, identity=target)
        undone, scopes = self._undone(first, empty, append_time, view)
        books = replace(self._books(charge.event, append_time, view), scopes=ChainMap(scopes, self.state.scopes))
        try:
            priced = price_event(charge.event, append_time, view, books, rerating=True)
        except Dead:
            return Judgement("CONTROL")
        if priced.reason is not None or (charge.row is not None and _is_equal(charge.row, priced.row, undone)):
            return Judgement("CONTROL")
        if first is not charge:
            first.is_void = True
        row = _joined(undone, priced.row)
        charge.row = priced.row
        self.state.scopes |= scopes | priced.scopes
        self.state.known[identity_of(event)] = content
        self._book(row)
        void = () if first is charge else (Part(charge.event, event, empty, -1),)
        parts = (Part(first.event, event, undone, -1), *void, Part(charge.event, event, priced.row, 1))
        return Judgement("CONTROL", None, row, parts)

    def _closed(self, event: Event, view: View) -> Judgement:
        account = event["billing_account_id"]
        period = view.accounts.period(account, event["event_time"])
        if (account, period) in self.state.closed:
            return Judgement("CONTROL")
        before, scopes_before = len(self.state.closings), dict(self.state.scopes)
        ledger_before = deepcopy(self.state.ledgers.get(account, Ledger(account)))
        self.close(account, period, view)
        rows = self.state.closings[before:]
        if any(_is_too_large(entry) for row in rows for entry in row.entries):
            del self.state.closings[before:]
            self.state.closed.discard((account, period))
            self.state.scopes, self.state.ledgers[account] = scopes_before, ledger_before
            raise Dead("AMOUNT_OVERFLOW")
        scopes = [Part(event | by, event, part, 0) for row in rows for by, part in attributes_of(row)]
        return Judgement("CONTROL", parts=(*scopes, Part(event, event, Row(account, period, None), 0)))

    def close(self, account: str, period: Period, view: View) -> None:
        """Closes a period for ever; a second close changes nothing."""
        if (account, period) in self.state.closed:
            return
        self.state.closed.add((account, period))
        ledger = self.state.ledgers.setdefault(account, Ledger(account))
        self.state.closings += close(
            account, period, view, self.state.scopes, self.state.log, ledger, self.state.closed
        )

    def touch(self, event: Event, view: View) -> None:
        """Remembers the periods that an event lies in."""
        account, end = event["billing_account_id"], event["charge_period_end"]
        period = view.accounts.period(account, event["event_time"])
        self.state.touched.add((account, period))
        while end is not None and period.end < end:
            period = view.accounts.period(account, period.end)
            self.state.touched.add((account, period))

    def _book(self, row: Row) -> None:
        if row.entries or row.foreign:
            self.state.log.append(row)
        self.state.touched |= {(entry.account, entry.period) for entry in row.entries}

    def _books(self, event: Event, append_time: int, view: View) -> Books:
        account = event["billing_account_id"]
        open_period = self._open_period(account, append_time, view)
        return Books(self.state.scopes, self.state.closed, open_period, self._accounts_required, self._platform)

    def _open_period(self, account: str, append_time: int, view: View) -> Period:
        """Where corrections are billed: the period of the append time, or the next one that is open."""
        period = view.accounts.period(account, append_time)
        while (account, period) in self.state.closed:
            period = view.accounts.period(account, period.end)
        return period

    def _billed_in(self, account: str, append_time: int, view: View) -> Any:
        open_period = self._open_period(account, append_time, view)

        def billed_in(period: Period) -> tuple[Period, str | None]:
            return (open_period, "CORRECTION") if (account, period) in self.state.closed else (period, None)

        return billed_in


def _is_too_large(entry: Entry) -> bool:
    return max(map(abs, (entry.contracted, entry.pricing_cost, entry.billed_cost))) >= _LIMIT


def _original(event: Event) -> Identity:
    return (event["billing_account_id"], event["source"], event["amends_event_id"])


def _joined(before: Row, after: Row) -> Row:
    return replace(
        after,
        entries=before.entries + after.entries,
        foreign=before.foreign + after.foreign,
        currency=after.currency or before.currency,
    )


def _is_equal(booked: Row, fresh: Row, undone: Row) -> bool:
    """The same rates, factors and exchange rates; or the same amounts, with nothing else to put right."""
    if booked.signature == fresh.signature:
        return True
    shifts = [entry for entry in undone.entries if entry.kind != "REVERSAL"]
    return not shifts and _amounts(booked.entries) == _amounts(fresh.entries)


def _amounts(entries: tuple[Entry, ...]) -> list[tuple[Any, ...]]:
    return [(entry.kind, entry.sku_price_id, entry.currency, entry.contracted, entry.waived) for entry in entries]
