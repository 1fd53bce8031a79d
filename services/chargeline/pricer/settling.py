"""What the close of a period books, as rows of `charges`: the same as over a whole log, from the rows so far.

One row for each object that a whole log's close has (spec/formats.md 6), and for each project of what it takes from or
adds to the charges of events; then the row of the record itself. What the next close must know stands in `carried`.
Source: docs/rating.md (Closes); docs/architecture.md.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import islice

from chargeline.domain.accounts import Accounts
from chargeline.domain.closing.entries import Booked, Period, Scope
from chargeline.domain.closing.settlement import true_up_entry
from chargeline.domain.errors import TransientError
from chargeline.domain.fx import FxTable
from chargeline.domain.money import round_half_away
from chargeline.domain.rates.book import Rate, RateBook
from chargeline.domain.rates.card import Sku, Tiered
from chargeline.domain.rating.booked_entries import BookedEntry, Span
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.pricer.account_close import ClosedScope, booked_of, close_account
from chargeline.pricer.carried import AccountCarried, carried_of, written
from chargeline.pricer.facts import Facts
from chargeline.pricer.log_scopes import FoundScope, LogScopes
from chargeline.wire.charge_rows import Row
from chargeline.wire.correction_rows import unrated, with_entries
from chargeline.wire.event_rows import EventRow, event_row, micros_of, steps
from chargeline.wire.usage_decoder import identity_hashes

_CLOSE = "PERIOD_CLOSE"
_ENTRIES = 1_000  # in one row: about 300 kB, a third of a message
_PAGE = 5_000  # rows that are read together
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
    booked: Iterable[Row],
    facts: Facts,
    closed: Iterable[Span],
    held: Container[bytes],
    states: StatesOf,
    rows_max: int,
) -> Settled:
    """What a close books.

    Args:
        close: the row of the control record.
        booked: rows of the account so far, in log order: those with entries of rates that closes settle, those of
            closes, and where `has_terms` (now, or at a close before) all that are billed in the period.
        closed: the account's closed periods; held: the scopes that their closes hold open.
        states: the scopes of some keys as they are now.
        rows_max: how many rows it may read.

    Raises:
        Refused: AMOUNT_OVERFLOW.
        TransientError: there are more rows; a person has to say that the memory is there.
    """
    account = close["billing_account_id"]
    books = _Books(facts, {account: set(closed)}, held, states)
    read = _Read(account, period, facts, rows_max)
    log_scopes = LogScopes(books, read.trued_up)
    scopes = log_scopes.found(account, Period(*period), read.events(booked))
    made, after = close_account(account, period, read.charges, scopes, books, read.carried.currencies)
    holding = log_scopes.newly_held(Period(*period), scopes)
    texts = written(read.carried, after, holding, _unpriced(scopes, Period(*period)))
    writer = _Writer(close, period, facts, {_name(each): each for each in scopes})
    rows = [row for each in made for row in writer.rows(each)]
    own = [close | {"carried": text} for text in texts] or [close]
    return Settled((*rows, *own), holding)


@dataclass
class _Read:
    """What was read of the rows so far.

    Attributes:
        charges: (currency, entry) of events in the period. Estimates count where they are invoiced.
        trued_up: by scope, what closes have booked, or could not convert, for its minimum.
        carried: by the closes; known when all rows are read.
    """

    account: str
    period: Span
    facts: Facts
    rows_max: int
    charges: list[tuple[str, Booked]] = field(default_factory=list)
    trued_up: dict[bytes, int] = field(default_factory=dict)
    carried: AccountCarried = field(default_factory=AccountCarried)

    def events(self, booked: Iterable[Row]) -> Iterator[EventRow]:
        """The rows of events, with the identity of the one that each is about; the period's charges are kept."""
        rows, texts, count = iter(booked), list[str](), 0
        while page := list(islice(rows, _PAGE)):
            count += len(page)
            if count > self.rows_max:
                raise TransientError(
                    f"CLOSE_TOO_LARGE: the close of {self.account} reads more than {self.rows_max} charges, 10 kB of "
                    "memory each: raise CHARGELINE_PRICER_CLOSE_ROWS_MAX; until then its partition waits"
                )
            closes = [row for row in page if row["event_kind"] == _CLOSE]
            texts += [row["carried"] for row in closes if row["carried"] is not None]
            self._true_ups(closes)
            usage = [row for row in page if row["event_kind"] != _CLOSE]
            found = [_about(event_row(row, self.facts.period)) for row in usage]
            hashes = identity_hashes([event.identity for event in found])
            for row, event, name in zip(usage, found, hashes, strict=True):
                self.charges += self._charged(row, event, name.hex())
            yield from found
        self.carried = carried_of(texts)
        for key, amount in self.carried.unpriced.items():
            self.trued_up[key] = self.trued_up.get(key, 0) + amount

    def _true_ups(self, closes: Sequence[Row]) -> None:
        for entry in (entry for row in closes for entry in row["entries"]):
            key = entry["scope_key"]
            if entry["entry_kind"] == "TRUE_UP" and key is not None:
                cost = entry["contracted_cost"] if entry["pricing_cost"] is None else entry["pricing_cost"]
                self.trued_up[key] = self.trued_up.get(key, 0) + steps(cost)

    def _charged(self, row: Row, event: EventRow, name: str) -> Iterator[tuple[str, Booked]]:
        """What each record makes of an event is a charge of its own, also where two act in the rows of one."""
        place = (0, event.offset, int.from_bytes(row["identity_hash"], "big"))
        for entry in event.entries if event.currency is not None else ():
            is_invoiced = not entry.estimated or self._bills_estimates(event, entry)
            if entry.billing_period == self.period and is_invoiced:
                assert event.currency is not None
                yield event.currency, booked_of(entry, place, event.identity[2], name)

    def _bills_estimates(self, event: EventRow, entry: BookedEntry) -> bool:
        return self.facts.accounts.at(event.identity[0], entry.charge_time).bill_estimates


def _about(row: EventRow) -> EventRow:
    """With the identity of the event that the entries are about: a re-rating books anew what it names."""
    event_id = next((entry.event_id for entry in row.entries if entry.event_id is not None), None)
    if event_id is None:
        event_id = str(row.usage["amends_event_id"]) if row.event_kind in ("RERATE", "CANCEL") else row.identity[2]
    return replace(row, identity=(*row.identity[:2], event_id))


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

    @cached_property
    def _time(self) -> int:
        return micros_of(self.close["event_time"])

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
        rate, own = entry.rate, self._time
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
