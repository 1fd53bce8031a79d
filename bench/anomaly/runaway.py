"""How long after spend passes the line of an open window it is flagged, with 1,000 active series.

Time is that of the units: one every `unit_s`, as the pricer commits them, each with spend of every series. In ten
accounts one team each begins to spend a hundred times the usual, at ten places of a window. The line is worked out here
from what is usual, to the microsecond; the delay is from there to the end of the unit that flags it, plus what taking
that unit costs. Usage: python -m bench.anomaly.runaway [seconds between units]
"""

import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.domain.anomaly.cells import EVENTS, MEASURES
from chargeline.domain.anomaly.panes import CURRENCY, DIMENSIONS, Panes, Unit
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.columns.exact import Exact
from chargeline.domain.usage import Text

ACCOUNTS, TEAMS = 10, 99  # 990 teams and 10 accounts: 1,000 series
WINDOW_S = 300
START_S = 1_767_225_600 + 12 * 3600
RATE, FACTOR = 0.01, 100.0  # spend of a team and second, in the currency; of one that runs away: times
DEVIATION = 0.1  # of what is usual
RULES = Rules(window_us=WINDOW_S * 1_000_000, bound_us=60_000_000, sets=(("team",),), minimum_impact=Decimal(1))


def begins() -> list[float]:
    """Seconds into the window at which the first team of each account begins."""
    return [7.3 + 27.1 * account for account in range(ACCOUNTS)]


def passes(begin_s: float) -> float:
    """Seconds into the window at which the spend of such a team passes the line.

    The line: the surprise of an alert were the window over now, with the tails that detectors begin with (a 95 %
    quantile of 1.5 and a mean excess of 0.5) and two windows before it as usual; and three times what is usual by this
    moment.
    """
    usual, step = RATE * WINDOW_S, 0.001
    surprise = shipped_parameters("cost").spend_threshold
    at = np.arange(begin_s, WINDOW_S, step)
    spent = RATE * begin_s + (at - begin_s) * RATE * FACTOR
    apart = 3**0.5 * (1.5 + 0.5 * (surprise + np.log10(0.05)) * np.log(10))  # deviations
    line = usual * np.maximum(1 + apart * DEVIATION, RULES.runaway_factor * at / WINDOW_S)
    return float(at[(spent > line) & (spent - usual * at / WINDOW_S >= float(RULES.minimum_impact))][0])


def measured(
    unit_s: float = 1.0, ahead_s: float = 0.0, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Delays in seconds.

    Args:
        ahead_s: a producer whose clock runs ahead by so much sends one event at the beginning: it opens a later window.
        clock: of what taking a unit costs, seconds.
    """
    watch = _learned()
    delays: dict[str, float] = {}
    took = []
    for unit in range(int(WINDOW_S / unit_s)):
        since, until = unit * unit_s, (unit + 1) * unit_s
        watermark = round((START_S + until - 60) * 1e6)
        found = Unit(1000 + unit, 1001 + unit, watermark, 0, _panes(since, until, ahead_s if unit == 0 else 0.0), None)
        began = clock()
        updates = watch.take(found)
        took.append(clock() - began)
        for update in updates:
            if update.kind == "RUNAWAY" and update.sequence == 1:
                line = passes(begins()[int(update.billing_account_id.partition("-")[2])])
                delays[update.billing_account_id] = until - line + took[-1]
    worst = max(delays.values(), default=float("inf"))
    return {
        "runaway_active_series": len(watch.table),
        "runaway_found": f"{len(delays)}/{ACCOUNTS}",
        "runaway_delay_s_max": round(worst, 2),
        "runaway_unit_ms": round(1000 * float(np.median(took)), 1),
    }


def _learned() -> Watch:
    """Every series known, with what it usually spends in a window."""
    watch = Watch(0, RULES, shipped_parameters("cost"))
    watch.take(Unit(0, 1, round((START_S - WINDOW_S) * 1e6), 0, _panes(-WINDOW_S, 0, 0.0), None))
    state, size = watch.scorer.light.state, len(watch.table.names)
    usual = np.full(size, RATE * WINDOW_S)
    usual[[not name.dimensions for name in watch.table.names if name is not None]] *= TEAMS
    for name in ("day", "week"):
        state[name][:] = usual
        state[f"{name}_rows"][:] = 100
    state["deviation"][:] = state["deviation_all"][:] = usual * DEVIATION
    state["rows"][:] = state["active"][:] = 8_000
    state["begun"][:] = START_S - 28 * 86_400
    return watch


def _panes(since: float, until: float, ahead_s: float) -> Panes:
    """Spend of every team in [since, until), seconds into the window that is looked at."""
    account = np.repeat(np.arange(ACCOUNTS), TEAMS)
    team = np.tile(np.arange(TEAMS), ACCOUNTS)
    over = np.maximum(0.0, until - np.maximum(since, np.array(begins())[account])) * (team == 0) * (since >= 0)
    spend = np.rint(RATE * ((until - since) + (FACTOR - 1) * over) * 1e12).astype(np.int64)
    start = np.full(len(account), round((START_S + (0 if since >= 0 else -WINDOW_S)) * 1e6))
    if ahead_s:
        start[-1] += round(ahead_s // WINDOW_S * WINDOW_S * 1e6)
    measures = np.zeros((len(MEASURES), len(account)), np.int64)
    measures[EVENTS] = 1
    nothing = Text(np.full(len(account), -1, np.int32), _array([]))
    texts = dict.fromkeys((*DIMENSIONS, CURRENCY), nothing) | {
        "billing_account_id": Text(account.astype(np.int32), _array([f"account-{n}" for n in range(ACCOUNTS)])),
        "team": Text(team.astype(np.int32), _array([f"team-{n}" for n in range(TEAMS)])),
        "request_model": Text(np.zeros(len(account), np.int32), _array(["m"])),
        CURRENCY: Text(np.zeros(len(account), np.int32), _array(["USD"])),
    }
    return Panes(texts, start, np.arange(len(account)), Exact(spend), measures)


def _array(values: list[str]) -> Any:
    return pa.array(values, pa.string())


if __name__ == "__main__":
    print(json.dumps(measured(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)))
