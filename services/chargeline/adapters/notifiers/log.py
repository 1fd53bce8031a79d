"""The log as a channel: a structlog event for each alert."""

import structlog

from chargeline.domain.alerts.text import Notification
from chargeline.domain.money import plain
from chargeline.domain.rates.card import instant

log = structlog.get_logger()


class LogNotifier:
    """`ports.Notifier`; always delivers."""

    def send(self, notification: Notification) -> None:
        alert = notification.alert
        log.warning(
            "alert",
            key=notification.key,
            state=alert.state,
            severity=alert.severity,
            billing_account_id=alert.billing_account_id,
            team=alert.team,
            what=alert.what,
            actual=None if alert.actual is None else plain(alert.actual),
            expected=None if alert.expected is None else plain(alert.expected),
            unit=alert.unit,
            since=instant(alert.since),
            link=notification.link,
        )

    def close(self) -> None:
        """Nothing stays open."""
