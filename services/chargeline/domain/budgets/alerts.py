"""Alerts of budgets: one for each threshold and period, opened once, updated by number, resolved when it is over.

The id of an alert follows from the budget, the threshold and the start of the period, so whoever works it out again
names it the same. A threshold that is met again after it was resolved continues the same alert under the next number.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.alerts.alert import BUDGET, OPEN, RESOLVED, UPDATED, Alert
from chargeline.domain.budgets.budget import Scope
from chargeline.domain.budgets.state import BURN_RULES, EXCEEDED, Standing
from chargeline.domain.money import plain, rounded
from chargeline.domain.rates.card import instant

_BURN_SEVERITY = {"FAST": "HIGH", "SLOW": "MEDIUM"}
_FORETELLING = ("FORECAST", *(f"BURN {rule.name}" for rule in BURN_RULES))


@dataclass(frozen=True)
class Told:
    """The last state that was told of an alert. `until`: end of its period, after which it can be forgotten."""

    alert: Alert
    until: int

    def encode(self) -> str:
        """As text, for a store."""
        fields = {name: value for name, value in vars(self.alert).items() if name != "contributors"}
        texts = {name: plain(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
        return json.dumps({"until": self.until, "alert": texts}, separators=(",", ":"), ensure_ascii=False)


def told_of(text: str) -> Told:
    """The state of its text."""
    document = json.loads(text)
    fields = document["alert"]
    amounts = {
        name: None if fields[name] is None else Decimal(fields[name]) for name in ("actual", "expected")
    }  # fmt: skip
    dimensions = tuple((name, value) for name, value in fields["dimensions"])
    return Told(Alert(**{**fields, **amounts, "dimensions": dimensions}), document["until"])


def alert_id(budget_id: str, threshold: str, period_start: int) -> str:
    """The id of an alert: 32 hex digits."""
    parts = [BUDGET, budget_id, threshold, str(period_start)]
    packed = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hashlib.sha256(packed).hexdigest()[:32]


def changes(standings: Iterable[Standing], told: Mapping[str, Told], now: int) -> list[Told]:
    """What is new to tell at an instant (microseconds since 1970 UTC), in the order of the ids.

    Args:
        standings: of all budgets that hold now.
        told: what was told before, by alert id.
    """
    standings = list(standings)
    # What foretold that a budget will be gone is not over because it is gone.
    held = {
        alert_id(each.budget.budget_id, threshold, each.start)
        for each in standings
        if each.state == EXCEEDED
        for threshold in _FORETELLING
    }
    firing = {each.alert.anomaly_id: each for standing in standings for each in _firing(standing, now)}
    fresh = []
    for name, each in firing.items():
        known = told.get(name)
        if known is None:
            fresh.append(each)
        elif known.alert.state == RESOLVED:
            again = replace(each.alert, state=UPDATED, sequence=known.alert.sequence + 1, since=known.alert.since)
            fresh.append(Told(again, each.until))
    for name, known in told.items():
        if name not in firing and name not in held and known.alert.state != RESOLVED:
            over = replace(known.alert, state=RESOLVED, sequence=known.alert.sequence + 1, at=now)
            fresh.append(Told(over, known.until))
    return sorted(fresh, key=lambda each: each.alert.anomaly_id)


def _firing(standing: Standing, now: int) -> list[Told]:
    budget, spent = standing.budget, standing.spent
    until = instant(standing.end)
    found = []
    for threshold, reached in zip(budget.soft, standing.soft, strict=True):
        if spent >= reached:
            what = f"{_share(standing)} of the {budget.period} budget is spent"
            found.append(_told(standing, now, f"SOFT {threshold}", "MEDIUM", what, spent, reached))
    if spent >= standing.hard:
        what = f"the {budget.period} budget is exceeded"
        found.append(_told(standing, now, "HARD", "CRITICAL", what, spent, standing.hard))
        return found
    if standing.forecast is not None and standing.forecast >= standing.hard:
        what = f"the {budget.period} budget will not last until {until}"
        found.append(_told(standing, now, "FORECAST", "MEDIUM", what, standing.forecast, standing.hard))
    for burn in standing.burns:
        if burn.is_burning:
            what = f"at this rate the {budget.period} budget is gone in {burn.gone_in_h} hours"
            severity = _BURN_SEVERITY[burn.name]
            found.append(_told(standing, now, f"BURN {burn.name}", severity, what, spent, standing.hard, burn.rate))
    return found


def _told(
    standing: Standing,
    now: int,
    threshold: str,
    severity: str,
    what: str,
    actual: Decimal,
    expected: Decimal,
    rate: Decimal | None = None,
) -> Told:
    budget = standing.budget
    scope = budget.scope
    explanation = (
        f"{threshold.lower()} threshold; {plain(standing.spent)} of {plain(budget.limit)} {budget.currency} spent "
        f"in the period from {instant(standing.start)} to {instant(standing.end)}"
    )
    if rate is not None:
        explanation += f"; {rate} times the even rate"
    alert = Alert(
        anomaly_id=alert_id(budget.budget_id, threshold, standing.start),
        sequence=1,
        state=OPEN,
        kind=BUDGET,
        severity=severity,
        billing_account_id=scope.billing_account_id,
        dimensions=(*_dimensions(scope), ("budget", budget.budget_id)),
        what=what,
        unit=budget.currency,
        actual=actual,
        expected=expected,
        since=now,
        at=now,
        explanation=explanation,
    )
    return Told(alert, standing.end)


def _dimensions(scope: Scope) -> list[tuple[str, str]]:
    named = (("team", scope.team), ("project", scope.project), ("experiment_id", scope.experiment))
    return [(name, value) for name, value in named if value is not None]


def _share(standing: Standing) -> str:
    return f"{plain(rounded(Fraction(standing.spent) * 100 / Fraction(standing.budget.limit), 0))} %"
