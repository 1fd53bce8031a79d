"""`chargeline prorate`: the part of a period's amount that is due for a time in use; no server runs."""

import sys
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Annotated

import typer

from chargeline.domain.closing.entries import Period, Span
from chargeline.domain.closing.proration import (
    day_share,
    days_between,
    days_in_use,
    second_share,
    seconds_between,
    seconds_in_use,
)
from chargeline.domain.errors import Refused
from chargeline.domain.money import NotANumber, parse_decimal, plain, rounded
from chargeline.sdk.encode import BadEvent, micros


class Unit(StrEnum):
    """What is counted."""

    DAY = "day"
    SECOND = "second"


def register(app: typer.Typer) -> None:
    app.command()(prorate)


def prorate(
    amount: Annotated[str, typer.Option(help="What a whole period costs.")],
    used_from: Annotated[str, typer.Option("--from", help="Start of the time in use, e.g. 2026-07-09T00:00:00Z.")],
    used_to: Annotated[str, typer.Option("--to", help="Its end, exclusive.")],
    period_from: Annotated[str, typer.Option(help="Start of the billing period.")],
    period_to: Annotated[str, typer.Option(help="Its end, exclusive.")],
    unit: Annotated[Unit, typer.Option(help="day: the rule for fees; second: exact seconds, to compare.")] = Unit.DAY,
) -> None:
    """Prorate an amount by the part of a period that was in use.

    Prints used and period in the unit, whole UTC days by default, and the amount due, rounded to 12 decimals.

    Example: chargeline prorate --amount 310 --from 2026-07-09T00:00:00Z --to 2026-08-01T00:00:00Z
    --period-from 2026-07-01T00:00:00Z --period-to 2026-08-01T00:00:00Z
    """
    whole = _amount(amount)
    used = Span(_instant(used_from, "--from"), _instant(used_to, "--to"))
    period = Period(_instant(period_from, "--period-from"), _instant(period_to, "--period-to"))
    if used.end is not None and used.end < used.start:
        raise typer.BadParameter(f"--to {used_to} is before --from {used_from}")
    by_day = unit is Unit.DAY
    try:
        share = day_share(used, period) if by_day else second_share(used, period)
    except Refused as error:
        raise typer.BadParameter(error.reason) from error
    counted = days_in_use(used, period) if by_day else seconds_in_use(used, period)
    length = days_between(period.start, period.end) if by_day else seconds_between(period.start, period.end)
    due = plain(rounded(Fraction(whole) * share, 12))
    # Written by hand: JSON's own numbers of microseconds would be binary floats.
    sys.stdout.write(f'{{"used":{_number(counted)},"period":{_number(length)},"unit":"{unit}","amount":"{due}"}}\n')


def _number(count: int | Fraction) -> str:
    return plain(rounded(Fraction(count), 6))


def _amount(text: str) -> Decimal:
    try:
        return parse_decimal(text)
    except NotANumber as error:
        raise typer.BadParameter(f"--amount must be a plain decimal number such as 310.5, not {text}") from error


def _instant(text: str, option: str) -> int:
    try:
        return micros(text, option)
    except (BadEvent, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
