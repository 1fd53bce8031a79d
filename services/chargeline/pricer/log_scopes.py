"""The scopes of accumulating rates as the close of a period finds them in a log that was priced in memory.

Source: spec/rating.md, sections 3 (Opening), 4 ("Minimum and maximum of a rate"), 4.5 and 12.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import blake2b
from typing import Protocol

import numpy as np
import pyarrow as pa

from chargeline.domain.accounts import Accounts
from chargeline.domain.closing.entries import Period, Scope, q12
from chargeline.domain.closing.entries import Span as Used
from chargeline.domain.closing.facts import RECURRING, fx_of, rate_of
from chargeline.domain.closing.fee_facts import owner_spans
from chargeline.domain.closing.settlement import ProjectUsage, ScopeTotal, scope_entries, true_up_entry
from chargeline.domain.fx import FxTable
from chargeline.domain.rates.book import Rate, RateBook
from chargeline.domain.rates.card import Scope as Owner
from chargeline.domain.rating.booked_entries import BookedEntry, Span, base_units
from chargeline.domain.rating.period_function import RateFunction
from chargeline.domain.rating.price_points import units_of
from chargeline.domain.rating.rate_functions import function_of
from chargeline.domain.rating.scope_keys import rate_name, scope_keys
from chargeline.domain.rating.scope_states import KEY_BYTES
from chargeline.domain.rating.scope_step import ScopeState
from chargeline.domain.usage import Text
from chargeline.wire.event_rows import EventRow, Identity

_DAY = 86_400_000_000
_MOST_DAYS = 31
_WINDOWS = {"day": _DAY, "hour": 3_600_000_000}


@dataclass(frozen=True)
class EventScope(Scope):
    """The scope of a rate with the window `event`: every event is one, and none has a name of its own."""

    identity: Identity | None = None


@dataclass(frozen=True)
class FoundScope:
    """A scope at a close.

    Attributes:
        currency: in which the close bills it.
        is_due: there is something to book.
        has_fx: there is a rate of exchange for it.
    """

    total: ScopeTotal
    rate: Rate
    key: bytes
    currency: str
    is_due: bool
    has_fx: bool


@dataclass
class _Seen:
    """A scope as its entries tell of it.

    Attributes:
        quantities, booked: by project.
        charged: what was booked without what was taken back (spec/rating.md 12: a running amount keeps its value).
    """

    rate: Rate
    period: Span
    scope: Scope
    quantities: dict[str | None, int] = field(default_factory=dict)
    booked: dict[str | None, int] = field(default_factory=dict)
    charged: int = 0


class Books(Protocol):
    """What a close sees of a log that is priced.

    Attributes:
        book: the rates that count.
        closed: by account, the billing periods that are closed.
        held: scopes that owe T(0) without an event, because the account has their rate by name and they are closed.
    """

    accounts: Accounts
    fx: FxTable
    book: RateBook
    closed: dict[str, set[Span]]

    @property
    def held(self) -> Container[bytes]: ...

    def states(self, keys: Iterable[bytes]) -> dict[bytes, ScopeState]: ...

    def all_rates(self) -> Iterable[Rate]: ...

    def row(self, offset: int) -> EventRow | None: ...


class LogScopes:
    """Finds the scopes of a close, and remembers what it booked for them.

    `trued_up`: by scope, what closes before it booked for its minimum, picounits of the pricing currency; it may be
    filled while `found` reads the rows.
    """

    def __init__(self, pricer: Books, trued_up: dict[bytes, int] | None = None) -> None:
        self._pricer = pricer
        self._trued_up: dict[bytes, int] = {} if trued_up is None else trued_up
        self._rates = {
            (rate.card.rate_card_id, rate.card.version, rate.sku.sku_id, rate.sku.variant): rate
            for rate in pricer.all_rates()
        }
        self._event_windows = {
            (card, version, sku_id)
            for (card, version, sku_id, _), rate in self._rates.items()
            if rate.sku.window == "event" and rate.sku.accumulates
        }

    def found(self, account: str, period: Period, rows: Iterable[EventRow]) -> list[FoundScope]:
        """The scopes of the period, those that the account has by name, and closed ones with a minimum.

        Args:
            rows: all of the account so far; they are read once, before anything else.
        """
        span = (period.start, period.end)
        seen = self._seen(rows)
        by_name = {rate_name(rate): rate for rate in self._explicit(account, period)}
        used = {rate_name(each.rate) for each in seen.values() if each.period == span}
        for name, rate in by_name.items():
            if name not in used:
                scope = Scope(rate.sku.sku_id, rate.sku.variant)
                seen[_whole_key(account, rate, period.start)] = _Seen(rate, span, scope)
        states = self._pricer.states(key for key, each in seen.items() if not isinstance(each.scope, EventScope))
        found = []
        for key, each in seen.items():
            state = states.get(key) or _event_state(each)
            if each.period == span:
                is_whole = not each.scope.by and each.scope.window_start is None
                is_explicit = is_whole and rate_name(each.rate) in by_name
                found.append(self._total(account, each, state, key, is_explicit=is_explicit))
            elif each.period in self._pricer.closed.get(account, ()) and each.rate.sku.minimum is not None:
                late = self._total(account, each, state, key, is_explicit=False)
                own = Period(*each.period)
                total = replace(late.total, is_volume=False, projects=(), is_opened=True, period=own)
                found.append(replace(late, total=total))
        return [replace(each, is_due=bool(scope_entries([each.total], period))) for each in found]

    def _total(self, account: str, seen: _Seen, state: ScopeState, key: bytes, *, is_explicit: bool) -> FoundScope:
        sku, period = seen.rate.sku, Period(*seen.period)
        function = _function(seen.rate, period)
        running = state.amount if state.opened else function.opening_running()
        is_empty = state.quantity == 0 and not function.runs_an_amount and key not in self._pricer.held
        total = q12(function.total(state.quantity, running if function.runs_an_amount else None))
        if isinstance(seen.scope, EventScope) and not function.is_volume:
            total, is_empty = seen.charged if function.runs_an_amount else sum(seen.booked.values()), False
        facts = self._pricer.accounts.at_close(account, *seen.period)
        fx = fx_of(facts, self._pricer.fx)(seen.rate.card.currency, period.last)
        is_short = seen.scope.window_start is not None or isinstance(seen.scope, EventScope)
        days = self._days(account, seen.rate, period) if sku.minimum is not None and not is_short else _MOST_DAYS
        found = ScopeTotal(
            seen.scope,
            rate_of(seen.rate.card, sku, Fraction(1) if fx is None else fx),
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
        currency = facts.billing_currency or seen.rate.card.currency
        return FoundScope(found, seen.rate, key, currency, is_due=False, has_fx=fx is not None)

    def settle(self, period: Period, scopes: Iterable[FoundScope]) -> None:
        """Remember what the minimums booked, whether or not an exchange rate could convert it."""
        for each in scopes:
            entry = true_up_entry(each.total, period)
            if entry is not None:
                assert entry.pricing_cost is not None
                self._trued_up[each.key] = self._trued_up.get(each.key, 0) + entry.pricing_cost

    def newly_held(self, period: Period, scopes: Iterable[FoundScope]) -> dict[bytes, int]:
        """Which scopes are open without an event from now on, and the running amount that this adds to them."""
        found = {}
        for each in scopes:
            if each.total.is_explicit and each.total.period is None:
                function, is_opened = _function(each.rate, period), each.total.is_opened
                found[each.key] = function.opening_running() if function.runs_an_amount and not is_opened else 0
        return found

    def _seen(self, rows: Iterable[EventRow]) -> dict[bytes, _Seen]:
        found: dict[bytes, _Seen] = {}
        for row in rows:
            for entry in row.entries:
                key, moved, variant = entry.scope_key, entry.scope_quantity, _variant(entry, row)
                identity = self._identity(row, entry)
                if key is None:
                    if entry.waived_cost is not None or not self._is_event_window(entry):
                        continue
                    key, moved = _event_key(identity, entry, variant), base_units(entry)
                if key not in found:
                    rate = self._rates[(entry.rate_card_id, entry.rate_card_version, entry.sku_id, variant)]
                    found[key] = _Seen(rate, entry.usage_period, self._scope(rate, row, entry, identity))
                seen = found[key]
                seen.quantities[entry.project] = seen.quantities.get(entry.project, 0) + moved
                seen.booked[entry.project] = seen.booked.get(entry.project, 0) + entry.pricing_cost
                seen.charged += entry.pricing_cost if entry.entry_kind != "REVERSAL" else 0
        return found

    def _is_event_window(self, entry: BookedEntry) -> bool:
        return (entry.rate_card_id, entry.rate_card_version, entry.sku_id) in self._event_windows

    def _identity(self, row: EventRow, entry: BookedEntry) -> Identity:
        """The event that an entry is about; that of a re-rating is the event rated anew."""
        of = None if entry.corrects is None else self._pricer.row(entry.corrects)
        return (of or row).identity

    def _scope(self, rate: Rate, row: EventRow, entry: BookedEntry, identity: Identity) -> Scope:
        by = tuple((name, row.usage[name]) for name in rate.sku.scope_by)
        if rate.sku.window == "event":
            return EventScope(rate.sku.sku_id, rate.sku.variant, by, identity=identity)
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
            names = next((names for used, names in owners if used.holds(time)), ())
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
            names = next((names for used, names in owners if used.holds(time)), ())
            count += rate.card.scope in names and any(each.holds(time) for each in versions)
        return count


def _variant(entry: BookedEntry, row: EventRow) -> str | None:
    """A discount or cap has no price point; it stands behind the entry that it lowers."""
    if entry.sku_price_id is not None or entry.variant is not None:
        return entry.variant
    same = [each for each in row.entries if each.leaf == entry.leaf and each.sku_id == entry.sku_id]
    return next((each.variant for each in same if each.sku_price_id is not None), None)


def _function(rate: Rate, period: Period) -> RateFunction:
    return function_of(rate.sku, units_of(rate.sku, (period.end - period.start) // _DAY))


def _event_key(identity: Identity, entry: BookedEntry, variant: str | None) -> bytes:
    """Names the scope of one event and rate; as long as the key of a lasting scope, so that rows may have it."""
    name = (identity, entry.rate_card_id, entry.rate_card_version, entry.sku_id, variant, entry.usage_period[0])
    return blake2b(b"window=event:" + repr(name).encode(), digest_size=KEY_BYTES).digest()


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
