"""From the configuration of a channel to its notifier; the one place that reads the secrets."""

import logging
from collections.abc import Mapping
from pathlib import Path

from chargeline.adapters.notifiers.alertmanager import AlertmanagerNotifier
from chargeline.adapters.notifiers.chat import AppriseNotifier
from chargeline.adapters.notifiers.log import LogNotifier
from chargeline.adapters.notifiers.webhook import WebhookNotifier
from chargeline.domain.alerts.routes import ChannelConfig, SecretPlace
from chargeline.domain.errors import Refused, Undeliverable
from chargeline.ports import Clock, Notifier


def make_notifier(config: ChannelConfig, environment: Mapping[str, str], clock: Clock) -> Notifier:
    """The notifier of a channel.

    Raises:
        Refused: SECRET_MISSING if a variable or file is not there or empty; BAD_CHANNEL if the address is none.
    """
    # At DEBUG the HTTP library names the path of every request, and a webhook's path is a secret.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    found = {name: _secret(config.channel, place, environment) for name, place in config.secrets}
    if config.kind == "alertmanager":
        return AlertmanagerNotifier(found["url"], found.get("bearer"))
    if config.kind == "webhook":
        return WebhookNotifier(found["url"], found["secret"].encode(), clock, found.get("bearer"))
    if config.kind == "apprise":
        try:
            return AppriseNotifier(found["url"])
        except Undeliverable as error:
            raise Refused("BAD_CHANNEL", f"channel {config.channel}: {error}") from None
    return LogNotifier()


def _secret(channel: str, place: SecretPlace, environment: Mapping[str, str]) -> str:
    if place.kind == "plain":
        return place.name
    if place.kind == "env":
        value = environment.get(place.name, "").strip()
        where = f"the environment variable {place.name}"
    else:
        where = f"the file {place.name}"
        try:
            value = Path(place.name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(
                "SECRET_MISSING", f"channel {channel}: {where} cannot be read: {type(error).__name__}"
            ) from None
    if not value:
        raise Refused("SECRET_MISSING", f"channel {channel}: {where} is not set or empty")
    return value
