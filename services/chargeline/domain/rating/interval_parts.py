"""The parts of interval events that cross a billing period, a rate version or a time band.

Most events cross nothing and are one part as a whole; if all do, nothing is copied. Source: spec/rating.md 3, step 2.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from chargeline.domain.columns.exact import Int64Array
from chargeline.domain.periods import billing_period
from chargeline.domain.rates.card import TimeBands
from chargeline.domain.rates.time_bands import band_at, band_changes
from chargeline.domain.rating.payers import BoolArray
from chargeline.domain.rating.questions import Asker, Circumstances
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.usage import UsageColumns

_MINUTE = 60_000_000
_MINUTES_A_TIME = 1_000_000  # evaluated together


@dataclass(frozen=True)
class Parts:
    """The parts of n events, ascending by event and time.

    Attributes:
        event: int64: which event a part is of; None: each event is one part.
        at: account, time and period of each part; answers: the number of the answer of each.
        cut: of each event that is cut, the instants at which its parts begin, and its end.
    """

    event: Int64Array | None
    at: Circumstances
    answers: Int64Array
    cut: dict[int, list[int]]

    @cached_property
    def is_cut(self) -> BoolArray:
        """By part, whether its event has several."""
        if self.event is None:
            return np.zeros(len(self.answers), bool)
        return np.isin(self.event, list(self.cut))

    def events(self, rows: Int64Array) -> Int64Array:
        """The event of each of the given parts."""
        return rows if self.event is None else self.event[rows]

    def of_events(self, column: BoolArray) -> BoolArray:
        """What holds for an event, by part."""
        return column if self.event is None else column[self.event]

    def shares(self, quantity: Int64Array) -> Int64Array:
        """A quantity of each event, by part: the share of the time, rounded down; the last part takes the rest."""
        if self.event is None:
            return quantity
        shares = quantity[self.event]
        for event, bounds in self.cut.items():
            whole, first = int(quantity[event]), int(np.searchsorted(self.event, event))
            parts = [whole * (high - low) // (bounds[-1] - bounds[0]) for low, high in pairwise(bounds[:-1])]
            shares[first : first + len(parts) + 1] = [*parts, whole - sum(parts)]
        return shares

    def any_of(self, flags: BoolArray, length: int) -> BoolArray:
        """By event, whether it holds for some part."""
        if self.event is None:
            return flags
        found = np.zeros(length, bool)
        found[self.event[flags]] = True
        return found


def parts_of(usage: UsageColumns, table: RateTable, asker: Asker) -> Parts:
    """The parts of n valid events, with the answers to what each of them pays."""
    at = Circumstances.of(asker.account, usage.long("event_time"), table.payers)
    answers = asker.ask(None, at)
    end = usage.nullable.get("charge_period_end")
    if end is None:
        return Parts(None, at, answers, {})
    rows = np.flatnonzero(end[1])
    ends = np.asarray(end[0][rows], np.int64)
    rows, ends = _may_cross(rows, ends, table, asker, at)
    cut = {}
    for row, until in zip(rows.tolist(), ends.tolist(), strict=True):  # those that cross something, or nearly
        bounds = _cuts(row, int(at.time[row]), until, table, asker)
        if bounds:
            cut[row] = [int(at.time[row]), *bounds, until]
    if not cut:
        return Parts(None, at, answers, {})
    counts = np.ones(usage.length, np.int64)
    counts[list(cut)] = [len(bounds) - 1 for bounds in cut.values()]
    event = np.repeat(np.arange(usage.length), counts)
    time = at.time[event]
    for row, bounds in cut.items():
        first = int(np.searchsorted(event, row))
        time[first : first + len(bounds) - 1] = bounds[:-1]
    whole = Circumstances.of(asker.account.take(event), time, table.payers)
    return Parts(event, whole, asker.ask(event, whole), cut)


def _may_cross(
    rows: Int64Array, end: Int64Array, table: RateTable, asker: Asker, at: Circumstances
) -> tuple[Int64Array, Int64Array]:
    start, account = at.time[rows], asker.account.take(rows)
    boundaries = np.array(table.book.boundaries, np.int64)
    crosses = np.searchsorted(boundaries, start, "right") != np.searchsorted(boundaries, end - 1, "right")
    crosses |= at.period_end[rows] < end
    changes = table.payers.changes(account, start, end)
    if changes is not None:
        crosses |= changes
    for bands in table.book.time_bands:
        left = np.flatnonzero(~crosses)
        crosses[left] = _crosses_band(bands, start[left], end[left])
    kept = np.flatnonzero(crosses)
    return rows[kept], end[kept]


def _crosses_band(bands: TimeBands, start: Int64Array, end: Int64Array) -> BoolArray:
    """Whether another band begins to hold inside (start, end)."""
    first = band_at(bands, start)
    minutes = (end - 1) // _MINUTE - start // _MINUTE
    crosses = np.zeros(len(start), bool)
    totals = np.cumsum(minutes) // _MINUTES_A_TIME
    for chunk in np.unique(totals).tolist():
        rows = np.flatnonzero(totals == chunk)
        of = np.repeat(rows, minutes[rows])
        number = np.arange(len(of)) - np.repeat(np.cumsum(minutes[rows]) - minutes[rows], minutes[rows]) + 1
        crosses[of[band_at(bands, (start[of] // _MINUTE + number) * _MINUTE) != first[of]]] = True
    return crosses


def _cuts(row: int, start: int, end: int, table: RateTable, asker: Asker) -> list[int]:
    """Where one interval is cut: at billing periods, where the rates of its kind change, and at their time bands."""
    account = asker.account.at(row) or ""
    edges = {edge for edge in (*table.book.boundaries, *table.payers.edges(account)) if start < edge < end}
    found = set()
    time = start
    while True:
        payer = table.payers.payers[table.payers.number_at(account, time)]
        _, time = billing_period(time, payer.billing_cycle_day)
        if time >= end:
            break
        found.add(time)
    times = np.array([start, *sorted(edges | found)], np.int64)
    of = np.full(len(times), row)
    answers = asker.ask(of, Circumstances.of(asker.account.take(of), times, table.payers), in_bands=False)
    found |= {int(time) for time, is_new in zip(times[1:], answers[1:] != answers[:-1], strict=True) if is_new}
    for bands in table.time_bands_of(set(answers.tolist())):
        found |= set(band_changes(bands, start, end))
    return sorted(found)
