"""Taking an event back, and what a late event does to a closed volume scope: pure steps over booked entries.

The entries of the original are read, never priced again: tiers, caps and free events would give another result now.
Source: spec/rating.md, section 12.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chargeline.domain.rating.booked_entries import BilledIn, BookedEntry, Span, adjustment, base_units, reversal
from chargeline.domain.rating.period_function import RateFunction, q12
from chargeline.domain.rating.scope_step import ScopeState

_EventScope = tuple[str, int, str, str | None, Span]  # rate and usage period


class PaidRates(Protocol):
    """What is asked about the rate of an entry that has a price point."""

    def function(self, entry: BookedEntry) -> RateFunction:
        """Its period function in the period of the entry's usage."""

    def measures(self, entry: BookedEntry) -> str:
        """The leaf or quantity that the rate is for; the entry may be of a leaf that pays its parent's rate."""

    def is_volume_by_event(self, entry: BookedEntry) -> bool:
        """Whether it has volume tiers and the window `event`: a scope that no key names."""


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
    rates: PaidRates,
    billed_in: BilledIn,
    held: Container[bytes] = frozenset(),
) -> TakenBack:
    """The exact negatives of an event's entries, then one entry for each scope whose sum they left wrong.

    What puts a scope right is about all of it, so it names the leaf that the rate is for, whatever the event used.

    Args:
        row: offset of the row that booked the entries.
        entries: what the event itself booked, in its order.
        scopes: the state of each scope that they moved.
        held: scopes that owe T(0) without an event, too: closed ones that the account has explicitly.
    """
    scoped = _by_scope(entries, rates)
    functions = {
        key: rates.function(next(entry for entry in moves if entry.sku_price_id is not None))
        for key, moves in scoped.items()
    }
    made = []
    for entry in entries:
        keeps = entry.scope_key is not None and functions[entry.scope_key].runs_an_amount
        made.append(reversal(entry, row, billed_in, moves_back=not keeps))
    changed: dict[bytes, ScopeState] = {}
    for key, moves in scoped.items():
        quantity, booked = sum(_moved(each) for each in moves), sum(each.pricing_cost for each in moves)
        like = [entry for entry in moves if _moved(entry)][-1]
        is_closed = billed_in(like.usage_period)[1] is not None
        state = scopes[key] if isinstance(key, bytes) else ScopeState(quantity, opened=True)
        kind, amount, after = _left_over(
            functions[key], state, quantity, booked, is_held=key in held, is_closed=is_closed
        )
        if isinstance(key, bytes):
            changed[key] = after
        if amount:
            made.append(replace(adjustment(like, kind, amount, row, billed_in), leaf=rates.measures(like)))
    return TakenBack(tuple(made), changed)


def late_settlement(
    entries: Sequence[BookedEntry],
    scopes: Mapping[bytes, ScopeState],
    rates: PaidRates,
    billed_in: BilledIn,
    held: Container[bytes] = frozenset(),
) -> list[BookedEntry]:
    """The entries of a late event with the change of the settled total of each closed volume scope beside them.

    Args:
        scopes: before the event; the event is the only one that moves them.
        held: scopes that a close has settled without an event, because the account has their rate by name.
    """
    made: list[BookedEntry] = []
    used: dict[bytes | _EventScope, int] = {key: state.quantity for key, state in scopes.items()}
    for moves in _uses(entries):
        made += moves
        key, like = _scope_of(moves[0], rates), moves[0]
        if key is None:
            continue
        before = used.get(key, 0)
        used[key] = after = before + sum(_moved(each) for each in moves)
        function = rates.function(like)
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
        if not found or not _is_of_same_use(found[-1][-1], entry):
            found.append([])
        found[-1].append(entry)
    return found


def _is_of_same_use(before: BookedEntry, entry: BookedEntry) -> bool:
    if entry.scope_key is not None:
        return entry.scope_key == before.scope_key and not entry.scope_quantity
    own = [(each.scope_key, each.leaf, each.sku_id, each.charge_time) for each in (before, entry)]
    return own[0] == own[1]


def _scope_of(entry: BookedEntry, rates: PaidRates) -> bytes | _EventScope | None:
    """Where the entry of an event accumulates; None: nowhere that could have to be put right."""
    if entry.scope_key is not None:
        return entry.scope_key
    if entry.sku_price_id is None or entry.waived_cost is not None or not rates.is_volume_by_event(entry):
        return None
    return entry.rate_card_id, entry.rate_card_version, entry.sku_id, entry.variant, entry.usage_period


def _moved(entry: BookedEntry) -> int:
    """By how much an entry moves its scope, base units."""
    return base_units(entry) if entry.scope_key is None else entry.scope_quantity


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


def _by_scope(entries: Sequence[BookedEntry], rates: PaidRates) -> dict[bytes | _EventScope, list[BookedEntry]]:
    """A settlement of a late event stands behind the usage of its leaf, and in the same scope."""
    found: dict[bytes | _EventScope, list[BookedEntry]] = {}
    for moves in _uses(entries):
        key = _scope_of(moves[0], rates)
        if key is not None:
            found.setdefault(key, []).extend(moves)
    return found
