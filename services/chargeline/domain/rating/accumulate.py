"""Accumulating rates for a whole commit unit: from usage by scope to entries, and the state after them. Pure.

Events are grouped by scope and their running quantities summed in columns; what no column can hold (quantities beyond
64 bits, bounds between two base units, the event in which a discount or a maximum begins) goes through the exact
function of `scope_step.py`, with the same result. Source: spec/rating.md, sections 3, 5, 10, 12.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.codes import stable_order
from chargeline.domain.columns.exact import Exact, Int64Array
from chargeline.domain.columns.exact_rows import exact_of, with_numbers
from chargeline.domain.rating.accumulated_crossings import crossing_entries
from chargeline.domain.rating.accumulated_entries import TIER_FLAT, AccumulatedEntries, block, from_pieces, in_order
from chargeline.domain.rating.accumulated_lines import Steps, line_entries
from chargeline.domain.rating.accumulated_sums import (
    Additions,
    closing_function,
    fee_additions,
    modified_additions,
    sum_entries,
)
from chargeline.domain.rating.period_columns import LineColumns
from chargeline.domain.rating.period_function import ONE, Piece, RateFunction, q12
from chargeline.domain.rating.scope_states import ScopeColumns
from chargeline.domain.rating.scope_step import ScopeState, shift, step

BoolArray = npt.NDArray[np.bool_]
_SUM_FITS = 2.0**60


@dataclass(frozen=True)
class RateFunctions:
    """Rate functions by number, made ready for columns; to be made once and kept.

    Attributes:
        columns: of each function, then of the closing functions.
        closing: by function, the number of its closing function in `columns`.
        opening: picounits of T(0). opens: T(0) is not exactly 0.
        start: picounits, the running amount that a scope starts with.
    """

    functions: tuple[RateFunction, ...]
    columns: LineColumns
    closing: Int64Array
    volume: BoolArray
    modified: BoolArray
    fee: BoolArray
    opens: BoolArray
    opening: Exact
    start: Exact

    @classmethod
    def of(cls, functions: Sequence[RateFunction]) -> "RateFunctions":
        whole = list(functions)
        closing = []
        for function in functions:
            closing.append(len(whole) if function.runs_an_amount else 0)
            if function.runs_an_amount:
                whole.append(closing_function(function))
        return cls(
            tuple(functions),
            LineColumns.of(whole),
            np.array(closing, np.int64),
            np.array([function.is_volume for function in functions], bool),
            np.array([function.modified and function.fee_rule is None for function in functions], bool),
            np.array([function.fee_rule is not None for function in functions], bool),
            np.array([bool(function.opening()) for function in functions], bool),
            exact_of(q12(function.opening()) for function in functions),
            exact_of(function.opening_running() for function in functions),
        )


@dataclass(frozen=True)
class ScopedUsage:
    """n quantities in log order, those of one event one after the other in the order of its leaves.

    Attributes:
        scope: which scope, from 0.
        quantity: base units; negative: the cancel of an event that counted; 0: nothing happens.
        factor: index into `factors`; that of 1 for a rate without modifiers.
        counts: False: the quantity moves no tiers (status policy bill_zero).
        booked: picounits, the sum of the entries that a cancel reverses in this scope; None: there are no cancels.
        weight: how many transactions of a percentage rate an event stands for, `quantity` being the amount of one of
            them; 1 for other rates. None: 1 everywhere.
    """

    scope: Int64Array
    quantity: Exact
    factor: Int64Array
    counts: BoolArray
    booked: Exact | None = None
    factors: tuple[Fraction, ...] = (ONE,)
    weight: Int64Array | None = None

    def __len__(self) -> int:
        return len(self.scope)

    @classmethod
    def plain(cls, scope: Int64Array, quantity: Int64Array) -> "ScopedUsage":
        """Without modifiers and cancels."""
        return cls(scope, Exact(quantity), np.zeros(len(scope), np.int64), np.ones(len(scope), bool))


def accumulate(
    functions: RateFunctions, function: Int64Array, usage: ScopedUsage, before: ScopeColumns
) -> tuple[AccumulatedEntries, ScopeColumns]:
    """Price the quantities of a unit that accumulate.

    Args:
        function: int64 by scope: number of its rate function.
        before: the state of each scope; with the window `event` every quantity has a scope of its own without events.

    Returns:
        Entries by usage row, and the state of each scope after the unit. Cutting the unit anywhere and carrying the
        state over gives the same entries.

    Raises:
        ValueError: a cancel would bring the quantity of a scope below 0.
    """
    entries, after, _ = accumulate_amounts(functions, function, usage, before)
    return entries, after


def accumulate_amounts(
    functions: RateFunctions, function: Int64Array, usage: ScopedUsage, before: ScopeColumns
) -> tuple[AccumulatedEntries, ScopeColumns, Exact]:
    """The same, and by usage row what it moved the running amount of its scope by: with it the state can be folded."""
    walk = _Walk.of(functions, function, usage, before)
    sums = (functions.modified | functions.fee)[walk.function]
    blocks = walk.lines(np.flatnonzero(~sums) if sums.any() else None)
    more, amounts = walk.sums(np.flatnonzero(sums))
    after = walk.after(amounts)
    slow, states = walk.one_by_one()
    entries = in_order([walk.openings(), *blocks, *more, slow], len(usage))
    if states:
        after = after.put(np.fromiter(states, np.int64), ScopeColumns.of(list(states.values())))
    return entries, after, with_numbers(walk.moved, walk.moved_slowly)


class _Walk:
    """The quantities of a unit by scope, in log order within it, with the running quantity before each.

    Scopes in `slow` are left out: some number of theirs does not fit.
    """

    def __init__(
        self,
        functions: RateFunctions,
        function: Int64Array,
        usage: ScopedUsage,
        before: ScopeColumns,
        slow: BoolArray,
        rows: Int64Array,
    ) -> None:
        self.functions = functions
        self._of_scope = function
        self._usage = usage
        self._before = before
        self._slow = slow
        self.moved = np.zeros(len(usage), np.int64)
        self.moved_slowly: dict[int, int] = {}
        self.row = rows
        self.scope = usage.scope[rows]
        self.function = function[self.scope]
        self.quantity = usage.quantity.values[rows]
        self.counts = usage.counts[rows]
        self.weight = np.ones(len(rows), np.int64) if usage.weight is None else usage.weight[rows]
        self._moves = np.where(self.counts, self.quantity * self.weight, 0)
        self.running = before.quantity.values[self.scope] + self._sum_before(self._moves, self.scope)
        if len(rows) and int((self.running + self._moves).min()) < 0:
            row = int(np.argmin(self.running + self._moves))
            raise ValueError(f"scope {self.scope[row]} has used {self.running[row]}; {self.quantity[row]} is too much")

    @classmethod
    def of(cls, functions: RateFunctions, function: Int64Array, usage: ScopedUsage, before: ScopeColumns) -> "_Walk":
        values, scopes = usage.quantity.values, len(before)
        slow = np.zeros(scopes, bool)
        slow[usage.scope[list(usage.quantity.large)]] = True
        slow[list(before.quantity.large)] = True
        slow[list(before.amount.large)] = True
        sizes = np.abs(values.astype(np.float64)) * (1.0 if usage.weight is None else usage.weight)
        total = np.bincount(usage.scope, sizes, scopes) + np.abs(before.quantity.values)
        slow |= total >= _SUM_FITS
        sums = functions.modified | functions.fee
        live = (values != 0) & ~slow[usage.scope]
        if int(values.min(initial=0)) < 0:
            # A cancel moves no scope whose result depends on the order of events, nor one that its event did not move.
            live &= (values > 0) | (usage.counts & ~sums[function[usage.scope]])
        order = stable_order(usage.scope, scopes)
        return cls(functions, function, usage, before, slow, order if live.all() else order[live[order]])

    def openings(self) -> AccumulatedEntries:
        """T(0) with the first event of each scope that was not open."""
        at = np.flatnonzero(self.counts & (self.quantity > 0))
        at = at[_firsts(self.scope[at])]
        at = at[~self._before.opened[self.scope[at]] & ~self._slow[self.scope[at]]]
        at = at[self.functions.opens[self.function[at]]]
        return block(self.row[at], TIER_FLAT, self.functions.opening.take(self.function[at]), 1)

    def lines(self, at: Int64Array | None) -> list[AccumulatedEntries]:
        """The entries of rates without a running amount; None: of all."""
        booked = self._usage.booked
        is_shift = self.quantity < 0
        ends = self.running + self.quantity
        steps = Steps(
            self.row,
            self.function,
            np.minimum(self.running, ends),
            np.maximum(self.running, ends),
            is_shift,
            Exact(np.zeros(len(self.row), np.int64)) if booked is None else booked.take(self.row),
        )
        shiftless = is_shift & self.functions.volume[self.function]
        if shiftless.any():
            at = np.flatnonzero(~shiftless) if at is None else at[~shiftless[at]]
        steps = steps if at is None else steps.take(at)
        columns = self.functions.columns
        blocks, across, left = line_entries(columns.lines, steps)
        if len(across):
            more, too_large = crossing_entries(columns, steps.take(across))
            blocks, left = blocks + more, np.append(left, across[too_large])
        pieces = [(row, piece) for each in left.tolist() for row, piece in self._exact_line(steps, each)]
        return [*blocks, from_pieces(pieces)]

    def _exact_line(self, steps: Steps, at: int) -> list[tuple[int, Piece]]:
        function = self.functions.functions[steps.function[at]]
        lower, upper, row = int(steps.lower[at]), int(steps.upper[at]), int(steps.row[at])
        if steps.is_shift[at]:
            pieces, _ = shift(function, ScopeState(upper, opened=True), upper - lower, steps.booked.at(at))
        else:
            pieces = function.pieces(lower, upper)
        return [(row, piece) for piece in pieces]

    def sums(self, at: Int64Array) -> tuple[list[AccumulatedEntries], dict[int, int]]:
        """The entries of rates with a running amount, and that amount after the unit by scope."""
        blocks: list[AccumulatedEntries] = []
        amounts: dict[int, int] = {}
        for is_fee in (False, True):
            mine = at[self.functions.fee[self.function[at]] == is_fee]
            if len(mine):
                blocks += self._sums(mine, amounts, is_fee)
        return blocks, amounts

    def _sums(self, at: Int64Array, amounts: dict[int, int], is_fee: bool) -> list[AccumulatedEntries]:
        number = self._before.count[self.scope] + self._sum_before(self.counts * self.weight, self.scope) + 1
        additions = self._additions(at, number[at], is_fee)
        scope, counts = self.scope[at], self.counts[at]
        for each in np.flatnonzero(~additions.known).tolist():
            added = self._exact_addition(int(at[each]), int(number[at[each]]), is_fee)
            if added >= _SUM_FITS / 16:
                self._slow[scope[each]] = True
            else:
                additions.added[each] = added
        opened = self._before.opened[scope]
        start = np.where(opened, self._before.amount.values[scope], self.functions.start.values[self.function[at]])
        if self.functions.start.large:
            large = np.isin(self.function[at], list(self.functions.start.large))
            self._slow[scope[large & ~opened]] = True
        total = np.bincount(scope, additions.added.astype(np.float64), len(self._before))
        self._slow[scope] |= total[scope] + np.abs(start) >= _SUM_FITS
        moves = np.where(counts, additions.added, 0)
        running = start + self._sum_before(moves, scope)
        kept = np.flatnonzero(~self._slow[scope])
        opens = counts & ~opened & (self._sum_before(counts.astype(np.int64), scope) == 0)
        self.moved[self.row[at[kept]]] = (moves + np.where(opens, start, 0))[kept]
        last = kept[_lasts(scope[kept])]
        some = np.flatnonzero(np.isin(scope[last], scope[counts]))  # an event that does not count opens nothing
        amounts.update(zip(scope[last[some]].tolist(), (running + moves)[last[some]].tolist(), strict=True))
        blocks, left = sum_entries(
            self.functions.columns,
            self.functions.closing[self.function[at[kept]]],
            self.row[at[kept]],
            running[kept],
            additions.take(kept),
        )
        pieces = []
        for each in kept[left].tolist():
            found = self._exact_sum(int(at[each]), int(number[at[each]]), int(running[each]), is_fee)
            pieces += [(int(self.row[at[each]]), piece) for piece in found]
        return [*blocks, from_pieces(pieces)]

    def _additions(self, at: Int64Array, number: Int64Array, is_fee: bool) -> Additions:
        usage, functions = self._usage, self.functions
        function, before, quantity = self.function[at], self.running[at], self.quantity[at]
        factor = usage.factor[self.row[at]]
        if is_fee:
            weight = self.weight[at]
            return fee_additions(functions.functions, function, quantity, number, before, factor, usage.factors, weight)
        return modified_additions(functions.columns.lines, function, before, before + quantity, factor, usage.factors)

    def _exact_addition(self, at: int, number: int, is_fee: bool) -> int:
        function, factor, before, quantity = self._exact_event(at)
        if is_fee:
            return q12(function.fee(quantity, number, before, factor)) * int(self.weight[at])
        return function.running_step(before, before + quantity, factor)

    def _exact_sum(self, at: int, number: int, running: int, is_fee: bool) -> list[Piece]:
        function, factor, before, quantity = self._exact_event(at)
        if is_fee:
            return function.fee_pieces(quantity, number, before, running, factor, int(self.weight[at]))
        return function.pieces(before, before + quantity, factor, running)

    def _exact_event(self, at: int) -> tuple[RateFunction, Fraction, int, int]:
        factor = self._usage.factors[self._usage.factor[self.row[at]]]
        return self.functions.functions[self.function[at]], factor, int(self.running[at]), int(self.quantity[at])

    def after(self, amounts: dict[int, int]) -> ScopeColumns:
        """The state of all scopes but the slow ones, whose rows mean nothing."""
        before = self._before
        quantity, count, opened = before.quantity.values.copy(), before.count.copy(), before.opened.copy()
        last = _lasts(self.scope)
        quantity[self.scope[last]] = (self.running + self._moves)[last]
        counted = self.counts & self.functions.fee[self.function]
        np.add.at(count, self.scope[counted], self.weight[counted])
        opened[self.scope[self.counts & (self.quantity > 0)]] = True
        amount = before.amount.values.copy()
        if amounts:
            amount[np.fromiter(amounts, np.int64)] = np.fromiter(amounts.values(), np.int64)
        return ScopeColumns(
            Exact(quantity, dict(before.quantity.large)), Exact(amount, dict(before.amount.large)), count, opened
        )

    def one_by_one(self) -> tuple[AccumulatedEntries, dict[int, ScopeState]]:
        """The entries and states of the slow scopes."""
        usage = self._usage
        states: dict[int, ScopeState] = {}
        pieces: list[tuple[int, Piece]] = []
        for row in np.flatnonzero(self._slow[usage.scope]).tolist():
            scope, quantity = int(usage.scope[row]), usage.quantity.at(row)
            function, counts = self.functions.functions[self._of_scope[scope]], bool(usage.counts[row])
            state = states.get(scope) or self._before.at(scope)
            amount = state.amount
            if quantity >= 0:
                factor = usage.factors[usage.factor[row]]
                weight = 1 if usage.weight is None else int(usage.weight[row])
                found, states[scope] = step(function, state, quantity, factor, weight, counts=counts)
            elif counts:
                booked = 0 if usage.booked is None else usage.booked.at(row)
                found, states[scope] = shift(function, state, -quantity, booked)
            else:
                continue
            pieces += [(row, piece) for piece in found]
            self.moved_slowly[row] = states[scope].amount - amount
        return from_pieces(pieces), states

    @staticmethod
    def _sum_before(values: Int64Array, scope: Int64Array) -> Int64Array:
        """The sum of the earlier rows of the same scope. A sum over all scopes may wrap, its differences do not."""
        before = np.cumsum(values) - values
        first = _firsts(scope)
        return before - np.repeat(before[first], np.diff(np.append(first, len(scope))))


def _firsts(scope: Int64Array) -> Int64Array:
    """The first row of each scope; equal scopes stand together."""
    return np.flatnonzero(np.append(np.ones(min(1, len(scope)), bool), scope[1:] != scope[:-1]))


def _lasts(scope: Int64Array) -> Int64Array:
    return np.flatnonzero(np.append(scope[1:] != scope[:-1], np.ones(min(1, len(scope)), bool)))
