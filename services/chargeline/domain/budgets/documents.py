"""The state of a scope's budgets as one compact JSON document, for whoever must decide in the request path."""

import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from chargeline.domain.budgets.spend import amount, picos_of
from chargeline.domain.budgets.state import EXCEEDED, OK, WARN, Standing
from chargeline.domain.money import plain
from chargeline.domain.rates.card import instant

_ORDER = {EXCEEDED: 0, WARN: 1, OK: 2}


def document(standings: Sequence[Standing], updated_at: int, next_offset: int) -> str:
    """The document of one scope (docs/budgets.md).

    Its own fields are those of the tightest budget: the worst state, then the least remaining share. A scope with
    several budgets has all of them, tightest first, in `budgets`.

    Args:
        standings: of all budgets of the scope that hold now, at least one.
        updated_at: microseconds since 1970 UTC; spend is complete up to there.
        next_offset: of `cost-rollups`: an older document never takes the place of a newer one.
    """
    ordered = sorted(standings, key=lambda each: (_ORDER[each.state], _left_share(each), each.budget.budget_id))
    fields = _fields(ordered[0]) | {"updated_at": instant(updated_at), "next_offset": next_offset}
    if len(ordered) > 1:
        fields["budgets"] = [_fields(each) for each in ordered]
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _left_share(standing: Standing) -> Fraction:
    return 1 - Fraction(standing.spent) / Fraction(standing.hard)


def _fields(standing: Standing) -> dict[str, Any]:
    budget = standing.budget
    fields: dict[str, Any] = {
        "budget_id": budget.budget_id,
        "state": standing.state,
        "unit": budget.currency,
        "spent": plain(standing.spent),
        "limit": plain(budget.limit),
        "hard": plain(standing.hard),
        "remaining": plain(amount(picos_of(budget.limit) - picos_of(standing.spent))),
        "period": str(budget.period),
        "period_start": instant(standing.start),
        "period_end": instant(standing.end),
        "forecast": None if standing.forecast is None else plain(standing.forecast),
        "complete": standing.is_complete,
    }
    if standing.soft:
        fields["soft"] = plain(standing.soft[0])
    if standing.other_currencies:
        fields["other_currencies"] = list(standing.other_currencies)
    return fields
