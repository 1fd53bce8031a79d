"""The running pricer's rules over a list of events, cut into units anywhere, with all that recovery would fold."""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from chargeline.cli.price_objects import row_object, without_charge
from chargeline.domain.identities import Identities
from chargeline.domain.rates.book import RateBook
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.domain.usage import CODES, GOOD
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import aggregate
from chargeline.pricer.compute import Rules, book, prepare
from chargeline.pricer.correcting import Correcting, needs_care
from chargeline.pricer.correction_state import CorrectionFields, CorrectionState
from chargeline.pricer.facts import Facts
from chargeline.pricer.known_events import Known, matters
from chargeline.pricer.recovery import keys_of
from chargeline.sdk.jsonlines import BadLine, read_line
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.arrow_messages import decode, encode
from chargeline.wire.charge_rows import rows_of
from chargeline.wire.charge_scopes import moved_scopes
from chargeline.wire.event_rows import event_row
from tests.support.pricing import documents_of

RULES = Rules(1, 60_000_000, 60_000_000, 10**13, control_sources=frozenset({"chargeline"}))


class OwnRows:
    """An archive that holds what the run has booked of an account, and nothing of before its identities."""

    def __init__(self, rows):
        self._rows = rows

    def find(self, partition, identities, before, held):
        return []

    def of_account(self, partition, account, wanted, before, held):
        rows = [row for rows in self._rows.values() for row in rows]
        return [row for row in rows if row["billing_account_id"] == account and matters(row, wanted)]


class Running:
    """State and charges after each unit; `objects` as `chargeline price` writes them, without the totals."""

    def __init__(self, cards, accounts, fx, *, archive=None):
        published, facts, rates = documents_of(cards, accounts, fx)
        table = RateTable(RateBook(published, margin_ms=0, future_bound_ms=0), facts, rates)
        self.facts = Facts(table, published, facts, rates, len(published) - 1, 0, 0)
        self.archive = archive
        self.identities, self.scopes, self.corrections = Identities(), ScopeStates.empty(), CorrectionFields()
        self.next_offset = 0
        self.rows = {}
        self.computed = []
        self.outcomes = {}

    def unit(self, lines):
        """Price the next lines as one unit, and check that the fold of its charges is the state after it."""
        start = self.next_offset
        batch = LogBatch(
            "usage-events", 0, np.arange(start, start + len(lines)),
            np.array([-(-each.event_time // 1000) for each in lines]), [each.value for each in lines],
            start + len(lines),
        )  # fmt: skip
        prepared = prepare(batch, self.facts.table, RULES, schema_of)
        if needs_care(prepared, self.corrections):
            known = Known(self.identities, self.scopes, self.corrections, start, lambda: max(self.rows, default=-1) + 1,
                          lambda offsets: {o: self.rows.get(o, []) for o in offsets})  # fmt: skip
            archive: Any = self.archive or OwnRows(self.rows)
            known = replace(known, archive=archive)
            booked = Correcting(batch, prepared, known, self.facts, RULES, schema_of).run(None)
        else:
            booked = book(batch, prepared, known=self.identities, scopes=self.scopes, watermark=None, rules=RULES)
        unit = aggregate(booked, self.facts.sequence, RULES)
        self.computed.append(unit)
        assert sum(booked.outcomes.values()) == len(lines)
        changes = {} if booked.corrected is None else booked.corrected.changes
        self.fold(unit.charges, booked, changes)
        self.next_offset += len(lines)
        for row in np.flatnonzero(booked.codes != GOOD).tolist():
            self.outcomes[start + row] = CODES[int(booked.codes[row])]

    def fold(self, charges, booked, changes):
        folded, state = self.scopes, CorrectionState(self.corrections)
        tables = [decode(message) for message in encode(charges)]
        for table in tables:
            folded = folded.apply(moved_scopes(table))
        self.scopes = self.scopes.apply(booked.scopes)
        assert used(folded) == used(self.scopes)
        assert keys_of(charges).stored() == booked.keys.stored()
        self.identities.add(booked.keys)
        state.book(charges, () if booked.corrected is None else booked.corrected.waiting)
        found = CorrectionFields(self.corrections)
        found.apply(state.changes)
        self.corrections.apply(changes)
        # A record that waits is named in the header; what it says is read in the input.
        assert {name: value[:8] for name, value in found.items()} == {
            name: value[:8] for name, value in self.corrections.items()
        }
        for row in rows_of(charges):
            self.rows.setdefault(row["source_offset"], []).append(row)

    def object(self, offset, outcome, reason):
        """What one record booked, as one object."""
        rows = self.rows.get(offset)
        name = None
        is_close = rows is not None and rows[-1]["event_kind"] == "PERIOD_CLOSE"
        if rows is None or is_close or outcome == "UNRATED":
            return without_charge(name, outcome, reason if rows is None or is_close else rows[0]["reason"])
        found = [event_row(row) for row in rows]
        rated = [each for each, row in zip(found, rows, strict=True) if row["outcome"] == "CHARGED"]
        entries = tuple(entry for each in rated for entry in each.entries)
        currency = [each.currency for each in rated if each.currency is not None][-1:]
        whole = replace(rated[-1], entries=entries, currency=currency[0] if currency else None)
        return row_object(name, outcome, whole)

    def settled(self):
        """The rows of closes that are about scopes, in order."""
        rows = [row for _, each in sorted(self.rows.items()) for row in each]
        is_scope = [row["entries"] or row["reason"] is not None for row in rows]
        return [row for row, kept in zip(rows, is_scope, strict=True) if kept and row["event_kind"] == "PERIOD_CLOSE"]


def used(scopes):
    """The stored scopes but those from which all was taken back: they are as if they had never been."""
    stored = scopes.stored()
    rows = [stored[at : at + 57] for at in range(0, len(stored), 57)]
    return [row for row in rows if row[16:] != bytes(41)]


def schema_of(_):
    return USAGE_EVENT_SCHEMA


def read_lines(events):
    return [each for each in (read_line(json.dumps(each)) for each in events if each is not None)
            if not isinstance(each, BadLine)]  # fmt: skip


__all__ = ["Running", "read_lines", "used"]
