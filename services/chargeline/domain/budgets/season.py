"""What part of a period's spend is usual by now: from what each day of the week brought so far.

    weights   for each day of the week, spend of the whole weeks (two to four) before today
    share     weights of the period's days before now / weights of all its days; of today, the part that is over

Inside a day spend is taken to be even: totals are kept by day. Whole numbers and fractions, nothing is rounded.
"""

from fractions import Fraction

from chargeline.domain.budgets.budget import Budget
from chargeline.domain.budgets.periods import DAY_US
from chargeline.domain.budgets.spend import Spend

WEEKS_LEAST, WEEKS_MOST = 2, 4
Weights = tuple[int, ...]


def weekday_weights(budget: Budget, spend: Spend, now: int) -> Weights | None:
    """Spend by day of the week, picounits, the first one that of day 1970-01-01 and of every seventh day after it.

    Args:
        now: microseconds since 1970 UTC; the weeks end with the day before.

    Returns:
        None: less than two weeks are known, or nothing was spent in them.
    """
    today = now // DAY_US * DAY_US
    first = today - WEEKS_MOST * 7 * DAY_US
    by_day = spend.days.by_start(budget.scope, budget.currency, first, today)
    known = [start for start, picos in by_day.items() if picos > 0]
    since = max(min(known, default=today), spend.complete_from or 0)
    weeks = min(WEEKS_MOST, (today - since) // (7 * DAY_US))
    if weeks < WEEKS_LEAST:
        return None
    weights = [0] * 7
    for start, picos in by_day.items():
        if start >= today - weeks * 7 * DAY_US:
            weights[start // DAY_US % 7] += max(picos, 0)
    return tuple(weights) if any(weights) else None


def usual_share(weights: Weights, start: int, end: int, now: int) -> Fraction | None:
    """Part of the spend of a period [start, end) that is usual by `now`, 0 to 1; None: its days bring nothing.

    Args:
        start, end: whole days; all three in microseconds since 1970 UTC.
    """
    days = range(start // DAY_US, end // DAY_US)
    whole = sum(weights[day % 7] for day in days)
    if not whole:
        return None
    today = now // DAY_US
    before = sum(weights[day % 7] for day in days if day < today)
    return Fraction(before + weights[today % 7] * Fraction(now - today * DAY_US, DAY_US)) / whole
