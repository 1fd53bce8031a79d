"""What of usage is priced: each quantity above zero with the number of the price that it pays, and what lacks one.

Source: spec/rating.md, sections 6, 7.5, 4.9, 4.10 and 10.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.exact import Int64Array
from chargeline.domain.rating.interval_parts import Parts
from chargeline.domain.rating.price_arrays import BILL_FULL, STATUSES, Arrays
from chargeline.domain.rating.rate_table import FIXED_SLOTS, REPORTED
from chargeline.domain.usage import COUNTED, LEAVES, UsageColumns

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Uses:
    """n quantities that have a price, ordered by part and leaf.

    Attributes:
        part: which part of an event. leaf: index into the names. number: of the price.
        quantity: base units of the event alone, without its weight.
    """

    part: Int64Array
    leaf: Int64Array
    number: Int64Array
    quantity: Int64Array

    def __len__(self) -> int:
        return len(self.part)

    def at(self, kept: Int64Array) -> "Uses":
        return Uses(self.part[kept], self.leaf[kept], self.number[kept], self.quantity[kept])


@dataclass(frozen=True)
class Found:
    """What the quantities of n events came to; flags by part unless they say otherwise.

    Attributes:
        names: of leaves and quantities.
        lacks: a quantity that must have a price has none.
        not_allowed: by event: a dynamic price from a source without the right.
        foreign: by event: its reported cost is in another currency than the rate.
    """

    names: tuple[str, ...]
    uses: Uses
    lacks: BoolArray
    not_allowed: BoolArray | None
    foreign: BoolArray | None


class Quantities:
    """Collects the quantities of a unit."""

    def __init__(self, usage: UsageColumns, arrays: Arrays, parts: Parts, leaves: dict[str, Int64Array]) -> None:
        self._usage = usage
        self._arrays = arrays
        self._parts = parts
        self._leaves = leaves
        self._found: list[tuple[Int64Array, int, Int64Array, Int64Array]] = []
        extra = usage.maps.get("extra_quantities")
        extras = sorted(extra.keys.values.to_pylist(), key=str.encode) if extra is not None else []
        self._names: tuple[str, ...] = (*FIXED_SLOTS, *extras, REPORTED)
        length = len(parts.answers)
        self._token_leaf = np.zeros(length, bool)  # has a token leaf above zero
        self._token_missing = np.zeros(length, bool)  # … and one of them has no price
        self._other = np.zeros(length, bool)  # has another quantity above zero, requests aside
        self._other_priced = np.zeros(length, bool)  # … and one of them has a price
        self._whole: BoolArray | None = None  # is priced as a whole: its quantities are informational

    def found(self) -> Found:
        reported = self._usage.nullable.get(REPORTED + "_picos")
        not_allowed, foreign = (None, None) if reported is None else self._add_reported(*reported)
        self._add_leaves()
        self._add_counted()
        self._add_extras()
        lacks = self._token_missing | (~self._token_leaf & self._other & ~self._other_priced)
        return Found(self._names, self._bare_fees_dropped(self._joined(), reported), lacks, not_allowed, foreign)

    def _add_reported(
        self, values: npt.NDArray[np.float64] | Int64Array, valid: BoolArray
    ) -> tuple[BoolArray | None, BoolArray | None]:
        column = self._arrays.columns.get(REPORTED)
        if column is None or not valid.any():
            return None, None
        number = self._arrays.slots[self._parts.answers, column].astype(np.int64)
        whole = self._parts.of_events(valid) & (number >= 0)
        if not whole.any():
            return None, None
        self._whole = whole
        amount = self._parts.shares(np.where(valid, np.asarray(values, np.int64), 0))
        rows = np.flatnonzero(whole & (amount > 0))
        self._found.append((rows, self._names.index(REPORTED), number[rows], amount[rows]))
        length = self._usage.length
        return (
            self._parts.any_of(whole & self._unfit(number, "source", self._arrays.may_price), length),
            self._parts.any_of(whole & self._unfit(number, "reported_cost_currency", self._arrays.may_be_in), length),
        )

    def _unfit(self, number: Int64Array, name: str, fits: Callable[[int, str], bool]) -> BoolArray:
        """Which parts have a value (null aside) of a column that does not fit their price; asked once for each pair."""
        text = self._usage.texts.get(name)
        unfit = np.zeros(len(number), bool)
        if text is None:
            return unfit
        codes = text.codes if self._parts.event is None else text.codes[self._parts.event]
        for each in np.unique(number[number >= 0]).tolist():
            allowed = [fits(each, value) for value in text.values.to_pylist()]
            rows = number == each
            unfit[rows] = ~np.array([*allowed, True])[codes[rows]]
        return unfit

    def _add_leaves(self) -> None:
        for name in LEAVES:
            if name in self._leaves:
                column = self._parts.shares(self._leaves[name])
                rows = self._rows(np.flatnonzero(column > 0))
                self._token_leaf[rows] = True
                self._token_missing[self._add(name, rows, column[rows])] = True

    def _add_counted(self) -> None:
        for name in COUNTED:
            default = 1 if name == "requests" else 0
            if name not in self._usage.longs and (not default or name not in self._priced_columns):
                continue
            column = self._parts.shares(self._usage.long(name, default))
            rows = self._rows(np.flatnonzero(column > 0))
            if name != "requests":
                self._other[rows] = True
            self._add(name, rows, column[rows])

    @property
    def _priced_columns(self) -> dict[str, int]:
        return self._arrays.columns

    def _add_extras(self) -> None:
        extra = self._usage.maps.get("extra_quantities")
        if extra is None:
            return
        values = np.asarray(extra.values)
        for code, name in enumerate(extra.keys.values.to_pylist()):
            at = np.flatnonzero((extra.keys.codes == code) & (values > 0))
            if self._parts.event is None:
                rows, quantity = extra.rows[at], values[at]
            else:
                whole = np.zeros(self._usage.length, np.int64)
                whole[extra.rows[at]] = values[at]
                shares = self._parts.shares(whole)
                rows = np.flatnonzero(shares > 0)
                quantity = shares[rows]
            if self._whole is not None:
                kept = ~self._whole[rows]
                rows, quantity = rows[kept], quantity[kept]
            self._other[rows] = True
            self._add(name, rows, quantity)

    def _rows(self, rows: Int64Array) -> Int64Array:
        """Without the parts that are priced as a whole."""
        return rows if self._whole is None else rows[~self._whole[rows]]

    def _add(self, name: str, rows: Int64Array, quantity: Int64Array) -> Int64Array:
        """Returns the parts that have no price for it."""
        arrays = self._arrays
        column = arrays.columns.get(name)
        if column is None:
            return rows
        number = arrays.slots[self._parts.answers[rows], column].astype(np.int64)
        priced = number >= 0
        if priced.all():
            at, missing = rows, rows[:0]
        else:
            at, number, quantity, missing = rows[priced], number[priced], quantity[priced], rows[~priced]
        if len(at):
            if arrays.any_monthly:
                days = (self._parts.at.period_end[at] - self._parts.at.period_start[at]) // (86_400 * 1_000_000)
                number = number + np.where(arrays.monthly[number], days - 28, 0)
            if name not in LEAVES and name != "requests":
                self._other_priced[at] = True
            self._found.append((at, self._names.index(name), number, quantity))
        return missing

    def _joined(self) -> Uses:
        if not self._found:
            none = np.zeros(0, np.int64)
            return Uses(none, none, none, none)
        part = np.concatenate([at for at, _, _, _ in self._found])
        leaf = np.concatenate([np.full(len(at), name, np.int64) for at, name, _, _ in self._found])
        number = np.concatenate([number for _, _, number, _ in self._found])
        quantity = np.concatenate([quantity for _, _, _, quantity in self._found])
        order = np.argsort(part * len(self._names) + leaf, kind="stable")
        return Uses(part[order], leaf[order], number[order], quantity[order])

    def _bare_fees_dropped(
        self, uses: Uses, reported: tuple[npt.NDArray[np.float64] | Int64Array, BoolArray] | None
    ) -> Uses:
        """A failed request without any usage pays a fee per request only where its policy is bill_full."""
        error = self._usage.is_symbol("status", "ERROR")
        if error is None or not self._arrays.any_policy:
            return uses
        used = self._parts.any_of(self._token_leaf | self._other, self._usage.length)
        if reported is not None:
            used |= reported[1] & (reported[0] != 0)
        bare = error & ~used
        status = STATUSES.index("ERROR")
        dropped = bare[self._parts.events(uses.part)] & (self._arrays.policy[uses.number, status] != BILL_FULL)
        return uses.at(np.flatnonzero(~dropped)) if dropped.any() else uses
