"""`chargeline generate`: made-up usage with exact expected totals."""

import json
from pathlib import Path
from typing import Annotated

import typer

from chargeline.adapters.clock import SystemClock
from chargeline.cli.common import AsJson, DataDir
from chargeline.cli.sending import Sender
from chargeline.domain.errors import Refused
from chargeline.runtime.stack import load_stack
from chargeline.sdk.encode import BadEvent, micros
from chargeline.sdk.traffic import Expected, PriceList, Spike, Traffic
from chargeline.sdk.traffic import generate as make

_HOURS = 1 / 6


def register(app: typer.Typer) -> None:
    app.command()(generate)


def generate(
    data: DataDir = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed and options, same events.")] = 1,
    events: Annotated[int, typer.Option(min=1, help="How many records.")] = 10_000,
    duplicates: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of repeated records.")] = 0.01,
    malformed: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of broken records.")] = 0.001,
    disorder: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of records that come late.")] = 0.0,
    accounts: Annotated[int, typer.Option(min=1, help="Number of billing accounts.")] = 50,
    spike: Annotated[
        list[str] | None, typer.Option(help="A burst: team=NAME, factor=N and at=SHARE of the time, by commas.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Events a second (default: as fast as it goes).")] = None,
    start: Annotated[str | None, typer.Option(help="event_time of the first one, e.g. 2026-01-01T00:00:00Z.")] = None,
    hours: Annotated[
        float | None, typer.Option(min=0.001, help="Spread event times over so long, up to now (default: 10 minutes).")
    ] = None,
    rates: Annotated[list[Path] | None, typer.Option(help="Rate cards for the expected bill.", exists=True)] = None,
    expect: Annotated[Path | None, typer.Option(help="Write the exact expected totals here, as JSON.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when everything is in ClickHouse.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send made-up usage.

    Example: chargeline generate --seed 7 --events 100000 --rates examples/rates/openai.yaml --expect expected.json
    """
    if rate is not None and hours is not None:
        raise Refused("BAD_OPTION", "--rate sends as time goes on, --hours tells of hours that have passed: give one")
    duration = int((hours or _HOURS) * 3_600_000_000) if rate is None else int(events / rate * 1_000_000)
    begin = SystemClock().now_ms() * 1000 - (duration if rate is None else 0)
    traffic = Traffic(
        seed=seed,
        events=events,
        start=_instant(start) if start else begin,
        duration_us=duration,
        accounts=accounts,
        duplicates=duplicates,
        malformed=malformed,
        disorder=disorder,
        spikes=tuple(_spike(text) for text in spike or ()),
        even=rate is not None,
    )
    expected = Expected()
    sender = Sender(load_stack(data))
    prices = PriceList(rates) if rates else None
    sender.send_all(make(traffic, sender.schema_id, expected, prices), events, rate, "generating")
    if expect is not None:
        expect.write_text(json.dumps(expected.as_dict(), indent=2) + "\n")
    sender.outcomes(wait=wait, as_json=as_json)


def _instant(text: str) -> int:
    try:
        return micros(text, "--start")
    except (BadEvent, ValueError) as error:
        raise Refused("BAD_OPTION", str(error)) from error


def _spike(text: str) -> Spike:
    try:
        parts = dict(part.split("=", 1) for part in text.split(","))
        return Spike(parts["team"], int(parts["factor"]), float(parts.get("at", "0.5")))
    except (KeyError, ValueError) as error:
        raise Refused("BAD_OPTION", "--spike is team=NAME,factor=N,at=SHARE") from error
