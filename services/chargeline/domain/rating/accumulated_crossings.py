"""Events of rates without a running amount that cross bounds: from the parts of each tier to their entries.

Rows that no column can hold, and bounds between two base units, are left to the exact function.
Source: spec/rating.md, section 3 (crossing).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.exact import Exact, Int64Array, scale
from chargeline.domain.rating.accumulated_entries import (
    CAP,
    DISCOUNT,
    FREE_UNITS,
    TIER_FLAT,
    UNIT,
    AccumulatedEntries,
    block,
    in_order,
)
from chargeline.domain.rating.accumulated_lines import Steps, shift_entries
from chargeline.domain.rating.period_columns import LineColumns, SegmentColumns, Zone

BoolArray = npt.NDArray[np.bool_]
_SUM_FITS = 2.0**60


def crossing_entries(columns: LineColumns, steps: Steps) -> tuple[list[AccumulatedEntries], Int64Array]:
    """The entries of moves across bounds.

    Returns:
        Blocks, in the order of a row's entries, and which moves (indices) are in none of them.
    """
    total = Total.of(columns.lines, steps)
    parts = _Parts.of(columns.tiers, steps, total.known)
    stored = parts.sums()
    is_discounted, is_capped = total.taken_off(steps.lower < columns.discount_end[steps.function], parts.costs)
    # What a discount and a cap take of one event is rounded one by one: rare, and left to the exact function.
    done = parts.known & ~(is_discounted & is_capped)

    events = done & ~steps.is_shift
    last_takes = events & ~is_discounted & ~is_capped & (total.zone_after != Zone.APART)
    blocks = [parts.entries(events, np.where(last_takes, total.picos - stored, 0))]
    for kind, taken in ((DISCOUNT, is_discounted), (CAP, is_capped)):
        at = np.flatnonzero(events & taken)
        blocks.append(block(steps.row[at], kind, Exact((total.picos - stored)[at])))
    down = np.flatnonzero(done & steps.is_shift)
    return [*blocks, *shift_entries(steps.take(down), total.picos[down])], np.flatnonzero(~done)


@dataclass(frozen=True)
class Total:
    """By move: Q12(T(upper)) - Q12(T(lower)) where it is known, and in which zones the move begins and ends."""

    picos: Int64Array
    known: BoolArray
    zone_before: Int64Array
    zone_after: Int64Array

    @classmethod
    def of(cls, columns: SegmentColumns, steps: Steps) -> "Total":
        column = columns.column
        low, high = columns.find(steps.function, steps.lower), columns.find(steps.function, steps.upper)
        one = low == high
        on_line = (steps.lower > column["start"][low]) | (steps.lower >= column["enter"][low])
        known = on_line & (one | (columns.untold[low] == columns.untold[high]))
        end = np.where(one, steps.upper, column["until"][low])
        start = np.where(one, steps.upper, column["start"][high])
        known &= (end <= column["limit"][low]) & (steps.upper <= column["limit"][high])
        lower, upper = np.where(known, steps.lower, 0), np.where(known, steps.upper, 0)
        end, start = np.where(known, end, 0), np.where(known, start, 0)
        first, fits = columns.risen(low, columns.steps(low, lower), columns.steps(low, end))
        last, fits_too = columns.risen(high, columns.steps(high, start), columns.steps(high, upper))
        next_one = np.minimum(low + 1, len(columns.segments) - 1)
        between = np.where(one, 0, column["base"][high] + column["jump"][high] - column["base"][next_one])
        known &= fits & fits_too
        return cls(np.where(known, first + between + last, 0), known, column["zone"][low], column["zone"][high])

    def taken_off(self, has_discount: BoolArray, costs: BoolArray) -> tuple[BoolArray, BoolArray]:
        """By move, whether the fixed discount and whether the maximum takes something off it.

        Args:
            has_discount: some of the fixed discount is left before the move.
            costs: the move costs more than 0 before both.
        """
        before, after = self.zone_before, self.zone_after
        is_discounted = (before == Zone.BELOW) & costs & ((after == Zone.BELOW) | has_discount)
        return is_discounted, (after == Zone.ABOVE) & costs


@dataclass(frozen=True)
class _Parts:
    """Moves cut at the bounds of tiers, in order.

    Attributes:
        row: by move, the row of the usage. known: by move, whether its parts are. costs: not exactly 0 in all.
        owner: by part, its move. segment, quantity, counted: by part, its tier, base units and steps of X.
        amount: picounits of the units. flat: those of the flat fee of the tier that is entered.
    """

    columns: SegmentColumns
    row: Int64Array
    known: BoolArray
    costs: BoolArray
    owner: Int64Array
    segment: Int64Array
    quantity: Int64Array
    counted: Int64Array
    amount: Int64Array
    flat: Int64Array

    @classmethod
    def of(cls, columns: SegmentColumns, steps: Steps, known: BoolArray) -> "_Parts":
        column = columns.column
        low, high = columns.find(steps.function, steps.lower), columns.find(steps.function, steps.upper)
        on_line = (steps.lower > column["start"][low]) | (steps.lower >= column["enter"][low])
        known = known & on_line & (columns.unclean[low] == columns.unclean[high])
        known &= columns.untold[low] == columns.untold[high]
        # A volume event has at most two parts: what is still free, and all else at the price of the tier it ends in.
        is_apart = (column["zone"][high] == Zone.APART) & (low < high)
        parts = np.where(known, np.where(is_apart, 2, high - low + 1), 0)
        owner = np.repeat(np.arange(len(low)), parts)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
        is_rest = is_apart[owner] & (number == 1)
        segment = np.where(is_rest, high[owner], low[owner] + number)
        start = np.where(is_rest, column["until"][low[owner]], column["start"][segment])
        lower = np.maximum(steps.lower[owner], start)
        upper = np.minimum(steps.upper[owner], column["until"][segment])
        known[owner[upper > column["limit"][segment]]] = False
        lower, upper = np.where(known[owner], lower, 0), np.where(known[owner], upper, 0)
        counted = columns.steps(segment, upper) - columns.steps(segment, lower)
        flat = np.where(number > 0, column["flat"][segment], 0)
        amount = scale(counted, segment, columns.price)
        size = np.bincount(owner, amount.values.astype(np.float64) + flat, len(low))
        known &= size < _SUM_FITS
        known[owner[list(amount.large)]] = False
        priced = (counted > 0) & (columns.price.numerator[segment] > 0) | (flat > 0)
        costs = np.bincount(owner, priced, len(low)) > 0
        return cls(columns, steps.row, known, costs, owner, segment, upper - lower, counted, amount.values, flat)

    def sums(self) -> Int64Array:
        """By move, of all stored amounts."""
        sums = np.zeros(len(self.row), np.int64)
        np.add.at(sums, self.owner, self.amount + self.flat)
        return sums

    def entries(self, use: BoolArray, rest: Int64Array) -> AccumulatedEntries:
        """TIER_FLAT and UNIT entries of some moves; `rest` by move: what the last of them takes besides."""
        amount = self.amount.copy()
        last = np.flatnonzero(np.append(self.owner[1:] != self.owner[:-1], np.ones(min(1, len(self.owner)), bool)))
        amount[last] += rest[self.owner[last]]
        flats = np.flatnonzero(use[self.owner] & (self.flat > 0))
        units = np.flatnonzero(use[self.owner] & (self.quantity > 0))
        tier = self.columns.column["tier"][self.segment]
        both = in_order(
            [
                block(flats, TIER_FLAT, Exact(self.flat[flats]), tier[flats]),
                block(
                    units,
                    np.where(tier[units] == 0, FREE_UNITS, UNIT),
                    Exact(amount[units]),
                    tier[units],
                    Exact(self.quantity[units]),
                    scale(self.counted[units], self.segment[units], self.columns.pricing),
                    Exact(self.counted[units]),
                ),
            ],
            len(self.owner),
        )
        return replace(both, row=self.row[self.owner[both.row]])
