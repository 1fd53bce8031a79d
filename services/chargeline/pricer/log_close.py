"""The close of billing periods over a whole log in memory: what the ledger does at a PERIOD_CLOSE, offline.

Source: spec/rating.md, sections 3 (steps 11 and 12), 4, 8, 9, 10 and 12; spec/formats.md, section 6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chargeline.domain.booked_entries import BookedEntry, Span
from chargeline.domain.closing.close import Carried, PeriodFacts, close_period
from chargeline.domain.closing.entries import Booked, Period, Scope
from chargeline.domain.closing.facts import account_terms, fx_of
from chargeline.domain.closing.fee_facts import FeeCharge, fees_of
from chargeline.domain.closing.settlement import scope_entries, with_project
from chargeline.pricer.log_pricer import LogPricer
from chargeline.pricer.log_scopes import EventScope, FoundScope, LogScopes
from chargeline.wire.event_rows import EventRow, Identity


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

    booked: tuple[tuple[str, Booked], ...]
    fees: tuple[FeeCharge, ...]
    scopes: tuple[FoundScope, ...]

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


class LogCloser:
    """Closes periods of the log that a pricer has priced, in the order in which it is asked to.

    Attributes:
        closed: what the closes have booked, in order.
    """

    def __init__(self, pricer: LogPricer) -> None:
        self.closed: list[ClosedScope] = []
        self._pricer = pricer
        self._scopes = LogScopes(pricer)
        self._carried: dict[tuple[str, str], Carried] = {}
        pricer.closer = self

    def close(self, account: str, span: Span) -> None:
        """Book what is due at the close of an account's period.

        An account without a billing currency is billed in the currencies of its rates. Its minimum, which has no
        currency of its own, is then in that of the first entry, else of its first commitment or grant.
        """
        period, accounts = Period(*span), self._pricer.accounts
        facts = accounts.at_close(account, *span)
        due = self._due(account, period)
        currencies = due.currencies()
        promised = [each for each in accounts.commitments if each.billing_account_id == account]
        granted = [each for each in accounts.credits if each.billing_account_id == account]
        own = [each.currency for each in sorted(promised, key=lambda each: each.commitment_id.encode())]
        own += [each.currency for each in sorted(granted, key=lambda each: each.grant_id.encode())]
        main = facts.billing_currency or next(iter([*currencies, *own]), None)
        known = [currency for name, currency in self._carried if name == account]
        made = [
            ClosedScope(account, span, None, fee.scope, (), fee.reason) for fee in due.fees if fee.reason is not None
        ]
        made += [
            ClosedScope(account, span, None, scope, (), "NO_FX_RATE")
            for each in due.scopes
            if not each.has_fx
            for scope, _ in _by_object(scope_entries([each.total], period))
        ]
        for currency in dict.fromkeys([*([] if main is None else [main]), *currencies, *own, *known]):
            made += self._close(account, period, currency, due, is_main=currency == main)
        self.closed += sorted(made, key=_place)
        self._scopes.settle(period, due.scopes)

    def _due(self, account: str, period: Period) -> _Due:
        rows, facts = self._pricer.store.rows_of(account), self._pricer.accounts.at_close(account, *_span(period))
        rates = self._pricer.book.rates
        offsets = {row.identity: row.offset for row in reversed(rows)}
        fx = fx_of(facts, self._pricer.fx)
        fees = fees_of(self._pricer.accounts, account, rates, period, facts.billing_currency, fx)
        booked = [
            self._booked(row, entry, offsets)
            for row in rows
            for entry in row.entries
            if entry.billing_period == _span(period)
            and (not entry.estimated or self._pricer.accounts.at(account, entry.charge_time).bill_estimates)
        ]
        return _Due(
            tuple((currency, entry) for currency, entry in booked if currency is not None),
            tuple(fees),
            tuple(self._scopes.found(account, period, rows)),
        )

    def _close(self, account: str, period: Period, currency: str, due: _Due, *, is_main: bool) -> list[ClosedScope]:
        carried = self._carried.get((account, currency), Carried())
        terms = account_terms(self._pricer.accounts, account, currency)
        booked, scopes, facts = due.of(currency, terms if is_main else replace(terms, minimums=()))
        totals = [each.total for each in scopes if each.has_fx]
        entries, self._carried[account, currency] = close_period(booked, totals, facts, period, carried)
        return [ClosedScope(account, _span(period), currency, scope, made) for scope, made in _by_object(entries)]

    def _booked(self, row: EventRow, entry: BookedEntry, offsets: Mapping[Identity, int]) -> tuple[str | None, Booked]:
        """(its currency, an entry of an event as the close sees it). `offsets`: where each event came first.

        What a record takes back is in the currency of what it was; what a re-rating books anew is about its event, as
        what it takes back is.
        """
        about = row if entry.corrects is None else self._pricer.store.row(entry.corrects)
        assert about is not None
        offset = offsets[about.identity]
        cost = entry.contracted_cost
        found = Booked(
            entry.entry_kind,
            "USAGE",
            entry.charge_time,
            cost,
            cost,
            cost,
            event=(0, row.offset, 0),
            event_id=about.identity[2],
            corrects=None if entry.corrects is None and offset == row.offset else (0, offset, 0),
            sku_id=entry.sku_id,
            sku_price_id=entry.sku_price_id,
            project=entry.project,
            charge_class=entry.charge_class,
            usage=None if entry.charge_class is None else Period(*entry.usage_period),
        )
        return about.currency or row.currency, found


def _span(period: Period) -> Span:
    return period.start, period.end


def _by_object(entries: Sequence[Booked]) -> list[tuple[Scope, tuple[Booked, ...]]]:
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


def _place(closed: ClosedScope) -> tuple[object, ...]:
    """Fees, then scopes by name, then what late events changed, then commitments, minimum, grants."""
    scope, first = closed.scope, closed.entries[0] if closed.entries else None
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
