"""`chargeline accounts close-period`: close a billing period of an account for ever."""

import sys
import time
from typing import Annotated, Any

import numpy as np
import typer

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clock import SystemClock
from chargeline.cli.common import AsJson, DataDir, moment, print_json
from chargeline.cli.publishing import governance_log, instant_argument
from chargeline.cli.sending import Sender
from chargeline.domain.errors import Refused
from chargeline.domain.periods import billing_period
from chargeline.domain.rates.card import instant
from chargeline.runtime.stack import Stack, load_stack
from chargeline.wire.usage_encoder import framed

_WAIT_S = 60.0
_CLOSED = ("SELECT source_offset FROM charges WHERE billing_account_id = {account:String} "
           "AND event_kind = 'PERIOD_CLOSE' AND billing_period_start = {start:DateTime64(6, 'UTC')}")  # fmt: skip
_REFUSED = ("SELECT code FROM dead_letters FINAL WHERE source_topic = 'usage-events' AND source_partition = {p:Int32} "
            "AND source_offset >= {o:Int64} AND hex(value) = {value:String}")  # fmt: skip


def close_period(
    account: Annotated[str, typer.Option(help="The billing account.")],
    period: Annotated[str, typer.Option(help="The month in which the period begins, e.g. 2026-10.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when the period is closed.")] = True,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Close a billing period of an account for ever.

    What comes later for it is booked as a correction in the open one. It cannot be opened again. Closing it again
    changes nothing.

    Example: chargeline accounts close-period --account acme --period 2026-10
    """
    stack, clock = load_stack(data), SystemClock()
    start, end = _span(stack, account, period, clock)
    if end > clock.now_ms() * 1000:
        raise Refused("NOT_OVER", f"the period that begins at {instant(start)} is not over before {instant(end)}")
    sender = Sender(stack)
    events = framed(_record(account, start), 1, sender.schema_id)
    sender.send_batch(events)
    sender.flush()
    found: dict[str, Any] = {"billing_account_id": account, "period_start": instant(start), "period_end": instant(end)}
    place = sender.starts_at(account)
    sender.close()
    found["state"] = _waited(stack, account, start, place, events.values[0]) if wait else "sent"
    if as_json:
        print_json(found)
    else:
        sys.stdout.write(f"{account}: {instant(start)} to {instant(end)}: {found['state']}\n")


def _span(stack: Stack, account: str, period: str, clock: SystemClock) -> tuple[int, int]:
    """The period that begins in a month, by the account's facts; a cycle day is the 28th at the latest."""
    inside = instant_argument(f"{period}-28")
    with governance_log(stack, clock) as governance:
        chain = governance.chain
        count = int(chain.visible_count(np.array([clock.now_ms()]), stack.governance_margin_ms)[0])
        return billing_period(inside, chain.accounts(count).at(account, inside).billing_cycle_day)


def _record(account: str, start: int) -> dict[str, Any]:
    return {
        "event_id": f"close/{instant(start)}",
        "source": "chargeline",
        "event_kind": "PERIOD_CLOSE",
        "event_time": start,
        "billing_account_id": account,
        "provider_name": "chargeline",
        "request_model": "none",
        "operation_name": "control",
        "requests": 0,
    }


def _waited(stack: Stack, account: str, start: int, place: tuple[int, int], value: bytes) -> str:
    """`closed`, once ClickHouse tells so. Raises Refused."""
    warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_user, stack.clickhouse_password)
    refused = {"p": place[0], "o": place[1], "value": value.hex().upper()}
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        if warehouse.query(_CLOSED, {"account": account, "start": moment(start)}).num_rows:
            return "closed"
        for letter in warehouse.query(_REFUSED, refused).to_pylist():
            raise Refused(
                _text(letter["code"]),
                f"the period of {account} was not closed: see `chargeline dlq list`; UNSUPPORTED: "
                "CHARGELINE_CONTROL_SOURCES leaves out chargeline; AMOUNT_OVERFLOW: it would book 1e26 or more",
            )
        time.sleep(0.2)
    raise Refused("NOT_CLOSED", f"the period of {account} is not closed after {_WAIT_S:.0f} s: see `chargeline status`")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
