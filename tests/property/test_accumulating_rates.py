"""Accumulating rates in columns give what the exact function gives, event by event, however the log is cut."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.columns.exact import Exact
from chargeline.domain.columns.exact_rows import exact_of
from chargeline.domain.rating.accumulate import RateFunctions, ScopedUsage, accumulate
from chargeline.domain.rating.accumulated_entries import KINDS
from chargeline.domain.rating.period_function import ChargeModel, PercentageFee, RateFunction, RateTier, q12
from chargeline.domain.rating.scope_states import ScopeColumns, ScopeStates
from chargeline.domain.rating.scope_step import ScopeState, shift, step

SCOPES = 4
FACTORS = (Fraction(1), Fraction(3, 2), Fraction("0.8"), Fraction(0))
decimals = st.one_of(
    st.integers(0, 12).map(Fraction),
    st.integers(0, 2000).map(lambda n: Fraction(n, 100)),
    st.integers(0, 10**15).map(lambda n: Fraction(n, 10**12)),
    st.integers(1, 10**19).map(lambda n: Fraction(n, 10**18)),
)
sizes = st.sampled_from([Fraction(1), Fraction(1), Fraction(7), Fraction(250), Fraction("2.5"), Fraction(10**6)])
bounds = st.one_of(
    st.integers(1, 60).map(Fraction), st.integers(1, 6000).map(lambda n: Fraction(n, 100)), st.just(Fraction(10**9))
)
blocks = st.one_of(st.none(), st.none(), st.sampled_from([Fraction(1), Fraction(5), Fraction("2.5"), Fraction(10, 3)]))


@st.composite
def rate_functions(draw, models=tuple(ChargeModel), plain=False):
    model = draw(st.sampled_from(models))
    common = {
        "divide_by": draw(sizes),
        "kept": draw(st.sampled_from([Fraction(1), Fraction(1), Fraction("0.9"), Fraction("0.765"), Fraction(0)])),
        "fixed_discount": draw(st.one_of(st.just(Fraction(0)), decimals)),
        "maximum": draw(st.one_of(st.none(), decimals.map(lambda n: 3 * n))),
    }
    if model is ChargeModel.PERCENTAGE:
        limit = st.one_of(st.none(), decimals)
        rule = PercentageFee(
            draw(st.sampled_from([Fraction(0), Fraction("0.024"), Fraction(1, 7)])),
            draw(decimals),
            draw(st.one_of(st.none(), st.integers(0, 4))),
            draw(st.one_of(st.none(), bounds)),
        )
        low, high = draw(limit), draw(limit)
        if low is not None and high is not None and low > high:
            low, high = high, low
        rule = PercentageFee(rule.rate, rule.fixed, rule.free_events, rule.free_amount, low, high)
        return RateFunction(model, fee_rule=rule, **common)
    common["round_up"] = draw(st.booleans())
    common["free_units"] = draw(st.one_of(st.just(Fraction(0)), st.just(Fraction("1.25")), bounds))
    common["modified"] = not plain and model is not ChargeModel.VOLUME and draw(st.booleans())
    if model in (ChargeModel.PER_UNIT, ChargeModel.PACKAGE):
        size = draw(bounds) if model is ChargeModel.PACKAGE else None
        return RateFunction(
            model, (RateTier(None, draw(decimals), block_size=size),), round_down=draw(st.booleans()), **common
        )
    ends = [*sorted(draw(st.sets(bounds, max_size=3))), None]
    fees = st.one_of(st.just(Fraction(0)), decimals)
    return RateFunction(model, tuple(RateTier(end, draw(decimals), draw(fees), draw(blocks)) for end in ends), **common)


quantities = st.one_of(
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 10**4),
    st.integers(0, 10**8),
    st.sampled_from([2**63, 10**25]),
)
rows = st.lists(
    st.tuples(st.integers(0, SCOPES - 1), quantities, st.integers(0, len(FACTORS) - 1), st.integers(0, 9)),
    min_size=1,
    max_size=14,
)


def one_by_one(functions, events):
    """The log through the exact function; a flag of 0 does not count, one of 1 cancels an earlier event."""
    states = [ScopeState() for _ in functions]
    done: list[list[tuple[int, int]]] = [[] for _ in functions]
    entries, usage = [], []
    for row, (scope, quantity, factor_of_row, flag) in enumerate(events):
        if flag == 1 and done[scope]:
            taken, booked = done[scope].pop()
            found, states[scope] = shift(functions[scope], states[scope], taken, booked)
            usage.append((scope, -taken, 0, True, booked))
        else:
            counts, factor = flag != 0, factor_of_row if functions[scope].runs_an_amount else 0
            found, states[scope] = step(functions[scope], states[scope], quantity, FACTORS[factor], counts=counts)
            usage.append((scope, quantity, factor, counts, 0))
            if counts and quantity:
                done[scope].append((quantity, sum(piece.picos for piece in found)))
        entries += [(row, str(p.kind), p.tier, p.quantity, q12(p.pricing_quantity), p.picos) for p in found]
    return entries, states, usage


def in_columns(functions, usage, cuts=()):
    table, numbers = RateFunctions.of(functions), np.arange(len(functions))
    state, entries = ScopeColumns.empty(len(functions)), []
    edges = [0, *sorted(cuts), len(usage)]
    for start, end in pairwise(edges):
        part = usage[start:end]
        columns = ScopedUsage(
            np.array([row[0] for row in part], np.int64),
            exact_of(row[1] for row in part),
            np.array([row[2] for row in part], np.int64),
            np.array([row[3] for row in part], bool),
            exact_of(row[4] for row in part),
            FACTORS,
        )
        found, state = accumulate(table, numbers, columns, state)
        for at in range(len(found)):
            numbers_of = [found.quantity.at(at), found.pricing.at(at), found.amount.at(at)]
            entries.append((start + int(found.row[at]), str(KINDS[found.kind[at]]), int(found.tier[at]), *numbers_of))
    return entries, [state.at(scope) for scope in range(len(functions))]


@settings(max_examples=150)
@given(st.lists(rate_functions(), min_size=SCOPES, max_size=SCOPES), rows, st.data())
def test_columns_give_what_the_exact_function_gives_however_the_log_is_cut(functions, events, data):
    expected, states, usage = one_by_one(functions, events)
    cuts = data.draw(st.lists(st.integers(0, len(usage)), max_size=3))
    for given_cuts in ((), cuts):
        found, after = in_columns(functions, usage, given_cuts)
        assert found == expected
        assert after == states


STRAIGHT = (ChargeModel.PER_UNIT, ChargeModel.PACKAGE, ChargeModel.GRADUATED, ChargeModel.GRADUATED_PERCENTAGE)


@settings(max_examples=200)
@given(rate_functions(STRAIGHT, plain=True), st.lists(st.integers(1, 10**4), min_size=1, max_size=6))
def test_the_entries_of_a_scope_sum_to_its_total_in_any_order(function, events):
    for order in (events, sorted(events), sorted(events, reverse=True)):
        entries, _, _ = one_by_one([function], [(0, quantity, 0, 5) for quantity in order])
        assert sum(entry[-1] for entry in entries) == q12(function.amount(sum(events)))
        assert sum(entry[3] for entry in entries) == sum(events)


@settings(max_examples=200)
@given(rate_functions(STRAIGHT, plain=True), st.lists(st.integers(1, 10**4), min_size=2, max_size=6), st.integers(0, 4))
def test_after_a_cancel_the_scope_sums_to_the_total_of_what_is_left(function, events, cancelled):
    quantity = events.pop(cancelled % len(events))
    log = [(0, quantity, 0, 5), *((0, each, 0, 5) for each in events)]
    entries, states, _ = one_by_one([function], log)
    booked = sum(entry[-1] for entry in entries if entry[0] == 0)
    shifted, after = shift(function, states[0], quantity, booked)
    total = sum(entry[-1] for entry in entries) - booked + sum(piece.picos for piece in shifted)
    assert total == q12(function.amount(sum(events)))
    assert after.quantity == sum(events)


@settings(max_examples=200)
@given(rate_functions(STRAIGHT, plain=True), st.integers(0, 10**5), st.integers(0, 10**5))
def test_more_usage_never_costs_less(function, first, second):
    low, high = sorted((first, second))
    assert function.amount(low) <= function.amount(high)


@settings(max_examples=200)
@given(rate_functions(STRAIGHT, plain=True), st.integers(0, 10**4), st.integers(1, 10**4))
def test_no_base_unit_and_no_pricing_unit_is_lost_at_a_bound(function, before, added):
    pieces = function.pieces(before, before + added)
    assert sum(piece.quantity for piece in pieces) == added
    if all(tier.block_size is None for tier in function.tiers):
        units = function.units(before + added) - function.units(before)
        assert sum(piece.pricing_quantity for piece in pieces) == units


def by_hand(tiers, quantity):
    """The cost of a graduated scope, one base unit after the other."""
    total = tiers[0].flat_fee
    for unit in range(1, quantity + 1):
        number = next(n for n, tier in enumerate(tiers) if tier.up_to is None or unit <= tier.up_to)
        if number and unit - 1 == tiers[number - 1].up_to:
            total += tiers[number].flat_fee
        total += tiers[number].unit_price
    return total


@settings(max_examples=100)
@given(st.sets(st.integers(1, 60), max_size=4), st.lists(decimals, min_size=10, max_size=10), st.integers(0, 80))
def test_each_unit_pays_the_price_of_its_tier(ends, prices, quantity):
    limits = [*map(Fraction, sorted(ends)), None]
    tiers = tuple(RateTier(end, prices[n], prices[n + 5]) for n, end in enumerate(limits))
    assert RateFunction(ChargeModel.GRADUATED, tiers).amount(quantity) == by_hand(tiers, quantity)


MANY_TIERS = (
    RateTier(Fraction(5), Fraction(3)),
    RateTier(Fraction(9), Fraction(2), Fraction(4)),
    RateTier(None, Fraction(1)),
)


@pytest.mark.parametrize(
    "function",
    [
        RateFunction(ChargeModel.GRADUATED, MANY_TIERS, Fraction(1000)),
        RateFunction(ChargeModel.GRADUATED, MANY_TIERS, Fraction(1000), round_up=True, free_units=Fraction(2)),
        RateFunction(ChargeModel.GRADUATED, MANY_TIERS, Fraction(1000), fixed_discount=Fraction(7)),
        RateFunction(ChargeModel.GRADUATED, MANY_TIERS, Fraction(1000), kept=Fraction("0.85"), maximum=Fraction(21)),
        RateFunction(ChargeModel.VOLUME, MANY_TIERS, Fraction(1000), free_units=Fraction(2)),
        RateFunction(
            ChargeModel.PERCENTAGE, divide_by=Fraction(1000), maximum=Fraction(1),
            fee_rule=PercentageFee(Fraction("0.024"), Fraction("0.3"), 2, Fraction(3)),
        ),
        RateFunction(ChargeModel.PER_UNIT, MANY_TIERS[2:], Fraction(1000), maximum=Fraction(5), modified=True),
    ],
)  # fmt: skip
def test_whole_bounds_discounts_and_maxima_are_crossed_without_the_exact_function(function, monkeypatch):
    expected, _, usage = one_by_one([function], [(0, 430, 0, 5)] * 30)
    for name in ("pieces", "fee_pieces", "running_step"):
        monkeypatch.delattr(RateFunction, name)
    assert in_columns([function], usage)[0] == expected


def test_a_factor_too_small_to_be_booked_is_not_capped():
    tiny = RateFunction(
        ChargeModel.PER_UNIT, (RateTier(None, Fraction(1, 10**18)),), maximum=Fraction(0), modified=True
    )
    expected, _, usage = one_by_one([tiny], [(0, 1, 0, 5)])
    assert in_columns([tiny], usage)[0] == expected == [(0, "UNIT", 1, 1, 10**12, 0)]


def test_a_cancel_of_more_than_was_used_is_refused():
    table = RateFunctions.of([RateFunction(ChargeModel.PER_UNIT, (RateTier(None, Fraction(1)),))])
    usage = ScopedUsage.plain(np.zeros(2, np.int64), np.array([3, -5]))
    with pytest.raises(ValueError, match="has used 3"):
        accumulate(table, np.zeros(1, np.int64), usage, ScopeColumns.empty(1))


states = st.builds(
    ScopeState, st.integers(0, 2**70), st.integers(0, 2**70), st.integers(0, 99), opened=st.booleans()
)  # fmt: skip
keyed = st.dictionaries(
    st.integers(0, 2**66).map(lambda n: (n % 5 << 64 | n >> 3).to_bytes(16, "big")), states, max_size=8
)


def stored(scopes):
    return ScopeStates.of(b"".join(scopes), ScopeColumns.of(list(scopes.values())))


def read(found):
    return {found.keys[16 * row : 16 * row + 16]: found.columns.at(row) for row in range(len(found))}


@settings(max_examples=200)
@given(keyed, keyed)
def test_stored_states_are_merged_and_changed_by_key(first, second):
    assert read(ScopeStates.from_stored(stored(first).stored())) == first
    assert read(stored(first).merge(stored(second))) == first | second
    sums = dict(first)
    for key, change in second.items():
        was = first.get(key, ScopeState())
        sums[key] = ScopeState(
            was.quantity + change.quantity, was.amount + change.amount, was.count + change.count,
            opened=(was.opened or change.opened) and was.quantity + change.quantity != 0,
        )  # fmt: skip
    assert read(stored(first).apply(stored(second))) == sums
    taken = stored(first).take(b"".join(second))
    assert [taken.at(row) for row in range(len(taken))] == [first.get(key, ScopeState()) for key in second]


@given(st.lists(st.tuples(states, states), max_size=6))
def test_the_change_of_a_unit_added_to_the_state_before_is_the_state_after(pairs):
    before, change = ScopeColumns.of([a for a, _ in pairs]), ScopeColumns.of([b for _, b in pairs])
    after = before.plus(change)
    again = before.plus(after.less(before))
    assert [again.at(row) for row in range(len(pairs))] == [after.at(row) for row in range(len(pairs))]


def test_a_unit_without_usage_gives_nothing():
    table = RateFunctions.of([RateFunction(ChargeModel.PER_UNIT, (RateTier(None, Fraction(1)),))])
    none = np.zeros(0, np.int64)
    entries, after = accumulate(table, none, ScopedUsage(none, Exact(none), none, none > 0), ScopeColumns.empty(0))
    assert len(entries) == len(after) == 0
