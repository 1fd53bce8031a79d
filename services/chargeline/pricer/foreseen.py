"""Booked events that the RERATE records of a unit are about, priced anew many at once.

A run of `chargeline rerate` sends one record for each event, in log order. When one is judged, the next ones are
priced with it: what is committed of an event never changes, and neither do the rates that a unit sees. A record whose
event was changed since, by another record of the unit, is priced by itself.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chargeline.domain.identities import Identities
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.compute import Prepared, Rules, book, prepare
from chargeline.pricer.facts import Facts
from chargeline.pricer.known_events import Event, KnownEvents
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.correction_rows import Row, rows_of
from chargeline.wire.event_rows import Identity, values_of

_AT_ONCE = 500  # events, each of some 10 kB while they are read


@dataclass(frozen=True)
class Foretold:
    """One event anew. `row`: of `charges`, if no rate of it accumulates; None: what it costs depends on its scopes.

    `prepared` has one row; its `rows` tells the place in the batch.
    """

    prepared: Prepared
    batch: LogBatch
    row: Row | None


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
        values = values_of([event.booked for event in events.values()])
        batch = LogBatch(self._batch.topic, self._batch.partition, offsets, times, values, int(offsets[-1]) + 1)
        prepared = prepare(batch, self._facts.rerating, self._rules, lambda _: USAGE_EVENT_SCHEMA)
        costs = {} if prepared.priced.uses is not None else self._rows(batch, prepared)
        rows = {place: row for row, place in enumerate(prepared.rows.tolist())}
        for place, (offset, event) in enumerate(events.items()):
            row = rows.get(place)
            is_good = row is not None and not prepared.priced.refused[row]
            one = Foretold(prepared.take(np.array([row])), batch, costs.get(offset)) if is_good else None
            self._ready[offset] = event.booked.offset, one

    def _rows(self, batch: LogBatch, prepared: Prepared) -> dict[int, Row]:
        """By offset of the record; an event that two records are about has one for the first of them."""
        booked = book(batch, prepared, known=Identities(), watermark=None, rules=self._rules)
        rows = rows_of(charges_alone(booked, self._facts.sequence, self._rules))
        return {row["source_offset"]: row for row in rows}
