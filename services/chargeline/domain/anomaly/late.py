"""Late panes: a window that was judged already gets its right value, and what follows from it.

1. the detectors of the series take the right value in the place of the one they learned
2. incidents that hold the window get its amounts
3. a window that is odd only now opens an incident of its own: of the amounts, what came late is known exactly
"""

from typing import TYPE_CHECKING

import numpy as np

from chargeline.domain.anomaly.cells import Cells
from chargeline.domain.anomaly.incidents import Alert
from chargeline.domain.anomaly.judging import Window, least_of, sorted_out
from chargeline.domain.anomaly.scoring import SPEND

if TYPE_CHECKING:
    from chargeline.domain.anomaly.watch import Watch

_REASON = "more than usual, and part of it came late"


def correct(watch: "Watch", start: int, cells: Cells) -> int:
    """Put a window right; the number of alerts that it would have made.

    Args:
        start: of a window that is complete, microseconds.
        cells: what came late, deltas.
    """
    table = watch.table
    change = table.totals(cells.group, cells.spend())
    series = np.flatnonzero(change)
    late = watch.scorer.correct(table, series, start / 1e6, change[series])
    holding = set()
    for incident in watch.incidents:
        number = table.number_of(incident.scope)
        if number is None or not incident.window_start <= start < incident.window_end:
            continue
        holding.add(number)
        inside = cells.take(table.cells_of(number, cells.group))
        if len(inside):
            incident.add(inside, watch.groups)
            incident.is_changed = True
    alerts, still_expected = [], {}
    for each in late:
        impact = each.value - each.expected
        # What is taken back made nothing odd: if the rest still is, it was told when it came.
        if each.series in holding or change[each.series] <= 0:
            continue
        if impact <= 0 or impact < least_of(watch, each.series):
            continue
        alerts.append(Alert(each.series, SPEND, each.value, each.expected, impact, each.surprise, _REASON))
        still_expected[each.series] = max(0.0, each.expected - (each.value - float(change[each.series])))
    if alerts:
        _open(watch, Window(start, start + watch.rules.window_us, cells), alerts, still_expected)
    return len(alerts)


def _open(watch: "Watch", window: Window, alerts: list[Alert], still_expected: dict[int, float]) -> None:
    for candidate in sorted_out(watch, window, alerts):
        incident = candidate.incident
        if incident is None or incident.windows or incident.sequence or not candidate.alerts:
            continue
        incident.windows = 1
        incident.expected = round(still_expected.get(candidate.scope, 0.0) * 1e12)
        incident.peak = candidate.alerts[0].impact
        inside = watch.table.cells_of(candidate.scope, window.cells.group)
        incident.add(window.cells.take(inside), watch.groups)
