"""The series that are watched: sums of groups over some of their dimensions, each in one account and one currency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.groups import COLUMNS, Groups
from chargeline.domain.anomaly.panes import CURRENCY

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
# What is watched unless the settings say more: the account, and these of it.
DIMENSION_SETS = ((), ("team",), ("project",), ("request_model",), ("feature",), ("experiment_id",))
_ROOM = 1024
# Weight of one window in the usual activity of a series, by which the least active is found.
_ACTIVITY_WEIGHT = 1 / 288


@dataclass(frozen=True)
class SeriesName:
    """What a series is, in words that outlive its number."""

    billing_account_id: str
    billing_currency: str
    dimensions: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value}" for name, value in self.dimensions)
        return f"{self.billing_account_id} {inside or 'account'} ({self.billing_currency or 'no currency'})"


class SeriesTable:
    """Numbers series from 0; a number is used again after its series was evicted.

    Attributes:
        of_group: int64 (sets, groups): series of each group for each set of dimensions; -1: a dimension is null.
        activity: usual spend of one window, a running mean.
        seen: start of the newest window with events, microseconds.
        place: place of its dimensions in `sets`.
        parent: number of the account's series, -1 for itself.
        evicted: how many were.
        currencies: the first currency of each account.
    """

    def __init__(self, sets: Sequence[tuple[str, ...]] = DIMENSION_SETS) -> None:
        self.sets = tuple(dict.fromkeys(((), *map(tuple, sets))))
        self.names: list[SeriesName | None] = []
        self.of_group = np.full((len(self.sets), _ROOM), -1, np.int64)
        self.activity = np.zeros(0)
        self.seen = np.zeros(0, np.int64)
        self.parent = np.zeros(0, np.int64)
        self.place = np.zeros(0, np.int64)
        self.evicted = 0
        self.currencies: dict[str, str] = {}
        self._numbers: dict[SeriesName, int] = {}
        self._free: list[int] = []
        self._fresh: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def live(self) -> Ints:
        """Numbers of all series that are watched, ascending."""
        return np.flatnonzero(self.seen >= 0)

    def number_of(self, name: SeriesName) -> int | None:
        return self._numbers.get(name)

    def name(self, series: int) -> SeriesName:
        """What the series is; it is one that is watched."""
        found = self.names[series]
        assert found is not None
        return found

    def add(self, groups: Groups) -> list[int]:
        """Find the series of all fresh groups; the numbers of the new ones. The groups are not fresh any more."""
        while self.of_group.shape[1] < groups.size:
            more = np.full((len(self.sets), max(_ROOM, self.of_group.shape[1])), -1, np.int64)
            self.of_group = np.concatenate([self.of_group, more], axis=1)
        fresh = []
        self._note_currencies(groups)
        for group in sorted(set(groups.fresh)):
            values = groups.describe(group)
            billing_account_id = values["billing_account_id"] or ""
            currency = values[CURRENCY] or self.currencies.get(billing_account_id, "")
            account = SeriesName(billing_account_id, currency, ())
            for place, dimensions in enumerate(self.sets):
                pairs = tuple((name, values[name]) for name in dimensions)
                if any(value is None for _, value in pairs):
                    self.of_group[place, group] = -1
                    continue
                name = SeriesName(account.billing_account_id, account.billing_currency, pairs)  # type: ignore[arg-type]
                number = self._numbers.get(name)
                if number is None:
                    number = self._append(name, self._numbers.get(account, -1) if pairs else -1, place)
                    fresh.append(number)
                self.of_group[place, group] = number
        groups.fresh.clear()
        self._note_fresh()
        return fresh

    def totals(self, group: Ints, values: Doubles) -> Doubles:
        """Sum the values of n cells over the groups of each series, by number."""
        sums = np.zeros(len(self.names))
        for numbers in self.of_group[:, group]:
            inside = numbers >= 0
            sums += np.bincount(numbers[inside], values[inside], len(sums))
        return sums

    def cells_of(self, series: int, group: Ints) -> Ints:
        """Rows of the cells, given by their groups, that belong to the series."""
        return np.flatnonzero(self.of_group[int(self.place[series])][group] == series)

    def note(self, window: int, spend: Doubles, events: Doubles) -> None:
        """Note a complete window: activity and last appearance of every series."""
        self.activity += _ACTIVITY_WEIGHT * (np.abs(spend) - self.activity)
        self.seen = np.where((events > 0) & (self.seen >= 0), np.maximum(self.seen, window), self.seen)

    def note_change(self, series: Ints, back: int, before: Doubles, right: Doubles) -> None:
        """The window `back` before the last one had another spend: the usual activity is put right."""
        weight = _ACTIVITY_WEIGHT * (1.0 - _ACTIVITY_WEIGHT) ** back
        self.activity[series] += weight * (np.abs(right) - np.abs(before))

    def least_active(self, count: int) -> Ints:
        """Numbers of so many series that were seen longest ago, and of those the ones with the least spend."""
        live = self.live()
        order = np.lexsort((live, self.activity[live], self.seen[live]))
        return np.sort(live[order[:count]])

    def evict(self, series: Ints) -> None:
        """Watch these no longer."""
        gone = np.zeros(len(self.names) + 1, bool)
        gone[series] = True
        self.of_group[gone[self.of_group]] = -1
        for number in series.tolist():
            name = self.names[number]
            if name is not None:
                del self._numbers[name]
            self.names[number] = None
            self._free.append(number)
        self.seen[series], self.activity[series] = -1, 0.0
        self.parent[np.isin(self.parent, series)] = -1
        self.evicted += len(series)

    def keep(self, kept: Ints) -> None:
        """The groups have new numbers: only these (ascending) are kept."""
        self.of_group = self.of_group[:, kept]

    def _note_currencies(self, groups: Groups) -> None:
        """What has no price is watched in the account's first currency, also what was seen before it had one."""
        account_at, currency_at = COLUMNS.index("billing_account_id"), COLUMNS.index(CURRENCY)
        for group in sorted(set(groups.fresh)):
            values = groups.describe(group)
            account = values["billing_account_id"] or ""
            if values[CURRENCY] is None or account in self.currencies:
                continue
            self.currencies[account] = values[CURRENCY] or ""
            known = groups.codes[:, : groups.size]
            same = (known[account_at] == known[account_at, group]) & (known[currency_at] < 0)
            groups.fresh += np.flatnonzero(same).tolist()

    def _append(self, name: SeriesName, parent: int, place: int) -> int:
        if self._free:
            number = self._free.pop()
        else:
            number = len(self.names)
            self.names.append(None)
        self.names[number] = name
        self._numbers[name] = number
        self._fresh.append((number, parent, place))
        return number

    def _note_fresh(self) -> None:
        more = len(self.names) - len(self.seen)
        if more:
            self.activity = np.concatenate([self.activity, np.zeros(more)])
            self.seen = np.concatenate([self.seen, np.zeros(more, np.int64)])
            self.parent = np.concatenate([self.parent, np.zeros(more, np.int64)])
            self.place = np.concatenate([self.place, np.zeros(more, np.int64)])
        for number, parent, place in self._fresh:
            self.activity[number], self.seen[number] = 0.0, 0
            self.parent[number], self.place[number] = parent, place
        self._fresh.clear()

    def stored(self) -> dict[str, Any]:
        """What `restored` needs, as JSON: names by number; of_group follows from the groups and the names."""
        return {
            "names": [
                None if n is None else [n.billing_account_id, n.billing_currency, n.dimensions] for n in self.names
            ],
            "free": self._free,
            "sets": self.sets,
            "currencies": self.currencies,
            "evicted": self.evicted,
        }

    def restore(self, stored: dict[str, Any], columns: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from what was stored."""
        self.names = []
        for each in stored["names"]:
            name = None if each is None else SeriesName(each[0], each[1], tuple((key, value) for key, value in each[2]))
            self.names.append(name)
        self._numbers = {name: number for number, name in enumerate(self.names) if name is not None}
        self._free, self.evicted = list(stored["free"]), stored["evicted"]
        self.currencies = dict(stored["currencies"])
        for column in ("activity", "seen", "parent", "place", "of_group"):
            setattr(self, column, columns[column].copy())
