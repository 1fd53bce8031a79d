"""Events of rates without a running amount, in columns: most lie in one segment, a few cross some.

Rows that no column can hold are left to the exact function. Source: spec/rating.md, sections 3, 4.4, 4.5.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chargeline.domain.accumulated_entries import (
    CAP,
    DISCOUNT,
    FREE_UNITS,
    TIER_FLAT,
    TIER_SHIFT,
    UNIT,
    AccumulatedEntries,
    block,
    in_order,
)
from chargeline.domain.exact import Exact, Int64Array, scale
from chargeline.domain.exact_rows import plus
from chargeline.domain.period_columns import SegmentColumns, Zone

BoolArray = npt.NDArray[np.bool_]
_SUM_FITS = 2.0**60


@dataclass(frozen=True)
class Steps:
    """Moves of scopes from one quantity to a higher one; a shift is a move that is taken back.

    Attributes:
        row: which row of the usage.
        function: number of the rate function.
        lower, upper: running quantities, lower < upper.
        is_shift: the entry is a TIER_SHIFT of T(lower) - T(upper) + booked.
        booked: picounits, where there are shifts.
    """

    row: Int64Array
    function: Int64Array
    lower: Int64Array
    upper: Int64Array
    is_shift: BoolArray
    booked: Exact

    def __len__(self) -> int:
        return len(self.row)

    def take(self, at: Int64Array) -> "Steps":
        return Steps(
            self.row[at],
            self.function[at],
            self.lower[at],
            self.upper[at],
            self.is_shift[at],
            self.booked.take(at) if len(self.booked) else self.booked,
        )


def line_entries(columns: SegmentColumns, steps: Steps) -> tuple[list[AccumulatedEntries], Int64Array]:
    """The entries of the moves.

    Returns:
        Blocks, in the order of a row's entries, and which moves (indices) are in none of them: too large, or across
        a bound that is no whole base unit or where the fixed discount or the maximum begins.
    """
    segment = columns.find(steps.function, steps.upper)
    inside = (steps.lower >= columns.column["enter"][segment]) & (steps.upper <= columns.column["limit"][segment])
    if inside.all():
        blocks, failed = _inside(columns, steps, segment)
        return blocks, failed
    at, across = np.flatnonzero(inside), np.flatnonzero(~inside)
    blocks, failed = _inside(columns, steps.take(at), segment[at])
    more, left = _Crossing.of(columns, steps.take(across), segment[across]).entries()
    return blocks + more, np.concatenate([at[failed], across[left]])


def _inside(columns: SegmentColumns, steps: Steps, segment: Int64Array) -> tuple[list[AccumulatedEntries], Int64Array]:
    """Moves that stay in one segment."""
    before, after = columns.steps(segment, steps.lower), columns.steps(segment, steps.upper)
    risen, fits = columns.risen(segment, before, after)
    failed = np.flatnonzero(~fits)
    if len(failed) or steps.is_shift.any():
        kept = np.flatnonzero(fits & ~steps.is_shift)
        down = np.flatnonzero(fits & steps.is_shift)
        shifts = _shifts(steps.take(down), risen[down])
        steps, segment, before, after, risen = (
            steps.take(kept), segment[kept], before[kept], after[kept], risen[kept],
        )  # fmt: skip
    else:
        shifts = []
    counted = after - before
    zone, tier = columns.column["zone"][segment], columns.column["tier"][segment]
    amount = Exact(risen)
    tails: list[AccumulatedEntries] = []
    if (zone != Zone.BETWEEN).any():
        amount, tails = _outside(columns, steps.row, segment, counted, risen)
    entries = block(
        steps.row,
        np.where(tier == 0, FREE_UNITS, UNIT),
        amount,
        tier,
        Exact(steps.upper - steps.lower),
        scale(counted, segment, columns.pricing),
    )
    return [entries, *tails, *shifts], failed


def _outside(
    columns: SegmentColumns, row: Int64Array, segment: Int64Array, counted: Int64Array, risen: Int64Array
) -> tuple[Exact, list[AccumulatedEntries]]:
    """The amounts of UNIT entries where T does not rise with them, and the DISCOUNT and CAP that take them off."""
    zone = columns.column["zone"][segment]
    priced = scale(np.where(zone == Zone.BETWEEN, 0, counted), segment, columns.price)
    return plus(priced, Exact(risen)), taken_off(
        row, zone, (columns.price.numerator[segment] > 0) & (counted > 0), priced
    )


def taken_off(row: Int64Array, zone: Int64Array, costs: BoolArray, amount: Exact) -> list[AccumulatedEntries]:
    """DISCOUNT and CAP entries that take the whole of an amount; none where the event costs exactly nothing."""
    blocks = []
    for code, kind in ((Zone.BELOW, DISCOUNT), (Zone.ABOVE, CAP)):
        at = np.flatnonzero((zone == code) & costs)
        if len(at):
            blocks.append(block(row[at], kind, amount.take(at).times(np.full(len(at), -1))))
    return blocks


def _shifts(steps: Steps, total: Int64Array) -> list[AccumulatedEntries]:
    """TIER_SHIFT entries of moves taken back, by which T(Q) falls by `total`."""
    if not len(steps):
        return []
    amount = plus(steps.booked, Exact(-total))
    at = np.flatnonzero(amount.values != 0)
    at = np.union1d(at, np.fromiter(amount.large, np.int64, len(amount.large)))
    return [block(steps.row[at], TIER_SHIFT, amount.take(at))]


@dataclass(frozen=True)
class _Crossing:
    """Moves across bounds, and their parts: one for each segment, in order.

    Attributes:
        low, high: first and last segment of a move.
        possible: by move: all bounds on the way may be crossed in columns.
        owner: by part, its move. opens: the part is not the first of its move.
        segment, lower, upper: by part.
    """

    columns: SegmentColumns
    steps: Steps
    low: Int64Array
    high: Int64Array
    possible: BoolArray
    owner: Int64Array
    opens: BoolArray
    segment: Int64Array
    lower: Int64Array
    upper: Int64Array

    @classmethod
    def of(cls, columns: SegmentColumns, steps: Steps, high: Int64Array) -> "_Crossing":
        column = columns.column
        low = columns.find(steps.function, steps.lower)
        start = (steps.lower > column["start"][low]) | (steps.lower >= column["enter"][low])
        possible = (columns.unclean[low] == columns.unclean[high]) & start & (low < high)
        apart = column["zone"][high] == Zone.APART
        parts = np.where(possible, np.where(apart, 2, high - low + 1), 0)
        owner = np.repeat(np.arange(len(low)), parts)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
        to_end = apart[owner] & (number == 1)
        segment = np.where(to_end, high[owner], low[owner] + number)
        start_of = np.where(to_end, column["until"][low[owner]], column["start"][segment])
        lower = np.maximum(steps.lower[owner], start_of)
        upper = np.minimum(steps.upper[owner], column["until"][segment])
        beyond = owner[upper > column["limit"][segment]]
        possible[beyond] = False
        return cls(columns, steps, low, high, possible, owner, number > 0, segment, lower, upper)

    def entries(self) -> tuple[list[AccumulatedEntries], Int64Array]:
        """As `line_entries`."""
        columns, column = self.columns, self.columns.column
        held = self.possible[self.owner]
        lower, upper = np.where(held, self.lower, 0), np.where(held, self.upper, 0)
        counted = columns.steps(self.segment, upper) - columns.steps(self.segment, lower)
        counted = np.where(held, counted, 0)
        priced = scale(counted, self.segment, columns.price)
        flat = np.where(self.opens, column["flat"][self.segment], 0)
        total, fits = self._total()
        moves = len(self.steps)
        size = np.bincount(self.owner, priced.values.astype(np.float64) + flat, moves)
        done = self.possible & fits & (size < _SUM_FITS)
        done[self.owner[list(priced.large)]] = False

        stored = np.zeros(moves, np.int64)
        np.add.at(stored, self.owner, priced.values + flat)
        zone = column["zone"][self.high]
        amount = priced.values.copy()
        last = np.flatnonzero(np.append(self.owner[1:] != self.owner[:-1], True)) if len(self.owner) else self.owner
        between = last[zone[self.owner[last]] == Zone.BETWEEN]
        amount[between] += (total - stored)[self.owner[between]]

        events = done & ~self.steps.is_shift
        use = events[self.owner]
        costs = np.bincount(self.owner, (counted > 0) & (columns.price.numerator[self.segment] > 0) | (flat > 0), moves)
        units = np.flatnonzero(use & (self.upper > self.lower))
        flats = np.flatnonzero(use & (flat > 0))
        parts = in_order([self._flat_entries(flats, flat), self._unit_entries(units, counted, amount)], len(use))
        at = np.flatnonzero(events)
        tails = taken_off(self.steps.row[at], zone[at], costs[at] > 0, Exact(stored[at]))
        down = np.flatnonzero(done & self.steps.is_shift)
        shifts = _shifts(self.steps.take(down), total[down])
        named = AccumulatedEntries(
            self.steps.row[self.owner[parts.row]], parts.kind, parts.tier, parts.quantity, parts.pricing, parts.amount
        )
        return [named, *tails, *shifts], np.flatnonzero(~done)

    def _flat_entries(self, at: Int64Array, flat: Int64Array) -> AccumulatedEntries:
        """Numbered by part."""
        return block(at, TIER_FLAT, Exact(flat[at]), self.columns.column["tier"][self.segment[at]])

    def _unit_entries(self, at: Int64Array, counted: Int64Array, amount: Int64Array) -> AccumulatedEntries:
        """Numbered by part."""
        segment = self.segment[at]
        tier = self.columns.column["tier"][segment]
        kind = np.where(tier == 0, FREE_UNITS, UNIT)
        pricing = scale(counted[at], segment, self.columns.pricing)
        return block(at, kind, Exact(amount[at]), tier, Exact(self.upper[at] - self.lower[at]), pricing)

    def _total(self) -> tuple[Int64Array, BoolArray]:
        """Q12(T(upper)) - Q12(T(lower)) of the moves that are possible, and where it fits."""
        columns, column, steps = self.columns, self.columns.column, self.steps
        low, high = self.low, self.high
        after_low = np.minimum(low + 1, len(columns.segments) - 1)
        lower, upper = np.where(self.possible, steps.lower, 0), np.where(self.possible, steps.upper, 0)
        end = np.where(self.possible, column["until"][low], 0)
        start = np.where(self.possible, column["start"][high], 0)
        first, fits = columns.risen(low, columns.steps(low, lower), columns.steps(low, end))
        last, fits_too = columns.risen(high, columns.steps(high, start), columns.steps(high, upper))
        between = column["base"][high] + column["jump"][high] - column["base"][after_low]
        return first + between + last, fits & fits_too
