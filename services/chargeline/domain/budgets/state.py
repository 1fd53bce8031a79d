"""What a budget stands at: spent, state, forecast and burn rate. Exact fractions; rounded once, where it is shown.

    state       EXCEEDED: spent >= hard; WARN: spent >= the lowest soft threshold; else OK
    forecast    spent / share, where share is the part of the period's spend that is usual by now (budget_season.py);
                without one, elapsed / length (the run rate)
    burn rate   (spent in a window / length of the window) / (hard / length of the period): 1 spends it exactly

A burn-rate alert needs a long window, so that it matters, and a short one, so that it still goes on: 1 h and 5 min at
14.4 times, 6 h and 30 min at 6 times. Source: Google, The Site Reliability Workbook, "Alerting on SLOs", part 6.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.budgets.budget import Budget
from chargeline.domain.budgets.season import Weights, usual_share
from chargeline.domain.budgets.spend import FIVE_US, Spend, amount, picos_of
from chargeline.domain.money import rounded

OK, WARN, EXCEEDED = "OK", "WARN", "EXCEEDED"
FORECAST_FROM = Fraction(1, 10)  # of the period: before it, one busy hour would be taken for all of them
_MINUTE_US = 60 * 1_000_000
_HOUR_US = 60 * _MINUTE_US


@dataclass(frozen=True)
class BurnRule:
    """Both windows at `factor` times the even rate."""

    name: str
    long_us: int
    short_us: int
    factor: Fraction


BURN_RULES = (
    BurnRule("FAST", _HOUR_US, 5 * _MINUTE_US, Fraction(72, 5)),
    BurnRule("SLOW", 6 * _HOUR_US, 30 * _MINUTE_US, Fraction(6)),
)


@dataclass(frozen=True)
class Burn:
    """A rule's answer.

    Attributes:
        rate: times the even rate, over the long window, one decimal.
        gone_in_h: hours until the hard threshold at the long window's rate, one decimal; None: never.
        is_burning: both windows are at the factor, and the budget would be gone before the period ends.
    """

    name: str
    rate: Decimal
    gone_in_h: Decimal | None
    is_burning: bool


@dataclass(frozen=True)
class Standing:
    """Where a budget stands in the period that holds now.

    Attributes:
        start, end: of the period, microseconds since 1970 UTC.
        spent, hard: in the budget's currency. `soft`: amounts, ascending.
        forecast: of the whole period, 12 decimals; None: too early to tell.
        other_currencies: in which there was spend that this budget cannot count.
        is_complete: False: spend of the period's beginning may be missing.
    """

    budget: Budget
    start: int
    end: int
    spent: Decimal
    hard: Decimal
    soft: tuple[Decimal, ...]
    state: str
    forecast: Decimal | None
    burns: tuple[Burn, ...]
    other_currencies: tuple[str, ...]
    is_complete: bool


def standing(budget: Budget, spend: Spend, now: int, weights: Weights | None = None) -> Standing | None:
    """Where a budget stands at an instant (microseconds since 1970 UTC); None: outside its fixed dates.

    Args:
        weights: usual spend by day of the week, as `budget_season.weekday_weights` has it; None: every day alike.
    """
    bounds = budget.period.bounds(now)
    if bounds is None:
        return None
    start, end = bounds
    sums = spend.days.sums(budget.scope, start, end)
    picos = sums.pop(budget.currency, 0)
    spent, hard = amount(picos), budget.hard.of(budget.limit)
    soft = tuple(each.of(budget.limit) for each in budget.soft)
    elapsed = now - start
    share = None if weights is None else usual_share(weights, start, end, now)
    foreseen = forecast(picos, elapsed, end - start, share)
    return Standing(
        budget,
        start,
        end,
        spent,
        hard,
        soft,
        state_of(spent, soft, hard),
        None if foreseen is None else rounded(foreseen / 10**12, 12),
        tuple(_burn(rule, budget, spend, now, (start, end), picos_of(hard) - picos) for rule in BURN_RULES),
        tuple(sorted(currency for currency, other in sums.items() if other)),
        spend.complete_from is None or spend.complete_from <= start,
    )


def state_of(spent: Decimal, soft: tuple[Decimal, ...], hard: Decimal) -> str:
    """OK, WARN or EXCEEDED; a threshold is reached when it is met."""
    if spent >= hard:
        return EXCEEDED
    return WARN if any(spent >= each for each in soft) else OK


def forecast(spent: int, elapsed_us: int, length_us: int, share: Fraction | None = None) -> Fraction | None:
    """Spend of the whole period, in the unit of `spent`.

    Returns:
        None while less than `FORECAST_FROM` of the period, or of its usual spend, is over.
    """
    part = Fraction(elapsed_us, length_us)
    share = part if share is None else share
    if min(part, share) < FORECAST_FROM:
        return None
    return Fraction(spent) / share


def _burn(rule: BurnRule, budget: Budget, spend: Spend, now: int, bounds: tuple[int, int], left: int) -> Burn:
    """`left`: picounits until the hard threshold."""
    start, end = bounds
    even = Fraction(picos_of(budget.hard.of(budget.limit)), end - start)
    long, short = (_rate(budget, spend, now, window) for window in (rule.long_us, rule.short_us))
    gone_us = Fraction(left) / long if long > 0 and left > 0 else None
    return Burn(
        rule.name,
        rounded(long / even, 1),
        None if gone_us is None else rounded(gone_us / _HOUR_US, 1),
        gone_us is not None and min(long, short) >= rule.factor * even and now + gone_us < end,
    )


def _rate(budget: Budget, spend: Spend, now: int, window_us: int) -> Fraction:
    """Picounits a microsecond over the window, which is extended back to whole five minutes."""
    since = (now - window_us) // FIVE_US * FIVE_US
    # To the end of the bucket that now lies in: an event may be a little ahead of this machine's clock.
    sums = spend.fives.sums(budget.scope, since, now + FIVE_US)
    return Fraction(sums.get(budget.currency, 0), now - since)
