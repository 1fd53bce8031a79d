"""Events of scopes with a running amount, in columns: rates with modifiers, and fees for each transaction.

Steps 7 to 9 work on the running sum of Q12 amounts, so first what every event adds to it is worked out, then the sums
are priced like quantities: by a rate whose base unit is the picounit. Source: spec/rating.md, sections 4.6 and 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.codes import combine
from chargeline.domain.columns.exact import Exact, Int64Array, Ratios, product, scale
from chargeline.domain.money import PICOS
from chargeline.domain.rating.accumulated_crossings import Total
from chargeline.domain.rating.accumulated_entries import (
    CAP,
    DISCOUNT,
    FREE_UNITS,
    PER_EVENT_FEE,
    UNIT,
    AccumulatedEntries,
    block,
)
from chargeline.domain.rating.accumulated_lines import Steps
from chargeline.domain.rating.period_columns import LineColumns, SegmentColumns, ratios
from chargeline.domain.rating.period_function import ChargeModel, RateFunction, RateTier

BoolArray = npt.NDArray[np.bool_]
_NO_LIMIT = 1 << 62
_FIXED_MAX = 1 << 56
_FITS = 2.0**56


def closing_function(function: RateFunction) -> RateFunction:
    """Steps 7 to 9 as a rate on picounits of the running amount."""
    return RateFunction(
        ChargeModel.PER_UNIT,
        (RateTier(None, Fraction(1)),),
        Fraction(PICOS),
        kept=function.kept,
        fixed_discount=function.fixed_discount,
        maximum=function.maximum,
    )


@dataclass(frozen=True)
class FeeParts:
    """The parts of the fees of n transactions, picounits after percentage discounts; their sum is `Additions.gross`.

    Attributes:
        share: of the amount. due: the fixed fee, or what the least fee is more than the share. over: <= 0, what the
            most fee takes off.
        price: of one fee that the least fee raises; -1: it is the fixed fee.
        is_due, is_over: there is such a part, exactly.
        weight: how many transactions an event stands for.
    """

    share: Int64Array
    due: Int64Array
    over: Int64Array
    price: Int64Array
    is_due: BoolArray
    is_over: BoolArray
    weight: Int64Array

    def take(self, at: Int64Array) -> "FeeParts":
        return FeeParts(**{each.name: getattr(self, each.name)[at] for each in fields(self)})

    def blocks(
        self, row: Int64Array, at: Int64Array, amount: Int64Array, additions: "Additions"
    ) -> list[AccumulatedEntries]:
        """UNIT, PER_EVENT_FEE and CAP of the given transactions; the last of each takes the rest of its amount."""
        share, due, over = self.share[at], self.due[at], self.over[at]
        is_due, is_over = self.is_due[at], self.is_over[at]
        over = np.where(is_over, amount - share - due, 0)
        due = np.where(is_due & ~is_over, amount - share, due)
        share = np.where(is_due | is_over, share, amount)
        with_due, with_over = np.flatnonzero(is_due), np.flatnonzero(is_over)
        tier, fees = additions.tier[at], product(self.weight[at], np.full(len(at), PICOS))
        units = block(
            row[at], UNIT, Exact(share), tier, Exact(additions.charged[at]), additions.pricing.take(at),
            Exact(additions.counted[at]),
        )  # fmt: skip
        raised = block(
            row[at[with_due]], PER_EVENT_FEE, Exact(due[with_due]), tier[with_due], None, fees.take(with_due),
            None, Exact(self.price[at[with_due]]),
        )  # fmt: skip
        return [
            units,
            raised,
            block(row[at[with_over]], CAP, Exact(over[with_over])),
        ]


@dataclass(frozen=True)
class Additions:
    """What n events add to the running amount of their scope, and to the amount after percentage discounts.

    Attributes:
        added, gross: picounits; 0 where not `known`.
        free, charged: base units. pricing_free, pricing: picounits of the pricing quantities; counted_free, counted:
            these in steps of X.
        tier: of the charged part; 0: free units only.
        kind: index into KINDS of the charged part.
        known: False: the exact function must say.
    """

    added: Int64Array
    gross: Exact
    free: Int64Array
    charged: Int64Array
    pricing_free: Exact
    pricing: Exact
    counted_free: Int64Array
    counted: Int64Array
    tier: Int64Array
    kind: int
    known: BoolArray
    fees: "FeeParts | None" = None

    def take(self, at: Int64Array) -> "Additions":
        return Additions(
            self.added[at],
            self.gross.take(at),
            self.free[at],
            self.charged[at],
            self.pricing_free.take(at),
            self.pricing.take(at),
            self.counted_free[at],
            self.counted[at],
            self.tier[at],
            self.kind,
            self.known[at],
            None if self.fees is None else self.fees.take(at),
        )


def modified_additions(
    columns: SegmentColumns,
    function: Int64Array,
    lower: Int64Array,
    upper: Int64Array,
    factor: Int64Array,
    factors: Sequence[Fraction],
) -> Additions:
    """Of rates with modifiers; only events inside one segment are known."""
    segment = columns.find(function, upper)
    known = (lower >= columns.column["enter"][segment]) & (upper <= columns.column["limit"][segment])
    lower, upper = np.where(known, lower, 0), np.where(known, upper, 0)
    counted = np.where(known, columns.steps(segment, upper) - columns.steps(segment, lower), 0)
    pair, first = combine([(segment, len(columns.segments)), (factor, len(factors))], len(segment))
    chosen = [(columns.segments[segment[row]], factors[factor[row]]) for row in first.tolist()]
    added = scale(counted, pair, ratios([each.undiscounted * times for each, times in chosen]))
    prices = ratios([each.price * times for each, times in chosen])
    known[list(added.large)] = False
    tier = columns.column["tier"][segment]
    quantity, pricing = upper - lower, scale(counted, segment, columns.pricing)
    free = tier == 0
    return Additions(
        added.values,
        scale(counted, pair, prices),
        np.where(free, quantity, 0),
        np.where(free, 0, quantity),
        pricing,
        pricing,
        counted,
        counted,
        tier,
        UNIT,
        known,
    )


@dataclass(frozen=True)
class _Fee:
    """A percentage rate with a factor, in picounits where the amounts are whole; else `exact` is False.

    Attributes:
        rate: picounits for one base unit. pairs of values: without and with percentage discounts.
    """

    exact: bool
    rates: tuple[Fraction, Fraction]
    pricing: Fraction
    fixed: tuple[int, int]
    least: tuple[int, int]
    most: tuple[int, int]
    free_events: int
    free_amount: int

    @classmethod
    def of(cls, function: RateFunction, factor: Fraction) -> "_Fee":
        rule, kept = function.rule, function.kept
        least = rule.per_event_min or Fraction(0)
        most = rule.per_event_max
        free = (rule.free_amount or Fraction(0)) * function.divide_by
        rate = factor * rule.rate * PICOS / function.divide_by
        fixed = [factor * rule.fixed * part * PICOS for part in (Fraction(1), kept)]
        lowest = [least * part * PICOS for part in (Fraction(1), kept)]
        highest = [Fraction(_NO_LIMIT) if most is None else most * part * PICOS for part in (Fraction(1), kept)]
        numbers = [*fixed, *lowest, *highest, free]
        whole = all(each.denominator == 1 for each in numbers) and all(
            each < _FIXED_MAX for each in (*fixed, *lowest, free)
        )

        def pair(values: list[Fraction]) -> tuple[int, int]:
            return (min(int(values[0]), _NO_LIMIT), min(int(values[1]), _NO_LIMIT)) if whole else (0, 0)

        return cls(
            whole, (rate, rate * kept), PICOS / function.divide_by, pair(fixed), pair(lowest), pair(highest),
            rule.free_events or 0, int(free) if whole else 0,
        )  # fmt: skip


def fee_additions(
    functions: Sequence[RateFunction],
    function: Int64Array,
    amount: Int64Array,
    number: Int64Array,
    before: Int64Array,
    factor: Int64Array,
    factors: Sequence[Fraction],
    weight: Int64Array,
) -> Additions:
    """Of percentage rates.

    Args:
        amount: of one transaction.
        number, before: n and S of spec/rating.md 4.6.
        weight: how many such transactions an event stands for; all of them are priced as the first one.
    """
    pair, first = combine([(function, len(functions)), (factor, len(factors))], len(function))
    fees = [_Fee.of(functions[function[row]], factors[factor[row]]) for row in first.tolist()]

    def column(values: "list[int]") -> Int64Array:
        return np.array(values, np.int64)[pair]

    free_events, free_amount = column([fee.free_events for fee in fees]), column([fee.free_amount for fee in fees])
    left = np.minimum(amount, np.maximum(0, free_amount - before))
    free = np.where(free_amount > 0, left, np.where(free_events > 0, amount, 0))
    free = np.where((free_events > 0) & (number > free_events), 0, free)
    charged = amount - free
    known = np.array([fee.exact for fee in fees], bool)[pair]
    share, share_kept = (scale(charged, pair, ratios([fee.rates[part] for fee in fees])) for part in (0, 1))
    known[[*share.large, *share_kept.large]] = False
    known &= np.maximum(share.values, share_kept.values) * 1.0 * weight < _FITS
    fixed, least, most = (column([getattr(fee, name)[0] for fee in fees]) for name in ("fixed", "least", "most"))
    fee = np.minimum(np.maximum(share.values + fixed, least), most)
    pays = known & (charged > 0)
    parts = _fee_parts(fees, pair, np.where(pays, charged, 0), share_kept.values, pays, weight)
    pricing: Ratios = ratios([fee.pricing for fee in fees])
    return Additions(
        np.where(pays, fee * weight, 0),
        Exact(parts.share + parts.due + parts.over),
        free * weight,
        charged * weight,
        scale(free * weight, pair, pricing),
        scale(charged * weight, pair, pricing),
        free * weight,
        charged * weight,
        np.where(charged > 0, 1, 0),
        PER_EVENT_FEE,
        known,
        parts,
    )


def _fee_parts(
    fees: "list[_Fee]", pair: Int64Array, charged: Int64Array, share: Int64Array, pays: BoolArray, weight: Int64Array
) -> FeeParts:
    """The parts of fees; `share`: of the amount, after percentage discounts."""

    def column(name: str, part: int) -> Int64Array:
        return np.array([getattr(fee, name)[part] for fee in fees], np.int64)[pair]

    fixed, least, most = column("fixed", 0), column("least", 0), column("most", 0)
    rates = ratios([fee.rates[0] for fee in fees])
    product_of, size = charged * rates.numerator[pair], rates.denominator[pair]
    # A share that is no whole number is compared with whole ones.
    is_raised = pays & (np.minimum(least, most) - fixed > product_of // size)
    is_over = pays & (-(-product_of // size) + fixed > np.maximum(most, 0)) & ~is_raised
    kept = ratios([fee.rates[1] for fee in fees])
    twice, down = 2 * charged * kept.numerator[pair], kept.denominator[pair]
    raise_to = column("least", 1) + (down - twice) // (2 * down)  # least - share, halves away from zero
    due = np.where(is_raised, raise_to, np.where(pays, column("fixed", 1), 0))
    over = np.where(is_over, column("most", 1) - share - column("fixed", 1), 0)
    is_due, price = pays & (is_raised | (fixed > 0)), np.where(is_raised, raise_to, -1)
    return FeeParts(np.where(pays, share, 0) * weight, due * weight, over * weight, price, is_due, is_over, weight)


def sum_entries(
    columns: LineColumns, closing: Int64Array, row: Int64Array, running: Int64Array, additions: Additions
) -> tuple[list[AccumulatedEntries], Int64Array]:
    """The entries of events that add to a running amount.

    Args:
        closing: by event, the number of the function of steps 7 to 9.
        running: picounits before the event.

    Returns:
        As `accumulated_crossings.crossing_entries`.
    """
    after, none = running + additions.added, np.zeros(0, np.int64)
    total = Total.of(columns.lines, Steps(row, closing, running, after, none > 0, Exact(none)))
    costs = (additions.added > 0) & (columns.lines.price.numerator[columns.lines.first[closing]] > 0)
    is_discounted, is_capped = total.taken_off(running < columns.discount_end[closing], costs)
    done = additions.known & total.known & ~(is_discounted & is_capped)
    done[list(additions.gross.large)] = False
    gross = additions.gross.values
    amount = np.where(is_discounted | is_capped, gross, total.picos)
    free, charged = np.flatnonzero(done & (additions.free > 0)), np.flatnonzero(done & (additions.charged > 0))
    blocks = [
        block(
            row[free], FREE_UNITS, Exact(np.zeros(len(free), np.int64)), 0, Exact(additions.free[free]),
            additions.pricing_free.take(free), Exact(additions.counted_free[free]),
        ),
    ]  # fmt: skip
    if additions.fees is not None:
        blocks += additions.fees.blocks(row, charged, amount[charged], additions)
    else:
        blocks.append(
            block(
                row[charged], additions.kind, Exact(amount[charged]), additions.tier[charged],
                Exact(additions.charged[charged]), additions.pricing.take(charged), Exact(additions.counted[charged]),
            )
        )  # fmt: skip
    for kind, taken in ((DISCOUNT, is_discounted), (CAP, is_capped)):
        at = np.flatnonzero(done & taken)
        blocks.append(block(row[at], kind, Exact((total.picos - gross)[at])))
    return blocks, np.flatnonzero(~done)
