"""The account minimum: what an account pays at least in a billing period, before credits (spec/rating.md 8)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.closing.entries import CORRECTION, Booked, Period, Scope, Span, q12
from chargeline.domain.closing.proration import prorate
from chargeline.domain.closing.settlement import true_up
from chargeline.domain.money import PICOS


@dataclass(frozen=True)
class SettledMinimum:
    """A closed period of an account with a minimum; picounits.

    Attributes:
        total: sum of its entries before credits, its late corrections included.
        booked: its true-up so far.
    """

    period: Period
    minimum: int
    total: int
    booked: int


def account_minimum(minimums: Iterable[tuple[int, Span]], period: Period) -> int:
    """M in picounits: the minimum (for a whole period) of each version of the account, by the days it is in force."""
    return q12(sum((prorate(Fraction(each, PICOS), used, period) for each, used in minimums), Fraction(0)))


def minimum_entries(
    entries: Sequence[Booked],
    minimum: int,
    settled: Sequence[SettledMinimum],
    period: Period,
) -> tuple[list[Booked], tuple[SettledMinimum, ...]]:
    """The account minimum's TRUE_UP of a period, after the changes that corrections make to those of earlier ones.

    The sum is that of `effective_cost`: what is covered by a commitment paid up front counts when it is used, not when
    it is paid: else the period of the purchase would pay the minimums of the whole term, and every other one again.
    Entries of class CORRECTION count for the closed period that they are about.

    Args:
        entries: all of the period before credits.
        minimum: M, picounits; 0: none.

    Returns:
        (entries, the settled minimums to carry on), both by period.
    """
    made: list[Booked] = []
    known: list[SettledMinimum] = []
    current = sum(each.effective_cost for each in entries if each.charge_class != CORRECTION)
    closed = [replace(each, total=each.total + sum(_corrected(entries, each.period))) for each in settled]
    for each in sorted([*closed, SettledMinimum(period, minimum, current, 0)], key=lambda each: each.period.start):
        amount = true_up(each.minimum, each.total) if each.minimum else 0
        if amount != each.booked:
            made.append(_entry(amount - each.booked, each.period, None if each.period == period else CORRECTION))
        if each.minimum:
            known.append(replace(each, booked=amount))
    return made, tuple(known)


def _corrected(entries: Sequence[Booked], period: Period) -> list[int]:
    return [each.effective_cost for each in entries if each.charge_class == CORRECTION and each.usage == period]


def _entry(amount: int, period: Period, charge_class: str | None) -> Booked:
    return Booked(
        "TRUE_UP",
        "ADJUSTMENT",
        period.last,
        0,
        amount,
        amount,
        charge_class=charge_class,
        scope=Scope(account_minimum=True),
        usage=period,
    )
