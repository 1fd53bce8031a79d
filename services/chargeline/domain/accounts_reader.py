"""Reading an accounts document: strict, exact, with the place of every fault.

Source: spec/formats.md, sections 1 and 4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeVar, cast

from chargeline.domain.accounts import (
    Account,
    Accounts,
    Commitment,
    Contract,
    Credit,
    FxPolicy,
    Group,
    Subscription,
    SubscriptionChange,
)
from chargeline.domain.currencies import is_currency
from chargeline.domain.documents import BadDocument, Place, Problem, read_document, read_json
from chargeline.domain.fields import AMOUNT, FACTOR, PRICE, Fields

ACCOUNT_KEYS = frozenset({
    "billing_account_id", "valid_from", "valid_to", "group", "billing_currency", "billing_cycle_day", "minimum",
    "correction_months", "bill_estimates", "fx",
})  # fmt: skip
COMMITMENT_KEYS = frozenset({
    "commitment_id", "billing_account_id", "amount", "currency", "overage_factor", "paid_up_front", "from", "to",
    "sku_ids", "priority",
})  # fmt: skip
CREDIT_KEYS = frozenset({
    "grant_id", "billing_account_id", "kind", "amount", "currency", "priority", "sku_ids", "effective_at",
    "expires_at", "covers_minimum",
})  # fmt: skip
CONTRACT_KEYS = frozenset({"contract", "billing_account_id", "valid_from", "valid_to"})
SUBSCRIPTION_KEYS = frozenset({"subscription_id", "billing_account_id", "sku_id", "changes"})
GROUP_KEYS = frozenset({"group", "parent"})
LISTS = ("groups", "accounts", "contracts", "subscriptions", "commitments", "credits")
_MONTHS_MAX = 1200
_DAYS = range(1, 29)  # a day that every month has
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class AccountsDocument:
    """The facts of a document with the warnings found."""

    accounts: Accounts
    remarks: tuple[Problem, ...] = ()


def read_accounts(text: str) -> AccountsDocument:
    """The facts of a YAML or JSON document. Raises BadDocument with every fault found."""
    return _read(read_document(text))


def accounts_from_json(text: str) -> Accounts:
    """The facts of a canonical text. Raises BadDocument."""
    return _read(read_json(text)).accounts


def _read(document: Any) -> AccountsDocument:
    reader = _Reader()
    accounts = reader.document(document)
    problems = sorted(reader.problems, key=lambda each: (each.line, each.column))
    if any(not each.warning for each in problems):
        raise BadDocument(problems)
    return AccountsDocument(accounts, tuple(problems))


class _Reader(Fields):
    """Collects all faults before it gives up."""

    def document(self, document: Any) -> Accounts:
        if not isinstance(document, Place):
            self.problems.append(Problem("NOT_ACCOUNTS", "an accounts file is a mapping"))
            return Accounts()
        self.keys(document, frozenset(LISTS), ())
        groups = self._rows(document, "groups", self._group)
        accounts = self._rows(document, "accounts", self._account)
        contracts = self._rows(document, "contracts", self._contract)
        subscriptions = self._rows(document, "subscriptions", self._subscription)
        commitments = self._rows(document, "commitments", self._commitment)
        credits_ = self._rows(document, "credits", self._credit)
        self._twice(groups, "group", lambda each: each.group)
        self._twice(subscriptions, "subscription_id", lambda each: each.subscription_id)
        self._twice(credits_, "grant_id", lambda each: each.grant_id)
        self._overlaps(accounts, "valid_from", lambda each: (each.billing_account_id, each.valid_from, each.valid_to))
        self._overlaps(contracts, "valid_from", lambda each: (each.contract, each.valid_from, each.valid_to))
        # Two contracts at once would be two prices of one level.
        self._overlaps(contracts, "contract", lambda each: (each.billing_account_id, each.valid_from, each.valid_to))
        self._overlaps(commitments, "from", lambda each: (each.commitment_id, each.start, each.end))
        self._groups(groups, accounts)
        return Accounts(
            _only_rows(groups),
            _only_rows(accounts),
            _only_rows(contracts),
            _only_rows(subscriptions),
            _only_rows(commitments),
            _only_rows(credits_),
        )

    def _rows(self, document: Place, key: str, read: Callable[[Place], _Row]) -> list[tuple[Place, _Row]]:
        return [(each, read(each)) for each in self.places(document, key)]

    def _group(self, place: Place) -> Group:
        self.keys(place, GROUP_KEYS, ("group",))
        return Group(self.text(place, "group") or "", self.text(place, "parent"))

    def _account(self, place: Place) -> Account:
        self.keys(place, ACCOUNT_KEYS, ("billing_account_id", "valid_from"))
        start, end = self._period(place, "valid_from", "valid_to")
        day = self.whole(place, "billing_cycle_day")
        if day is not None and day not in _DAYS:
            self.fault(place, "billing_cycle_day", "BAD_VALUE", "billing_cycle_day is 1 to 28")
        months = self.whole(place, "correction_months", _MONTHS_MAX)
        return Account(
            self.text(place, "billing_account_id") or "",
            start,
            end,
            self.text(place, "group"),
            self._currency(place, "billing_currency"),
            1 if day is None else day,
            self.exact(place, "minimum", AMOUNT),
            13 if months is None else months,
            self.flag(place, "bill_estimates"),
            self._fx(place),
        )

    def _contract(self, place: Place) -> Contract:
        self.keys(place, CONTRACT_KEYS, ("contract", "billing_account_id", "valid_from"))
        contract, account = self.text(place, "contract") or "", self.text(place, "billing_account_id") or ""
        return Contract(contract, account, *self._period(place, "valid_from", "valid_to"))

    def _subscription(self, place: Place) -> Subscription:
        names = ("subscription_id", "billing_account_id", "sku_id")
        self.keys(place, SUBSCRIPTION_KEYS, (*names, "changes"))
        if place.get("changes") == []:
            self.fault(place, "changes", "BAD_VALUE", "a subscription has at least one change")
        changes = [(each, self._change(each)) for each in self.places(place, "changes")]
        # Sorted by time alone: of two changes at one instant the first written is the first.
        changes.sort(key=lambda each: each[1].at)
        total = Decimal(0)
        for where, change in changes:
            total += change.quantity
            if total < 0:
                self.fault(where, "quantity", "NEGATIVE", "more is taken off than was added until then")
        subscription, account, sku = (self.text(place, key) or "" for key in names)
        return Subscription(subscription, account, sku, tuple(each for _, each in changes))

    def _change(self, place: Place) -> SubscriptionChange:
        self.keys(place, frozenset({"at", "quantity"}), ("at", "quantity"))
        quantity = self.exact(place, "quantity", AMOUNT, signed=True) or Decimal(0)
        return SubscriptionChange(self.instant(place, "at") or 0, quantity)

    def _commitment(self, place: Place) -> Commitment:
        self.keys(place, COMMITMENT_KEYS, ("commitment_id", "billing_account_id", "amount", "currency", "from", "to"))
        start, end = self._period(place, "from", "to")
        factor = self.exact(place, "overage_factor", FACTOR)
        return Commitment(
            self.text(place, "commitment_id") or "",
            self.text(place, "billing_account_id") or "",
            self.exact(place, "amount", AMOUNT) or Decimal(0),
            self._currency(place, "currency") or "",
            start,
            end or 0,
            Decimal(1) if factor is None else factor,
            self.flag(place, "paid_up_front"),
            self._skus(place),
            self.whole(place, "priority") or 0,
        )

    def _credit(self, place: Place) -> Credit:
        required = ("grant_id", "billing_account_id", "kind", "amount", "currency", "effective_at")
        self.keys(place, CREDIT_KEYS, required)
        start, end = self._period(place, "effective_at", "expires_at")
        return Credit(
            self.text(place, "grant_id") or "",
            self.text(place, "billing_account_id") or "",
            cast("Literal['granted', 'prepaid']", self.choice(place, "kind", ("granted", "prepaid")) or "granted"),
            self.exact(place, "amount", AMOUNT) or Decimal(0),
            self._currency(place, "currency") or "",
            start,
            end,
            self.whole(place, "priority") or 0,
            self._skus(place),
            self.flag(place, "covers_minimum"),
        )

    def _fx(self, place: Place) -> FxPolicy:
        fx = place.get("fx")
        if fx is None:
            return FxPolicy()
        if not isinstance(fx, Place):
            self.fault(place, "fx", "BAD_VALUE", "fx is a mapping")
            return FxPolicy()
        self.keys(fx, frozenset({"policy", "rates"}), ("policy",))
        policy, rates = self.choice(fx, "policy", ("event_date", "fixed")), fx.get("rates")
        if policy != "fixed":
            if rates is not None:
                self.fault(fx, "rates", "BAD_VALUE", "rates are for the policy fixed")
            return FxPolicy()
        if not isinstance(rates, Place) or not rates:
            code = "MISSING_KEY" if rates is None else "BAD_VALUE"
            self.fault(fx, "rates", code, "fixed needs rates, a mapping of pricing currencies to rates")
            return FxPolicy()
        for currency in rates:
            self._known_currency(rates, currency, currency)
        read = [(currency, self.positive(rates, currency, PRICE, required=True)) for currency in sorted(rates)]
        return FxPolicy("fixed", tuple((currency, rate) for currency, rate in read if rate is not None))

    def _skus(self, place: Place) -> tuple[str, ...]:
        if place.get("sku_ids") is None:
            return ("*",)
        if not isinstance(place["sku_ids"], list):
            self.fault(place, "sku_ids", "BAD_VALUE", "sku_ids is a list")
            return ("*",)
        return self.values(place, "sku_ids")

    def _currency(self, place: Place, key: str) -> str | None:
        currency = self.text(place, key)
        if currency is not None:
            self._known_currency(place, key, currency)
        return currency

    def _known_currency(self, place: Place, key: str, currency: str) -> None:
        if not is_currency(currency):
            self.fault(place, key, "UNKNOWN_CURRENCY", f"{currency} is neither ISO 4217 nor a credit unit")

    def _period(self, place: Place, start_key: str, end_key: str) -> tuple[int, int | None]:
        start, end = self.instant(place, start_key), self.instant(place, end_key)
        if start is not None and end is not None and end <= start:
            self.fault(place, end_key, "BAD_PERIOD", f"{end_key} must lie after {start_key}")
        return start or 0, end

    def _twice(self, rows: Sequence[tuple[Place, _Row]], key: str, name_of: Callable[[_Row], str]) -> None:
        seen: set[str] = set()
        for place, row in rows:
            if name_of(row) in seen:
                self.fault(place, key, "ID_TWICE", f"{key} {name_of(row)} stands twice")
            seen.add(name_of(row))

    def _overlaps(
        self,
        rows: Sequence[tuple[Place, _Row]],
        key: str,
        span_of: Callable[[_Row], tuple[str, int, int | None]],
    ) -> None:
        """Rows of one name that hold at the same time; the later one is at fault."""
        spans: dict[str, list[tuple[int, int | None]]] = {}
        for place, row in rows:
            name, start, end = span_of(row)
            if any(_meet((start, end), other) for other in spans.get(name, ())):
                self.fault(place, key, "OVERLAP", f"a row before it covers {name} at the same time")
            spans.setdefault(name, []).append((start, end))

    def _groups(self, groups: Sequence[tuple[Place, Group]], accounts: Sequence[tuple[Place, Account]]) -> None:
        parents = {row.group: row.parent for _, row in groups}
        named = [(place, "parent", row.parent) for place, row in groups]
        named += [(place, "group", row.group) for place, row in accounts]
        for place, key, name in named:
            if name is not None and name not in parents:
                line, column = place.place(key)
                self.problems.append(Problem("UNKNOWN_GROUP", f"{name} is not among the groups", line, column, True))
        for place, row in groups:
            seen, name = {row.group}, row.parent
            while name is not None and name not in seen:
                seen.add(name)
                name = parents.get(name)
            if name == row.group:
                self.fault(place, "parent", "GROUP_CYCLE", f"{row.group} lies within itself")


def _only_rows(rows: Sequence[tuple[Place, _Row]]) -> tuple[_Row, ...]:
    return tuple(row for _, row in rows)


def _meet(one: tuple[int, int | None], two: tuple[int, int | None]) -> bool:
    return (two[1] is None or one[0] < two[1]) and (one[1] is None or two[0] < one[1])
