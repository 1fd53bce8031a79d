"""Which alert goes to which channel: the configuration file, and the choice by owner.

A channel's address is a secret, so the file only says where it is found: in a variable of the environment or in a
file. A secret that stands in the file itself is refused, and no message quotes it.
"""

import re
from dataclasses import dataclass

from chargeline.domain.alerts.alert import RESOLVED, SEVERITIES, Alert, rank
from chargeline.domain.documents import BadDocument, Place, Problem, read_document
from chargeline.domain.fields import Fields

KINDS = ("alertmanager", "webhook", "apprise", "log")
# What each kind must and may have, besides channel and kind; each as <name>_env or <name>_file.
_NEEDED = {"alertmanager": ("url",), "webhook": ("url", "secret"), "apprise": ("url",), "log": ()}
_ALLOWED = {"alertmanager": ("bearer",), "webhook": ("bearer",), "apprise": (), "log": ()}
_KEEPERS = ("alertmanager", "webhook")  # keep an incident open until they are told of its end
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")  # it is part of a consumer group's name
_LINK_FIELDS = {"anomaly_id", "account", "team"}
_TOP = frozenset({"link", "channels", "routes", "default"})
_ROUTE = frozenset({"account", "team", "severity_min", "channels"})


@dataclass(frozen=True)
class SecretPlace:
    """Where a secret is found; `kind` is env, file, or plain for an address that is none."""

    kind: str
    name: str


@dataclass(frozen=True)
class ChannelConfig:
    """One channel: its kind, and where its secrets are, by name (url, secret, bearer)."""

    channel: str
    kind: str
    secrets: tuple[tuple[str, SecretPlace], ...] = ()


@dataclass(frozen=True)
class Route:
    """Channels of an owner. None: any account, any team."""

    account: str | None
    team: str | None
    severity_min: str
    channels: tuple[str, ...]


@dataclass(frozen=True)
class AlertsConfig:
    """A configuration file. `link`: as `alert_text.notification` takes it."""

    link: str
    channels: tuple[ChannelConfig, ...]
    routes: tuple[Route, ...]
    default: tuple[str, ...]


def channels_of(alert: Alert, config: AlertsConfig) -> tuple[str, ...]:
    """The channels of an alert, sorted; none if it is muted, but for its end.

    What was told before a mute must not stay open for ever where machines keep incidents: the end of a muted one goes
    to them, and ends nothing where nothing was begun.

    The most specific routes of its owner decide: those for its account and team, else its team, else its account,
    else the default. A route whose `severity_min` is higher keeps the alert away from its channels; it does not make
    the alert fall through to a less specific route.
    """
    if alert.is_muted:
        keepers = {each.channel for each in config.channels if each.kind in _KEEPERS} if alert.state == RESOLVED else ()
        return tuple(each for each in _of_owner(alert, config) if each in keepers)
    return _of_owner(alert, config)


def _of_owner(alert: Alert, config: AlertsConfig) -> tuple[str, ...]:
    team, account = alert.team, alert.billing_account_id
    owners = [(account, team), (None, team), (account, None)] if team is not None else [(account, None)]
    for owner in owners:
        routes = [route for route in config.routes if (route.account, route.team) == owner]
        if routes:
            chosen = (route for route in routes if rank(alert.severity) >= rank(route.severity_min))
            return tuple(sorted({channel for route in chosen for channel in route.channels}))
    return config.default


def read_alerts(text: str) -> AlertsConfig:
    """Read a configuration file. Raises BadDocument with the line of every fault."""
    document = read_document(text)
    if not isinstance(document, Place):
        raise BadDocument([Problem("BAD_VALUE", "the document is a mapping with channels, routes and default")])
    fields = Fields()
    fields.keys(document, _TOP, ("channels", "default"))
    channels = tuple(_channel(fields, each) for each in fields.places(document, "channels"))
    _no_name_twice(fields, document)
    names = {each.channel for each in channels}
    routes = tuple(_route(fields, each, names) for each in fields.places(document, "routes"))
    default = _named(fields, document, "default", names)
    link = _link(fields, document)
    if fields.problems:
        raise BadDocument(sorted(fields.problems, key=lambda each: (each.line, each.column)))
    return AlertsConfig(link, channels, routes, default)


def _channel(fields: Fields, place: Place) -> ChannelConfig:
    kind = fields.choice(place, "kind", KINDS) or ""
    needed, allowed = _NEEDED.get(kind, ()), _ALLOWED.get(kind, ())
    known = {f"{name}_{source}" for name in (*needed, *allowed) for source in ("env", "file")}
    plain = {"url"} if kind == "alertmanager" else set()
    # Told by itself, and before the unknown keys: the value must not travel into a log by way of a message.
    forbidden = {key for key in ("url", "secret", "bearer", "password", "token") if key in place} - plain
    for key in sorted(forbidden):
        fields.fault(place, key, "SECRET_IN_FILE", f"{key} is a secret: name its place by {key}_env or {key}_file")
    if kind:
        fields.keys(place, frozenset({"channel", "kind", *known, *plain, *forbidden}), ("channel", "kind"))
    else:
        fields.keys(place, frozenset(place), ("channel", "kind"))
    name = fields.text(place, "channel") or ""
    if name and not _NAME.fullmatch(name):
        fields.fault(place, "channel", "BAD_VALUE", "a channel's name has a to z, 0 to 9 and -, and at most 63 of them")
    secrets = [(each, _secret(fields, place, each, required=each in needed)) for each in (*needed, *allowed)]
    return ChannelConfig(name, kind, tuple((each, found) for each, found in secrets if found is not None))


def _secret(fields: Fields, place: Place, name: str, *, required: bool) -> SecretPlace | None:
    sources = {"env": f"{name}_env", "file": f"{name}_file", "plain": name}
    given = [(source, key) for source, key in sources.items() if place.get(key) is not None]
    if len(given) > 1:
        fields.fault(place, given[1][1], "BAD_VALUE", f"{given[0][1]} and {given[1][1]} exclude each other")
    if not given:
        if required:
            fields.fault(place, "channel", "MISSING_KEY", f"{name}_env or {name}_file is required")
        return None
    source, key = given[0]
    value = fields.text(place, key)
    if value is not None and source == "env" and not _VARIABLE.fullmatch(value):
        fields.fault(place, key, "BAD_VALUE", f"{key} is the name of an environment variable, not its value")
    return SecretPlace(source, value or "")


def _route(fields: Fields, place: Place, names: set[str]) -> Route:
    fields.keys(place, _ROUTE, ("channels",))
    account, team = fields.text(place, "account"), fields.text(place, "team")
    if account is None and team is None:
        fields.fault(place, "channels", "MISSING_KEY", "a route names an account, a team or both; else use default")
    severity = fields.choice(place, "severity_min", SEVERITIES) or SEVERITIES[0]
    return Route(account, team, severity, _named(fields, place, "channels", names))


def _named(fields: Fields, place: Place, key: str, names: set[str]) -> tuple[str, ...]:
    if place.get(key) is None:
        return ()
    found = fields.values(place, key)
    for each in found:
        if each not in names:
            fields.fault(place, key, "UNKNOWN_CHANNEL", f"{each} is not one of the channels")
    return found


def _no_name_twice(fields: Fields, document: Place) -> None:
    seen: set[str] = set()
    for each in fields.places(document, "channels"):
        name = each.get("channel")
        if isinstance(name, str) and name in seen:
            fields.fault(each, "channel", "DUPLICATE_KEY", f"the channel {name} stands twice")
        seen.add(str(name))


def _link(fields: Fields, document: Place) -> str:
    link = fields.text(document, "link") or ""
    unknown = {part.split("}")[0] for part in link.split("{")[1:]} - _LINK_FIELDS
    if unknown or link.count("{") != link.count("}"):
        fields.fault(document, "link", "BAD_VALUE", "a link may have {anomaly_id}, {account} and {team} in it")
    return link
