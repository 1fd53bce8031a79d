"""Why spend changed: by child, and as price, volume and mix, exact to the picounit.

For a series with the children i, volumes q (events), costs c and prices p = c/q; 0 is the reference, 1 the incident:

    volume = (Q1 - Q0) * C0/Q0          more events at the mean price of before
    price  = sum of c1_i - q1_i * p0_i  the same events at other prices; children without a past have none
    mix    = C1 - C0 - volume - price   the rest: dearer or cheaper children have another share

Volume and price are rounded once to 1E-12 (half away from zero), mix is what remains, so the three add up exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.cells import EVENTS, Cells
from chargeline.domain.anomaly.groups import Groups
from chargeline.domain.anomaly.panes import DIMENSIONS
from chargeline.domain.money import round_half_away

Ints = npt.NDArray[np.int64]
# Where a cause is looked for; the account is the incident's own.
CAUSES = ("team", "project", "environment", "feature", "experiment_id", "deployment", "request_model")
_UNKNOWN = ""


@dataclass(frozen=True)
class Amount:
    """Cost in picounits and number of events, of one child."""

    picos: int
    events: int


@dataclass(frozen=True)
class Effects:
    """Parts of a change in picounits; they add up to it."""

    volume: int
    price: int
    mix: int


@dataclass(frozen=True)
class Contributor:
    """One value of one dimension and what it brought to the change; amounts in picounits."""

    dimension: str
    value: str
    actual: int
    reference: int
    volume_effect: int
    price_effect: int

    @property
    def change(self) -> int:
        return self.actual - self.reference


def money(picos: int) -> Decimal:
    """Picounits as money, exact: the decimal context, which rounds to 28 digits, is not asked."""
    return Decimal((int(picos < 0), tuple(map(int, str(abs(picos)))), -12))


def scaled(amounts: Mapping[str, Amount], windows: int, of: int) -> dict[str, Amount]:
    """Amounts of `of` windows as those of `windows` windows, each rounded by itself."""
    return {
        key: Amount(round_half_away(each.picos * windows, of), round_half_away(each.events * windows, of))
        for key, each in amounts.items()
    }


def by_value(cells: Cells, codes: npt.NDArray[np.int32], names: list[str]) -> dict[str, Amount]:
    """Sum cells by the value of one dimension; null is the empty text.

    Args:
        codes: the dimension's code of each cell; -1: null.
    """
    if not len(cells):
        return {}
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    fresh = np.append(True, ordered[1:] != ordered[:-1])
    starts = np.flatnonzero(fresh)
    picos = cells.cost.take(order).sum_by(np.cumsum(fresh) - 1, len(starts))
    events = np.add.reduceat(cells.measures[EVENTS, order], starts).tolist()
    return {
        _UNKNOWN if code < 0 else names[code]: Amount(picos.at(place), events[place])
        for place, code in enumerate(ordered[starts].tolist())
    }


def by_cause(cells: Cells, groups: Groups, causes: tuple[str, ...] = CAUSES) -> dict[str, dict[str, Amount]]:
    """Amounts by dimension and value."""
    return {
        name: by_value(cells, groups.codes[DIMENSIONS.index(name), cells.group], groups.texts[name].values)
        for name in causes
    }


def effects(actual: Mapping[str, Amount], reference: Mapping[str, Amount]) -> Effects:
    """Split the change of the sum over all children into volume, price and mix.

    Without any event in the reference there is no mean price: the whole change is volume.
    """
    cost_now, cost_then = (sum(each.picos for each in side.values()) for side in (actual, reference))
    events_now, events_then = (sum(each.events for each in side.values()) for side in (actual, reference))
    change = cost_now - cost_then
    if not events_then:
        return Effects(change, 0, 0)
    volume = round_half_away((events_now - events_then) * cost_then, events_then)
    price = 0
    for child, now in actual.items():
        then = reference.get(child)
        if then is not None and then.events:
            price += now.picos - round_half_away(now.events * then.picos, then.events)
    return Effects(volume, price, change - volume - price)


def contributors(
    actual: Mapping[str, Mapping[str, Amount]], reference: Mapping[str, Mapping[str, Amount]], count: int
) -> list[Contributor]:
    """The values that moved the spend most, of all dimensions; those with one value only explain nothing.

    Returns:
        At most `count`, the largest change first (by size, in the direction of the whole), ties by name.
    """
    found = []
    for dimension, now in actual.items():
        then = reference.get(dimension, {})
        values = now.keys() | then.keys()
        if len(values) < 2:
            continue
        found += [_contributor(dimension, value, now, then) for value in values if value != _UNKNOWN]
    whole = sum(each.picos for each in next(iter(actual.values()), {}).values())
    whole -= sum(each.picos for each in next(iter(reference.values()), {}).values())
    sign = 1 if whole >= 0 else -1
    moved = [each for each in found if each.change * sign > 0]
    return sorted(moved, key=lambda each: (-each.change * sign, each.dimension, each.value))[:count]


def _contributor(dimension: str, value: str, now: Mapping[str, Amount], then: Mapping[str, Amount]) -> Contributor:
    new, old = now.get(value, Amount(0, 0)), then.get(value, Amount(0, 0))
    parts = effects({value: new}, {value: old})
    return Contributor(dimension, value, new.picos, old.picos, parts.volume, parts.price + parts.mix)
