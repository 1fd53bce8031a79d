"""The close of billing periods over a whole log in memory: what the ledger does at a PERIOD_CLOSE, offline.

Source: spec/rating.md, sections 3 (steps 11 and 12), 4, 8, 9, 10 and 12; spec/formats.md, section 6.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pyarrow as pa

from chargeline.domain.booked_entries import BookedEntry, Span
from chargeline.domain.closing.close import Carried, PeriodFacts, close_period
from chargeline.domain.closing.entries import Booked, Period, Scope, q12
from chargeline.domain.closing.entries import Span as Used
from chargeline.domain.closing.facts import account_terms, rate_of
from chargeline.domain.closing.fee_facts import RECURRING, fees_of, owner_spans
from chargeline.domain.closing.settlement import ProjectUsage, ScopeTotal, scope_entries, true_up_entry, with_project
from chargeline.domain.fx import conversion
from chargeline.domain.price_points import units_of
from chargeline.domain.rate_book import Rate
from chargeline.domain.rate_card import Scope as Owner
from chargeline.domain.rate_functions import function_of
from chargeline.domain.scope_keys import rate_name, scope_keys
from chargeline.domain.scope_states import ScopeColumns, ScopeStates
from chargeline.domain.scope_step import ScopeState
from chargeline.domain.usage import COUNTED, LEAVES, Text
from chargeline.pricer.log_pricer import LogPricer
from chargeline.wire.event_rows import EventRow, Identity

_DAY = 86_400_000_000
_MOST_DAYS = 31
_MILLION, _PICOS = 10**6, 10**12
_WINDOWS = {"day": _DAY, "hour": 3_600_000_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()


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
class EventScope(Scope):
    """The scope of a rate with the window `event`: every event is one, and none has a name of its own."""

    identity: Identity | None = None


@dataclass
class _Seen:
    """A scope as its entries tell of it."""

    rate: Rate
    period: Span
    scope: Scope
    quantities: dict[str | None, int]
    booked: dict[str | None, int]


class LogCloser:
    """Closes periods of the log that a pricer has priced, in the order in which it is asked to.

    Attributes:
        closed: what the closes have booked, in order.
    """

    def __init__(self, pricer: LogPricer) -> None:
        self.closed: list[ClosedScope] = []
        self._pricer = pricer
        self._carried: dict[tuple[str, str], Carried] = {}
        self._trued_up: dict[bytes, int] = {}
        self._rates = {
            (rate.card.rate_card_id, rate.card.version, rate.sku.sku_id, rate.sku.variant): rate
            for rate in pricer.all_rates()
        }
        self._event_windows = {
            (card, version, sku_id)
            for (card, version, sku_id, _), rate in self._rates.items()
            if rate.sku.window == "event" and rate.sku.accumulates
        }
        pricer.closer = self

    def close(self, account: str, span: Span) -> None:
        """Book what is due at the close of an account's period."""
        period = Period(*span)
        rows = self._pricer.store.rows_of(account)
        booked = [(row, entry) for row in rows for entry in row.entries if entry.billing_period == span]
        booked = [pair for pair in booked if not pair[1].estimated or self._invoices_estimates(account, pair[1])]
        currencies = list(dict.fromkeys(row.currency for row, _ in booked if row.currency is not None))
        named = self._named(account, period)
        main = self._last_named(account, period) or (currencies[0] if currencies else None)
        scopes = self._totals(account, period, rows)
        fees = fees_of(
            self._pricer.accounts,
            account,
            self._pricer.book.rates,
            period,
            lambda pricing, at: self._fx(account, pricing, named, at),
        )
        for each in fees.unpriced:
            self.closed.append(ClosedScope(account, span, named, each.scope, (), each.reason))
        currency_of = {id(each): named or rate.card.currency for each, rate, _ in scopes}
        fee_currency = {
            id(each): named or self._currency(version.rate.rate_card_id, version.rate.rate_card_version)
            for each in fees.fees
            for version in each.versions[:1]
        }
        unit_currency = {
            id(each): named or self._currency(each.rate.rate_card_id, each.rate.rate_card_version)
            for each in fees.units
        }
        accounts = self._pricer.accounts
        terms = [each.currency for each in accounts.commitments if each.billing_account_id == account]
        terms += [each.currency for each in accounts.credits if each.billing_account_id == account]
        wanted = dict.fromkeys(
            [main, *currencies, *currency_of.values(), *fee_currency.values(), *unit_currency.values(), *terms]
        )
        made: list[ClosedScope] = []
        for currency in wanted:
            if currency is None:
                continue
            facts = account_terms(self._pricer.accounts, account, currency, period)
            facts = replace(
                facts,
                fees=tuple(each for each in fees.fees if fee_currency.get(id(each)) == currency),
                units=tuple(each for each in fees.units if unit_currency[id(each)] == currency),
                minimums=facts.minimums if currency == main else (),
            )
            mine = [each for each, _, _ in scopes if currency_of[id(each)] == currency]
            lines = [_booked(row, entry, self._event_id) for row, entry in booked if row.currency == currency]
            made += self._close(account, period, currency, lines, mine, facts)
        self.closed += sorted(made, key=_place)
        self._settle(period, scopes)

    def _close(
        self,
        account: str,
        period: Period,
        currency: str,
        lines: list[Booked],
        scopes: list[ScopeTotal],
        facts: PeriodFacts,
    ) -> list[ClosedScope]:
        carried = self._carried.get((account, currency), Carried())
        entries, self._carried[account, currency] = close_period(lines, scopes, facts, period, carried)
        groups: dict[tuple[bool, Scope], list[Booked]] = {}
        for entry in entries:
            assert entry.scope is not None
            scope = with_project(entry.scope, entry.project) if entry.entry_kind == "TIER_SETTLEMENT" else entry.scope
            is_late = scope.sku_id is not None and entry.charge_class is not None
            groups.setdefault((is_late, scope), []).append(entry)
        span = (period.start, period.end)
        return [ClosedScope(account, span, currency, scope, tuple(made)) for (_, scope), made in groups.items()]

    def _totals(self, account: str, period: Period, rows: Sequence[EventRow]) -> list[tuple[ScopeTotal, Rate, bytes]]:
        """The scopes of the period, those that the account has by name, and closed ones with a minimum."""
        span = (period.start, period.end)
        seen = self._seen(rows)
        found = []
        explicit = self._explicit(account, period)
        names = {rate_name(rate) for key, each in seen.items() if each.period == span for rate in [each.rate]}
        for rate in explicit:
            if rate_name(rate) not in names:
                key = _whole_key(account, rate, period.start)
                seen[key] = _Seen(rate, span, Scope(rate.sku.sku_id, rate.sku.variant), {}, {})
        by_name = {rate_name(rate) for rate in explicit}
        states = self._pricer.states(key for key, each in seen.items() if not isinstance(each.scope, EventScope))
        for key, each in seen.items():
            state = states.get(key) or _event_state(each)
            if each.period == span:
                is_explicit = rate_name(each.rate) in by_name and not each.scope.by and each.scope.window_start is None
                found.append((self._total(account, each, state, period, key, is_explicit=is_explicit), each, key))
            elif each.period in self._pricer.closed.get(account, ()) and each.rate.sku.minimum is not None:
                total = self._total(account, each, state, Period(*each.period), key, is_explicit=False)
                total = replace(total, is_volume=False, projects=(), is_opened=True, period=Period(*each.period))
                found.append((total, each, key))
        kept = []
        for total, each, key in found:
            if total is None:
                continue
            if total.rate.fx == 0:  # no rate of exchange
                if scope_entries([replace(total, rate=replace(total.rate, fx=Fraction(1)))], period):
                    self.closed.append(
                        ClosedScope(account, span, self._named(account, period), each.scope, (), "NO_FX_RATE")
                    )
                continue
            kept.append((total, each.rate, key))
        return kept

    def _total(
        self, account: str, seen: _Seen, state: ScopeState, period: Period, key: bytes, *, is_explicit: bool
    ) -> ScopeTotal:
        sku = seen.rate.sku
        function = function_of(sku, units_of(sku, (period.end - period.start) // _DAY))
        running = state.amount if state.opened else function.opening_running()
        is_empty = state.quantity == 0 and not function.runs_an_amount and key not in self._pricer.held
        total = q12(function.total(state.quantity, running if function.runs_an_amount else None))
        if isinstance(seen.scope, EventScope) and not function.is_volume:
            total, is_empty = sum(seen.booked.values()), False  # what its entries sum to
        fx = self._fx(account, seen.rate.card.currency, self._named(account, period), period.last)
        is_short = seen.scope.window_start is not None or isinstance(seen.scope, EventScope)
        days = self._days(account, seen.rate, period) if sku.minimum is not None and not is_short else _MOST_DAYS
        return ScopeTotal(
            seen.scope,
            rate_of(seen.rate.card, sku, Fraction(0) if fx is None else fx),
            Used(period.start, min(period.end, period.start + days * _DAY)),
            total if not is_empty or is_explicit else 0,
            q12(function.opening()),
            function.is_volume,
            is_explicit,
            has_events=bool(seen.booked) or bool(seen.quantities),
            is_opened=state.opened,
            minimum=None if sku.minimum is None else Fraction(sku.minimum),
            projects=tuple(
                ProjectUsage(name, max(0, quantity), seen.booked.get(name, 0))
                for name, quantity in seen.quantities.items()
            ),
            true_up_booked=self._trued_up.get(key, 0),
        )

    def _settle(self, period: Period, scopes: Iterable[tuple[ScopeTotal, Rate, bytes]]) -> None:
        """Remember what the minimums booked, and which scopes are open without an event from now on."""
        for total, rate, key in scopes:
            entry = true_up_entry(total, period)
            if entry is not None:
                assert entry.pricing_cost is not None
                self._trued_up[key] = self._trued_up.get(key, 0) + entry.pricing_cost
            if total.is_explicit and total.period is None:
                self._pricer.held.add(key)
                state = self._pricer.states([key])[key]
                if not state.opened:
                    function = function_of(rate.sku, units_of(rate.sku, (period.end - period.start) // _DAY))
                    amount = function.opening_running() if function.runs_an_amount else 0
                    opened = ScopeColumns.of([replace(state, opened=True, amount=amount)])
                    self._pricer.scopes = self._pricer.scopes.merge(ScopeStates.of(key, opened))

    def _seen(self, rows: Sequence[EventRow]) -> dict[bytes, _Seen]:
        found: dict[bytes, _Seen] = {}
        for row in rows:
            for entry in row.entries:
                key, moved = entry.scope_key, entry.scope_quantity
                if key is None:
                    if entry.waived_cost is not None or not self._is_event_window(entry):
                        continue
                    key, moved = _event_key(row, entry), _base_units(entry)
                if key not in found:
                    rate = self._rates[
                        (entry.rate_card_id, entry.rate_card_version, entry.sku_id, self._variant(entry, row))
                    ]
                    found[key] = _Seen(rate, entry.usage_period, self._scope(rate, row, entry), {}, {})
                seen = found[key]
                seen.quantities[entry.project] = seen.quantities.get(entry.project, 0) + moved
                seen.booked[entry.project] = seen.booked.get(entry.project, 0) + entry.pricing_cost
        return found

    def _is_event_window(self, entry: BookedEntry) -> bool:
        return (entry.rate_card_id, entry.rate_card_version, entry.sku_id) in self._event_windows

    def _variant(self, entry: BookedEntry, row: EventRow) -> str | None:
        """A discount or cap has no price point; it stands behind the entry that it lowers."""
        if entry.sku_price_id is not None or entry.variant is not None:
            return entry.variant
        same = [each for each in row.entries if each.leaf == entry.leaf and each.sku_id == entry.sku_id]
        return next((each.variant for each in same if each.sku_price_id is not None), None)

    def _scope(self, rate: Rate, row: EventRow, entry: BookedEntry) -> Scope:
        by = tuple((name, row.usage[name]) for name in rate.sku.scope_by)
        if rate.sku.window == "event":
            of = None if entry.corrects is None else self._pricer.store.row(entry.corrects)
            return EventScope(rate.sku.sku_id, rate.sku.variant, by, identity=(of or row).identity)
        length = _WINDOWS.get(rate.sku.window)
        start = None if length is None else entry.charge_time - entry.charge_time % length
        return Scope(rate.sku.sku_id, rate.sku.variant, by, start)

    def _explicit(self, account: str, period: Period) -> list[Rate]:
        """Accumulating rates that the account has by name, as they are selected for a scope of the whole period."""
        mine = [rate for rate in self._pricer.book.rates if _is_whole(rate, account)]
        if not mine:
            return []
        owners = owner_spans(self._pricer.accounts, account)
        found: dict[tuple[str, str | None], tuple[int, Rate]] = {}
        for time in (period.start, *range(period.start + _DAY - 1, period.end, _DAY)):
            names = next((names for used, names in owners if _holds(used, time)), ())
            for rate in mine:
                if rate.card.scope not in names or not rate.holds(time):
                    continue
                level = names.index(rate.card.scope) if rate.card.scope.kind == "account" else -1
                before = found.get(rate.sku.key)
                if before is None or (before[1].card.rate_card_id != rate.card.rate_card_id and level < before[0]):
                    found[rate.sku.key] = (level, rate)
        return [rate for _, rate in found.values()]

    def _days(self, account: str, rate: Rate, period: Period) -> int:
        """On how many days of a period the account has a rate, in any version."""
        owners = owner_spans(self._pricer.accounts, account)
        versions = [
            each
            for each in self._pricer.book.rates
            if (each.card.rate_card_id, each.sku.key) == (rate.card.rate_card_id, rate.sku.key)
        ]
        count = 0
        for time in range(period.start + _DAY - 1, period.end, _DAY):
            names = next((names for used, names in owners if _holds(used, time)), ())
            count += rate.card.scope in names and any(each.holds(time) for each in versions)
        return count

    def _fx(self, account: str, pricing: str, billing: str | None, time: int) -> Fraction | None:
        """Billing units for one pricing unit; None: there is no rate."""
        if billing is None or billing == pricing:
            return Fraction(1)
        facts = self._pricer.accounts.at(account, time)
        day = _EPOCH.fromordinal(_EPOCH.toordinal() + time // _DAY)
        found = conversion(facts.fx, self._pricer.fx, pricing, billing, day)
        return None if found is None else Fraction(found.rate)

    def _named(self, account: str, period: Period) -> str | None:
        return self._pricer.accounts.at(account, period.last).billing_currency

    def _last_named(self, account: str, period: Period) -> str | None:
        """The billing currency of an account that ended within the period."""
        times = range(period.end - 1, period.start - 1, -_DAY)
        named = (self._pricer.accounts.at(account, time).billing_currency for time in times)
        return next((each for each in named if each is not None), None)

    def _currency(self, card: str | None, version: int | None) -> str | None:
        found = (each.card for each in self._pricer.cards)
        return next((each.currency for each in found if (each.rate_card_id, each.version) == (card, version)), None)

    def _invoices_estimates(self, account: str, entry: BookedEntry) -> bool:
        return self._pricer.accounts.at(account, entry.charge_time).bill_estimates

    def _event_id(self, offset: int) -> str:
        row = self._pricer.store.row(offset)
        assert row is not None
        return row.identity[2]


def _booked(row: EventRow, entry: BookedEntry, event_id: object) -> Booked:
    cost = entry.contracted_cost
    corrects = None if entry.corrects is None else (0, entry.corrects, 0)
    name = row.identity[2] if entry.corrects is None else event_id(entry.corrects)  # type: ignore[operator]
    return Booked(
        entry.entry_kind,
        "USAGE",
        entry.charge_time,
        cost,
        cost,
        cost,
        event=(0, row.offset, 0),
        event_id=name,
        corrects=corrects,
        sku_id=entry.sku_id,
        sku_price_id=entry.sku_price_id,
        project=entry.project,
        charge_class=entry.charge_class,
    )


def _event_key(row: EventRow, entry: BookedEntry) -> bytes:
    """Names the scope of one event and rate; longer than any key of a lasting scope."""
    offset = row.offset if entry.corrects is None else entry.corrects
    name = (offset, entry.rate_card_id, entry.rate_card_version, entry.sku_id, entry.variant, entry.usage_period[0])
    return b"window=event:" + repr(name).encode()


def _base_units(entry: BookedEntry) -> int:
    """What an entry measured, in base units of its scope."""
    is_counted = entry.leaf in LEAVES or entry.leaf in COUNTED
    return entry.consumed_quantity * (1 if is_counted else _MILLION) // _PICOS


def _event_state(seen: _Seen) -> ScopeState:
    return ScopeState(sum(seen.quantities.values()), opened=True)


def _is_whole(rate: Rate, account: str) -> bool:
    scope = rate.card.scope
    mine = scope.kind == "contract" or scope == Owner("account", account)
    sku = rate.sku
    metered = sku.measures not in ("", RECURRING)
    return mine and sku.accumulates and metered and sku.window == "billing_period" and not sku.scope_by


def _whole_key(account: str, rate: Rate, start: int) -> bytes:
    one = np.zeros(1, np.int32)
    return scope_keys(
        Text(one, pa.array([account], pa.string())), Text(one, pa.array([rate_name(rate)], pa.string())),
        np.array([start]), []
    )  # fmt: skip


def _holds(used: Used, time: int) -> bool:
    return used.start <= time and (used.end is None or time < used.end)


def _place(closed: ClosedScope) -> tuple[object, ...]:
    """Fees, then scopes by name, then what late events changed, then commitments, minimum, grants."""
    scope, first = closed.scope, closed.entries[0]
    if scope.subscription_id is not None:
        return (0, scope.subscription_id.encode())
    if scope.sku_id is not None and first.entry_kind == "STANDING_FEE":
        return (1, scope.sku_id.encode())
    if scope.sku_id is not None:
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
