"""In which order it is decided what becomes of a record that is judged by itself: a correction, a control record, or
usage that one of these is about. The order has its home here; what a record is about, and what it leaves behind, is
kept by a unit of the running pricer (`judging`) or by a log that is priced in memory (`log_judging`).

Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Container, Iterable, Mapping
from functools import partial
from typing import Generic, Protocol, TypeVar

from chargeline.domain import errors
from chargeline.domain.corrections import TakenBack, late_settlement, take_back
from chargeline.domain.rating.booked_entries import BilledIn, BookedEntry, Span, rebilled, scope_keys_of
from chargeline.domain.rating.scope_states import ScopeColumns, ScopeStates
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.pricer.closed_periods import billed_in
from chargeline.pricer.facts import Facts
from chargeline.pricer.log_records import is_beyond_reach, is_equal
from chargeline.wire.event_rows import EventRow, Identity


class SingleRecord(Protocol):
    """A record that is judged by itself. One that waited for its original lies at the place of that.

    Attributes:
        append_time: of the record at its place, microseconds.
        content: tells a repeated record from one with other content.
    """

    @property
    def kind(self) -> str: ...

    @property
    def identity(self) -> Identity: ...

    @property
    def content(self) -> int: ...

    @property
    def event_time(self) -> int: ...

    @property
    def append_time(self) -> int: ...


class KnownEvent(Protocol):
    """An event as it stands now. `booked`: with its newest price, and its own entries only."""

    @property
    def booked(self) -> EventRow: ...

    @property
    def is_rated(self) -> bool: ...

    @property
    def is_too_late(self) -> bool: ...

    @property
    def is_amend(self) -> bool: ...


class Outcome(Protocol):
    """What became of a record: one of the outcomes of spec/rating.md 1."""

    @property
    def outcome(self) -> str: ...


RecordT = TypeVar("RecordT", bound=SingleRecord)
EventT = TypeVar("EventT", bound=KnownEvent)
RowT = TypeVar("RowT")
VerdictT = TypeVar("VerdictT", bound=Outcome)


class Refused(Exception):
    """The record is a dead letter with this code; nothing has changed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Deciding(ABC, Generic[RecordT, EventT, RowT, VerdictT]):
    """The decisions about records that come one after the other, over what the ones before have left behind.

    Attributes:
        scopes: of accumulating rates, as the records so far have left them.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.scopes = ScopeStates.empty()

    # The order

    def judged(self, record: RecordT) -> VerdictT:
        """What must become of a record. Raises Refused."""
        if record.kind == "PERIOD_CLOSE":
            return self._close(record)
        content = self._known_content(record)
        if content is not None:
            return self._nothing_booked("DUPLICATE" if content == record.content else "CONFLICT")
        if record.kind == "RERATE":
            return self._rerate(record)
        verdict = self._accept(record)
        if verdict.outcome in ("CHARGED", "UNRATED"):
            self._know(record)
            if record.kind != "CANCEL":  # a cancel is no event: what is about it waits for ever
                verdict = self._act_waiting(record, verdict)
        return verdict

    def _close(self, record: RecordT) -> VerdictT:
        """Close a period for ever; a second close changes nothing."""
        account = record.identity[0]
        period = self.facts.period(account, record.event_time)
        if period in self._closed(account):
            return self._nothing_booked("CONTROL")
        try:
            return self._closed_now(record, period)
        except errors.Refused as refused:
            raise Refused(refused.code) from None

    def _accept(self, record: RecordT) -> VerdictT:
        if record.kind == "USAGE":
            return self._charge(record)
        if self._is_claimed(record):
            return self._nothing_booked("DUPLICATE")
        event = self._event(record)
        if self._is_claimed(record):  # what is found of an old event may tell of a claim as old
            return self._nothing_booked("DUPLICATE")
        if event is None:
            self._wait(record)
            return self._nothing_booked("WAITING")
        return self._take_back(record, event)

    def _act_waiting(self, record: RecordT, verdict: VerdictT) -> VerdictT:
        """A cancel or amend that came first acts at the place of its original."""
        try:
            later = self._awake(record)
            if later is None:
                return verdict
            event = self._event(later)
            assert event is not None
            change = self._take_back(later, event)
        except Refused:  # the original must not be refused for a fault of what came before it
            return verdict
        self._know(later)
        if change.outcome == "CHARGED" and later.kind == "AMEND":
            change = self._act_waiting(later, change)
        return self._joined(verdict, later, change)

    def _take_back(self, record: RecordT, event: EventT) -> VerdictT:
        """CANCEL, or AMEND as a whole: one that cannot be rated leaves the original as it is."""
        if self._is_beyond_reach(event, record):
            return self._too_late(record, event)
        taken = self._undone(event, record)
        scopes, fresh = self._after(taken), None
        if record.kind == "AMEND":
            fresh, scopes = self._priced(record, scopes)
            if not self._is_rated(fresh):
                return self._claim(record, fresh)
        self.scopes = scopes
        return self._replace(record, event, taken, fresh)

    def _rerate(self, record: RecordT) -> VerdictT:
        """Rates one event anew with what is visible now; equal results write nothing."""
        event = self._event(record)
        if event is None or self._is_void(record, event) or event.is_too_late:
            return self._nothing_booked("CONTROL")
        if self._is_beyond_reach(event, record):
            return self._nothing_booked("CONTROL")
        first = event if event.is_rated or not event.is_amend else self._amended(event)
        taken = self._undone(first, record)
        anew = self._anew(record, event, taken)
        if anew is None:
            return self._nothing_booked("CONTROL")
        fresh, scopes = anew
        is_same = event.is_rated and is_equal(event.booked, self._event_row(fresh), taken.entries)
        if is_same or not self._is_rated(fresh):
            return self._nothing_booked("CONTROL")
        self.scopes = scopes
        self._know(record)
        return self._rerated(record, first, event, taken, fresh)

    # What both work out alike

    def _is_beyond_reach(self, event: EventT, record: RecordT) -> bool:
        """Whether an event is too old for its account to be corrected by a record."""
        row = event.booked
        return is_beyond_reach(self.facts.accounts, row.identity[0], row.event_time, record.append_time)

    def _undone(self, event: EventT, record: RecordT) -> TakenBack:
        """What takes an event back."""
        if not event.is_rated:
            return TakenBack((), {})
        row = event.booked
        states = self.states(scope_keys_of(row.entries))
        where = self._where(row.identity[0], record.append_time)
        return take_back(row.offset, row.entries, states, self.facts, where, self._held())

    def _after(self, taken: TakenBack) -> ScopeStates:
        return self.scopes.merge(scopes_of(taken.scopes)) if taken.scopes else self.scopes

    def _where(self, account: str, time: int) -> BilledIn:
        """Where usage of an account is billed by a record appended at that time, microseconds."""
        return billed_in(self._closed(account), partial(self.facts.period, account), time)

    def _as_billed(self, event: EventRow, time: int, scopes: ScopeStates) -> tuple[list[BookedEntry], Span]:
        """(entries, period) of an event where a record appended at that time bills it; `scopes`: before it."""
        where = self._where(event.identity[0], time)
        entries = [rebilled(entry, where) for entry in event.entries]
        states = scopes.states(scope_keys_of(entries))
        return late_settlement(entries, states, self.facts, where, self._held()), where(event.period)[0]

    # What is known

    @abstractmethod
    def _known_content(self, record: RecordT) -> int | None:
        """The content that its identity came with before; None: it has not come."""

    @abstractmethod
    def _event(self, record: RecordT) -> EventT | None:
        """What a correction is about; None: it has not come, or it is no event."""

    @abstractmethod
    def _is_claimed(self, record: RecordT) -> bool:
        """Whether another correction of the same event counts, or waits for its price or for the event."""

    @abstractmethod
    def _is_void(self, record: RecordT, event: EventT) -> bool:
        """Whether the event that a record is about counts no more."""

    @abstractmethod
    def _amended(self, amend: EventT) -> EventT:
        """The original of an amend that has no price yet, so that its original still counts."""

    @abstractmethod
    def _closed(self, account: str) -> Collection[Span]:
        """The account's closed billing periods."""

    @abstractmethod
    def _held(self) -> Container[bytes]:
        """Scopes that owe T(0) without an event."""

    @abstractmethod
    def states(self, keys: Iterable[bytes]) -> dict[bytes, ScopeState]:
        """Scopes as they are now."""

    # Prices

    @abstractmethod
    def _priced(self, record: RecordT, scopes: ScopeStates) -> tuple[RowT, ScopeStates]:
        """(the row of the event that a record is, the scopes after it), where it is billed. Raises Refused."""

    @abstractmethod
    def _anew(self, record: RecordT, event: EventT, taken: TakenBack) -> tuple[RowT, ScopeStates] | None:
        """The same of a booked event, once that is taken back, with the rates that a re-rating sees.

        None: it would be refused today.
        """

    @abstractmethod
    def _is_rated(self, row: RowT) -> bool: ...

    @abstractmethod
    def _event_row(self, row: RowT) -> EventRow: ...

    # What a record leaves behind

    @abstractmethod
    def _nothing_booked(self, outcome: str) -> VerdictT: ...

    @abstractmethod
    def _know(self, record: RecordT) -> None:
        """Its identity is known from now on."""

    @abstractmethod
    def _wait(self, record: RecordT) -> None:
        """A correction before its original."""

    @abstractmethod
    def _awake(self, record: RecordT) -> RecordT | None:
        """What waited for a record, at its place; it waits no more. Raises Refused."""

    @abstractmethod
    def _charge(self, record: RecordT) -> VerdictT:
        """Usage. Raises Refused."""

    @abstractmethod
    def _too_late(self, record: RecordT, event: EventT) -> VerdictT:
        """UNRATED: the event is beyond the reach of corrections."""

    @abstractmethod
    def _claim(self, record: RecordT, fresh: RowT) -> VerdictT:
        """UNRATED: an amend without a price, so its original counts until it has one."""

    @abstractmethod
    def _replace(self, record: RecordT, event: EventT, taken: TakenBack, fresh: RowT | None) -> VerdictT:
        """CHARGED: an event counts no more; `fresh`: what an amend books in its place."""

    @abstractmethod
    def _joined(self, verdict: VerdictT, later: RecordT, change: VerdictT) -> VerdictT:
        """The verdict of a record, and what became of the correction that waited for it."""

    @abstractmethod
    def _rerated(self, record: RecordT, first: EventT, event: EventT, taken: TakenBack, fresh: RowT) -> VerdictT:
        """CONTROL: an event has another price. `first`: what `taken` takes back, itself or the original of an amend."""

    @abstractmethod
    def _closed_now(self, record: RecordT, period: Span) -> VerdictT:
        """CONTROL: what is due at the close of a period is booked. Raises errors.Refused."""


def scopes_of(states: Mapping[bytes, ScopeState]) -> ScopeStates:
    """Scopes by their keys, as columns."""
    return ScopeStates.of(b"".join(states), ScopeColumns.of(list(states.values())))
