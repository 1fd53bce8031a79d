"""Taking an event back, and what a late event does to a closed volume scope: pure steps over booked entries.

The entries of the original are read, never priced again: tiers, caps and free events would give another result now.
Source: spec/rating.md, section 12.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from chargeline.domain.booked_entries import BilledIn, BookedEntry, adjustment, reversal
from chargeline.domain.period_function import RateFunction, q12
from chargeline.domain.scope_step import ScopeState

FunctionOf = Callable[[BookedEntry], RateFunction]  # of the rate and the usage period of an entry


@dataclass(frozen=True)
class TakenBack:
    """The entries that undo an event, and the scopes that it had moved, without it."""

    entries: tuple[BookedEntry, ...]
    scopes: Mapping[bytes, ScopeState]


def own_entries(entries: Sequence[BookedEntry]) -> list[BookedEntry]:
    """Of a row, what the event itself booked: not what the row took back of another event."""
    return [entry for entry in entries if entry.corrects is None]


def take_back(
    row: int,
    entries: Sequence[BookedEntry],
    scopes: Mapping[bytes, ScopeState],
    function_of: FunctionOf,
    billed_in: BilledIn,
    held: frozenset[bytes] = frozenset(),
) -> TakenBack:
    """The exact negatives of an event's entries, then one entry for each scope whose sum they left wrong.

    Args:
        row: offset of the row that booked the entries.
        entries: what the event itself booked, in its order.
        scopes: the state of each scope that they moved.
        held: scopes that owe T(0) without an event, too: closed ones that the account has explicitly.
    """
    scoped = _by_scope(entries)
    functions = {
        key: function_of(next(entry for entry in moves if entry.sku_price_id is not None))
        for key, moves in scoped.items()
    }
    made = []
    for entry in entries:
        keeps = entry.scope_key is not None and functions[entry.scope_key].runs_an_amount
        made.append(reversal(entry, row, billed_in, moves_back=not keeps))
    changed: dict[bytes, ScopeState] = {}
    for key, moves in scoped.items():
        function = functions[key]
        quantity, booked = sum(each.scope_quantity for each in moves), sum(each.pricing_cost for each in moves)
        like = [entry for entry in moves if entry.scope_quantity][-1]
        is_closed = billed_in(like.usage_period)[1] is not None
        kind, amount, changed[key] = _left_over(
            function, scopes[key], quantity, booked, is_held=key in held, is_closed=is_closed
        )
        if amount:
            made.append(adjustment(like, kind, amount, row, billed_in))
    return TakenBack(tuple(made), changed)


def late_settlement(
    entries: Sequence[BookedEntry],
    scopes: Mapping[bytes, ScopeState],
    function_of: FunctionOf,
    billed_in: BilledIn,
    held: Collection[bytes] = frozenset(),
) -> list[BookedEntry]:
    """The entries of a late event with the change of the settled total of each closed volume scope beside them.

    Args:
        scopes: before the event; the event is the only one that moves them.
        held: scopes that a close has settled without an event, because the account has their rate by name.
    """
    made: list[BookedEntry] = []
    used = {key: state.quantity for key, state in scopes.items()}
    for moves in _uses(entries):
        made += moves
        key, like = moves[0].scope_key, moves[0]
        if key is None:
            continue
        before = used[key]
        used[key] = after = before + like.scope_quantity
        function = function_of(like)
        if not function.is_volume or billed_in(like.usage_period)[1] is None:
            continue
        change = settled(function, after, is_held=key in held) - settled(function, before, is_held=key in held)
        change -= sum(each.pricing_cost for each in moves)
        if change:
            made.append(replace(adjustment(like, "TIER_SETTLEMENT", change, None, billed_in), pool=like.pool))
    return made


def _uses(entries: Sequence[BookedEntry]) -> list[list[BookedEntry]]:
    """The entries of each leaf: the first one of a leaf that moves a scope says by how much."""
    found: list[list[BookedEntry]] = []
    for entry in entries:
        if not found or entry.scope_key is None or entry.scope_quantity:
            found.append([])
        found[-1].append(entry)
    return found


def settled(function: RateFunction, quantity: int, *, is_held: bool = False) -> int:
    """What the entries of a scope must sum to, picounits: Q12(T(Q)); nothing where no event is left and none is due."""
    return q12(function.amount(quantity)) if quantity or is_held else 0


def _left_over(
    function: RateFunction, state: ScopeState, quantity: int, booked: int, *, is_held: bool, is_closed: bool
) -> tuple[str, int, ScopeState]:
    """(entry kind, what the reversal leaves wrong in picounits, the scope after it).

    Percentage scopes and scopes with modifiers keep their state; an open volume scope is put right by its settlement.
    """
    if function.runs_an_amount:
        return "TIER_SHIFT", 0, state
    left = state.quantity - quantity
    if left < 0:
        raise ValueError(f"a scope has used {state.quantity}; {quantity} is too much to take back")
    after = replace(state, quantity=left, opened=left > 0 or is_held)
    change = settled(function, left, is_held=is_held) - settled(function, state.quantity, is_held=is_held) + booked
    if function.is_volume:
        return "TIER_SETTLEMENT", change if is_closed else 0, after
    return "TIER_SHIFT", change, after


def _by_scope(entries: Sequence[BookedEntry]) -> dict[bytes, list[BookedEntry]]:
    found: dict[bytes, list[BookedEntry]] = {}
    for entry in entries:
        if entry.scope_key is not None:
            found.setdefault(entry.scope_key, []).append(entry)
    return found
