"""What the close of a period books, as rows of `charges`: the same as over a whole log, from the rows so far.

One row for each object that a whole log's close has (spec/formats.md 6), and for each project of what it takes from or
adds to the charges of events; then the row of the record itself. What the next close must know stands in `carried`.
Source: docs/rating.md (Closes); docs/architecture.md.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.accounts import Accounts
from chargeline.domain.booked_entries import BookedEntry, Span
from chargeline.domain.closing.entries import Booked, Period, Scope
from chargeline.domain.closing.settlement import true_up_entry
from chargeline.domain.fx import FxTable
from chargeline.domain.money import round_half_away
from chargeline.domain.rate_book import Rate, RateBook
from chargeline.domain.rate_card import Sku, Tiered
from chargeline.domain.scope_step import ScopeState
from chargeline.pricer.account_close import ClosedScope, booked_of, close_account
from chargeline.pricer.carried import carried_of, written
from chargeline.pricer.facts import Facts
from chargeline.pricer.log_scopes import FoundScope, LogScopes
from chargeline.wire.correction_rows import Row, unrated, with_entries
from chargeline.wire.event_rows import EventRow, event_row
from chargeline.wire.usage_decoder import identity_hashes

_CLOSE = "PERIOD_CLOSE"
_ENTRIES = 1_000  # in one row: about 300 kB, a third of a message
StatesOf = Callable[[Iterable[bytes]], dict[bytes, ScopeState]]


@dataclass
class _Books:
    """`log_scopes.Books` of one account, out of the state of a partition."""

    facts: Facts
    closed: dict[str, set[Span]]
    held: Container[bytes]
    states: StatesOf

    def __post_init__(self) -> None:
        self.accounts: Accounts = self.facts.accounts
        self.fx: FxTable = self.facts.fx
        self.book: RateBook = self.facts.table.book

    def all_rates(self) -> Iterable[Rate]:
        return self.facts.all_rates()

    def row(self, offset: int) -> EventRow | None:
        raise AssertionError(f"rows of charges say by themselves what they are about: {offset}")


@dataclass(frozen=True)
class Settled:
    """The rows of a close, its own last; `held`: scopes that owe T(0) from now on, see `carried.held_of`."""

    rows: tuple[Row, ...]
    held: Mapping[bytes, int]


def is_settled(sku: Sku) -> bool:
    """Whether a close settles the rate's scopes: volume tiers, or a minimum."""
    return bool(sku.minimum) or (isinstance(sku.model, Tiered) and sku.model.kind == "volume")


def has_terms(accounts: Accounts, billing_account_id: str) -> bool:
    """Whether a close of the account looks at every charge of the period: commitments, grants, an account minimum."""
    is_minimum = any(each.billing_account_id == billing_account_id and each.minimum for each in accounts.accounts)
    owners = {each.billing_account_id for each in accounts.commitments}
    owners |= {each.billing_account_id for each in accounts.credits}
    return is_minimum or billing_account_id in owners


def settled_rows(
    close: Row,
    period: Span,
    booked: Sequence[Row],
    facts: Facts,
    closed: Iterable[Span],
    held: Container[bytes],
    states: StatesOf,
) -> Settled:
    """What a close books.

    Args:
        close: the row of the control record.
        booked: rows of the account so far, in log order: those with entries of rates that closes settle, those of
            closes, and where `has_terms` (now, or at a close before) all that are billed in the period.
        closed: the account's closed periods; held: the scopes that their closes hold open.
        states: the scopes of some keys as they are now.
    """
    account = close["billing_account_id"]
    books = _Books(facts, {account: set(closed)}, held, states)
    events = _events([row for row in booked if row["event_kind"] != _CLOSE], facts)
    closes = [row for row in booked if row["event_kind"] == _CLOSE]
    before = carried_of(row["carried"] for row in closes if row["carried"] is not None)
    log_scopes = LogScopes(books, _trued_up(closes, before.unpriced))
    scopes = log_scopes.found(account, Period(*period), [row for row, _ in events])
    charges = [charge for row, name in events for charge in _booked(row, name, period, facts)]
    made, after = close_account(account, period, charges, scopes, books, before.currencies)
    holding = log_scopes.newly_held(Period(*period), scopes)
    texts = written(before, after, holding, _unpriced(scopes, Period(*period)))
    writer = _Writer(close, period, facts, {_name(each): each for each in scopes})
    rows = [row for each in made for row in writer.rows(each)]
    own = [close | {"carried": text} for text in texts] or [close]
    return Settled((*rows, *own), holding)


def _events(rows: Sequence[Row], facts: Facts) -> list[tuple[EventRow, str]]:
    """Rows with the identity of the event that each is about, and its name: the same at every close."""
    found = []
    for row in rows:
        event = event_row(row, facts.period)
        found.append(replace(event, identity=(*event.identity[:2], _about(event))))
    hashes = identity_hashes([event.identity for event in found])
    return [(event, name.hex()) for event, name in zip(found, hashes, strict=True)]


def _about(row: EventRow) -> str:
    """The event_id that the entries of a row are about: a re-rating books anew what it names."""
    named = next((entry.event_id for entry in row.entries if entry.event_id is not None), None)
    if named is not None:
        return named
    return str(row.usage["amends_event_id"]) if row.event_kind in ("RERATE", "CANCEL") else row.identity[2]


def _booked(row: EventRow, name: str, period: Span, facts: Facts) -> list[tuple[str, Booked]]:
    """(currency, entry) of what a row has in the period. Estimates count where they are invoiced."""
    if row.currency is None:
        return []
    return [
        (row.currency, booked_of(entry, row.offset, row.identity[2], name))
        for entry in row.entries
        if entry.billing_period == period
        and (not entry.estimated or facts.accounts.at(row.identity[0], entry.charge_time).bill_estimates)
    ]


def _trued_up(closes: Iterable[Row], unpriced: Mapping[bytes, int]) -> Mapping[bytes, int]:
    sums = dict(unpriced)
    for row in closes:
        for entry in event_row(row).entries:
            if entry.entry_kind == "TRUE_UP" and entry.scope_key is not None:
                sums[entry.scope_key] = sums.get(entry.scope_key, 0) + entry.pricing_cost
    return sums


def _unpriced(scopes: Iterable[FoundScope], period: Period) -> dict[bytes, int]:
    """What minimums come to that no exchange rate converts: it is named now, and not again."""
    due = {each.key: true_up_entry(each.total, period) for each in scopes if not each.has_fx}
    return {key: entry.pricing_cost or 0 for key, entry in due.items() if entry is not None}


def _name(found: FoundScope) -> tuple[object, ...]:
    return found.total.scope, found.total.rate, found.total.period


@dataclass(frozen=True)
class _Writer:
    """Makes rows of what a close books; `scopes`: by `_name`."""

    close: Row
    period: Span
    facts: Facts
    scopes: Mapping[tuple[object, ...], FoundScope]

    def rows(self, closed: ClosedScope) -> list[Row]:
        """The rows of one object: one for each project of entries about events, as many as messages need."""
        scope = closed.scope
        row = {**self.close, **dict(scope.by), "rule_id": _rule_id(scope), "billing_currency": closed.currency}
        if closed.reason is not None:
            return [unrated(row, closed.reason)]
        is_of_events = scope.commitment_id is not None or scope.grant_id is not None
        parts: dict[str | None, list[BookedEntry]] = {}
        for entry in closed.entries:
            project = entry.project if is_of_events else row["project"]
            parts.setdefault(project, []).append(self._entry(entry, closed.currency))
        return [
            with_entries(row | {"project": project}, entries[at : at + _ENTRIES], self.period)
            for project, entries in parts.items()
            for at in range(0, len(entries), _ENTRIES)
        ]

    def _entry(self, entry: Booked, currency: str | None) -> BookedEntry:
        """In the period that closes. What is about no event has all of that as its charge period, and no instant."""
        rate, own = entry.rate, event_row(self.close).event_time
        of_event = entry.event is not None
        leaf = "" if rate is None else self.facts.measured_by(rate)
        found = None if rate is None else self.scopes.get((entry.scope, rate, entry.usage))
        pricing = currency if rate is None else rate.currency
        unit_price = None if entry.unit_price is None else _steps18(entry.unit_price)
        is_forfeit = entry.entry_kind == "FORFEIT"
        unit = None if rate is None or entry.sku_price_id is None else rate.pricing_unit
        return BookedEntry(
            entry.entry_kind,
            entry.sku_id or "",
            None if rate is None else entry.sku_price_id,
            (None if rate is None else rate.rate_card_id) or "",
            (None if rate is None else rate.rate_card_version) or 0,
            leaf,
            entry.credit_amount if is_forfeit else entry.pricing_quantity,
            currency if is_forfeit else "Fees" if entry.entry_kind == "TIER_FLAT" else unit,
            unit_price,
            unit_price,
            entry.contracted_cost,
            entry.contracted_cost,
            pricing or "",
            entry.contracted_cost if entry.pricing_cost is None else entry.pricing_cost,
            entry.event_time if of_event else own,
            self.period,
            self.period,
            None if rate is None or pricing == currency else _steps18(rate.fx),
            entry.charge_class,
            scope_key=None if found is None else found.key,
            variant=None if rate is None else rate.variant,
            charge_category=entry.charge_category,
            effective_cost=0 if is_forfeit else entry.effective_cost,
            billed_cost=entry.billed_cost,
            event_id=entry.event_id,
        )


def _steps18(number: Fraction) -> int:
    return round_half_away(number.numerator * 10**18, number.denominator)


def _rule_id(scope: Scope) -> str | None:
    if scope.subscription_id is not None:
        return f"subscription:{scope.subscription_id}"
    if scope.commitment_id is not None:
        return f"commitment:{scope.commitment_id}"
    if scope.grant_id is not None:
        return f"grant:{scope.grant_id}"
    return "minimum" if scope.account_minimum else None
