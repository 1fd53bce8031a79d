"""What the close of a period books for scopes of accumulating rates, as rows of `charges`.

One row for each object that a whole log's close has (spec/formats.md 6): a settlement for each project, then what a
scope owes to its minimum; then what late usage changed of the minimums of closed periods.
Source: spec/rating.md, sections 4 (minimum), 4.5 and 12; docs/rating.md (Closes).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from chargeline.domain.accounts import Accounts
from chargeline.domain.booked_entries import BookedEntry, Span
from chargeline.domain.closing.entries import Booked, Period, Scope
from chargeline.domain.closing.settlement import scope_entries, with_project
from chargeline.domain.fx import FxTable
from chargeline.domain.rate_book import Rate, RateBook
from chargeline.domain.scope_states import ScopeStates
from chargeline.domain.scope_step import ScopeState
from chargeline.pricer.facts import Facts
from chargeline.pricer.log_scopes import FoundScope, LogScopes
from chargeline.wire.correction_rows import Row, unrated, with_entries
from chargeline.wire.event_rows import EventRow, event_row

_CLOSE = "PERIOD_CLOSE"
StatesOf = Callable[[Iterable[bytes]], dict[bytes, ScopeState]]


@dataclass
class _Books:
    """`log_scopes.Books` of one account, out of the state of a partition."""

    facts: Facts
    closed: dict[str, set[Span]]
    states: StatesOf
    held: set[bytes] = field(default_factory=set)
    scopes: ScopeStates = field(default_factory=ScopeStates.empty)

    def __post_init__(self) -> None:
        self.accounts: Accounts = self.facts.accounts
        self.fx: FxTable = self.facts.fx
        self.book: RateBook = self.facts.table.book

    def all_rates(self) -> Iterable[Rate]:
        return self.facts.all_rates()

    def row(self, offset: int) -> EventRow | None:
        raise AssertionError(f"rows of charges say by themselves what they are about: {offset}")


def settled_rows(
    close: Row, period: Span, booked: Sequence[Row], facts: Facts, closed: Iterable[Span], states: StatesOf
) -> list[Row]:
    """The rows that a close books before its own.

    Args:
        close: the row of the control record.
        booked: the rows of the account so far that have entries of rates with volume tiers or a minimum, and those of
            closes, in log order.
        closed: the account's closed periods.
        states: the scopes of some keys as they are now.
    """
    account = close["billing_account_id"]
    rows = [event_row(row, facts.period) for row in booked]
    scopes = LogScopes(_Books(facts, {account: set(closed)}, states), _trued_up(rows))
    usage = [_of_scopes(row) for row in rows if row.event_kind != _CLOSE]
    found = scopes.found(account, Period(*period), usage)
    return [row for each in sorted(found, key=_place) for row in _rows(close, period, each)]


def _of_scopes(row: EventRow) -> EventRow:
    """Without entries of the window `event`: no row says which event's scope a reversal was in, and none is settled."""
    return replace(row, entries=tuple(entry for entry in row.entries if entry.scope_key is not None))


def _trued_up(rows: Iterable[EventRow]) -> Mapping[bytes, int]:
    sums: dict[bytes, int] = {}
    for row in rows:
        for entry in row.entries:
            if row.event_kind == _CLOSE and entry.entry_kind == "TRUE_UP" and entry.scope_key is not None:
                sums[entry.scope_key] = sums.get(entry.scope_key, 0) + entry.pricing_cost
    return sums


def _place(found: FoundScope) -> tuple[object, ...]:
    """Scopes of the period by name, then those of closed periods."""
    total, card = found.total, found.rate.card
    by = tuple((name, value is not None, (value or "").encode()) for name, value in total.scope.by)
    names = (found.rate.sku.sku_id.encode(), (found.rate.sku.variant or "").encode(), card.rate_card_id.encode())
    late = 0 if total.period is None else total.period.start
    return (total.period is not None, late, *names, card.version, by, total.scope.window_start or 0)


def _rows(close: Row, period: Span, found: FoundScope) -> list[Row]:
    objects: dict[Scope, list[Booked]] = {}
    for entry in scope_entries([found.total], Period(*period)):
        scope = found.total.scope
        scope = with_project(scope, entry.project) if entry.entry_kind == "TIER_SETTLEMENT" else scope
        objects.setdefault(scope, []).append(entry)
    rows = []
    for scope, entries in objects.items():
        row = {**close, **dict(scope.by), "billing_currency": found.currency}
        if not found.has_fx:
            rows.append(unrated(row, "NO_FX_RATE"))
        else:
            rows.append(with_entries(row, [_entry(entry, found, row, period) for entry in entries], period))
    return rows


def _entry(entry: Booked, found: FoundScope, row: Row, period: Span) -> BookedEntry:
    """In the period that closes; its charge period is all of that, so it has no instant of its own."""
    rate, total = found.rate, found.total
    pricing_cost = entry.pricing_cost or 0
    is_converted = found.currency != rate.card.currency
    unit_price = None if entry.unit_price is None else int(entry.unit_price * 10**18)
    is_fee = entry.entry_kind == "TIER_FLAT"
    return BookedEntry(
        entry.entry_kind,
        rate.sku.sku_id,
        entry.sku_price_id,
        rate.card.rate_card_id,
        rate.card.version,
        rate.sku.measures,
        entry.pricing_quantity,
        "Fees" if is_fee else None,
        unit_price,
        unit_price,
        entry.contracted_cost,
        entry.contracted_cost,
        rate.card.currency,
        pricing_cost,
        event_row(row).event_time,
        period,
        period,
        int(Fraction(total.rate.fx) * 10**18) if is_converted else None,
        entry.charge_class,
        scope_key=found.key,
        variant=rate.sku.variant,
        charge_category=entry.charge_category,
    )
