"""Prices one usage event: steps 1-10 of spec/rating.md 3, without changing any state.

Source: spec/rating.md, sections 3-7, 10, 11 and 14.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from chargeline.verify.events import COUNTED, LEAVES, Dead
from chargeline.verify.rating.accounts import Accounts, Facts
from chargeline.verify.rating.accumulate import Draft, Scope, ScopeKey, Use, add, alone, opened
from chargeline.verify.rating.cards import Cards, Rate
from chargeline.verify.rating.entries import Entry, Identity, Move, Row, converted
from chargeline.verify.rating.fx import NoRate, Rates
from chargeline.verify.rating.models import Terms
from chargeline.verify.rating.numbers import LIMIT, PICOS, price18, q12
from chargeline.verify.rating.selection import Choice, Selector, UnknownValue, factor
from chargeline.verify.rating.times import DAY, HOUR, Period, months_before

Event = dict[str, Any]
_REASONS = ("TOO_LATE", "UNKNOWN_ACCOUNT", "UNKNOWN_MODEL", "NO_PRICE", "UNKNOWN_MODIFIER_VALUE",
            "CURRENCY_MISMATCH", "NO_FX_RATE")  # fmt: skip
_WHOLE_EVENT = "reported_cost"


@dataclass(frozen=True)
class View:
    """The facts that are visible to a record."""

    cards: Cards
    selector: Selector
    accounts: Accounts
    fx: Rates


@dataclass(frozen=True)
class Books:
    """The state that a price depends on. `open_period`: by account, the period that corrections are billed in."""

    scopes: Mapping[ScopeKey, Scope]
    closed: AbstractSet[tuple[str, Period]]
    open_period: Period
    accounts_required: bool
    platform_account: str


@dataclass(frozen=True)
class Priced:
    """The row of an event and the scopes that it changed; `reason`: it is UNRATED."""

    row: Row
    scopes: dict[ScopeKey, Scope]
    reason: str | None


@dataclass(frozen=True)
class Part:
    """An event, or what of an interval lies between two splits."""

    time: int
    quantities: dict[str, int]


@dataclass(frozen=True)
class Wanted:
    """One leaf or quantity of a part, with the rate it pays."""

    part: Part
    name: str
    choice: Choice
    period: Period
    factor: Fraction


def identity_of(event: Event) -> Identity:
    return (event["billing_account_id"], event["source"], event["event_id"])


def price_event(event: Event, append_time: int, view: View, books: Books, *, rerating: bool = False) -> Priced:
    """The charge of a usage event.

    Args:
        append_time: microseconds.

    Raises:
        Dead: PRICE_NOT_ALLOWED or AMOUNT_OVERFLOW.
    """
    return _Pricing(event, append_time, view, books, rerating=rerating).run()


def part_quantities(event: Event) -> dict[str, int]:
    """All quantities of an event in the order in which they are priced: leaves, counted ones, extra ones by name."""
    extras = sorted(event["extra_quantities"].items(), key=lambda pair: pair[0].encode())
    found = {leaf: event["leaves"][leaf] for leaf in LEAVES}
    found |= {name: event[name] for name in COUNTED} | dict(extras)
    if event["reported_cost_picos"] is not None:
        found[_WHOLE_EVENT] = event["reported_cost_picos"]
    return found


def parts_of(event: Event, cuts: list[int]) -> list[Part]:
    """The parts of an interval: quantity x microseconds / those of the whole, rounded down; the last has the rest."""
    start, end, whole = event["event_time"], event["charge_period_end"], part_quantities(event)
    if end is None or not cuts:
        return [Part(start, whole)]
    edges, parts, left = [start, *cuts, end], [], dict(whole)
    for low, high in pairwise(edges[:-1]):
        share = {name: count * (high - low) // (end - start) for name, count in whole.items()}
        left = {name: left[name] - share[name] for name in whole}
        parts.append(Part(low, share))
    return [*parts, Part(edges[-2], left)]


class _Pricing:
    """One event on its way through the steps; `_scopes` are the changed ones."""

    def __init__(self, event: Event, append_time: int, view: View, books: Books, *, rerating: bool) -> None:
        self._event = event
        self._append_time = append_time
        self._view = view
        self._books = books
        self._rerating = rerating
        self._account: str = event["billing_account_id"]
        self._facts: Facts = view.accounts.facts(self._account, event["event_time"])
        self._scopes: dict[ScopeKey, Scope] = {}
        self._reasons: set[str] = set()
        self._match_kind = "NONE"
        # All input tokens of the request: its own, before the sampling weight and the split of an interval.
        self._total_input = sum(count for leaf, count in event["leaves"].items() if "output" not in leaf)

    def run(self) -> Priced:
        wanted = self._wanted()
        currency = self._facts.billing_currency
        pricing = {each.choice.rate.card["currency"] for each in wanted}
        if currency is None:
            currency = min(pricing, default=None)
            self._note("CURRENCY_MISMATCH", len(pricing) > 1)
        fx = {}
        for each in wanted:
            try:
                key = (each.choice.rate.card["currency"], each.part.time)
                fx[key] = None if currency is None else self._view.fx.rate(key[0], currency, key[1], self._facts)
            except NoRate:
                self._reasons.add("NO_FX_RATE")
        first = self._billed_in(self._view.accounts.period(self._account, self._event["event_time"]))[0]
        row = Row(self._account, first, currency, match_kind=self._match_kind, identity=identity_of(self._event))
        for reason in _REASONS:
            if reason in self._reasons:
                return Priced(replace(row, reason=reason), {}, reason)
        for each in wanted:
            rate = each.choice.rate
            pricing_currency = rate.card["currency"]
            row = self._charge(row, each, currency or pricing_currency, fx[(pricing_currency, each.part.time)])
        self._check_size(row, wanted)
        weight = self._event["sample_weight"]
        if weight > 1:
            own = ("UNIT", "PER_EVENT_FEE")
            alone = Fraction(sum(e.contracted for e in row.entries if e.kind in own), weight * PICOS)
            row = replace(row, variance=alone * alone * weight * (weight - 1))
        signature = tuple((e.name, e.choice.rate.rate_id, e.choice.rate.version, e.factor) for e in wanted)
        return Priced(replace(row, signature=(signature, tuple(fx.items()))), self._scopes, None)

    def _note(self, reason: str, holds: bool) -> None:
        if holds:
            self._reasons.add(reason)

    def _billed_in(self, period: Period) -> tuple[Period, str | None]:
        """(billing period, charge class) of usage of a period."""
        if (self._account, period) in self._books.closed:
            return self._books.open_period, "CORRECTION"
        return period, None

    def _wanted(self) -> list[Wanted]:
        """What pays which rate; notes the reasons for which the event cannot be rated."""
        event, accounts = self._event, self._view.accounts
        limit = months_before(self._append_time, self._facts.correction_months)
        self._note("TOO_LATE", event["event_time"] < limit)
        self._note("UNKNOWN_ACCOUNT", self._books.accounts_required and not self._facts.known)
        cuts = []
        if event["charge_period_end"] is not None:
            end = event["charge_period_end"]
            cuts = self._view.selector.cuts(event, event["event_time"], end, rerating=self._rerating)
        found = []
        for part in parts_of(event, cuts):
            selection = self._view.selector.select(event, part.time, rerating=self._rerating)
            self._match_kind = selection.match_kind if part.time == event["event_time"] else self._match_kind
            period = accounts.period(self._account, part.time)
            for name in self._payable(part, selection.match_kind, selection.choices):
                choice = selection.choices[name]
                try:
                    found.append(Wanted(part, name, choice, period, factor(choice.rate, event, part.time)))
                except UnknownValue:
                    self._reasons.add("UNKNOWN_MODIFIER_VALUE")
        return found

    def _payable(self, part: Part, kind: str, choices: dict[str, Choice]) -> list[str]:
        """The names of the leaves and quantities of a part that are priced."""
        event = self._event
        present = [name for name, count in part.quantities.items() if count > 0]
        whole = choices.get(_WHOLE_EVENT)
        if _WHOLE_EVENT in part.quantities and whole is not None:
            sku = whole.rate.sku
            if sku["charge_model"] == "dynamic" and event["source"] not in (sku.get("price_sources") or []):
                raise Dead("PRICE_NOT_ALLOWED")
            currency = event["reported_cost_currency"]
            self._note("CURRENCY_MISMATCH", currency is not None and currency != whole.rate.card["currency"])
            return [_WHOLE_EVENT] if _WHOLE_EVENT in present else []
        present = [name for name in present if name != _WHOLE_EVENT]
        tokens = [name for name in present if name in LEAVES]
        others = [name for name in present if name not in LEAVES and name != "requests"]
        lacks = any(name not in choices for name in tokens) or (
            not tokens and others and not any(name in choices for name in others)
        )
        if lacks:
            self._reasons.add("UNKNOWN_MODEL" if kind == "NONE" else "NO_PRICE")
            return []
        payable = [name for name in present if name in choices]
        if event["status"] == "ERROR" and not _has_used(event):
            payable = [name for name in payable if _policy(choices[name].rate, event["status"]) == "bill_full"]
        return payable

    def _charge(self, row: Row, wanted: Wanted, currency: str, fx: Fraction | None) -> Row:
        """Adds the entries of one leaf to a row, and moves its scope."""
        rate, event = wanted.choice.rate, self._event
        terms = rate.terms(wanted.period, self._total_input)
        count = wanted.part.quantities[wanted.name]
        use = Use(count, event["sample_weight"], wanted.factor, self._total_input, event["project"])
        policy = _policy(rate, event["status"])
        is_closed = self._billed_in(wanted.period)[1] is not None
        key = None
        if rate.accumulates or terms.model == "percentage":
            key = self._scope_key(rate, wanted)
            scope = self._scopes.get(key) or self._books.scopes.get(key) or Scope(rate)
            # What the platform pays must not open a tier for the owner.
            is_waived = policy == "bill_zero"
            known = opened(scope, terms) if is_waived else scope
            # Nor is there anything to settle: the total of the scope does not change.
            after, drafts = add(known, terms, use, is_closed=is_closed and not is_waived)
        else:
            drafts = alone(terms, use)
        entries = tuple(self._entry(draft, wanted, terms, currency, fx) for draft in drafts)
        if policy == "bill_zero":
            return self._waived(row, entries)
        moves = row.moves
        if key is not None and rate.accumulates:
            self._scopes[key] = after
            amount = sum(draft.amount for draft in drafts)
            moved = count * event["sample_weight"]
            moves = (*moves, Move(key, moved, amount, event["project"], fx, wanted.part.time))
        return replace(row, entries=row.entries + entries, moves=moves)

    def _waived(self, row: Row, entries: tuple[Entry, ...]) -> Row:
        """bill_zero: the owner's entries cost nothing and say what was waived; the platform's account has the cost."""
        mine = tuple(
            replace(
                entry,
                contracted=0,
                pricing_cost=0,
                contracted_unit_price=None if entry.contracted_unit_price is None else Fraction(0),
                waived=entry.contracted,
            )
            for entry in entries
        )
        account = self._books.platform_account
        theirs = tuple(
            replace(
                entry,
                account=account,
                period=self._view.accounts.period(account, entry.charge_time),
                charge_class=None,
                event_id=self._event["event_id"],
            )
            for entry in entries
        )
        return replace(row, entries=row.entries + mine, foreign=row.foreign + theirs)

    def _scope_key(self, rate: Rate, wanted: Wanted) -> ScopeKey:
        window, time = rate.sku.get("window") or "billing_period", wanted.part.time
        length = {"day": DAY, "hour": HOUR}.get(window)
        return ScopeKey(
            self._account,
            rate.rate_id,
            rate.version,
            wanted.period,
            tuple((name, self._event[name]) for name in rate.sku.get("scope_by") or []),
            None if length is None else time - time % length,
            identity_of(self._event) if window == "event" else None,
        )

    def _entry(self, draft: Draft, wanted: Wanted, terms: Terms, currency: str, fx: Fraction | None) -> Entry:
        rate, event = wanted.choice.rate, self._event
        period, charge_class = self._billed_in(wanted.period)
        policy = _policy(rate, event["status"])
        listed_price, listed = self._list(draft, wanted, terms)
        is_fee = draft.kind in ("TIER_FLAT", "PER_EVENT_FEE")
        unit = "Fees" if is_fee else rate.sku["pricing_unit"]
        return Entry(
            kind=draft.kind,
            account=self._account,
            period=period,
            charge_time=wanted.part.time,
            currency=currency,
            contracted=converted(draft.amount, fx),
            listed=converted(listed, fx),
            sku_id=rate.sku["sku_id"],
            variant=rate.sku.get("variant"),
            sku_price_id=None if draft.number is None else f"{rate.price_name}/{draft.number}",
            rate_card_id=rate.card["id"],
            rate_card_version=rate.version,
            leaf=wanted.name,
            pricing_quantity=draft.steps,
            pricing_unit=None if draft.steps is None else unit,
            list_unit_price=listed_price,
            contracted_unit_price=draft.price,
            pricing_currency=rate.card["currency"],
            pricing_cost=draft.amount,
            fx_rate=fx,
            charge_class=charge_class,
            project=event["project"],
            pool=policy["amortise"] if isinstance(policy, dict) else None,
            is_estimated=event["sample_weight"] > 1,
            origin=identity_of(event),
        )

    def _list(self, draft: Draft, wanted: Wanted, terms: Terms) -> tuple[Fraction | None, int]:
        """(list unit price, list cost in the pricing currency) of an entry.

        Usage costs the first price of the default rate with its modifiers; fees and adjustments what they cost; what a
        discount or maximum takes off is no part of the list.
        """
        if draft.kind in ("DISCOUNT", "CAP"):
            return None, 0
        rate, listed = wanted.choice.rate, wanted.choice.listed
        has_list = listed.owner == "default" and listed.card["currency"] == rate.card["currency"]
        if draft.steps is None or draft.kind not in ("UNIT", "FREE_UNITS") or not has_list:
            return draft.price, draft.amount
        units = listed.terms(wanted.period, self._total_input)
        price, size = units.first_price()
        with suppress(UnknownValue):  # it is not the rate that is paid
            price *= factor(listed, self._event, wanted.part.time)
        step = draft.base / draft.steps if draft.steps else terms.unit_base
        price = price18(price * step / size)
        # What has no tiers is charged as so many events; the scope of a rate that accumulates moves as a whole.
        is_whole = rate.accumulates and terms.model != "percentage"
        weight = 1 if is_whole else self._event["sample_weight"]
        return price, q12(price * draft.base / step / weight) * weight

    def _check_size(self, row: Row, wanted: list[Wanted]) -> None:
        """Raises Dead: AMOUNT_OVERFLOW."""
        sizes = [abs(sum(entry.contracted for entry in row.entries))]
        sizes += [max(abs(e.contracted), abs(e.listed), abs(e.pricing_cost)) for e in row.entries + row.foreign]
        for each in wanted:
            scale = PICOS if each.name in LEAVES or each.name in COUNTED else 10**6
            scale = 1 if each.name == _WHOLE_EVENT else scale
            sizes.append(each.part.quantities[each.name] * self._event["sample_weight"] * scale)
        if max(sizes) >= LIMIT:
            raise Dead("AMOUNT_OVERFLOW")


def _has_used(event: Event) -> bool:
    return any(count and name != "requests" for name, count in part_quantities(event).items())


def _policy(rate: Rate, status: str) -> Any:
    """bill_full, bill_zero or {amortise: pool}."""
    if status == "OK":
        return "bill_full"
    own = (rate.sku.get("status_policy") or {}).get(status)
    return own or (rate.card.get("status_policy") or {}).get(status) or "bill_full"
