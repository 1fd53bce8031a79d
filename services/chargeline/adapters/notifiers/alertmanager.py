"""Prometheus Alertmanager: POST /api/v2/alerts.

Labels are an alert's identity there, so they hold what never changes for an anomaly, and its severity, by which
Alertmanager routes. When the severity changes, the alert of the old one is ended in the same request. An alert that
is not sent again is over for Alertmanager after `resolve_timeout` (5 minutes by default), so an open one carries an
end far ahead, and the resolved one carries its own.

Source: Alertmanager's api/v2/openapi.yaml (postableAlerts).
"""

import json
from typing import Any

from chargeline.adapters.notifiers.http import HttpChannel
from chargeline.domain.alerts.alert import OPEN, RESOLVED, SEVERITIES
from chargeline.domain.alerts.text import Notification
from chargeline.domain.rates.card import instant

_HOLD_US = 7 * 86_400 * 1_000_000  # longer than a long weekend: an anomaly that nobody ended ends by itself then
_JSON = {"Content-Type": "application/json"}


class AlertmanagerNotifier:
    """`ports.Notifier`."""

    def __init__(self, url: str, bearer: str | None = None) -> None:
        self._channel = HttpChannel(f"{url.rstrip('/')}/api/v2/alerts", _JSON, bearer)

    def send(self, notification: Notification) -> None:
        self._channel.post(json.dumps(alerts(notification), ensure_ascii=False).encode())

    def close(self) -> None:
        self._channel.close()


def alerts(notification: Notification) -> list[dict[str, Any]]:
    """The body: the alert, and after a first state the ends of what it may have been before."""
    alert = notification.alert
    over = alert.state == RESOLVED
    wanted = [_alert(notification, alert.severity, alert.at if over else alert.at + _HOLD_US)]
    if alert.state != OPEN:
        wanted += [_alert(notification, each, alert.at) for each in SEVERITIES if each != alert.severity]
    return wanted


def _alert(notification: Notification, severity: str, end: int) -> dict[str, Any]:
    alert = notification.alert
    labels = {
        "alertname": "ChargelineCostAnomaly",
        "anomaly_id": alert.anomaly_id,
        "kind": alert.kind,
        "severity": severity.lower(),
        "billing_account_id": alert.billing_account_id,
        "team": alert.team or "",
        "series": alert.series,
    }
    body = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": notification.title, "description": notification.text, "key": notification.key},
        # An alert that ends before it starts is refused.
        "startsAt": instant(min(alert.since, end)),
        "endsAt": instant(end),
    }
    return body | ({"generatorURL": notification.link} if notification.link else {})
