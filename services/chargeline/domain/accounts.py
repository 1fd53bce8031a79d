"""Accounts: who pays, by which contract and group, in which currency and period. Effective-dated facts, and a look-up.

Times are microseconds since 1970 UTC, half-open; an end of None is open. Reading is in `accounts_reader`.

Source: spec/formats.md, section 4; spec/rating.md, sections 1, 5, 7 to 9.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Literal, TypeVar


@dataclass(frozen=True)
class FxPolicy:
    """How prices in another currency become the billing currency.

    Attributes:
        kind: event_date: the published rate of the event's date; fixed: the account's own `rates`.
        rates: (pricing currency, billing units for one pricing unit), sorted.
    """

    kind: Literal["event_date", "fixed"] = "event_date"
    rates: tuple[tuple[str, Decimal], ...] = ()

    def fixed(self, pricing_currency: str) -> Decimal | None:
        """The account's own rate; None: it has none for this currency."""
        return dict(self.rates).get(pricing_currency)


@dataclass(frozen=True)
class Group:
    """A group of accounts; groups nest."""

    group: str
    parent: str | None = None


@dataclass(frozen=True)
class Account:
    """What holds for an account in `[valid_from, valid_to)`. `billing_currency` None: the pricing currency.

    Attributes:
        billing_cycle_day: 1 to 28; a billing period begins on it at 00:00:00Z.
        minimum: of a billing period, in the billing currency.
        correction_months: how far back corrections reach.
        bill_estimates: sampled events are invoiced.
    """

    billing_account_id: str
    valid_from: int
    valid_to: int | None = None
    group: str | None = None
    billing_currency: str | None = None
    billing_cycle_day: int = 1
    minimum: Decimal | None = None
    correction_months: int = 13
    bill_estimates: bool = False
    fx: FxPolicy = FxPolicy()


@dataclass(frozen=True)
class Contract:
    """An account's contract; rate cards of the contract hold while it is valid."""

    contract: str
    billing_account_id: str
    valid_from: int
    valid_to: int | None = None


@dataclass(frozen=True)
class SubscriptionChange:
    """Units added from an instant on; below 0: taken off."""

    at: int
    quantity: Decimal


@dataclass(frozen=True)
class Subscription:
    """What an account subscribed to: changes in order of time, their running sum never below 0."""

    subscription_id: str
    billing_account_id: str
    sku_id: str
    changes: tuple[SubscriptionChange, ...]

    def quantity_at(self, time: int) -> Decimal:
        """Units subscribed at an instant."""
        return sum((each.quantity for each in self.changes if each.at <= time), Decimal(0))


@dataclass(frozen=True)
class Commitment:
    """A promise to spend `amount` in `[start, end)` on the SKUs named (`*`: all), lowest priority number first."""

    commitment_id: str
    billing_account_id: str
    amount: Decimal
    currency: str
    start: int
    end: int
    overage_factor: Decimal = Decimal(1)
    paid_up_front: bool = False
    sku_ids: tuple[str, ...] = ("*",)
    priority: int = 0


@dataclass(frozen=True)
class Credit:
    """A grant that pays charges whose event time lies in `[effective_at, expires_at)`; `expires_at` None: never."""

    grant_id: str
    billing_account_id: str
    kind: Literal["granted", "prepaid"]
    amount: Decimal
    currency: str
    effective_at: int
    expires_at: int | None = None
    priority: int = 0
    sku_ids: tuple[str, ...] = ("*",)
    covers_minimum: bool = False


@dataclass(frozen=True)
class AccountFacts:
    """What holds for one account at one instant.

    Attributes:
        groups: nearest first; empty: no group.
        contract: None: no contract.
        billing_currency: None: the pricing currency.
        known: whether a row of the account holds; the defaults stand for an account without one.
    """

    billing_account_id: str
    groups: tuple[str, ...] = ()
    contract: str | None = None
    billing_currency: str | None = None
    billing_cycle_day: int = 1
    minimum: Decimal | None = None
    correction_months: int = 13
    bill_estimates: bool = False
    fx: FxPolicy = field(default=FxPolicy())
    known: bool = False


@dataclass(frozen=True)
class Accounts:
    """One accounts document. Without any, every account has the defaults."""

    groups: tuple[Group, ...] = ()
    accounts: tuple[Account, ...] = ()
    contracts: tuple[Contract, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    credits: tuple[Credit, ...] = ()

    def at(self, billing_account_id: str, time: int) -> AccountFacts:
        """What holds for an account at an instant (microseconds since 1970 UTC)."""
        contract = _holding(self._contracts.get(billing_account_id, ()), time)
        contract_name = None if contract is None else contract.contract
        row = _holding(self._accounts.get(billing_account_id, ()), time)
        if row is None:
            return AccountFacts(billing_account_id, contract=contract_name)
        return AccountFacts(
            billing_account_id,
            self.chain(row.group),
            contract_name,
            row.billing_currency,
            row.billing_cycle_day,
            row.minimum,
            row.correction_months,
            row.bill_estimates,
            row.fx,
            known=True,
        )

    def at_close(self, billing_account_id: str, start: int, end: int) -> AccountFacts:
        """What the close of the period [start, end) goes by: its last instant at which the account has facts."""
        ends = [row.valid_to for row in self._accounts.get(billing_account_id, ())]
        inside = [time for time in ends if time is not None and start < time < end]
        last = self.at(billing_account_id, end - 1)
        return last if last.known or not inside else self.at(billing_account_id, max(inside) - 1)

    def chain(self, group: str | None) -> tuple[str, ...]:
        """A group and those around it, nearest first."""
        names: list[str] = []
        while group is not None and group not in names:
            names.append(group)
            group = self._parents.get(group)
        return tuple(names)

    def boundaries(self, billing_account_id: str) -> tuple[int, ...]:
        """Ascending instants; between two of them `at` does not change."""
        rows: list[Account | Contract] = [
            *self._accounts.get(billing_account_id, ()),
            *self._contracts.get(billing_account_id, ()),
        ]
        return tuple(sorted({time for row in rows for time in (row.valid_from, row.valid_to) if time is not None}))

    @cached_property
    def _accounts(self) -> Mapping[str, Sequence[Account]]:
        rows: dict[str, list[Account]] = {}
        for each in self.accounts:
            rows.setdefault(each.billing_account_id, []).append(each)
        return rows

    @cached_property
    def _contracts(self) -> Mapping[str, Sequence[Contract]]:
        rows: dict[str, list[Contract]] = {}
        for each in self.contracts:
            rows.setdefault(each.billing_account_id, []).append(each)
        return rows

    @cached_property
    def _parents(self) -> Mapping[str, str | None]:
        return {each.group: each.parent for each in self.groups}


_Row = TypeVar("_Row", Account, Contract)


def _holding(rows: Sequence[_Row], time: int) -> _Row | None:
    """The row that holds at an instant; rows of one account never overlap."""
    return next((row for row in rows if row.valid_from <= time and (row.valid_to is None or time < row.valid_to)), None)
