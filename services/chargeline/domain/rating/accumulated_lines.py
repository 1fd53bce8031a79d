"""Events of rates without a running amount that stay in one segment, which almost all do: one pass over columns.

Source: spec/rating.md, sections 3, 4.4, 4.5.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.exact import Exact, Int64Array, scale
from chargeline.domain.columns.exact_rows import plus
from chargeline.domain.rating.accumulated_entries import (
    CAP,
    DISCOUNT,
    FREE_UNITS,
    TIER_SHIFT,
    UNIT,
    AccumulatedEntries,
    block,
)
from chargeline.domain.rating.period_columns import SegmentColumns, Zone

BoolArray = npt.NDArray[np.bool_]


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


def line_entries(columns: SegmentColumns, steps: Steps) -> tuple[list[AccumulatedEntries], Int64Array, Int64Array]:
    """The entries of moves that stay in one segment.

    Returns:
        Blocks, in the order of a row's entries; then the moves (indices) that leave their segment or may pass its
        limit, and those whose numbers do not fit: neither are in the blocks.
    """
    segment = columns.find(steps.function, steps.upper)
    inside = (steps.lower >= columns.column["enter"][segment]) & (steps.upper <= columns.column["limit"][segment])
    if inside.all():
        blocks, failed = _inside(columns, steps, segment)
        return blocks, np.zeros(0, np.int64), failed
    at, across = np.flatnonzero(inside), np.flatnonzero(~inside)
    blocks, failed = _inside(columns, steps.take(at), segment[at])
    return blocks, across, at[failed]


def _inside(columns: SegmentColumns, steps: Steps, segment: Int64Array) -> tuple[list[AccumulatedEntries], Int64Array]:
    """Moves that stay in one segment."""
    before, after = columns.steps(segment, steps.lower), columns.steps(segment, steps.upper)
    risen, fits = columns.risen(segment, before, after)
    failed = np.flatnonzero(~fits)
    if len(failed) or steps.is_shift.any():
        kept = np.flatnonzero(fits & ~steps.is_shift)
        down = np.flatnonzero(fits & steps.is_shift)
        shifts = shift_entries(steps.take(down), risen[down])
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
        Exact(counted),
    )
    return [entries, *tails, *shifts], failed


def _outside(
    columns: SegmentColumns, row: Int64Array, segment: Int64Array, counted: Int64Array, risen: Int64Array
) -> tuple[Exact, list[AccumulatedEntries]]:
    """The amounts of UNIT entries where T does not rise with them, and the DISCOUNT and CAP that take them off."""
    zone = columns.column["zone"][segment]
    priced = scale(np.where(zone == Zone.BETWEEN, 0, counted), segment, columns.price)
    return plus(priced, Exact(risen)), _taken_off(
        row, zone, (columns.price.numerator[segment] > 0) & (counted > 0), priced
    )


def _taken_off(row: Int64Array, zone: Int64Array, costs: BoolArray, amount: Exact) -> list[AccumulatedEntries]:
    """DISCOUNT and CAP entries that take the whole of an amount; none where the event costs exactly nothing."""
    blocks = []
    for code, kind in ((Zone.BELOW, DISCOUNT), (Zone.ABOVE, CAP)):
        at = np.flatnonzero((zone == code) & costs)
        if len(at):
            blocks.append(block(row[at], kind, amount.take(at).times(np.full(len(at), -1))))
    return blocks


def shift_entries(steps: Steps, total: Int64Array) -> list[AccumulatedEntries]:
    """TIER_SHIFT entries of moves taken back, by which T(Q) falls by `total`."""
    if not len(steps):
        return []
    amount = plus(steps.booked, Exact(-total))
    at = np.flatnonzero(amount.values != 0)
    at = np.union1d(at, np.fromiter(amount.large, np.int64, len(amount.large)))
    return [block(steps.row[at], TIER_SHIFT, amount.take(at))]
