"""A whole close, and what the invoice then asks for (spec/rating.md 2 and 13)."""

from decimal import Decimal
from fractions import Fraction

import pytest

from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.close import Carried, PeriodFacts, close_period
from chargeline.domain.closing.entries import Rate, Scope, q12
from chargeline.domain.closing.invoice_lines import invoice_lines, invoice_total, rounding_entry
from chargeline.domain.closing.settlement import ProjectUsage, ScopeTotal
from chargeline.domain.closing.standing import FeeVersion, StandingFee, standing_entries
from chargeline.domain.currencies import minor_digits
from chargeline.domain.errors import Refused
from tests.support.closing import JUNE, at, charge, commitment, grant, of_kind, picos, span, texts


def test_one_charge_through_all_steps():
    event = [
        charge("0", 1, entry_kind="FREE_UNITS"),
        charge("165.6", 1),
        charge("24.84", 1),
        charge("-4.6", 1, entry_kind="DISCOUNT", charge_category="ADJUSTMENT"),
        charge("-1.84", 1, entry_kind="CAP", charge_category="ADJUSTMENT"),
    ]
    facts = PeriodFacts(commitments=(commitment(100, "1.1"),), grants=(grant("G", 30),))
    made, carried = close_period(event, [], facts, JUNE, Carried())
    assert [(each.entry_kind, *texts([each.billed_cost])) for each in made] == [("OVERAGE", "8.4"), ("CREDIT", "-30")]
    assert texts([sum(each.billed_cost for each in [*event, *made])]) == ["162.4"]
    assert carried.used == {"G": picos(30)}
    assert texts([carried.commitments["K"].counted]) == ["184"]


def test_a_close_books_fees_scopes_commitments_minimum_and_credits_in_this_order():
    scope, rate = Scope("images"), Rate("images")
    seats = StandingFee(
        Scope(subscription_id="S"), (SubscriptionChange(at("06-01"), Decimal(2)),),
        (FeeVersion(span("01-01"), Fraction(10), False, Rate("seats")),),
    )  # fmt: skip
    volume = ScopeTotal(
        scope, rate, span("01-01"), picos(18), is_volume=True, projects=(ProjectUsage("a", 30, picos(21)),)
    )
    least = ScopeTotal(Scope("calls"), Rate("calls"), span("01-01"), picos(0), minimum=Fraction(7), has_events=True)
    facts = PeriodFacts(
        fees=tuple(standing_entries(seats, JUNE)),
        minimums=((picos(200), span("01-01")),),
        commitments=(commitment(40, "2"), commitment(60, "1", "L", sku_ids=("none",), paid_up_front=True)),
        grants=(grant("G", 25), grant("H", 1, priority=9, expires="06-30", sku_ids=("none",))),
    )
    booked = [charge("21", 1, sku_id="images", scope=scope, project="a")]
    made, _ = close_period(booked, [least, volume], facts, JUNE, Carried())
    assert [(each.entry_kind, *texts([each.billed_cost])) for each in made] == [
        ("STANDING_FEE", "20"),
        ("TIER_SETTLEMENT", "-3"),
        ("TRUE_UP", "7"),
        ("STANDING_FEE", "60"),
        ("OVERAGE", "1"),
        ("OVERAGE", "-1"),
        ("OVERAGE", "5"),
        ("TRUE_UP", "0"),
        ("TRUE_UP", "90"),
        ("CREDIT", "-21"),
        ("CREDIT", "-4"),
        ("CREDIT", "3"),
        ("CREDIT", "1"),
        ("FORFEIT", "0"),
    ]
    assert texts([sum(each.billed_cost for each in [*booked, *made])]) == ["179"]


def test_a_standing_fee_covered_up_front_is_not_paid_again_by_credits():
    fee = StandingFee(
        Scope("seats"), (SubscriptionChange(at("06-01"), Decimal(1)),),
        (FeeVersion(span("01-01"), Fraction(10), False, Rate("seats")),),
    )  # fmt: skip
    facts = PeriodFacts(
        fees=tuple(standing_entries(fee, JUNE)),
        commitments=(commitment(10, paid_up_front=True),),
        grants=(grant("G", 25, sku_ids=("seats",)),),
    )
    made, _ = close_period([], [], facts, JUNE, Carried())
    assert of_kind(made, "COVER") == ["-10"]
    assert of_kind(made, "CREDIT") == []


def test_closing_a_period_without_anything_books_nothing():
    assert close_period([], [], PeriodFacts(), JUNE, Carried()) == ([], Carried())


def test_an_amount_that_no_decimal_holds_is_refused():
    assert q12(Fraction(10**26) - Fraction(1, 10**12)) == 10**38 - 1
    with pytest.raises(Refused, match="AMOUNT_OVERFLOW"):
        q12(Fraction(10**26))


def roundings(lines):
    return [made for each in lines if (made := rounding_entry(each, JUNE.end - 1)) is not None]


@pytest.mark.parametrize(
    ("currency", "amounts", "payable", "rounding"),
    [
        ("USD", ["0.125"], ["0.13"], ["0.005"]),
        ("USD", ["-0.125"], ["-0.13"], ["-0.005"]),
        ("USD", ["2.344999999999"], ["2.34"], ["-0.004999999999"]),
        ("JPY", ["10.5"], ["11"], ["0.5"]),
        ("KWD", ["10.0005"], ["10.001"], ["0.0005"]),
        ("USD", ["0.1", "0.02", "0.005"], ["0.13"], ["0.005"]),
        ("USD", ["0.12"], ["0.12"], ["0"]),
    ],
)
def test_a_line_is_rounded_once_to_payable_money(currency, amounts, payable, rounding):
    digits = minor_digits(currency)
    assert digits is not None
    lines = invoice_lines([("I", charge(amount, n)) for n, amount in enumerate(amounts)], digits)
    assert texts(each.payable for each in lines) == payable
    assert texts(each.rounding for each in lines) == rounding


def test_three_small_lines_make_an_invoice_of_nothing_and_three_roundings():
    lines = invoice_lines([("I", charge("0.004", project=name)) for name in "abc"], 2)
    assert invoice_total(lines, "I") == 0
    assert texts(each.billed_cost for each in roundings(lines)) == ["-0.004"] * 3


def test_a_rounding_repeats_class_and_project_of_its_line_but_no_price():
    (line,) = invoice_lines([("I", charge("0.004", project="a", charge_class="CORRECTION"))], 2)
    (made,) = roundings([line])
    assert (made.entry_kind, made.charge_category, made.charge_class) == ("ROUNDING", "ADJUSTMENT", "CORRECTION")
    assert (made.project, made.sku_price_id) == ("a", None)


def test_an_exact_line_needs_no_rounding():
    (line,) = invoice_lines([("I", charge("0.12"))], 2)
    assert roundings([line]) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sku_id", "x"),
        ("sku_price_id", "x"),
        ("charge_category", "PURCHASE"),
        ("charge_class", "CORRECTION"),
        ("project", "p"),
    ],
)
def test_entries_that_differ_in_a_part_of_the_key_are_lines_of_their_own(field, value):
    assert len(invoice_lines([("I", charge("1")), ("I", charge("1", **{field: value}))], 2)) == 2
    assert len(invoice_lines([("I", charge("1")), ("J", charge("1"))], 2)) == 2


@pytest.mark.parametrize(("code", "digits"), [("USD", 2), ("JPY", 0), ("KWD", 3), ("EUR", 2), ("CREDITS", None)])
def test_minor_units_are_those_of_iso_4217(code, digits):
    assert minor_digits(code) == digits
