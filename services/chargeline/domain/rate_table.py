"""The prices that a rate book gives, as arrays that a whole commit unit can be looked up in.

The book answers one question at a time and slowly; the questions of a unit are few and repeat, so each is asked once
and its answer kept. An answer is a row of the slot matrix: for each leaf the number of the price that it pays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from chargeline.domain.exact import Ratios
from chargeline.domain.rate_book import LeafPrice, RateBook
from chargeline.domain.usage import COUNTED, LEAVES

Int64Array = npt.NDArray[np.int64]

FIXED_SLOTS = (*LEAVES, *COUNTED)
MATCH_KINDS = ("NONE", "EXACT", "ALIAS", "PREFIX")
_PICOS = 10**12
_MILLION = 10**6
# GB-Months divide by the hours of the billing period: one price for each length of a month (spec/rating.md 6).
_MONTH_DAYS = (28, 29, 30, 31)
_ANSWERS_MAX = 200_000  # distinct questions kept; a flood of invented model names must not fill the memory


@dataclass(frozen=True)
class Point:
    """One price point, as an entry shows it."""

    leaf_price: LeafPrice
    sku_price_id: str
    list_unit_price: Decimal
    contracted_unit_price: Decimal


class RateTable:
    """All answers asked of one rate book so far."""

    def __init__(self, book: RateBook) -> None:
        self.book = book
        self.points: list[Point] = []
        self._above: list[tuple[int, ...]] = []
        self._first_point: list[int] = []
        self._monthly: list[bool] = []
        self._fractions: dict[str, list[tuple[int, int]]] = {"contracted": [], "list": [], "pricing": []}
        self._price_numbers: dict[LeafPrice, int] = {}
        self._answers: dict[tuple[object, ...], int] = {}
        self._slots: list[dict[str, int]] = []
        self._match: list[int] = []
        self._arrays: Arrays | None = None

    def answer(
        self,
        account: str | None,
        provider: str,
        model: str,
        attributes: Mapping[str, str | None],
        labels: Mapping[str, str],
        event_time: int,
        segment: int,
    ) -> int:
        """Number of the answer to a question; `event_time` (microseconds) lies in time segment `segment`."""
        question = (account, provider, model, *attributes.items(), *labels.items(), segment)
        known = self._answers.get(question)
        if known is not None:
            return known
        resolution = self.book.resolve(account, provider, model, attributes, labels, event_time)
        self._slots.append({name: self._number(price, name) for name, price in resolution.prices.items()})
        self._match.append(MATCH_KINDS.index(str(resolution.match_kind)))
        self._answers[question] = len(self._match) - 1
        self._arrays = None
        return len(self._match) - 1

    def arrays(self) -> "Arrays":
        if self._arrays is None:
            self._arrays = Arrays.of(
                self._slots, self._match, self._first_point, self._above, self._monthly, self._fractions, self.points
            )
        return self._arrays

    def points_agree(self) -> bool:
        """No point has a list price of its own."""
        return self._fractions["contracted"] == self._fractions["list"]

    @property
    def full(self) -> bool:
        """Time to begin a new table."""
        return len(self._answers) > _ANSWERS_MAX

    def _number(self, price: LeafPrice, slot: str) -> int:
        if price in self._price_numbers:
            return self._price_numbers[price]
        number = len(self._first_point)
        monthly = price.divide_by is None
        for days in _MONTH_DAYS if monthly else (0,):
            self._first_point.append(len(self.points))
            self._above.append(tuple(tier.above for tier in price.tiers[1:]))
            self._monthly.append(monthly)
            size = _base_units(price, slot, days)
            for tier in price.tiers:
                self.points.append(Point(price, tier.sku_price_id, tier.list_unit_price, tier.contracted_unit_price))
                self._fractions["contracted"].append(_fraction(tier.contracted_unit_price, size))
                self._fractions["list"].append(_fraction(tier.list_unit_price, size))
                self._fractions["pricing"].append(_fraction(Decimal(1), size))
        self._price_numbers[price] = number
        return number


def _base_units(price: LeafPrice, slot: str, days: int) -> Fraction:
    """Base units of the event in one pricing unit."""
    if price.divide_by is None:
        return Fraction(10**9 * 3600 * 24 * days, 1_048_576)
    return Fraction(price.divide_by) * (1 if slot in FIXED_SLOTS else _MILLION)


def _fraction(unit_price: Decimal, base_units: Fraction) -> tuple[int, int]:
    """Picounits for one base unit, reduced."""
    each = Fraction(unit_price) * _PICOS / base_units
    return each.numerator, each.denominator


@dataclass(frozen=True)
class Arrays:
    """The answers as arrays. -1 in `slots`: the answer has no price for this leaf.

    Attributes:
        slots: int32 (answers, leaves): number of the price.
        columns: which column of `slots` a leaf has.
        match: int64 by answer: index into MATCH_KINDS.
        first_point, monthly: by price.
        above: int64 (prices, tiers - 1): the thresholds, int64 maximum where there is none.
        contracted, listed, pricing: fractions by point, in picounits for one base unit.
        currency: int64 by point: index into `currencies`.
    """

    slots: npt.NDArray[np.int32]
    columns: dict[str, int]
    match: Int64Array
    first_point: Int64Array
    monthly: npt.NDArray[np.bool_]
    above: Int64Array
    contracted: Ratios
    listed: Ratios
    pricing: Ratios
    currency: Int64Array
    currencies: tuple[str, ...]

    @classmethod
    def of(
        cls,
        slots: "list[dict[str, int]]",
        match: "list[int]",
        first_point: "list[int]",
        above: "list[tuple[int, ...]]",
        monthly: "list[bool]",
        fractions: "dict[str, list[tuple[int, int]]]",
        points: "list[Point]",
    ) -> "Arrays":
        names = list(dict.fromkeys([*FIXED_SLOTS, *(name for each in slots for name in each)]))
        columns = {name: number for number, name in enumerate(names)}
        matrix = np.full((len(slots), len(names)), -1, np.int32)
        for row, each in enumerate(slots):
            for name, number in each.items():
                matrix[row, columns[name]] = number
        most = max((len(limits) for limits in above), default=0)
        thresholds = np.full((len(above), most), np.iinfo(np.int64).max, np.int64)
        for row, limits in enumerate(above):
            thresholds[row, : len(limits)] = limits
        currencies = tuple(dict.fromkeys(point.leaf_price.currency for point in points))
        return cls(
            matrix,
            columns,
            np.array(match, np.int64),
            np.array(first_point, np.int64),
            np.array(monthly, bool),
            thresholds,
            Ratios.of(list(fractions["contracted"])),
            Ratios.of(list(fractions["list"])),
            Ratios.of(list(fractions["pricing"])),
            np.array([currencies.index(point.leaf_price.currency) for point in points], np.int64),
            currencies,
        )
