"""The close of one account's billing period, whatever its rows come from: a log in memory, or `charges`.

Source: spec/rating.md, sections 3 (steps 11 and 12), 4, 8, 9, 10 and 12; spec/formats.md, section 6.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from chargeline.domain.accounts import Accounts
from chargeline.domain.closing.close import Carried, PeriodFacts, close_period
from chargeline.domain.closing.entries import Booked, Coordinate, Period, Scope
from chargeline.domain.closing.facts import account_terms, fx_of
from chargeline.domain.closing.fee_facts import FeeCharge, fees_of
from chargeline.domain.closing.settlement import scope_entries, with_project
from chargeline.domain.rating.booked_entries import BookedEntry, Span
from chargeline.pricer.log_scopes import Books, EventScope, FoundScope


@dataclass(frozen=True)
class ClosedScope:
    """What a close books for one scope. `reason`: why it could not be priced."""

    account: str
    period: Span
    currency: str | None
    scope: Scope
    entries: tuple[Booked, ...]
    reason: str | None = None


@dataclass(frozen=True)
class _Due:
    """What a close has before it: entries of events with their currencies, fees, scopes."""

    booked: Sequence[tuple[str, Booked]]
    fees: Sequence[FeeCharge]
    scopes: Sequence[FoundScope]

    def currencies(self) -> list[str]:
        """Those of the entries, in log order, events first."""
        found = [currency for currency, _ in self.booked]
        found += [fee.currency for fee in self.fees if fee.currency is not None]
        return list(dict.fromkeys([*found, *(each.currency for each in self.scopes if each.is_due)]))

    def of(self, currency: str, facts: PeriodFacts) -> tuple[list[Booked], list[FoundScope], PeriodFacts]:
        """(entries of events, scopes, facts with the fees) of one currency: amounts of several do not add."""
        booked = [entry for each, entry in self.booked if each == currency]
        fees = tuple(entry for fee in self.fees if fee.currency == currency for entry in fee.entries)
        return booked, [each for each in self.scopes if each.currency == currency], replace(facts, fees=fees)


def close_account(
    account: str,
    span: Span,
    booked: Sequence[tuple[str, Booked]],
    scopes: Sequence[FoundScope],
    books: Books,
    carried: Mapping[str, Carried],
) -> tuple[list[ClosedScope], dict[str, Carried]]:
    """What is due at the close of an account's period.

    An account without a billing currency is billed in the currencies of its rates. Its minimum, which has no currency
    of its own, is then in that of the first entry, else of its first commitment or grant.

    Args:
        booked: (currency, entry) of the events of the period in log order, late corrections of closed ones included.
        carried: by currency, from the closes before.

    Returns:
        (objects in their order: fees, scopes by name, what late events changed, commitments, minimum, grants; what to
        carry on).
    """
    period = Period(*span)
    account_facts = books.accounts.at_close(account, *span)
    billing, fx = account_facts.billing_currency, fx_of(account_facts, books.fx)
    due = _Due(booked, fees_of(books.accounts, account, books.book.rates, period, billing, fx), scopes)
    currencies, own = due.currencies(), _currencies_of_terms(books.accounts, account)
    main = billing or next(iter([*currencies, *own]), None)
    made = [(_place(fee.scope, None), fee.scope, fee.reason) for fee in due.fees if fee.reason is not None]
    for each in (each for each in scopes if not each.has_fx):
        found = _by_object(scope_entries([each.total], period))
        made += [(_place(scope, entries[0]), scope, "NO_FX_RATE") for scope, entries in found]
    closed = [(place, ClosedScope(account, span, None, scope, (), reason)) for place, scope, reason in made]
    after = dict(carried)
    for currency in dict.fromkeys([*([] if main is None else [main]), *currencies, *own, *carried]):
        terms = account_terms(books.accounts, account, currency)
        events, mine, facts = due.of(currency, terms if currency == main else replace(terms, minimums=()))
        totals = [each.total for each in mine if each.has_fx]
        entries, after[currency] = close_period(events, totals, facts, period, carried.get(currency, Carried()))
        closed += [
            (_place(scope, found[0]), ClosedScope(account, span, currency, scope, found))
            for scope, found in _by_object(entries)
        ]
    return [each for _, each in sorted(closed, key=lambda each: each[0])], after


def booked_of(entry: BookedEntry, event: Coordinate, event_id: str, corrects: Coordinate | str | None) -> Booked:
    """An entry of an event as a close sees it: its three costs are equal until then."""
    cost = entry.contracted_cost
    return Booked(
        entry.entry_kind,
        "USAGE",
        entry.charge_time,
        cost,
        cost,
        cost,
        event=event,
        event_id=event_id,
        corrects=corrects,
        sku_id=entry.sku_id,
        sku_price_id=entry.sku_price_id,
        project=entry.project,
        charge_class=entry.charge_class,
        usage=None if entry.charge_class is None else Period(*entry.usage_period),
    )


def _currencies_of_terms(accounts: Accounts, account: str) -> list[str]:
    promised = [each for each in accounts.commitments if each.billing_account_id == account]
    granted = [each for each in accounts.credits if each.billing_account_id == account]
    own = [each.currency for each in sorted(promised, key=lambda each: each.commitment_id.encode())]
    return own + [each.currency for each in sorted(granted, key=lambda each: each.grant_id.encode())]


def _by_object(entries: Iterable[Booked]) -> list[tuple[Scope, tuple[Booked, ...]]]:
    """Entries by the object that shows them; what late events changed of a scope is one of its own."""
    groups: dict[tuple[Scope, object], list[Booked]] = {}
    for entry in entries:
        assert entry.scope is not None
        scope = with_project(entry.scope, entry.project) if entry.entry_kind == "TIER_SETTLEMENT" else entry.scope
        # Versions of a fee are one object; of a rate with windows each version has scopes of its own.
        version: object = None
        if scope.sku_id is not None and entry.entry_kind != "STANDING_FEE":
            version = entry.usage, entry.rate
        groups.setdefault((scope, version), []).append(entry)
    return [(scope, tuple(made)) for (scope, _), made in groups.items()]


def _place(scope: Scope, first: Booked | None) -> tuple[object, ...]:
    """Fees, then scopes by name, then what late events changed, then commitments, minimum, grants.

    Args:
        first: the first entry; None: a fee that could not be priced.
    """
    if scope.subscription_id is not None:
        return (0, scope.subscription_id.encode())
    if scope.sku_id is not None and (first is None or first.entry_kind == "STANDING_FEE"):
        return (1, scope.sku_id.encode())
    if scope.sku_id is not None:
        assert first is not None
        is_late = first.charge_class is not None
        by = tuple((name, value is not None, (value or "").encode()) for name, value in scope.by)
        card = "" if first.rate is None else first.rate.rate_card_id or ""
        names = (scope.sku_id.encode(), (scope.variant or "").encode(), card.encode())
        event = scope.identity or () if isinstance(scope, EventScope) else ()
        version = 0 if first.rate is None else first.rate.rate_card_version or 0
        return (2 + is_late, first.event_time if is_late else 0, *names, version, by, scope.window_start or 0, event)
    if scope.commitment_id is not None:
        return (4, scope.commitment_id.encode())
    return (5, b"") if scope.account_minimum else (6, (scope.grant_id or "").encode())
