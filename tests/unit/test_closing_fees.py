"""Proration, standing fees and recurring units (spec/allocation.md 1, spec/rating.md 4.2 and 4.5)."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from typer.testing import CliRunner

from chargeline.cli.main import build
from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.entries import Rate, Scope
from chargeline.domain.closing.proration import day_share, days_in_use, prorate, second_share, seconds_in_use
from chargeline.domain.closing.recurring import RecurringUnits, recurring_entries
from chargeline.domain.closing.settlement import ScopeTotal, scope_entries
from chargeline.domain.closing.standing import FeeVersion, StandingFee, standing_entries, without_subscription
from chargeline.domain.errors import Refused
from chargeline.domain.money import rounded
from chargeline.domain.rates.card import Tier
from tests.support.closing import JUNE, at, period, span, texts

JULY, MAY = period("07-01", "08-01"), period("05-01", "06-01")
RATE = Rate("seats", None, "list", 1, "Seats")
SEATS = Scope(subscription_id="S-1")


@pytest.mark.parametrize(
    ("amount", "used", "whole", "days", "result"),
    [
        (310, span("07-09"), JULY, 23, "230"),
        (310, span("07-09T15:20", "07-20T00:10"), JULY, 11, "110"),
        (310, span("07-09T08:00", "07-09T19:00"), JULY, 0, "0"),
        (100, span("03-05"), period("02-20", "03-20"), 15, "53.571428571429"),
        (75, span("01-01", "04-11"), period("04-01", "05-01"), 10, "25"),
        (310, span("01-15", "02-01"), period("01-01", "02-01"), 17, "170"),
        (310, span("08-09"), JULY, 0, "0"),
        (310, span("05-01", "06-30"), JULY, 0, "0"),
        (-310, span("07-09"), JULY, 23, "-230"),
    ],
)
def test_an_amount_is_prorated_by_whole_days(amount, used, whole, days, result):
    assert days_in_use(used, whole) == days
    assert rounded(prorate(Fraction(amount), used, whole), 12) == Decimal(result)


def test_seconds_are_exact():
    used = span("07-09T15:20", "07-20T00:10")
    assert seconds_in_use(used, JULY) == 10 * 86_400 + 8 * 3600 + 50 * 60
    assert second_share(used, JULY) == seconds_in_use(used, JULY) / (31 * 86_400)


def test_a_period_without_a_day_is_refused():
    with pytest.raises(Refused, match="EMPTY_PERIOD"):
        day_share(span("07-09"), period("07-09T01:00", "07-09T23:00"))
    with pytest.raises(Refused, match="EMPTY_PERIOD"):
        second_share(span("07-09"), period("07-09", "07-09"))


def changes(*rows):
    return tuple(SubscriptionChange(at(day), Decimal(quantity)) for day, quantity in rows)


def fee(*versions, subscribed=None, in_advance=False):
    made = tuple(FeeVersion(used, Fraction(amount), in_advance, RATE) for used, amount in versions)
    return StandingFee(SEATS, subscribed or without_subscription(at("01-01")), made)


RAISED = (span("01-01", "06-09"), 60), (span("06-09"), 90)


@pytest.mark.parametrize(
    ("standing", "whole", "amounts"),
    [
        (fee((span("01-01"), 60)), JUNE, ["60"]),
        (fee((span("07-09"), 310)), JULY, ["230"]),
        (fee((span("07-09T15:20", "07-20T00:10"), 310)), JULY, ["110"]),
        (fee((span("07-09T08:00", "07-09T19:00"), 310)), JULY, []),
        (fee(*RAISED), JUNE, ["16", "66"]),
        (fee(*RAISED, in_advance=True), JUNE, ["60", "-44", "66"]),
        (fee((span("07-09T15:20", "07-20T00:10"), 310), in_advance=True), JULY, ["110"]),
        (fee((span("07-01", "07-11"), 310), (span("07-21"), 62), in_advance=True), JULY, ["100", "22"]),
        (fee((span("01-01"), 60), in_advance=True), JULY, ["60"]),
        (fee((span("01-01"), 60), subscribed=changes(("05-01", 4), ("06-16", 2))), JUNE, ["300"]),
        (fee((span("01-01"), 60), subscribed=changes(("05-01", 4), ("06-16", 2)), in_advance=True), JUNE,
         ["240", "-120", "180"]),
        (fee((span("01-01"), 60), subscribed=changes(("05-01", 4), ("06-16", -2)), in_advance=True), JUNE,
         ["240", "-120", "60"]),
        (fee((span("01-01"), 60), subscribed=changes(("05-01", 4), ("06-16", -9), ("06-21", 6))), JUNE, ["140"]),
        (fee((span("01-01"), 60), subscribed=changes(("07-01", 4))), JUNE, []),
        (fee((span("01-01"), 12), subscribed=changes(("05-01", 4), ("05-22", 6))), MAY, ["71.225806451613"]),
    ],
)  # fmt: skip
def test_a_standing_fee_is_booked_once_a_period(standing, whole, amounts):
    entries = standing_entries(standing, whole)
    assert texts(each.contracted_cost for each in entries) == amounts
    assert {(each.entry_kind, each.charge_category, each.sku_price_id) for each in entries} <= {
        ("STANDING_FEE", "PURCHASE", "seats/1")
    }


def test_fees_in_advance_are_booked_where_the_use_or_the_change_begins():
    entries = standing_entries(fee(*RAISED, in_advance=True), JUNE)
    assert [each.event_time for each in entries] == [at("06-01"), at("06-09"), at("06-09")]
    assert [each.event_time for each in standing_entries(fee(*RAISED), JUNE)] == [JUNE.end - 1] * 2


def test_a_fee_in_another_currency_is_converted_after_it_is_rounded():
    rate = Rate("seats", fx=Fraction("0.9137"))
    standing = StandingFee(SEATS, without_subscription(0), (FeeVersion(span("01-01"), Fraction("12.5"), False, rate),))
    (entry,) = standing_entries(standing, JUNE)
    assert texts([entry.pricing_cost, entry.contracted_cost]) == ["12.5", "11.42125"]


TIERS = (Tier(Decimal(4), Decimal(10), Decimal(20)), Tier(None, Decimal(6), Decimal(5)))
BLOCKS = (Tier(None, Decimal(30), Decimal(0), Decimal(5)),)


@pytest.mark.parametrize(
    ("tiers", "is_volume", "rows", "whole", "amounts"),
    [
        (TIERS, False, [("06-01", 3), ("06-16", 3)], JUNE, ["20", "30", "5", "5", "6"]),
        (TIERS, False, [("05-01", 3), ("05-16", 3)], JUNE, ["20", "40", "5", "12"]),
        (TIERS, False, [("06-01", 6), ("06-16", -3)], JUNE, ["20", "40", "5", "12", "-5", "-6"]),
        (TIERS, False, [("06-01", 6), ("06-16", -3), ("06-16", 3)], JUNE, ["20", "40", "5", "12"]),
        (TIERS, False, [("06-01", 6), ("06-11", -3), ("06-16", 3)], JUNE,
         ["20", "40", "5", "12", "-6.666666666667", "-8", "5", "6"]),
        (TIERS, True, [("06-01", 3), ("06-16", 3)], JUNE, ["5", "27"]),
        (TIERS, True, [("06-01", 3), ("06-16", 1)], JUNE, ["20", "35"]),
        (BLOCKS, False, [("06-01", 4), ("06-16", 1)], JUNE, ["30"]),
        (BLOCKS, False, [("06-01", 4), ("06-16", 2)], JUNE, ["30", "15"]),
        (BLOCKS, True, [("06-01", 4), ("06-16", 2)], JUNE, ["45"]),
        (TIERS, False, [], JUNE, []),
        (TIERS, True, [("07-01", 3)], JUNE, []),
    ],
)  # fmt: skip
def test_recurring_units_pay_for_days_at_the_tier_of_full_units(tiers, is_volume, rows, whole, amounts):
    units = RecurringUnits(SEATS, RATE, tiers, is_volume, changes(*rows), (span("01-01"),))
    assert texts(each.contracted_cost for each in recurring_entries(units, whole)) == amounts


def test_recurring_units_pay_for_the_days_on_which_a_rate_is_in_force():
    used = (span("01-01", "06-11"), span("06-21"))
    rows = changes(("05-01", 3), ("06-16", 2), ("06-18", -1))
    units = RecurringUnits(SEATS, RATE, TIERS, False, rows, used)
    assert texts(each.contracted_cost for each in recurring_entries(units, JUNE)) == ["20", "20", "3.333333333333"]


def test_units_with_one_price_are_one_entry_for_each_version():
    versions = (
        FeeVersion(span("01-01", "05-11"), Fraction(12), False, RATE, "UNIT"),
        FeeVersion(span("05-11", "05-22"), Fraction(31), False, replace(RATE, rate_card_version=2), "UNIT"),
        FeeVersion(span("05-22"), Fraction(12), False, RATE, "UNIT"),
    )
    entries = standing_entries(StandingFee(SEATS, changes(("05-01", 4), ("05-22", 6)), versions), MAY)
    assert [(each.entry_kind, *texts([each.contracted_cost])) for each in entries] == [
        ("UNIT", "54.193548387097"), ("UNIT", "44")]  # fmt: skip


def test_a_minimum_is_prorated_by_the_days_of_its_contract():
    april = period("04-01", "05-01")
    scope = ScopeTotal(Scope("calls"), Rate("calls"), span("01-01", "04-11"), 0, minimum=Fraction(75))
    assert texts(each.billed_cost for each in scope_entries([scope], april)) == ["25"]


def run_prorate(*options):
    arguments = ["prorate", "--period-from", "2026-07-01T00:00:00Z", "--period-to", "2026-08-01T00:00:00Z", *options]
    return CliRunner().invoke(build(["prorate"]), arguments)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--amount", "310", "--from", "2026-07-09T00:00:00Z", "--to", "2026-08-01T00:00:00Z"],
         '{"used":23,"period":31,"unit":"day","amount":"230"}'),
        (["--amount", "-310", "--from", "2026-07-09T15:20:00Z", "--to", "2026-07-20T00:10:00Z"],
         '{"used":11,"period":31,"unit":"day","amount":"-110"}'),
        (["--amount", "100", "--from", "2026-07-30T00:00:00Z", "--to", "2026-09-01T00:00:00Z"],
         '{"used":2,"period":31,"unit":"day","amount":"6.451612903226"}'),
        (["--amount", "31", "--from", "2026-07-09T00:00:00Z", "--to", "2026-07-09T12:00:00.5Z", "--unit", "second"],
         '{"used":43200.5,"period":2678400,"unit":"second","amount":"0.500005787037"}'),
    ],
)  # fmt: skip
def test_the_command_prorates(options, line):
    done = run_prorate(*options)
    assert (done.exit_code, done.stdout) == (0, line + "\n")


@pytest.mark.parametrize(
    "options",
    [
        ["--amount", "1e3", "--from", "2026-07-09T00:00:00Z", "--to", "2026-08-01T00:00:00Z"],
        ["--amount", "1", "--from", "2026-07-09T00:00:00", "--to", "2026-08-01T00:00:00Z"],
        ["--amount", "1", "--from", "2026-07-09", "--to", "2026-08-01T00:00:00Z"],
        ["--amount", "1", "--from", "2026-07-09T00:00:00Z", "--to", "soonZ"],
        ["--amount", "1", "--from", "2026-07-09T00:00:00Z", "--to", "2026-07-01T00:00:00Z"],
        ["--amount", "1", "--from", "2026-07-09T00:00:00Z", "--to", "2026-08-01T00:00:00Z", "--unit", "month"],
        ["--amount", "1", "--from", "2026-07-09T00:00:00Z", "--to", "2026-08-01T00:00:00Z", "--period-to", "2026-07-01T09:00:00Z"],
        ["--amount", "1"],
    ],
)  # fmt: skip
def test_an_unusable_option_writes_nothing_and_exits_with_2(options):
    done = run_prorate(*options)
    assert (done.exit_code, done.stdout) == (2, "")
