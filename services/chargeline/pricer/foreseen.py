"""Booked events that the RERATE records of a unit are about, priced anew many at once.

A run of `chargeline rerate` sends one record for each event, in log order. When one is judged, the next ones are
priced with it: what is committed of an event never changes, and neither do the rates that a unit sees. A record whose
event was changed since, by another record of the unit, is priced by itself.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chargeline.domain.identities import Identities
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.compute import Prepared, Rules, book, prepare
from chargeline.pricer.facts import Facts
from chargeline.pricer.known_events import Event, KnownEvents
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.correction_rows import Row, rows_of
from chargeline.wire.event_rows import EventRow, Identity, values_of

_AT_ONCE = 500  # events, each of some 10 kB while they are read


@dataclass(frozen=True)
class Foretold:
    """One event anew. `row`: of `charges`, if no rate of it accumulates; None: what it costs depends on its scopes.

    `prepared` has one row; its `rows` tells the place in the batch.
    """

    prepared: Prepared
    batch: LogBatch
    row: Row | None


def prepared_anew(rows: Sequence[EventRow], batch: LogBatch, facts: Facts, rules: Rules) -> tuple[LogBatch, Prepared]:
    """Booked events with the rates that a re-rating sees, as usage that lies at the places of a batch."""
    batch = replace(batch, values=values_of(rows))
    return batch, prepare(batch, facts.rerating, rules, lambda _: USAGE_EVENT_SCHEMA)


def rows_anew(batch: LogBatch, prepared: Prepared, facts: Facts, rules: Rules) -> dict[int, Row]:
    """By offset what they cost, as if each came first in its scopes; of an event that is there twice, the first."""
    booked = book(batch, prepared, known=Identities(), watermark=None, rules=rules)
    return {row["source_offset"]: row for row in rows_of(charges_alone(booked, facts.sequence, rules))}


class Foreseen:
    """Of one part of a unit."""

    def __init__(self, batch: LogBatch, events: KnownEvents, facts: Facts, rules: Rules) -> None:
        self._batch, self._events, self._facts, self._rules = batch, events, facts, rules
        self._about: Mapping[int, tuple[Identity, bytes]] = {}
        self._offsets: list[int] = []
        self._ready: dict[int, tuple[int, Foretold | None]] = {}

    def plan(self, about: Mapping[int, tuple[Identity, bytes]]) -> None:
        """By offset of each RERATE record in log order, the event that it is about, and the hash of that."""
        self._about, self._offsets = about, list(about)

    def priced(self, offset: int, event: Event) -> Foretold | None:
        """An event with the rates that the record at an offset sees; None: it would be refused today."""
        place, found = self._ready.pop(offset, (-1, None))
        if place != event.booked.offset:
            self._price({offset: event} | self._next(offset, event))
            _, found = self._ready.pop(offset)
        return found

    def _next(self, offset: int, event: Event) -> dict[int, Event]:
        """What the records after one are about, as far as it is committed."""
        if not self._events.is_committed(event):
            return {}
        after = bisect_right(self._offsets, offset)
        ahead = [each for each in self._offsets[after : after + _AT_ONCE] if each not in self._ready]
        found = {each: self._events.committed(*self._about[each]) for each in ahead}
        return {each: one for each, one in found.items() if one is not None}

    def _price(self, events: Mapping[int, Event]) -> None:
        offsets = np.array(list(events), np.int64)
        times = self._batch.append_times[np.searchsorted(self._batch.offsets, offsets)]
        places = LogBatch(self._batch.topic, self._batch.partition, offsets, times, [], int(offsets[-1]) + 1)
        booked = [event.booked for event in events.values()]
        batch, prepared = prepared_anew(booked, places, self._facts, self._rules)
        accumulates = prepared.priced.uses is not None
        costs = {} if accumulates else rows_anew(batch, prepared, self._facts, self._rules)
        rows = {place: row for row, place in enumerate(prepared.rows.tolist())}
        for place, (offset, event) in enumerate(events.items()):
            row = rows.get(place)
            is_good = row is not None and not prepared.priced.refused[row]
            one = Foretold(prepared.take(np.array([row])), batch, costs.get(offset)) if is_good else None
            self._ready[offset] = event.booked.offset, one
