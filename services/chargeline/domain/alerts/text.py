"""What an alert says to people: what, how much above what, since when, why, what to do, and where to look."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from urllib.parse import quote

from chargeline.domain.alerts.alert import BUDGET, RESOLVED, Alert
from chargeline.domain.money import plain, rounded
from chargeline.domain.rates.card import instant

_CONTRIBUTORS_MAX = 5  # more does not fit a chat message; the link shows all
_ADVICE = {
    BUDGET: "Lower the spend, or raise the budget with `chargeline budgets set`.",
    "UNRATED": "Publish the missing price with `chargeline rates publish`; the events are then rated again.",
}
_ADVICE_ELSE = "Look at the contributors. Stop what is not wanted; if it is wanted, tell the owner of the budget."


@dataclass(frozen=True)
class Notification:
    """A message for a channel. `key` is the same at every attempt, so that a receiver can drop repetitions."""

    key: str
    alert: Alert
    title: str
    text: str
    link: str


def notification(alert: Alert, link: str = "") -> Notification:
    """The message of an alert.

    Args:
        link: a URL with {anomaly_id}, {account} and {team} in it, each optional; empty: no link.
    """
    target = link.format(
        anomaly_id=quote(alert.anomaly_id, safe=""),
        account=quote(alert.billing_account_id, safe=""),
        team=quote(alert.team or "", safe=""),
    )
    return Notification(alert.key, alert, _title(alert), _text(alert, target), target)


def _title(alert: Alert) -> str:
    owner = f"{alert.billing_account_id}/{alert.team}" if alert.team else alert.billing_account_id
    return f"[{RESOLVED if alert.state == RESOLVED else alert.severity}] {owner}: {alert.what}"


def _text(alert: Alert, link: str) -> str:
    lines = [f"What: {alert.what} ({alert.series})" if alert.series else f"What: {alert.what}"]
    if alert.actual is not None:
        lines.append(f"How much: {_difference(alert)}")
    lines.append(f"Since: {instant(alert.since)}")
    if alert.explanation:
        lines.append(f"Why: {alert.explanation}")
    if alert.contributors:
        lines.append("Contributors:")
        for each in alert.contributors[:_CONTRIBUTORS_MAX]:
            excess = "" if each.excess is None else f": {amount(each.excess)} {alert.unit}"
            lines.append(f"- {each.name}{excess}")
    lines.append(f"What to do: {_advice(alert)}")
    if alert.kind != BUDGET:
        lines.append(f"Why in full: chargeline anomalies explain {alert.anomaly_id}")
    if link:
        lines.append(f"More: {link}")
    lines.append(f"Key: {alert.key}")
    return "\n".join(lines)


def _difference(alert: Alert) -> str:
    actual, expected = alert.actual or Decimal(0), alert.expected
    if expected is None:
        return f"{amount(actual)} {alert.unit}"
    difference = Fraction(actual) - Fraction(expected)
    share = f" ({plain(rounded(abs(difference) * 100 / Fraction(expected), 0))} %)" if expected > 0 else ""
    side = "above" if difference >= 0 else "below"
    excess = amount(rounded(abs(difference), 12))
    # For a budget, what is expected is its threshold.
    than = "threshold of" if alert.kind == BUDGET else "expected"
    return f"{amount(actual)} {alert.unit}, {excess}{share} {side} the {than} {amount(expected)} {alert.unit}"


def amount(number: Decimal) -> str:
    """Money for people. Two decimals are enough for people; a small amount keeps six, or it would read as zero."""
    return plain(rounded(Fraction(number), 2 if abs(number) >= 1 else 6))


def _advice(alert: Alert) -> str:
    return "Nothing: it is over." if alert.state == RESOLVED else _ADVICE.get(alert.kind, _ADVICE_ELSE)
