"""A billing period cut into the parts in which neither the quantity of a fee nor the version in force changes.

Source: spec/allocation.md, section 1 (day rule).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.entries import Period, Span
from chargeline.domain.closing.proration import DAY, days_between

Version = TypeVar("Version")


@dataclass(frozen=True)
class FeePart(Generic[Version]):
    """Whole UTC days [start, end) with one version and one quantity.

    Attributes:
        version: None: none is in force.
        quantity: subscribed units, >= 0.
    """

    start: int
    end: int
    version: Version | None
    quantity: Fraction

    @property
    def days(self) -> int:
        """How many days the part has; at least 1."""
        return days_between(self.start, self.end)


def fee_parts(
    changes: Sequence[SubscriptionChange], versions: Sequence[tuple[Span, Version]], period: Period
) -> list[FeePart[Version]]:
    """The parts of a period, in order; they join.

    A UTC day has the quantity and the version that hold just before it ends. A running quantity below 0, which
    the reader of accounts refuses, counts as 0.

    Args:
        changes: any order; those before the period stay in it.
        versions: without overlaps.
    """
    edges = {edge for used, _ in versions for edge in (used.start, used.end) if edge is not None}
    edges |= {change.at for change in changes}
    days = {edge // DAY * DAY for edge in edges}
    starts = sorted({period.start, *(day for day in days if period.start < day < period.end)})
    return [
        FeePart(start, end, _in_force(versions, start), _quantity(changes, start))
        for start, end in zip(starts, [*starts[1:], period.end], strict=True)
    ]


def _in_force(versions: Sequence[tuple[Span, Version]], day: int) -> Version | None:
    night = day + DAY
    return next(
        (each for used, each in versions if used.start < night and (used.end is None or used.end >= night)), None
    )


def _quantity(changes: Sequence[SubscriptionChange], day: int) -> Fraction:
    running = sum((Fraction(change.quantity) for change in changes if change.at < day + DAY), Fraction(0))
    return max(running, Fraction(0))
