"""`chargeline notify …`: alert channels."""

import os
from pathlib import Path
from typing import Annotated

import typer

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.notifiers.channels import make_notifier
from chargeline.cli.common import AsJson, print_json, print_rows
from chargeline.cli.publishing import Files, check, in_file, read_text, stderr
from chargeline.domain.alerts.alert import OPEN, SEVERITIES, Alert
from chargeline.domain.alerts.routes import AlertsConfig, channels_of, read_alerts
from chargeline.domain.alerts.text import notification
from chargeline.domain.documents import BadDocument
from chargeline.domain.errors import ChannelAway, Refused, Undeliverable
from chargeline.runtime.logging import configure

Config = Annotated[
    Path,
    typer.Option("--config", envvar="CHARGELINE_NOTIFIER_CONFIG", help="File of alert channels.", exists=True,
                 dir_okay=False),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    notify = typer.Typer(help="Alert channels: validate, route, test, run.", no_args_is_help=True)
    notify.command()(validate)
    notify.command()(route)
    notify.command("test")(try_channel)
    notify.command()(run)
    app.add_typer(notify, name="notify")


def validate(files: Files, as_json: AsJson = False) -> None:
    """Check files of channels and routes.

    Exit code 2, and every problem with its line, if one is wrong.

    Example: chargeline notify validate alerts.yaml
    """
    check(files, lambda path: read_alerts(read_text(path)), as_json=as_json)


def route(
    config: Config,
    account: Annotated[str, typer.Option(help="billing_account_id.")],
    team: Annotated[str | None, typer.Option(help="Owner of the spend.")] = None,
    severity: Annotated[str, typer.Option(help=", ".join(SEVERITIES))] = "CRITICAL",
    as_json: AsJson = False,
) -> None:
    """Show to which channels an alert of an owner goes.

    Example: chargeline notify route --config alerts.yaml --account acme --team search
    """
    channels = channels_of(_example(SystemClock().now_ms(), account, team, severity), checked(config))
    if as_json:
        print_json(list(channels))
    else:
        print_rows([{"channel": each} for each in channels])


def try_channel(
    channel: Annotated[str, typer.Argument(help="Name of the channel.")],
    config: Config,
    as_json: AsJson = False,
) -> None:
    """Send a test message to a channel.

    Exit code 1 if the channel does not take it.

    Example: chargeline notify test ops --config alerts.yaml
    """
    configure("notifier")
    found, clock = checked(config), SystemClock()
    wanted = [each for each in found.channels if each.channel == channel]
    if not wanted:
        names = ", ".join(each.channel for each in found.channels)
        raise Refused("NO_CHANNEL", f"{channel} is not one of the channels: {names}")
    notifier = make_notifier(wanted[0], os.environ, clock)
    try:
        notifier.send(notification(_example(clock.now_ms(), "test-account", "test-team", "LOW"), found.link))
    except (ChannelAway, Undeliverable) as error:
        raise Refused("NOT_DELIVERED", f"channel {channel}: {error}") from None
    finally:
        notifier.close()
    if as_json:
        print_json({"channel": channel, "delivered": True})
    stderr().print(f"[green]delivered[/green] a test message to {channel}")


def run() -> None:
    """Run the notifier here.

    Its settings are those of the environment (docs/alerts.md).

    Example: chargeline notify run
    """
    from chargeline.notifier.__main__ import main  # noqa: PLC0415 - only this command needs the service

    raise typer.Exit(main([]))


def checked(path: Path) -> AlertsConfig:
    """The configuration of a file. Raises BadDocument with its name."""
    try:
        return read_alerts(read_text(path))
    except BadDocument as error:
        raise in_file(path, error.problems) from error


def _example(now_ms: int, account: str, team: str | None, severity: str) -> Alert:
    return Alert(
        anomaly_id="test",
        sequence=1,
        state=OPEN,
        kind="TEST",
        severity=severity,
        billing_account_id=account,
        dimensions=() if team is None else (("team", team),),
        what="this is a test message of Chargeline",
        unit="USD",
        actual=None,
        expected=None,
        since=now_ms * 1000,
        at=now_ms * 1000,
        explanation="somebody ran `chargeline notify test`",
    )
