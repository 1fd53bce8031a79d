"""Facts about accounts: who they are at an instant, and what they have subscribed, promised and been given.

Source: spec/formats.md, section 4; spec/rating.md, sections 1, 7 and 12.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from chargeline.verify.rating.numbers import number
from chargeline.verify.rating.times import Period, micros, open_micros, period_of


@dataclass(frozen=True)
class Facts:
    """What holds for an account at an instant; the defaults are those of an account without facts."""

    known: bool = False
    group: str | None = None
    billing_currency: str | None = None
    cycle_day: int = 1
    minimum: Fraction | None = None
    correction_months: int = 13
    bill_estimates: bool = False
    fx: dict[str, Any] = field(default_factory=lambda: {"policy": "event_date"})


_NO_FACTS = Facts()


class Accounts:
    """The accounts document; null is one without rows."""

    def __init__(self, document: dict[str, Any] | None) -> None:
        rows = {name: list(each or []) for name, each in (document or {}).items()}
        self._accounts: list[dict[str, Any]] = rows.get("accounts", [])
        self._accounts_of = _by_account(self._accounts)
        self._contracts_of = _by_account(rows.get("contracts", []))
        self._parents = {row["group"]: row.get("parent") for row in rows.get("groups", [])}
        self._subscriptions: list[dict[str, Any]] = rows.get("subscriptions", [])
        self._commitments: list[dict[str, Any]] = rows.get("commitments", [])
        self._credits: list[dict[str, Any]] = rows.get("credits", [])

    def facts(self, account: str, time: int) -> Facts:
        for row in self._accounts_of.get(account, ()):
            if _holds(row, time):
                return Facts(
                    known=True,
                    group=row.get("group"),
                    billing_currency=row.get("billing_currency"),
                    cycle_day=int(row.get("billing_cycle_day") or 1),
                    minimum=None if row.get("minimum") is None else number(row["minimum"]),
                    correction_months=int(number(row.get("correction_months"), 13)),
                    bill_estimates=bool(row.get("bill_estimates")),
                    fx=row.get("fx") or {"policy": "event_date"},
                )
        return _NO_FACTS

    def facts_at_close(self, account: str, period: Period) -> Facts:
        """What a close goes by: the last instant of the period, or the last one at which the account had facts."""
        found = self.facts(account, period.end - 1)
        ends = [open_micros(row.get("valid_to")) for row in self._accounts_of.get(account, ())]
        inside = [end for end in ends if end is not None and period.start < end < period.end]
        return found if found.known or not inside else self.facts(account, max(inside) - 1)

    def period(self, account: str, time: int) -> Period:
        return period_of(time, self.facts(account, time).cycle_day)

    def is_in_force(self, account: str, time: int) -> bool:
        """False where the account has rows and none holds: before it began and after it ended."""
        mine = self._accounts_of.get(account, [])
        return not mine or any(_holds(row, time) for row in mine)

    def edges(self, account: str) -> set[int]:
        """The instants at which a fact about an account begins or ends."""
        rows = self._accounts_of.get(account, []) + self._contracts_of.get(account, [])
        return {micros(row[name]) for row in rows for name in ("valid_from", "valid_to") if row.get(name) is not None}

    def owners(self, account: str, time: int) -> list[dict[str, str] | str]:
        """The scopes of cards that hold for an account, the strongest first.

        Contracts (the one that began last first, then by id), the account, its groups from the nearest, the default.
        """
        contracts = [row for row in self._contracts_of.get(account, ()) if _holds(row, time)]
        contracts.sort(key=lambda row: (-micros(row["valid_from"]), row["contract"].encode()))
        groups: list[str] = []
        group = self.facts(account, time).group
        while group is not None and group not in groups:
            groups.append(group)
            group = self._parents.get(group)
        return [
            *({"contract": row["contract"]} for row in contracts),
            {"account": account},
            *({"group": name} for name in groups),
            "default",
        ]

    def subscriptions(self, account: str) -> list[dict[str, Any]]:
        return _sorted(self._subscriptions, account, "subscription_id")

    def commitments(self, account: str) -> list[dict[str, Any]]:
        return _sorted(self._commitments, account, "commitment_id")

    def credits(self, account: str) -> list[dict[str, Any]]:
        return _sorted(self._credits, account, "grant_id")


def _by_account(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["billing_account_id"], []).append(row)
    return found


def _sorted(rows: list[dict[str, Any]], account: str, key: str) -> list[dict[str, Any]]:
    return sorted((row for row in rows if row["billing_account_id"] == account), key=lambda row: row[key].encode())


def _holds(row: dict[str, Any], time: int) -> bool:
    end = open_micros(row.get("valid_to"))
    return micros(row["valid_from"]) <= time and (end is None or time < end)
