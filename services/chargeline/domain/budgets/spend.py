"""Spend of one source partition, kept exactly from its panes: by owner, currency and UTC day, and, for the newest
hours, by five minutes.

Totals are kept by owner and not by budget, so a budget that is set today knows what was spent before it. A pane
counts once: the panes of a partition lie in the order of (unit_end_offset, pane_index), so the newest one that
counted tells all that did, whatever is read again. A window belongs to the day and the five minutes it starts in.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.budgets.budget import Scope
from chargeline.domain.budgets.periods import DAY_US
from chargeline.domain.money import PICOS

FIVE_US = 300 * 1_000_000
FIVES_KEPT_US = 7 * 3600 * 1_000_000  # the longest burn window is six hours; one more for what comes late
DAYS_KEPT_US = 400 * DAY_US  # a fixed period of a year, and what is corrected after it
_OWNER = ("billing_account_id", "team", "project", "experiment_id")
_KEYS = (*_OWNER, "billing_currency", "start")


class Cell(NamedTuple):
    """What a total is of; `start`: of the day or the five minutes, microseconds since 1970 UTC."""

    billing_account_id: str
    team: str | None
    project: str | None
    experiment: str | None
    currency: str
    start: int

    def encode(self) -> str:
        """As text, for a store: a JSON list."""
        return json.dumps(self, separators=(",", ":"), ensure_ascii=False)


def cell_of(text: str) -> Cell:
    """The cell of its text."""
    return Cell(*json.loads(text))


class Totals:
    """Amounts in picounits by cell, found by account and start."""

    def __init__(self, cells: Mapping[Cell, int] | None = None) -> None:
        self._starts: dict[str, dict[int, dict[Cell, int]]] = {}
        for cell, picos in (cells or {}).items():
            self.add(cell, picos)

    def add(self, cell: Cell, picos: int) -> None:
        cells = self._starts.setdefault(cell.billing_account_id, {}).setdefault(cell.start, {})
        cells[cell] = cells.get(cell, 0) + picos

    def get(self, cell: Cell) -> int:
        return self._starts[cell.billing_account_id][cell.start][cell]

    def sums(self, scope: Scope, start: int, end: int) -> dict[str, int]:
        """Picounits by currency of a scope's cells that start in [start, end)."""
        found: dict[str, int] = {}
        for at, cells in self._starts.get(scope.billing_account_id, {}).items():
            for cell, picos in cells.items() if start <= at < end else ():
                if scope.covers(cell.team, cell.project, cell.experiment):
                    found[cell.currency] = found.get(cell.currency, 0) + picos
        return found

    def by_start(self, scope: Scope, currency: str, start: int, end: int) -> dict[int, int]:
        """Picounits by start of a scope's cells in one currency that start in [start, end)."""
        found: dict[int, int] = {}
        for at, cells in self._starts.get(scope.billing_account_id, {}).items():
            for cell, picos in cells.items() if start <= at < end else ():
                if cell.currency == currency and scope.covers(cell.team, cell.project, cell.experiment):
                    found[at] = found.get(at, 0) + picos
        return found

    def drop_before(self, start: int) -> list[Cell]:
        """Forget the cells that start before; which they were."""
        gone: list[Cell] = []
        for starts in self._starts.values():
            for at in [at for at in starts if at < start]:
                gone += starts.pop(at)
        return gone

    def items(self) -> Iterator[tuple[Cell, int]]:
        for starts in self._starts.values():
            for cells in starts.values():
                yield from cells.items()


@dataclass
class Spend:
    """The state of one source partition.

    Attributes:
        mark: (unit_end_offset, pane_index) of the newest pane that counted.
        complete_from: microseconds since 1970 UTC; spend of event times before it may be missing. None: nothing is.
        days, fives: the totals; see the module.
    """

    mark: tuple[int, int] = (-1, -1)
    complete_from: int | None = None
    days: Totals = field(default_factory=Totals)
    fives: Totals = field(default_factory=Totals)

    def add(self, panes: pa.Table, fives_from: int) -> tuple[set[Cell], set[Cell]]:
        """Count the panes that have not counted yet; the cells of days and of five minutes that changed.

        Args:
            panes: n rows of `cost-rollups` of this source partition, in the order of the log.
            fives_from: five minutes that start before it are not kept.
        """
        fresh = _after(panes, self.mark)
        if not fresh.num_rows:
            return set(), set()
        self.mark = (fresh["unit_end_offset"][-1].as_py(), fresh["pane_index"][-1].as_py())
        priced = fresh.filter(pc.is_valid(fresh["billing_currency"]))
        days, fives = set(), set()
        for cell, picos in _sums(priced, DAY_US):
            self.days.add(cell, picos)
            days.add(cell)
        for cell, picos in _sums(priced, FIVE_US):
            if cell.start >= fives_from:
                self.fives.add(cell, picos)
                fives.add(cell)
        return days, fives

    def forget(self, now: int) -> tuple[list[Cell], list[Cell]]:
        """Drop what no budget can ask for any more; the cells of days and of five minutes that went."""
        return self.days.drop_before(now - DAYS_KEPT_US), self.fives.drop_before(now - FIVES_KEPT_US)


def amount(picos: int) -> Decimal:
    """Picounits as an exact Decimal with 12 decimals."""
    # A tuple and not `scaleb`: the decimal context would round to 28 digits.
    return Decimal((int(picos < 0), tuple(map(int, str(abs(picos)))), -12))


def picos_of(number: Decimal) -> int:
    """A Decimal of at most 12 decimals in picounits, exact."""
    numerator, denominator = number.as_integer_ratio()
    return numerator * PICOS // denominator


def _after(panes: pa.Table, mark: tuple[int, int]) -> pa.Table:
    unit = panes["unit_end_offset"].to_numpy()
    index = panes["pane_index"].to_numpy()
    return panes.filter(pa.array((unit > mark[0]) | ((unit == mark[0]) & (index > mark[1]))))


def _sums(panes: pa.Table, step_us: int) -> Iterable[tuple[Cell, int]]:
    """Picounits by cell. In 256 bits: a sum of many 128-bit amounts may not fit 128."""
    if not panes.num_rows:
        return
    columns: dict[str, Any] = {name: panes[name].cast(pa.string()) for name in (*_OWNER, "billing_currency")}
    window = panes["window_start"].cast(pa.int64()).to_numpy()
    columns["start"] = np.asarray(window) // step_us * step_us
    columns["cost"] = panes["billed_cost"].cast(pa.decimal256(50, 12))
    grouped = pa.table(columns).group_by(list(_KEYS), use_threads=False).aggregate([("cost", "sum")])
    names = [grouped[name].to_pylist() for name in _KEYS]
    for *key, cost in zip(*names, grouped["cost_sum"].to_pylist(), strict=True):
        yield Cell(*key), picos_of(cost)
