"""Whether a call may still be made: the budgets of its owners, asked in one round trip before the call.

    gate = BudgetGate(redis.Redis.from_url(url), on_unavailable="allow", stale_after_s=60)
    decision = gate.check("acme", team="search", estimated_cost=Decimal("0.02"))
    if decision.action == "deny": ...

The documents are written by the budgets service (docs/budgets.md). The gate knows what was spent up to their
`updated_at`; calls that several gateways let pass in the same moment are not known to each other, so the hard limit
may be passed by what was under way.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import Any, Literal, Protocol

Action = Literal["allow", "warn", "deny"]
HEARTBEAT = "budgets:heartbeat"
_ESCAPED = {"%": "%25", ":": "%3A", "@": "%40", "{": "%7B", "}": "%7D"}
_ORDER: dict[Action, int] = {"allow": 0, "warn": 1, "deny": 2}


class Redis(Protocol):
    """What the gate needs of a client: `redis.Redis` has it."""

    def mget(self, keys: Sequence[str]) -> Any:
        """The values of the keys, None where there is none."""


@dataclass(frozen=True)
class Decision:
    """What the gate says.

    Attributes:
        action: allow, warn (a soft threshold is met), or deny (the hard one is, or would be with the estimate).
        reason: for people.
        budget: the budget that decided, as its document has it; None: there is none, or it could not be asked.
    """

    action: Action
    reason: str
    budget: Mapping[str, Any] | None = None


class BudgetGate:
    """Asks Redis; safe to use from any thread if the client is.

    Args:
        redis: a client with a short socket time limit: the gate waits as long as it does.
        on_unavailable: what is said when Redis does not answer, or when a document is older than `stale_after_s`.
            deny and allow are final; warn lets the call pass and says why.
        stale_after_s: documents are written every second or so; None: their age does not matter.
        now_s: seconds since 1970 UTC.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        on_unavailable: Action = "allow",
        stale_after_s: float | None = 60.0,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        if on_unavailable not in _ORDER:
            raise ValueError(f"on_unavailable is allow, warn or deny, not {on_unavailable}")
        self._redis = redis
        self._on_unavailable: Action = on_unavailable
        self._stale_after_s = stale_after_s
        self._now_s = now_s

    def check(
        self,
        account: str,
        *,
        team: str | None = None,
        project: str | None = None,
        experiment: str | None = None,
        estimated_cost: Decimal = Decimal(0),
    ) -> Decision:
        """Whether a call may be made. One round trip; never raises for Redis.

        Args:
            estimated_cost: of the call, >= 0, in the currency of the budgets.

        Raises:
            TypeError: the estimate is a float.
            ValueError: it is negative or no number.
        """
        if isinstance(estimated_cost, float):
            raise TypeError("estimated_cost is a Decimal: a float is not exact")
        if not Decimal(estimated_cost).is_finite() or estimated_cost < 0:
            raise ValueError(f"estimated_cost is {estimated_cost}; it must not be negative")
        keys = budget_keys(account, team=team, project=project, experiment=experiment)
        try:
            heartbeat, *found = self._redis.mget([HEARTBEAT, *keys])
            documents = [json.loads(text) for text in found if text is not None]
            stale = self._stale([*documents, *([json.loads(heartbeat)] if heartbeat is not None else [])])
        except Exception as error:  # noqa: BLE001 - whatever a client raises: the request path must not break by it
            return Decision(self._on_unavailable, f"budgets could not be asked: {type(error).__name__}")
        if heartbeat is None:
            return Decision(self._on_unavailable, "no budgets service has written here")
        now = self._now_s()
        budgets = [budget for each in documents for budget in each.get("budgets") or [each]]
        # One whose period is over says nothing of the next one; its document is written anew within a second or so.
        current = [budget for budget in budgets if _seconds(budget["period_end"]) > now]
        decisions = [_decide(budget, Fraction(estimated_cost)) for budget in current]
        worst = max(decisions, key=lambda each: _ORDER[each.action], default=Decision("allow", "no budget"))
        # What is exceeded stays so: an old document can only know too little of what was spent in its period.
        if stale is not None and worst.action != "deny":
            return Decision(self._on_unavailable, stale, worst.budget)
        return worst

    def _stale(self, documents: Sequence[Mapping[str, Any]]) -> str | None:
        if self._stale_after_s is None or not documents:
            return None
        oldest = min(_seconds(each["updated_at"]) for each in documents)
        age = self._now_s() - oldest
        return f"the budgets are {age:.0f} s old" if age > self._stale_after_s else None


def budget_keys(
    account: str, *, team: str | None = None, project: str | None = None, experiment: str | None = None
) -> list[str]:
    """The keys of all budgets that a call of these owners counts for: the account's, and each combination of levels."""
    levels = [
        f"{level}:{_escaped(name)}"
        for level, name in (("team", team), ("project", project), ("experiment", experiment))
        if name is not None
    ]
    chosen = [each for size in range(len(levels) + 1) for each in combinations(levels, size)]
    return [":".join(["budget", _escaped(account), *each]) for each in chosen]


def _decide(budget: Mapping[str, Any], estimate: Fraction) -> Decision:
    spent, hard = Fraction(budget["spent"]), Fraction(budget["hard"])
    what = f"{budget['spent']} of {budget['limit']} {budget['unit']} of {budget['budget_id']} are spent"
    if spent >= hard:
        return Decision("deny", f"{what}; the hard threshold is {budget['hard']}", budget)
    if spent + estimate > hard:
        return Decision("deny", f"{what}; the estimated cost would pass the hard threshold {budget['hard']}", budget)
    if "soft" in budget and spent + estimate >= Fraction(budget["soft"]):
        return Decision("warn", f"{what}; the soft threshold is {budget['soft']}", budget)
    return Decision("allow", what, budget)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _escaped(name: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in name)
