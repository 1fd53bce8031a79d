"""Prices and answers as arrays: what a commit unit is looked up in. Made from the rows of a `RateTable`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.exact import Int64Array, Ratios
from chargeline.domain.money import PICOS
from chargeline.domain.rates.book import Rate
from chargeline.domain.rates.card import Dynamic, status_rule
from chargeline.domain.rating.accumulate import RateFunctions
from chargeline.domain.rating.period_columns import ratios
from chargeline.domain.rating.period_function import RateFunction
from chargeline.domain.rating.price_points import KINDS, Point
from chargeline.domain.usage import KNOWN_ENUMS

BoolArray = npt.NDArray[np.bool_]
STATUSES = KNOWN_ENUMS["status"]
BILL_FULL, BILL_ZERO, FIRST_POOL = 0, 1, 2  # status policies; from FIRST_POOL on: amortise, to the pool of that number
WINDOWS = ("billing_period", "day", "hour", "event")


@dataclass(frozen=True)
class PriceRow:
    """One price: a rate with the factor of its modifiers, for one length of the billing period.

    Attributes:
        above: request lengths above which another point holds.
        function: of a rate that accumulates.
        is_unknown: a modifier of the rate does not list the value of the event.
    """

    rate: Rate
    currency: int
    above: tuple[int, ...]
    is_monthly: bool
    function: RateFunction | None
    factor: Fraction
    points: tuple[Point, ...]
    is_unknown: bool = False


@dataclass(frozen=True)
class Points:
    """The columns of price points; texts as (codes, values), -1 is null.

    Attributes:
        agrees: list and contracted price are the same.
        pools: those of status policies.
    """

    points: Sequence[Point]
    kind: Int64Array
    contracted: Ratios
    listed: Ratios
    pricing: Ratios
    listed_by: Int64Array
    agrees: BoolArray
    pools: tuple[str, ...]

    @classmethod
    def of(cls, points: Sequence[Point], pools: Sequence[str]) -> "Points":
        contracted, listed = [each.contracted for each in points], [each.listed for each in points]
        return cls(
            points,
            np.array([each.kind for each in points], np.int64),
            ratios(contracted),
            ratios(listed),
            ratios([each.pricing for each in points]),
            np.array([each.listed_by for each in points], np.int64),
            np.array([_agrees(each) for each in points], bool),
            tuple(pools),
        )

    @cached_property
    def sku_id(self) -> tuple[Int64Array, pa.StringArray]:
        return _coded([each.rate.sku.sku_id for each in self.points])

    @cached_property
    def sku_price_id(self) -> tuple[Int64Array, pa.StringArray]:
        return _coded([each.sku_price_id for each in self.points])

    @cached_property
    def rate_card_id(self) -> tuple[Int64Array, pa.StringArray]:
        return _coded([each.rate.card.rate_card_id for each in self.points])

    @cached_property
    def rate_card_version(self) -> pa.Int32Array:
        return pa.array([each.rate.card.version for each in self.points], pa.int32())

    @cached_property
    def consumed_unit(self) -> tuple[Int64Array, pa.StringArray]:
        return _coded([each.consumed_unit for each in self.points])

    @cached_property
    def pricing_unit(self) -> tuple[Int64Array, pa.StringArray]:
        return _coded([each.pricing_unit for each in self.points])

    @cached_property
    def pricing_currency(self) -> tuple[Int64Array, pa.StringArray]:
        return _coded([each.rate.card.currency for each in self.points])

    @cached_property
    def list_unit_price(self) -> pa.Decimal128Array:
        return _prices([each.list_unit_price for each in self.points])

    @cached_property
    def contracted_unit_price(self) -> pa.Decimal128Array:
        return _prices([each.contracted_unit_price for each in self.points])


@dataclass(frozen=True)
class Arrays:
    """The answers as arrays. -1 in `slots`: the answer has no price for this leaf.

    Attributes:
        slots: int32 (answers, leaves): number of the price.
        columns: which column of `slots` a leaf has.
        match: int64 by answer: index into MATCH_KINDS.

    By price:
        first_point: its first price point. monthly: the next three prices are those of longer months.
        above: int64 (prices, thresholds), int64 maximum where there is none.
        currency: index into `currencies`. unknown: a modifier lacks the value of the event.
        function: index into `functions`; -1: it does not accumulate. factor: index into `factors`.
        tiers: of its function. policy: int64 (prices, STATUSES).
    """

    slots: npt.NDArray[np.int32]
    columns: dict[str, int]
    match: Int64Array
    first_point: Int64Array
    monthly: BoolArray
    any_monthly: bool
    above: Int64Array
    currency: Int64Array
    currencies: tuple[str, ...]
    unknown: BoolArray
    function: Int64Array
    functions: tuple[RateFunction, ...]
    factor: Int64Array
    factors: tuple[Fraction, ...]
    tiers: Int64Array
    policy: npt.NDArray[np.int64]
    rows: tuple[PriceRow, ...]
    points: Points

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        slots: Sequence[dict[str, int]],
        match: Sequence[int],
        prices: Sequence[PriceRow],
        currencies: Sequence[str],
        before: "Arrays | None" = None,
    ) -> "Arrays":
        """`before`: the arrays of the same table when it was smaller; what has not grown is taken over."""
        if before is not None and len(before.rows) == len(prices):
            return before._with_answers(names, slots, match, currencies)
        columns, matrix = _matrix(names, slots)
        most = max((len(price.above) for price in prices), default=0)
        thresholds = np.full((len(prices), most), np.iinfo(np.int64).max, np.int64)
        for row, price in enumerate(prices):
            thresholds[row, : len(price.above)] = price.above
        counts = np.array([len(price.points) for price in prices], np.int64)
        functions = [price.function for price in prices if price.function is not None]
        has_function = np.array([price.function is not None for price in prices], bool)
        factors = list(dict.fromkeys([Fraction(1), *(price.factor for price in prices)]))
        number_of = {factor: number for number, factor in enumerate(factors)}
        pools: dict[str, int] = {}
        policy = np.array([[_policy(price, status, pools) for status in STATUSES] for price in prices], np.int64)
        monthly = np.array([price.is_monthly for price in prices], bool)
        return cls(
            matrix,
            columns,
            np.array(match, np.int64),
            np.cumsum(counts) - counts,
            monthly,
            bool(monthly.any()),
            thresholds,
            np.array([price.currency for price in prices], np.int64),
            tuple(currencies),
            np.array([price.is_unknown for price in prices], bool),
            np.where(has_function, np.cumsum(has_function) - 1, -1),
            tuple(functions),
            np.array([number_of[price.factor] for price in prices], np.int64),
            tuple(factors),
            np.array([0 if price.function is None else _tiers(price.function) for price in prices], np.int64),
            policy.reshape(-1, len(STATUSES)),
            tuple(prices),
            Points.of([point for price in prices for point in price.points], list(pools)),
        )

    def _with_answers(
        self, names: Sequence[str], slots: Sequence[dict[str, int]], match: Sequence[int], currencies: Sequence[str]
    ) -> "Arrays":
        columns, matrix = _matrix(names, slots)
        found = replace(
            self, slots=matrix, columns=columns, match=np.array(match, np.int64), currencies=tuple(currencies)
        )
        if "rate_functions" in self.__dict__:
            found.__dict__["rate_functions"] = self.rate_functions
        return found

    @cached_property
    def rate_functions(self) -> RateFunctions:
        return RateFunctions.of(self.functions)

    @cached_property
    def is_fee(self) -> BoolArray:
        """By price, whether each transaction pays a percentage fee."""
        return np.array([row.function is not None and row.function.fee_rule is not None for row in self.rows], bool)

    @cached_property
    def any_unknown(self) -> bool:
        return bool(self.unknown.any())

    @cached_property
    def any_policy(self) -> bool:
        """Some rate does not bill every status in full."""
        return bool(self.policy.any())

    def scope_point(self, number: Int64Array, kind: Int64Array, tier: Int64Array) -> Int64Array:
        """The point of entries of accumulating prices; `kind`: index into KINDS (see `scope_points`)."""
        tiers = self.tiers[number]
        unit, flat = KINDS.index("UNIT"), KINDS.index("TIER_FLAT")
        place = np.where(kind == unit, tier, np.where(kind == flat, tiers + tier, 0))
        for after, name in enumerate(("DISCOUNT", "CAP", "TIER_SHIFT", "PER_EVENT_FEE")):
            place = np.where(kind == KINDS.index(name), 2 * tiers + 1 + after, place)
        return self.first_point[number] + place

    def may_price(self, number: int, source: str) -> bool:
        """Whether a source may give the price of a rate: any, unless the rate is dynamic."""
        model = self.rows[number].rate.sku.model
        return not isinstance(model, Dynamic) or source in model.price_sources

    def may_be_in(self, number: int, currency: str) -> bool:
        """Whether a reported cost of this currency can be priced by a rate."""
        return self.rows[number].rate.card.currency == currency

    @cached_property
    def has_above(self) -> BoolArray:
        """By price, whether it has thresholds."""
        return np.asarray((self.above < np.iinfo(np.int64).max).any(axis=1))

    @cached_property
    def highest(self) -> npt.NDArray[np.float64]:
        """By price, about the most picounits that a base unit of an accumulating rate may cost."""
        return np.array([_highest(row) for row in self.rows], np.float64)


def _matrix(names: Sequence[str], slots: Sequence[dict[str, int]]) -> tuple[dict[str, int], npt.NDArray[np.int32]]:
    columns = {name: number for number, name in enumerate(names)}
    matrix = np.full((len(slots), len(names)), -1, np.int32)
    for row, each in enumerate(slots):
        for name, number in each.items():
            matrix[row, columns[name]] = number
    return columns, matrix


def _highest(row: PriceRow) -> float:
    function = row.function
    if function is None:
        return 0.0
    prices = [tier.unit_price / (tier.block_size or 1) for tier in function.tiers]
    if function.fee_rule is not None:
        prices.append(function.fee_rule.rate)
    return float(max(prices) * row.factor * PICOS / function.divide_by)


def _tiers(function: RateFunction) -> int:
    return max(1, len(function.tiers))


def _policy(price: PriceRow, status: str, pools: dict[str, int]) -> int:
    rule = status_rule(price.rate.card, price.rate.sku, status)
    if rule.policy != "amortise":
        return BILL_FULL if rule.policy == "bill_full" else BILL_ZERO
    return FIRST_POOL + pools.setdefault(rule.pool or "", len(pools))


def _agrees(point: Point) -> bool:
    is_plain = point.listed == point.contracted or bool(point.kind) or not point.contracted
    return point.list_unit_price == point.contracted_unit_price and is_plain


def _coded(values: Sequence[str | None]) -> tuple[Int64Array, pa.StringArray]:
    encoded = pa.array(values, pa.string()).dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def _prices(prices: Sequence[Decimal | None]) -> pa.Decimal128Array:
    return pa.array(prices, pa.decimal128(38, 18))
