"""Period functions cut into segments, so that a whole unit of events can be priced with int64 columns.

Inside a segment T is a straight line over a whole number X: the base units of the scope, or its whole pricing units or
blocks where those are counted. Q12(T) at both ends of an event then differs by

    (2n * (X1 - X0) - (r1 - r0)) / 2d        with r = (2a + d + 2n * X) mod 2d and T = (a + n * X) / d picounits,

whose numbers stay small however large the total of the scope is. Source: spec/rating.md, sections 2 and 3.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction
from functools import lru_cache
from math import floor, lcm

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.exact import Int64Array, Ratios
from chargeline.domain.money import PICOS
from chargeline.domain.rating.period_function import ONE, ChargeModel, RateFunction, RateTier, q12

_RATES_MAX = 50_000
BoolArray = npt.NDArray[np.bool_]

END = 1 << 62  # no bound; quantities above it take the slow way
_DENOMINATOR_MAX = 1 << 30  # 2d * d stays below 2**62
_PRODUCT_MAX = 1 << 61
_PRODUCT_FITS = 2.0**56


class Zone(IntEnum):
    """What steps 8 and 9 do in a segment."""

    BELOW = 0  # the fixed discount takes all
    BETWEEN = 1  # T rises with the units
    ABOVE = 2  # the maximum is reached: a cap takes all
    APART = 3  # volume, modifiers: each entry is rounded by itself here


@dataclass(frozen=True)
class Segment:
    """Quantities in (start, until] base units, the first one from 0.

    Attributes:
        enter: an event from Q0 >= enter to Q1 <= until has one UNIT (or FREE_UNITS) entry of this segment.
        clean: the bound below it is that of one tier and a whole base unit.
        told: `base`, `jump` and `flat` fit.
        limit: largest quantity that is worked out in columns; -1: none.
        tier: from 1; 0: the free units.
        unit_up, unit_down: whole pricing units of a quantity are ceil(Q * unit_up / unit_down); both 1: no rounding.
        block_up, block_add, block_down: X = floor((that * block_up + block_add) / block_down).
        price: picounits for one step of X, percentage discounts included. undiscounted: without them.
        pricing: picounits of the pricing quantity for one step of X.
        flat: picounits of the TIER_FLAT entry of an event that comes from below; 0: none.
        base: Q12(T(start)). jump: what Q12(T) rises by just above `start`.
        rise, denominator, rest: n, d and (2a + d) mod 2d of T; rise 0 where T does not rise with X.
    """

    start: int
    until: int
    enter: int
    clean: bool
    told: bool
    limit: int
    tier: int
    zone: Zone
    unit_up: int
    unit_down: int
    block_up: int
    block_add: int
    block_down: int
    price: Fraction
    undiscounted: Fraction
    pricing: Fraction
    flat: int
    base: int
    jump: int
    rise: int
    denominator: int
    rest: int

    def steps(self, quantity: int) -> int:
        """X of a quantity."""
        units = -(-quantity * self.unit_up // self.unit_down)
        return (units * self.block_up + self.block_add) // self.block_down


@dataclass(frozen=True)
class _Bound:
    """A place where one segment ends: `last` is the last quantity below it, `first` the first one not below it."""

    last: int
    first: int
    clean: bool
    tier: int  # that begins here; 0: the zone changes


@lru_cache(maxsize=_RATES_MAX)  # a table that grows asks for all its rates again
def segments_of(function: RateFunction) -> list[Segment]:
    """The segments of a rate, ascending; at least one. A percentage rate has one that is never used."""
    if function.fee_rule is not None:
        return segments_of(RateFunction(ChargeModel.PER_UNIT, (RateTier(None, ONE),)))
    bounds = sorted(_bounds(function), key=lambda bound: bound.last)
    ends = sorted({bound.last for bound in bounds if 0 < bound.last < END} | {END})
    segments: list[Segment] = []
    start = 0
    for until in ends:
        here = [bound for bound in bounds if bound.last == start or (start == 0 and bound.last < 0)]
        segments.append(_segment(function, start, until, here))
        start = until
    return _for_volume(function, segments) if function.is_volume else segments


@lru_cache(maxsize=_RATES_MAX)
def tiers_of(function: RateFunction) -> list[Segment]:
    """The segments of a rate without its fixed discount and maximum: the parts that an event has entries of."""
    return segments_of(replace(function, fixed_discount=Fraction(0), maximum=None))


@lru_cache(maxsize=_RATES_MAX)
def discount_end(function: RateFunction) -> int:
    """The smallest quantity at which the fixed discount is used up; 0 without one."""
    if not function.fixed_discount or function.is_volume or function.runs_an_amount:
        return 0
    return _change(function, function.fixed_discount).first


def _for_volume(function: RateFunction, segments: list[Segment]) -> list[Segment]:
    """The price of the tier holds for all units of an event: only the free units part it."""
    free = function.free_units
    enter = max(function.first_at(free), function.last_at(free)) if free else 0
    paid = next(number for number, segment in enumerate(segments) if segment.tier)
    return [
        replace(each, enter=enter if each.tier else 0, clean=each.clean or number != paid, flat=0)
        for number, each in enumerate(segments)
    ]


def _bounds(function: RateFunction) -> Iterator[_Bound]:
    lowers = [(number + 1, function.free_units + lower) for number, lower in enumerate(function.lower_bounds)]
    for tier, units in lowers:
        if units:
            last = function.last_at(units)
            yield _Bound(last, function.first_at(units), function.units(last) == units, tier)
    if function.is_volume or function.modified:
        return
    changes = [function.fixed_discount] if function.fixed_discount else []
    if function.maximum is not None:
        changes.append(function.fixed_discount + function.maximum)
    yield from (_change(function, gross) for gross in changes)


def _change(function: RateFunction, gross: Fraction) -> _Bound:
    """Where the amount after percentage discounts comes to `gross`."""

    def gross_of(quantity: int) -> Fraction:
        return function.kept * function.undiscounted(quantity)

    last = _last(lambda quantity: gross_of(quantity) <= gross)
    first = _last(lambda quantity: gross_of(quantity) < gross) + 1
    return _Bound(last, first, clean=False, tier=0)


def _last(holds: Callable[[int], bool]) -> int:
    """The largest quantity in [0, END] for which a condition holds that ends once; -1: none."""
    low, high = -1, END
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _segment(function: RateFunction, start: int, until: int, bounds: list[_Bound]) -> Segment:
    is_free = bool(function.free_units) and start < function.last_at(function.free_units)
    tier = 0 if is_free else function.tier_of(start + 1) + 1
    zone = _zone(function, until)
    unit, block, price, pricing = measure(function, tier)
    enters = [bound.tier for bound in bounds if bound.tier > 1]
    fee = sum((function.tiers[number - 1].flat_fee for number in enters), Fraction(0))
    enter = max((max(bound.first, bound.last + (1 if bound.tier > 1 and fee else 0)) for bound in bounds), default=0)
    slope = function.kept * price * PICOS if zone is Zone.BETWEEN else Fraction(0)
    flat = q12(function.kept * fee)
    clean = len(bounds) == 1 and bounds[0].clean and bool(flat or not fee)
    draft = Segment(
        start, until, enter, clean, True, -1, tier, zone, *unit, *block,
        function.kept * price * PICOS, price * PICOS, pricing * PICOS, flat, 0, 0, 0, 1, 1,
    )  # fmt: skip
    return _with_line(function, draft, slope)


def _with_line(function: RateFunction, draft: Segment, slope: Fraction) -> Segment:
    """The segment with T as a line, and with its limits."""
    apart = draft.zone is Zone.APART
    inside = draft.start + 1
    offset = Fraction(0) if apart else function.amount(inside) * PICOS - slope * draft.steps(inside)
    base = 0 if apart else q12(function.amount(draft.start))
    # Below the bound the line of a zone may be negative; it is rounded there as `risen` does: differences add up.
    entry = floor(offset + slope * draft.steps(draft.start) + Fraction(1, 2))
    jump = 0 if apart or draft.start == 0 else entry - base
    denominator = lcm(offset.denominator, slope.denominator)
    rise, shift = int(slope * denominator), int(offset * denominator)
    limit = _limit(draft)
    if denominator > _DENOMINATOR_MAX or 2 * rise > _PRODUCT_MAX:
        limit, rise, denominator, shift = -1, 0, 1, 0
    small = max(abs(base), abs(jump), draft.flat) < 1 << 56
    if limit < 0:
        draft = replace(draft, unit_up=1, unit_down=1, block_up=1, block_add=0, block_down=1)
    return replace(
        draft,
        told=small,
        limit=limit,
        base=base if small else 0,
        jump=jump if small else 0,
        flat=draft.flat if small else 0,
        rise=rise,
        denominator=denominator,
        rest=(2 * shift + denominator) % (2 * denominator),
    )


def _limit(segment: Segment) -> int:
    """The largest quantity for which X is worked out without leaving int64."""
    if max(segment.unit_down, abs(segment.block_add), segment.block_down, segment.unit_up, segment.block_up) > 1 << 60:
        return -1
    units = (_PRODUCT_MAX - abs(segment.block_add)) // segment.block_up
    by_units = (units - 1) * segment.unit_down // segment.unit_up
    return max(-1, min(END - 1, (_PRODUCT_MAX - segment.unit_down) // segment.unit_up, by_units))


def _zone(function: RateFunction, until: int) -> Zone:
    if function.is_volume or function.modified:
        return Zone.APART
    top = function.kept * function.undiscounted(until)
    if function.fixed_discount and top <= function.fixed_discount:
        return Zone.BELOW
    if function.maximum is not None and top > function.fixed_discount + function.maximum:
        return Zone.ABOVE
    return Zone.BETWEEN


def measure(function: RateFunction, tier: int) -> tuple[tuple[int, int], tuple[int, int, int], Fraction, Fraction]:
    """How X is counted in a tier (0: free units): unit and block factors, price and pricing units of a step of X."""
    size = function.divide_by
    unit, each = ((size.denominator, size.numerator), ONE) if function.round_up else ((1, 1), 1 / size)
    if tier == 0:
        return unit, (1, 0, 1), Fraction(0), each
    rate = function.tiers[tier - 1]
    if rate.block_size is None:
        return unit, (1, 0, 1), rate.unit_price * each, each
    if function.is_volume:
        return unit, (1, 0, 1), rate.unit_price * each / rate.block_size, each / rate.block_size
    up, less = each / rate.block_size, (function.free_units + function.lower_bounds[tier - 1]) / rate.block_size
    down = lcm(up.denominator, less.denominator)
    rounding = 0 if function.round_down else down - 1
    return unit, (int(up * down), rounding - int(less * down), down), rate.unit_price, ONE


_COLUMNS = (
    "start", "until", "enter", "limit", "tier", "zone", "unit_up", "unit_down", "block_up", "block_add", "block_down",
    "flat", "base", "jump", "rise", "denominator", "rest",
)  # fmt: skip


@dataclass(frozen=True)
class SegmentColumns:
    """The segments of many functions, one after the other; int64 each, as in `Segment`.

    Attributes:
        first, last: by function, its segments.
        unclean, untold: running numbers of segments that are not clean, not told.
        counted: X is the quantity itself in every segment.
        plain: every denominator is 1.
    """

    first: Int64Array
    last: Int64Array
    column: dict[str, Int64Array]
    unclean: Int64Array
    untold: Int64Array
    price: Ratios
    pricing: Ratios
    segments: list[Segment]
    counted: bool
    plain: bool

    @classmethod
    def of(cls, functions: Sequence[list[Segment]]) -> "SegmentColumns":
        flat = [segment for each in functions for segment in each]
        ends = np.cumsum([len(each) for each in functions], dtype=np.int64)
        column = {name: np.array([getattr(each, name) for each in flat], np.int64) for name in _COLUMNS}
        measures = ("unit_up", "unit_down", "block_up", "block_down")
        return cls(
            ends - np.array([len(each) for each in functions], np.int64),
            ends - 1,
            column,
            np.cumsum([not each.clean for each in flat], dtype=np.int64),
            np.cumsum([not each.told for each in flat], dtype=np.int64),
            ratios([each.price for each in flat]),
            ratios([each.pricing for each in flat]),
            flat,
            all((column[name] == 1).all() for name in measures) and not column["block_add"].any(),
            bool((column["denominator"] == 1).all()),
        )

    def find(self, function: Int64Array, quantity: Int64Array) -> Int64Array:
        """The segment with start < quantity <= until; of a quantity of 0 the first one."""
        low, high = self.first[function], self.last[function]
        until = self.column["until"]
        for _ in range(int((self.last - self.first).max(initial=0)).bit_length()):
            middle = (low + high) >> 1
            above = until[middle] < quantity
            low = np.where(above, np.minimum(middle + 1, high), low)
            high = np.where(above, high, middle)
        return low

    def steps(self, segment: Int64Array, quantity: Int64Array) -> Int64Array:
        """X of quantities that do not pass the limit of their segment."""
        if self.counted:
            return quantity
        column = self.column
        down = column["unit_down"][segment]
        units = (quantity * column["unit_up"][segment] + down - 1) // down
        blocks = units * column["block_up"][segment] + column["block_add"][segment]
        return blocks // column["block_down"][segment]

    def risen(self, segment: Int64Array, before: Int64Array, after: Int64Array) -> tuple[Int64Array, BoolArray]:
        """Q12(T) at X = `after` less that at X = `before`, both in the segment; and the rows where that fits."""
        rise = self.column["rise"][segment]
        fits = np.abs((after - before).astype(np.float64) * rise) < _PRODUCT_FITS
        steps = after - before if fits.all() else np.where(fits, after - before, 0)
        if self.plain:
            return rise * steps, fits
        denominator, rest = self.column["denominator"][segment], self.column["rest"][segment]
        twice = 2 * denominator
        risen = (2 * rise) % twice
        rest_after = (rest + risen * (after % denominator)) % twice
        rest_before = (rest + risen * (before % denominator)) % twice
        return (2 * rise * steps - np.where(fits, rest_after - rest_before, 0)) // twice, fits


def ratios(numbers: Sequence[Fraction]) -> Ratios:
    return Ratios.of([(number.numerator, number.denominator) for number in numbers])


@dataclass(frozen=True)
class LineColumns:
    """Rates by number, cut twice.

    Attributes:
        lines: segments in which T is a line.
        tiers: segments that have one price; the same where no rate has a fixed discount or a maximum.
        discount_end: by function, as `discount_end`.
    """

    lines: SegmentColumns
    tiers: SegmentColumns
    discount_end: Int64Array

    @classmethod
    def of(cls, functions: Sequence[RateFunction]) -> "LineColumns":
        return cls(
            SegmentColumns.of([segments_of(function) for function in functions]),
            SegmentColumns.of([tiers_of(function) for function in functions]),
            np.array([discount_end(function) for function in functions], np.int64),
        )
