"""Booked events that the RERATE records of a unit are about, priced anew many at once.

A run of `chargeline rerate` sends one record for each event, in log order. When one is judged, all that follow in its
unit are priced with it: what is committed of an event never changes, and neither do the rates that a unit sees. A
record whose event was changed since, by another record of the unit, is priced by itself, and so is one whose scopes do
not stand where they were foreseen.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chargeline.domain.identities import Identities
from chargeline.domain.rating.scope_states import KEY_BYTES, ScopeStates
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.compute import Prepared, Rules, book, prepare
from chargeline.pricer.facts import Facts
from chargeline.pricer.known_events import Event, KnownEvents
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.charge_rows import Row, rows_of
from chargeline.wire.event_rows import EventRow, steps, values_of

_TRIES = 4  # so often on average an event is priced, before what depends on scopes is left to each record

LookAt = Callable[[bytes], ScopeStates]  # scopes, the given ones among them, as they are now


@dataclass(frozen=True)
class Foretold:
    """One event anew.

    Attributes:
        place: of it in `all_prepared`, whose `rows` tell the places in the batch.
        row: of `charges`, where its scopes stand as in `before`; None: not foreseen.
        before, after: the scopes of its accumulating rates, and what it leaves of those that it moves.
    """

    all_prepared: Prepared
    place: int
    batch: LogBatch
    row: Row | None
    before: Mapping[bytes, ScopeState]
    after: Mapping[bytes, ScopeState]

    @property
    def prepared(self) -> Prepared:
        """It alone."""
        return self.all_prepared.take(np.array([self.place]))

    def holds(self, scopes: ScopeStates) -> bool:
        """Whether its scopes stand where they were foreseen."""
        return not self.before or scopes.states(self.before) == self.before


def prepared_anew(rows: Sequence[EventRow], batch: LogBatch, facts: Facts, rules: Rules) -> tuple[LogBatch, Prepared]:
    """Booked events with the rates that a re-rating sees, as usage that lies at the places of a batch."""
    batch = replace(batch, values=values_of(rows))
    return batch, prepare(batch, facts.rerating, rules, lambda _: USAGE_EVENT_SCHEMA)


def rows_anew(batch: LogBatch, prepared: Prepared, scopes: ScopeStates, facts: Facts, rules: Rules) -> dict[int, Row]:
    """By offset what they cost, one after the other in their scopes; of an event that is there twice, the first."""
    booked = book(batch, prepared, known=Identities(), scopes=scopes, watermark=None, rules=rules)
    return {row["source_offset"]: row for row in rows_of(charges_alone(booked, facts.sequence, rules))}


class Foreseen:
    """Of one part of a unit. What events of accumulating rates cost is foreseen as if each record booked its event anew
    and nothing else moved their scopes; where that is wrong, what follows is foreseen again.
    """

    def __init__(self, batch: LogBatch, events: KnownEvents, facts: Facts, rules: Rules) -> None:
        self._batch, self._events, self._facts, self._rules = batch, events, facts, rules
        self._about: Mapping[int, bytes] = {}
        self._offsets: list[int] = []
        self._ready: dict[int, tuple[int, Foretold | None]] = {}
        self._tries = 0
        self._amends: dict[int, Row] = {}

    def plan(self, about: Mapping[int, bytes]) -> None:
        """By offset of each RERATE record in log order, the hash of the event that it is about."""
        self._about, self._offsets, self._tries = about, list(about), _TRIES * len(about)

    def price_amends(self, records: Prepared, rows: Sequence[int]) -> None:
        """What AMEND records of the unit, rows (ascending) of `records`, cost by themselves is worked out at once."""
        uses = _scopes_by_row(records)
        alone = records.take(np.array([row for row in rows if row not in uses], np.int64))
        self._amends = rows_anew(self._batch, alone, ScopeStates.empty(), self._facts, self._rules)

    def amend(self, offset: int) -> Row | None:
        """The row of an AMEND record's own event; None: it depends on scopes, or is refused."""
        return self._amends.get(offset)

    def priced(self, offset: int, event: Event, look_at: LookAt) -> Foretold | None:
        """An event with the rates that the record at an offset sees; None: it would be refused today."""
        place, found = self._ready.pop(offset, (-1, None))
        if place != event.booked.offset:
            self._price({offset: event} | self._next(offset, event), look_at)
            _, found = self._ready.pop(offset)
        return found

    def missed(self, found: Foretold) -> None:
        """What was foreseen of an event does not hold: neither does the rest that was of its scopes."""
        keys = found.before.keys()
        if not keys:
            return
        late = [each for each, (_, one) in self._ready.items() if one is not None and not keys.isdisjoint(one.before)]
        for each in late:
            del self._ready[each]

    def _next(self, offset: int, event: Event) -> dict[int, Event]:
        """What the records after one are about, as far as it was read; nothing if this unit has changed the event."""
        if event.booked.offset >= self._batch.offsets[0] or self._tries <= 0:
            return {}
        ahead = [each for each in self._offsets[bisect_right(self._offsets, offset) :] if each not in self._ready]
        found = {each: self._events.held(self._about[each]) for each in ahead}
        return {each: one for each, one in found.items() if one is not None}

    def _price(self, events: Mapping[int, Event], look_at: LookAt) -> None:
        offsets = np.array(list(events), np.int64)
        times = self._batch.append_times[np.searchsorted(self._batch.offsets, offsets)]
        places = LogBatch(self._batch.topic, self._batch.partition, offsets, times, [], int(offsets[-1]) + 1)
        booked = [event.booked for event in events.values()]
        batch, prepared = prepared_anew(booked, places, self._facts, self._rules)
        is_foreseen = self._tries > 0
        self._tries -= len(events)
        uses = _scopes_by_row(prepared)
        kept = np.array([row for row in range(len(prepared.rows)) if is_foreseen or row not in uses], np.int64)
        keys = b"".join(dict.fromkeys(key for row in uses.values() for key in row)) if is_foreseen else b""
        scopes = look_at(keys)
        costs = rows_anew(batch, prepared.take(kept), scopes, self._facts, self._rules)
        states = scopes.states(keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES))
        found: dict[int, Foretold] = {}
        for row, place in enumerate(prepared.rows.tolist()):
            fresh = costs.get(int(offsets[place]))
            before = {} if fresh is None else {key: states[key] for key in uses.get(row, ())}
            after = {} if fresh is None or not before else _moved(fresh, states)
            states |= after
            if not prepared.priced.refused[row]:
                found[place] = Foretold(prepared, row, batch, fresh, before, after)
        for place, (offset, event) in enumerate(events.items()):
            self._ready[offset] = event.booked.offset, found.get(place)


def _scopes_by_row(prepared: Prepared) -> dict[int, list[bytes]]:
    """By event that meets accumulating rates, the scopes of these that outlast it."""
    uses, found = prepared.priced.uses, dict[int, list[bytes]]()
    if uses is None:
        return found
    for row, scope in zip(uses.row.tolist(), uses.scope.tolist(), strict=True):
        named = found.setdefault(row, [])
        if uses.lasting[scope]:
            named.append(uses.keys[scope * KEY_BYTES : (scope + 1) * KEY_BYTES])
    return found


def _moved(row: Row, states: Mapping[bytes, ScopeState]) -> dict[bytes, ScopeState]:
    """The scopes that a row moves, after it."""
    found: dict[bytes, ScopeState] = {}
    for entry in row["entries"]:
        key = entry["scope_key"]
        if key is None:
            continue
        before = found.get(key, states[key])
        quantity = before.quantity + (0 if entry["scope_quantity"] is None else steps(entry["scope_quantity"], 0))
        amount = before.amount + (0 if entry["scope_amount"] is None else steps(entry["scope_amount"]))
        count = before.count + (entry["scope_count"] or 0)
        found[key] = ScopeState(quantity, amount, count, opened=quantity != 0)
    return found
