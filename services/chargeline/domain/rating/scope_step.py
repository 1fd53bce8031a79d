"""One event in one scope, exactly: the slow way of `accumulate.py`, and the definition of what it must give.

Source: spec/rating.md, sections 3 (accumulation), 5 (modifiers), 10 (what counts for tiers), 12 (TIER_SHIFT).
"""

from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.rating.period_function import ONE, ZERO, Piece, PieceKind, RateFunction, q12


@dataclass(frozen=True)
class ScopeState:
    """What a scope remembers.

    Attributes:
        quantity: Q, base units; for percentage it is S, the sum of the amounts.
        amount: picounits, the running amount before steps 7 to 9 of a rate with modifiers or percentage; else 0.
        count: n, the transactions of a percentage rate; else 0.
        opened: an event that counts has come.
    """

    quantity: int = 0
    amount: int = 0
    count: int = 0
    opened: bool = False


def step(
    function: RateFunction,
    state: ScopeState,
    quantity: int,
    factor: Fraction = ONE,
    weight: int = 1,
    *,
    counts: bool = True,
) -> tuple[list[Piece], ScopeState]:
    """The entries of one event and the state after it.

    Args:
        quantity: base units, >= 0; an event of 0 gives no entry and opens nothing.
        factor: product of the event's modifiers; 1 for a rate without.
        weight: how many transactions of a percentage rate it stands for, each of `quantity`; 1 for other rates.
        counts: False (bill_zero): priced where the scope stands, but neither opens it nor moves it.
    """
    if quantity == 0:
        return [], state
    opening: list[Piece] = []
    running = state.amount if state.opened else function.opening_running()
    if counts and not state.opened and (first := function.opening()):
        opening = [Piece(PieceKind.TIER_FLAT, 1, 0, ZERO, ZERO, first, q12(first))]
    after = ScopeState(state.quantity + quantity * weight, 0, 0, opened=True)
    if function.fee_rule is not None:
        pieces = function.fee_pieces(quantity, state.count + 1, state.quantity, running, factor, weight)
        added = q12(function.fee(quantity, state.count + 1, state.quantity, factor)) * weight
        after = replace(after, amount=running + added, count=state.count + weight)
    else:
        pieces = function.pieces(state.quantity, after.quantity, factor, running)
        if function.modified:
            added = function.running_step(state.quantity, after.quantity, factor)
            after = replace(after, amount=running + added)
    return opening + pieces, after if counts else state


def shift(function: RateFunction, state: ScopeState, quantity: int, booked: int) -> tuple[list[Piece], ScopeState]:
    """The cancel of an event that counted: Q drops, and TIER_SHIFT makes the scope's sum T(Q) again.

    Args:
        quantity: base units of the cancelled event in this scope.
        booked: picounits, the sum of its entries in this scope, which REVERSAL entries take back.

    Returns:
        No entry where the shift is 0, and for volume, whose settlement does it. Percentage and rates with modifiers
        keep their state too.
    """
    if function.runs_an_amount:
        return [], state
    after = replace(state, quantity=state.quantity - quantity)
    if after.quantity < 0:
        raise ValueError(f"a scope has used {state.quantity}; {quantity} is too much to take back")
    if function.is_volume:
        return [], after
    picos = q12(function.amount(after.quantity)) - q12(function.amount(state.quantity)) + booked
    if picos == 0:
        return [], after
    return [Piece(PieceKind.TIER_SHIFT, 0, 0, ZERO, ZERO, Fraction(picos, 10**12), picos)], after
