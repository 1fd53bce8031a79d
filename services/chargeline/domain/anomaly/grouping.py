"""Which alerts of a window are one incident: those whose excess lies in the same groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.incidents import Alert, Incident
from chargeline.domain.anomaly.series import SeriesTable

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SHARE = 0.7  # of an excess that lies inside another one: it is the same
_ALERTS_MAX = 500  # of a window, those with the largest impact


@dataclass
class Candidate:
    """An incident of this window: one that is open, or a new one.

    Attributes:
        scope: number of its series.
        inside: by group, whether it belongs to the scope.
        alerts: those that belong to it, the first one made it.
    """

    scope: int
    inside: Bools
    incident: Incident | None = None
    alerts: list[Alert] = field(default_factory=list)


def grouped(
    alerts: Sequence[Alert],
    known: Sequence[tuple[Incident, int]],
    table: SeriesTable,
    weigh: Callable[[Alert], Doubles],
    spend: Doubles,
) -> list[Candidate]:
    """Put the alerts of one window into incidents.

    Args:
        known: open incidents and the numbers of their series.
        weigh: by group, what of the alert's excess lies there, >= 0.
        spend: by group; what counts where there is no excess.

    Returns:
        The known ones and the new ones with their alerts, in the order in which they were found.
    """
    found = [Candidate(scope, _inside(table, scope), incident) for incident, scope in known]
    ordered = sorted(alerts, key=lambda each: (-each.impact, -len(table.name(each.series).dimensions), each.series))
    weights: dict[tuple[int, str], Doubles] = {}
    for alert in ordered[:_ALERTS_MAX]:
        inside = _inside(table, alert.series)
        weight = np.where(inside, weigh(alert), 0.0)
        if not weight.any():
            weight = np.where(inside, spend, 0.0)
        weights[alert.series, alert.kind] = weight
        home = _home(alert, weight, [each for each in found if _may_hold(each, alert, table)])
        if home is None:
            home = Candidate(alert.series, inside)
            found.append(home)
        home.alerts.append(alert)
    for each in found:
        if each.incident is None:
            _refine(each, found, table, weights)
    return found


def _inside(table: SeriesTable, series: int) -> Bools:
    return np.asarray(table.of_group[int(table.place[series])] == series)


def _may_hold(candidate: Candidate, alert: Alert, table: SeriesTable) -> bool:
    """Same account, same currency, and both about money or both about the books."""
    one, other = table.name(candidate.scope), table.name(alert.series)
    kind = candidate.incident.is_health if candidate.incident else candidate.alerts[0].is_health
    if kind != alert.is_health or (alert.is_health and alert.kind != _kind(candidate)):
        return False
    return (one.billing_account_id, one.billing_currency) == (other.billing_account_id, other.billing_currency)


def _kind(candidate: Candidate) -> str:
    return candidate.incident.kind if candidate.incident else candidate.alerts[0].kind


def _home(alert: Alert, weight: Doubles, candidates: list[Candidate]) -> Candidate | None:
    """The candidate that holds most of the excess, if all of them together hold enough of it."""
    same = [each for each in candidates if each.scope == alert.series]
    if same:
        return same[0]
    whole = weight.sum()
    if not candidates or whole <= 0:
        return None
    held = [float(weight[each.inside].sum()) for each in candidates]
    together = weight[np.any([each.inside for each in candidates], axis=0)].sum()
    if together < SHARE * whole or max(held) <= 0:
        return None
    return candidates[held.index(max(held))]


def _refine(
    candidate: Candidate, found: list[Candidate], table: SeriesTable, weights: dict[tuple[int, str], Doubles]
) -> None:
    """Name the smallest series that still holds most of the excess that others do not explain."""
    first = candidate.alerts[0]
    others = [each.inside for each in found if each is not candidate and each.incident is not None]
    weight = weights[first.series, first.kind]
    if others:
        weight = np.where(np.any(others, axis=0), 0.0, weight)
    enough = SHARE * weight.sum()
    series = dict.fromkeys(alert.series for alert in candidate.alerts)
    fitting = [each for each in series if each == first.series or weight[_inside(table, each)].sum() >= enough]
    candidate.scope = max(fitting, key=lambda each: (len(table.name(each).dimensions), -int(table.place[each]), -each))
    candidate.inside = _inside(table, candidate.scope)
