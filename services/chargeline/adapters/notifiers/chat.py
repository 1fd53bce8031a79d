"""Chat and e-mail through Apprise: one URL names the service and its secrets (slack://, msteams://, mailto:// …)."""

import logging

from chargeline.domain.alerts.alert import RESOLVED, rank
from chargeline.domain.alerts.text import Notification
from chargeline.domain.errors import ChannelAway, Undeliverable


class AppriseNotifier:
    """`ports.Notifier`. Apprise says yes or no only, so a no is always tried again."""

    def __init__(self, url: str) -> None:
        import apprise  # noqa: PLC0415 - slow to import, and only these channels need it

        # Its messages quote URLs, and those are secrets.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        self._target = apprise.Apprise()
        self._format = apprise.NotifyFormat.TEXT
        if not self._target.add(url):
            raise Undeliverable("the channel's url is none that Apprise knows")

    def send(self, notification: Notification) -> None:
        alert = notification.alert
        kinds = ("info", "warning", "failure", "failure")  # by severity, ascending
        kind = "success" if alert.state == RESOLVED else kinds[min(rank(alert.severity), len(kinds) - 1)]
        # Told that it is plain text, Apprise keeps the lines and escapes what would be markup, in mails above all.
        if not self._target.notify(
            title=notification.title, body=notification.text, notify_type=kind, body_format=self._format
        ):
            raise ChannelAway("the service did not take the message")

    def close(self) -> None:
        """Nothing stays open."""
