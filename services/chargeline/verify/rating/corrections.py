"""Taking an event back: reversals with the original's rates, and what makes the scopes right again.

Source: spec/rating.md, section 12.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from chargeline.verify.rating.accounts import Accounts
from chargeline.verify.rating.accumulate import Draft, Scope, ScopeKey, take_back
from chargeline.verify.rating.entries import Entry, Move, Row, converted
from chargeline.verify.rating.models import Terms
from chargeline.verify.rating.times import Period

BilledIn = Callable[[Period], tuple[Period, str | None]]


@dataclass(frozen=True)
class TakenBack:
    """The entries that undo an event, and the scopes without it."""

    entries: tuple[Entry, ...]
    foreign: tuple[Entry, ...]
    scopes: dict[ScopeKey, Scope]


def undo(row: Row, scopes: dict[ScopeKey, Scope], accounts: Accounts, billed_in: BilledIn) -> TakenBack:
    """The exact negatives of an event's entries, then one TIER_SHIFT for each scope whose sum they left wrong.

    Args:
        row: what the event itself has booked.
        billed_in: (billing period, charge class) of usage of a period.
    """
    entries = [_reversal(entry, accounts, billed_in) for entry in row.entries]
    foreign = [entry.reversed(entry.period, entry.charge_class) for entry in row.foreign]
    changed: dict[ScopeKey, Scope] = {}
    for move in _by_scope(row.moves):
        scope = scopes[move.scope]
        period, charge_class = billed_in(move.scope.period)
        terms = Terms(scope.rate.sku, scope.rate.base_units(move.scope.period))
        is_closed = charge_class is not None
        changed[move.scope], draft = take_back(
            scope, terms, move.quantity, move.amount, move.project, is_closed=is_closed
        )
        if draft is not None:
            entries.append(_adjustment(draft, scope, move, row, period, charge_class))
    return TakenBack(tuple(entries), tuple(foreign), changed)


def _reversal(entry: Entry, accounts: Accounts, billed_in: BilledIn) -> Entry:
    return entry.reversed(*billed_in(accounts.period(entry.account, entry.charge_time)))


def _by_scope(moves: tuple[Move, ...]) -> list[Move]:
    """One move for each scope: leaves and parts of one event may share it. The last one's exchange rate counts."""
    found: dict[ScopeKey, Move] = {}
    for move in moves:
        before = found.get(move.scope, replace(move, quantity=0, amount=0))
        found[move.scope] = replace(move, quantity=before.quantity + move.quantity, amount=before.amount + move.amount)
    return list(found.values())


def _adjustment(draft: Draft, scope: Scope, move: Move, row: Row, period: Period, charge_class: str | None) -> Entry:
    example = row.entries[0]
    return Entry(
        kind=draft.kind,
        account=row.account,
        period=period,
        charge_time=move.charge_time,
        currency=example.currency,
        contracted=converted(draft.amount, move.fx_rate),
        listed=converted(draft.amount, move.fx_rate),
        sku_id=scope.rate.sku["sku_id"],
        variant=scope.rate.sku.get("variant"),
        rate_card_id=scope.rate.card["id"],
        rate_card_version=scope.rate.version,
        leaf=scope.rate.measures,
        pricing_currency=scope.rate.card["currency"],
        pricing_cost=draft.amount,
        fx_rate=move.fx_rate,
        charge_class=charge_class,
        project=move.project,
        origin=row.identity,
    )
