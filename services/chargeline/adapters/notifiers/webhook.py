"""A generic webhook: the alert as JSON, signed. How a receiver checks it: `chargeline.sdk.webhook`."""

import json

from chargeline.adapters.notifiers.http import HttpChannel
from chargeline.domain.alerts.text import Notification
from chargeline.domain.money import plain
from chargeline.domain.rates.card import instant
from chargeline.ports import Clock
from chargeline.sdk.webhook import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign


class WebhookNotifier:
    """`ports.Notifier`. The clock stamps each attempt anew, so that a late delivery is inside the tolerance."""

    def __init__(self, url: str, secret: bytes, clock: Clock, bearer: str | None = None) -> None:
        self._channel = HttpChannel(url, {"Content-Type": "application/json"}, bearer)
        self._secret = secret
        self._clock = clock

    def send(self, notification: Notification) -> None:
        payload = body(notification)
        timestamp = str(self._clock.now_ms() // 1000)
        self._channel.post(
            payload,
            {
                TIMESTAMP_HEADER: timestamp,
                SIGNATURE_HEADER: sign(self._secret, timestamp, payload),
                KEY_HEADER: notification.key,
            },
        )

    def close(self) -> None:
        self._channel.close()


def body(notification: Notification) -> bytes:
    """The JSON: money as text, times in ISO 8601 UTC; the same bytes at every attempt."""
    alert = notification.alert
    document = {
        "version": "1",
        "key": notification.key,
        "anomaly_id": alert.anomaly_id,
        "sequence": alert.sequence,
        "state": alert.state,
        "kind": alert.kind,
        "severity": alert.severity,
        "billing_account_id": alert.billing_account_id,
        "team": alert.team,
        "series": alert.series,
        "what": alert.what,
        "unit": alert.unit,
        "actual": None if alert.actual is None else plain(alert.actual),
        "expected": None if alert.expected is None else plain(alert.expected),
        "since": instant(alert.since),
        "at": instant(alert.at),
        "contributors": [
            {"name": each.name, "excess": None if each.excess is None else plain(each.excess)}
            for each in alert.contributors
        ],
        "explanation": alert.explanation,
        "title": notification.title,
        "text": notification.text,
        "link": notification.link or None,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
