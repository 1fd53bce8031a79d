"""Standing fees and units with one price: a price for each unit and billing period, prorated by whole days.

Source: spec/rating.md, section 4.2; spec/allocation.md, section 1; spec/formats.md, section 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.entries import Booked, Period, Rate, Scope, Span, of_rate, q12
from chargeline.domain.closing.fee_parts import FeePart, fee_parts
from chargeline.domain.closing.proration import days_between


@dataclass(frozen=True)
class FeeVersion:
    """A price while it is in force for the account: the card's validity, cut to that of the account or contract.

    Attributes:
        amount: for one subscribed unit and a whole period, in the pricing currency, after percentage discounts, >= 0.
        in_advance: booked at the start of the part in use; else at the close of the period.
        entry_kind: UNIT for a per_unit rate of recurring units.
    """

    used: Span
    amount: Fraction
    in_advance: bool
    rate: Rate
    entry_kind: Literal["STANDING_FEE", "UNIT"] = "STANDING_FEE"


@dataclass(frozen=True)
class StandingFee:
    """One subscription, or a fee that is due without one.

    Attributes:
        changes: those of one day count together; they stay in every later period.
        versions: without overlaps, ascending.
    """

    scope: Scope
    changes: tuple[SubscriptionChange, ...]
    versions: tuple[FeeVersion, ...]


def without_subscription(start: int) -> tuple[SubscriptionChange, ...]:
    """A fee of an account or contract card that no subscription names is due with quantity 1 (spec/formats.md 4)."""
    return (SubscriptionChange(start, Decimal(1)),)


def standing_entries(fee: StandingFee, period: Period) -> list[Booked]:
    """The entries of a fee in one period: those in advance by time, then one for each version in arrears.

    Quantities are unit-periods: a unit for half the days of the period counts 0.5. An entry of quantity 0 is left out.
    """
    parts = fee_parts(fee.changes, [(version.used, version) for version in fee.versions], period)
    return [*_in_advance(fee.scope, parts, period), *_in_arrears(fee.scope, parts, period)]


def _in_arrears(scope: Scope, parts: Sequence[FeePart[FeeVersion]], period: Period) -> Iterator[Booked]:
    """A version that holds in several parts of the period, e.g. around that of a contract, is one entry."""
    whole = days_between(period.start, period.end)
    units: dict[FeeVersion, Fraction] = {}
    for part in parts:
        if part.version is not None and not part.version.in_advance and part.quantity:
            version = replace(part.version, used=Span(period.start, period.end))
            units[version] = units.get(version, Fraction(0)) + part.quantity * Fraction(part.days, whole)
    for version, quantity in units.items():
        yield _entry(scope, version, quantity, period.last)


def _in_advance(scope: Scope, parts: Sequence[FeePart[FeeVersion]], period: Period) -> Iterator[Booked]:
    """A part in use is booked at its start, for all its days.

    A change within it credits the old for its remaining days and charges the new for the same days.
    """
    whole = days_between(period.start, period.end)
    old: tuple[FeeVersion, Fraction] | None = None
    for place, part in enumerate(parts):
        now = _advanced(part)
        if now == old:
            continue
        end = next((each.start for each in parts[place:] if _advanced(each) is None), period.end)
        share = Fraction(days_between(part.start, end), whole)
        if old is not None and now is not None:
            yield _entry(scope, old[0], -old[1] * share, part.start)
        if now is not None:
            yield _entry(scope, now[0], now[1] * share, part.start)
        old = now


def _advanced(part: FeePart[FeeVersion]) -> tuple[FeeVersion, Fraction] | None:
    """(version, quantity) of a part that is paid in advance; None: it is not, or nothing is in use."""
    is_due = part.version is not None and part.version.in_advance and part.quantity
    return (part.version, part.quantity) if is_due and part.version is not None else None


def _entry(scope: Scope, version: FeeVersion, units: Fraction, event_time: int) -> Booked:
    return of_rate(
        version.rate,
        scope,
        q12(version.amount * units),
        entry_kind=version.entry_kind,
        charge_category="PURCHASE",
        event_time=event_time,
        tier=1,
        quantity=units,
        unit_price=version.amount,
    )
