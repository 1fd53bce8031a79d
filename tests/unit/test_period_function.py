"""The examples of spec/rating.md 4.1 to 4.7 and 5, one row a line."""

from fractions import Fraction

import pytest

from chargeline.domain.rating.period_function import (
    ChargeModel,
    PercentageFee,
    RateFunction,
    RateTier,
    kept_after,
)
from chargeline.domain.rating.scope_step import ScopeState, shift, step

F = Fraction


def tiers(*rows):
    return tuple(
        RateTier(None if up_to is None else F(up_to), F(price), F(fee), None if block is None else F(block))
        for up_to, price, fee, block in rows
    )


def per_unit(price, **more):
    return RateFunction(ChargeModel.PER_UNIT, tiers((None, price, 0, None)), **more)


def package(price, size, **more):
    return RateFunction(ChargeModel.PACKAGE, tiers((None, price, 0, size)), **more)


MICRO = F(10**6)  # the scope counts millionths, so that quantities may be fractions
SIMPLE = tiers((40, "0.7", 9, None), (90, "0.55", 4, None), (None, "0.3", "1.5", None))
BLOCKS = tiers((300, 2, 0, 25), (None, 6, 0, 100))
GRADUATED = RateFunction(ChargeModel.GRADUATED, SIMPLE, MICRO)
VOLUME = RateFunction(ChargeModel.VOLUME, SIMPLE, MICRO)
GRADUATED_BLOCKS = RateFunction(ChargeModel.GRADUATED, BLOCKS, MICRO)
VOLUME_BLOCKS = RateFunction(ChargeModel.VOLUME, BLOCKS, MICRO)
FREE_THEN = RateFunction(ChargeModel.GRADUATED, tiers((2, 0, 0, None), (None, "12.5", 0, None)), MICRO)
TOKENS = per_unit("2.75", divide_by=MICRO)
ROUND = per_unit(3, divide_by=F(250), round_up=True)
ROUND_FREE = per_unit(3, divide_by=F(250), round_up=True, free_units=F("1.25"))
PACK = package(7, 48, free_units=F(12))
PACK_DOWN = package(7, 48, free_units=F(12), round_down=True)
SHARES = RateFunction(ChargeModel.GRADUATED_PERCENTAGE, tiers((500, "0.015", 3, None), (None, "0.008", 2, None)), MICRO)
CAPPED = per_unit(4, maximum=F(50))
FLOORED = per_unit(4, minimum=F(75))
ALL_OFF = per_unit(4, kept=kept_after((F(15), F(10))), fixed_discount=F(20), maximum=F(70))
PLAIN = RateFunction(ChargeModel.GRADUATED, tiers((40, "0.7", 0, None), (None, "0.55", 0, None)))
PRIORITY = RateFunction(ChargeModel.GRADUATED, tiers((40, "0.7", 0, None), (None, "0.55", 0, None)), modified=True)
WALK = RateFunction(
    ChargeModel.GRADUATED, tiers((50, 4, 0, None), (None, 3, 0, None)), MICRO, free_units=F(1),
    kept=kept_after((F(10),)), fixed_discount=F(5), maximum=F(200),
)  # fmt: skip


@pytest.mark.parametrize(
    ("function", "units", "expected"),
    [
        (TOKENS, "1.234567", "3.39505925"),
        (TOKENS, "0", "0"),
        (ROUND, "1001", "15"),
        (ROUND, "1000", "12"),
        (ROUND, "0", "0"),
        (ROUND_FREE, "1001", "11.25"),
        (PACK, "0", "0"),
        (PACK, "12", "0"),
        (PACK, "13", "7"),
        (PACK, "60", "7"),
        (PACK, "61", "14"),
        (PACK_DOWN, "59", "0"),
        (PACK_DOWN, "61", "7"),
        (GRADUATED, "0", "9"),
        (GRADUATED, "1", "9.7"),
        (GRADUATED, "40", "37"),
        (GRADUATED, "40.000001", "41.00000055"),
        (GRADUATED, "90", "68.5"),
        (GRADUATED, "130", "82"),
        (GRADUATED_BLOCKS, "0", "0"),
        (GRADUATED_BLOCKS, "1", "2"),
        (GRADUATED_BLOCKS, "300", "24"),
        (GRADUATED_BLOCKS, "301", "30"),
        (GRADUATED_BLOCKS, "455", "36"),
        (FREE_THEN, "1.5", "0"),
        (FREE_THEN, "2", "0"),
        (FREE_THEN, "2.5", "6.25"),
        (VOLUME, "0", "9"),
        (VOLUME, "40", "37"),
        (VOLUME, "40.5", "26.275"),
        (VOLUME, "41", "26.55"),
        (VOLUME, "90", "53.5"),
        (VOLUME, "130", "40.5"),
        (VOLUME_BLOCKS, "300", "24"),
        (VOLUME_BLOCKS, "301", "24"),
        (VOLUME_BLOCKS, "455", "30"),
        (SHARES, "0", "3"),
        (SHARES, "500", "10.5"),
        (SHARES, "501", "12.508"),
        (SHARES, "2000", "24.5"),
        (ALL_OFF, "30", "70"),
        (WALK, "61", "200"),
        (WALK, "30.5", "101.2"),
    ],
)
def test_a_total_is_that_of_the_specification(function, units, expected):
    base = F(units) * (MICRO if function.divide_by == MICRO else 1)
    assert base.denominator == 1
    assert function.amount(int(base)) == F(expected)


def booked(pieces):
    return [(str(piece.kind), piece.tier, str(F(piece.picos, 10**12))) for piece in pieces]


@pytest.mark.parametrize(
    ("function", "running", "event", "expected"),
    [
        (ROUND, 1100, 100, [("UNIT", 1, "0")]),
        (PACK, 50, 20, [("UNIT", 1, "7")]),
        (PACK, 0, 12, [("FREE_UNITS", 0, "0")]),
        (PACK, 0, 20, [("FREE_UNITS", 0, "0"), ("UNIT", 1, "7")]),
        (PLAIN, 35, 15, [("UNIT", 1, "7/2"), ("UNIT", 2, "11/2")]),
        (GRADUATED, 35_000_000, 15_000_000, [("UNIT", 1, "7/2"), ("TIER_FLAT", 2, "4"), ("UNIT", 2, "11/2")]),
        (CAPPED, 11, 3, [("UNIT", 1, "12"), ("CAP", 0, "-6")]),
        (CAPPED, 14, 5, [("UNIT", 1, "20"), ("CAP", 0, "-20")]),
        (ALL_OFF, 0, 30, [("UNIT", 1, "459/5"), ("DISCOUNT", 0, "-20"), ("CAP", 0, "-9/5")]),
        (VOLUME, 0, 30_000_000, [("UNIT", 1, "21")]),
        (VOLUME, 30_000_000, 60_000_000, [("UNIT", 2, "33")]),
        (WALK, 0, 61_000_000, [("FREE_UNITS", 0, "0"), ("UNIT", 1, "180"), ("UNIT", 2, "27"), ("DISCOUNT", 0, "-5"),
                               ("CAP", 0, "-2")]),
    ],
)  # fmt: skip
def test_the_pieces_of_an_event_are_those_of_the_specification(function, running, event, expected):
    assert booked(function.pieces(running, running + event)) == expected


def test_the_first_event_of_a_scope_opens_it():
    pieces, after = step(GRADUATED, ScopeState(), 1_000_000)
    assert booked(pieces) == [("TIER_FLAT", 1, "9"), ("UNIT", 1, "7/10")]
    assert booked(step(GRADUATED, after, 1_000_000)[0]) == [("UNIT", 1, "7/10")]


def test_packages_of_a_window_event_are_filled_by_each_event():
    assert sum(piece.picos for _ in range(3) for piece in step(PACK, ScopeState(), 20)[0]) == 21 * 10**12


def test_two_halves_cost_what_the_whole_costs():
    first, after = step(WALK, ScopeState(), 30_500_000)
    second, _ = step(WALK, after, 30_500_000)
    assert [sum(piece.picos for piece in each) for each in (first, second)] == [101_200_000_000_000, 98_800_000_000_000]


@pytest.mark.parametrize(
    ("rule", "amounts", "expected"),
    [
        (PercentageFee(F("0.024"), F("0.3"), 2, F(120)), (70, 90, 60, 15), ("0", "1.26", "1.74", "0.66")),
        (
            PercentageFee(F("0.024"), F("0.3"), 2, F(120), F("0.5"), F("1.5")),
            (70, 90, 60, 15),
            ("0", "1.26", "1.5", "0.66"),
        ),
        (PercentageFee(F("0.024"), F("0.3")), (0, 25), ("0", "0.9")),
        (PercentageFee(F("0.024"), free_amount=F(100)), (130,), ("0.72",)),
    ],
)
def test_the_fees_of_transactions_are_those_of_the_specification(rule, amounts, expected):
    function = RateFunction(ChargeModel.PERCENTAGE, divide_by=MICRO, fee_rule=rule)
    state, found = ScopeState(), []
    for amount in amounts:
        pieces, state = step(function, state, amount * 10**6)
        found.append(sum(piece.picos for piece in pieces))
    assert found == [F(each) * 10**12 for each in expected]


@pytest.mark.parametrize(("units", "expected"), [(14, 19), (0, 75), (20, 0)])
def test_a_true_up_is_what_the_minimum_lacks(units, expected):
    assert FLOORED.true_up(units) == expected


def test_a_prorated_minimum_takes_the_place_of_the_whole():
    assert FLOORED.true_up(5, minimum=F(30)) == 10


def test_a_true_up_counts_the_running_amount_of_a_rate_that_has_one():
    rule = PercentageFee(F("0.024"), F("0.3"))
    function = RateFunction(ChargeModel.PERCENTAGE, divide_by=MICRO, minimum=F(2), fee_rule=rule)
    _, state = step(function, ScopeState(), 25 * 10**6)
    assert function.true_up(state.quantity, state.amount) == F("1.1")


def test_factors_change_the_unit_part_only():
    pieces, after = step(PRIORITY, ScopeState(35, 245 * 10**11, 0, opened=True), 10, F("1.5"))
    assert booked(pieces) == [("UNIT", 1, "21/4"), ("UNIT", 2, "33/8")]
    assert after == ScopeState(45, 245 * 10**11 + 9_375_000_000_000, 0, opened=True)


def test_factors_multiply():
    function = per_unit(6, divide_by=MICRO, modified=True)
    assert booked(step(function, ScopeState(), 250_000, F("0.5") * F("0.8"))[0]) == [("UNIT", 1, "3/5")]


def test_a_cancel_shifts_the_scope_to_the_total_of_what_is_left():
    first, after = step(PLAIN, ScopeState(), 30)
    second, after = step(PLAIN, after, 20)
    shifted, after = shift(PLAIN, after, 30, sum(piece.picos for piece in first))
    assert booked(shifted) == [("TIER_SHIFT", 0, "3/2")]
    assert after.quantity == 20
    assert sum(piece.picos for piece in second + shifted) == 14 * 10**12


def test_an_event_that_does_not_count_is_priced_and_moves_nothing():
    state = ScopeState(35, 0, 0, opened=True)
    pieces, after = step(PLAIN, state, 10, counts=False)
    assert booked(pieces) == [("UNIT", 1, "7/2"), ("UNIT", 2, "11/4")]
    assert after == state


def test_a_negative_total_is_refused():
    with pytest.raises(ValueError, match="-1"):
        PLAIN.amount(-1)
