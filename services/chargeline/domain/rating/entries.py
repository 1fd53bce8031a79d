"""The components of charges as columns.

Columns that plain charges do not need are None: an event that pays a unit price in its billing currency costs nothing
for what others can do. Source: spec/rating.md, sections 1, 5, 10 and 11.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.exact import Exact, Int64Array, Ratios, product
from chargeline.domain.columns.exact_rows import joined, with_numbers
from chargeline.domain.rating.price_arrays import BILL_FULL, BILL_ZERO, Points

BoolArray = npt.NDArray[np.bool_]
_FITS = 1 << 61


@dataclass(frozen=True)
class Entries:
    """The components of the charges of a unit, ordered by event, within it by part and then as spec/rating.md 6 has it.

    Attributes:
        row: int64, which event, ascending.
        leaf: int64, index into `leaves`.
        point: int64, index into `points`.
        quantity: consumed base units, weight included; millionths for an extra quantity, picounits for money.
        pricing, contracted, listed: picounits of the pricing quantity, the contracted and the list cost.

        place: int64, (part, leaf) as one number: the order across different kinds of entries.
        fx: index into the table's exchange rates; -1: no conversion. None: nowhere.
        pricing_cost: picounits in the pricing currency; None: no conversion anywhere.
        policy: status policy (price_arrays). None: all bill_full.
        waived: picounits that the owner does not pay. None: nothing anywhere.
        start, period_start, period_end: of the part, microseconds. None: no event has parts.
        scope: index into `scope_keys`; -1: none. None: nowhere.
        moved, moved_amount, moved_count: what the event moved the scope by, on the first entry of each use.
        price: picounits, of a fee whose price depends on the event; -1: that of the point. None: nowhere.
    """

    row: Int64Array
    leaf: Int64Array
    point: Int64Array
    quantity: Exact
    pricing: Exact
    contracted: Exact
    listed: Exact
    leaves: tuple[str, ...]
    points: Points
    place: Int64Array | None = None
    fx: Int64Array | None = None
    pricing_cost: Exact | None = None
    policy: Int64Array | None = None
    waived: Exact | None = None
    start: Int64Array | None = None
    period_start: Int64Array | None = None
    period_end: Int64Array | None = None
    scope: Int64Array | None = None
    moved: Exact | None = None
    moved_amount: Exact | None = None
    moved_count: Int64Array | None = None
    price: Exact | None = None
    scope_keys: bytes = b""

    def __len__(self) -> int:
        return len(self.row)

    def at(self, kept: Int64Array) -> "Entries":
        """The given entries, in this order."""
        same = self.listed is self.contracted
        found = _each(self, lambda column: column.take(kept) if isinstance(column, Exact) else column[kept])
        return replace(found, listed=found.contracted) if same else found

    def take(self, rows: Int64Array, length: int) -> "Entries":
        """The entries of the given events (ascending) of `length`, which are numbered anew."""
        position = np.full(length, -1, np.int64)
        position[rows] = np.arange(len(rows))
        at = position[self.row]
        kept = np.flatnonzero(at >= 0)
        return replace(self.at(kept), row=at[kept])

    @property
    def kind(self) -> Int64Array:
        """Index into price_points.KINDS."""
        return self.points.kind[self.point]


def without_list(entries: Entries) -> Entries:
    """The list costs are the contracted ones, where that is so of all entries: columns that need not be made."""
    listed, contracted = entries.listed, entries.contracted
    if listed is contracted or listed.large or contracted.large or not entries.points.agrees[entries.point].all():
        return entries
    return replace(entries, listed=contracted) if np.array_equal(listed.values, contracted.values) else entries


def _each(entries: Entries, change: Callable[[Any], Any]) -> Entries:
    columns = {}
    for field in fields(entries):
        column = getattr(entries, field.name)
        if isinstance(column, Exact | np.ndarray):
            columns[field.name] = change(column)
    return replace(entries, **columns)


def merged(first: Entries, second: Entries) -> Entries:
    """The entries of both (of the same events and table) in their order; a column that one lacks is filled up."""
    columns: dict[str, Any] = {}
    for field in fields(Entries):
        one: Any = getattr(first, field.name)
        two: Any = getattr(second, field.name)
        if field.name in _UNSET or isinstance(one, Exact | np.ndarray):
            if one is None and two is None:
                continue
            one = _filled(field.name, len(first)) if one is None else one
            two = _filled(field.name, len(second)) if two is None else two
            exact = isinstance(one, Exact) and isinstance(two, Exact)
            columns[field.name] = joined([one, two]) if exact else np.concatenate([one, two])
    whole = replace(first, **columns, scope_keys=first.scope_keys or second.scope_keys)
    if whole.place is None:
        raise ValueError("entries without a place cannot be merged")
    return whole.at(np.argsort(whole.place, kind="stable"))


_UNSET = {
    "fx": -1, "policy": BILL_FULL, "scope": -1, "start": -1, "period_start": -1, "period_end": -1, "moved_count": 0,
    "place": 0, "price": -1, "pricing_cost": 0, "waived": 0, "moved": 0, "moved_amount": 0,
}  # fmt: skip
_EXACT = {"price", "pricing_cost", "waived", "moved", "moved_amount"}


def _filled(name: str, length: int) -> Exact | Int64Array:
    column = np.full(length, _UNSET[name], np.int64)
    return Exact(column) if name in _EXACT else column


def converted(entries: Entries, rates: Ratios) -> Entries:
    """The entries in the billing currency: Q12 of each stored amount x exchange rate (spec/rating.md 5).

    Args:
        rates: by number, billing units for one pricing unit.
    """
    if entries.fx is None:
        return entries
    contracted = converted_amounts(entries.contracted, entries.fx, rates)
    same = entries.listed is entries.contracted
    listed = contracted if same else converted_amounts(entries.listed, entries.fx, rates)
    return replace(entries, contracted=contracted, listed=listed, pricing_cost=entries.contracted)


def converted_amounts(amount: Exact, rate: Int64Array, rates: Ratios) -> Exact:
    """Amount * rate, rounded half away from zero; a rate of -1 changes nothing."""
    at = np.flatnonzero(rate >= 0)
    numerator, denominator = rates.numerator[rate[at]], rates.denominator[rate[at]]
    size = np.abs(amount.values[at])
    # The whole part needs no rounding, so only the remainder is multiplied before it is divided.
    whole, rest = np.divmod(size, denominator)
    fits = (whole.astype(np.float64) * numerator < _FITS) & (denominator.astype(np.float64) * numerator < _FITS)
    whole, rest, numerator = np.where(fits, whole, 0), np.where(fits, rest, 0), np.where(fits, numerator, 0)
    result = whole * numerator + (2 * rest * numerator + denominator) // (2 * denominator)
    values = amount.values.copy()
    values[at] = np.where(amount.values[at] < 0, -result, result)
    slow = {*at[~fits].tolist(), *(row for row in amount.large if rate[row] >= 0)}
    numbers = {row: number for row, number in amount.large.items() if rate[row] < 0}
    for row in slow:
        n, d = rates.exact[int(rate[row])]
        number = (2 * abs(amount.at(row)) * n + d) // (2 * d)
        numbers[row] = -number if amount.at(row) < 0 else number
    return with_numbers(values, numbers) if numbers else Exact(values)


def waived(entries: Entries) -> Entries:
    """bill_zero: the owner's entries cost nothing and say what was waived.

    The pricing cost stays what it is: the platform's own account pays it.
    """
    if entries.policy is None:
        return entries
    rows = np.flatnonzero(entries.policy == BILL_ZERO)
    if not len(rows):
        return entries
    keeps = (entries.policy != BILL_ZERO).astype(np.int64)
    given = entries.contracted
    nothing = product(given.values, keeps)
    nothing.large.update({row: number for row, number in given.large.items() if keeps[row]})
    less = product(given.values, 1 - keeps)
    less.large.update({row: number for row, number in given.large.items() if not keeps[row]})
    return replace(entries, contracted=nothing, listed=entries.listed, waived=less)
