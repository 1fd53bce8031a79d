"""Budgets: periods, thresholds, forecasts, burn rates, versions and alerts, as tables (docs/budgets.md)."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from chargeline.domain.budgets.alerts import alert_id, changes, told_of
from chargeline.domain.budgets.budget import BudgetVersion, Scope, budget_from_json, budget_to_json, valid_budgets
from chargeline.domain.budgets.documents import document
from chargeline.domain.budgets.periods import period_of
from chargeline.domain.budgets.season import usual_share, weekday_weights
from chargeline.domain.budgets.spend import Spend, amount, picos_of
from chargeline.domain.budgets.state import forecast, state_of
from chargeline.domain.documents import BadDocument
from tests.support.budgets import DAY_US, HOUR_US, JUNE_1, MINUTE_US, budget, pane, standing, table


def micros(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        ("daily", "2026-06-01T00:00:00", "2026-06-01", "2026-06-02"),
        ("daily", "2026-06-01T23:59:59", "2026-06-01", "2026-06-02"),
        ("weekly", "2026-06-01T00:00:00", "2026-06-01", "2026-06-08"),  # a Monday
        ("weekly", "2026-06-07T23:59:59", "2026-06-01", "2026-06-08"),
        ("weekly", "2026-01-01T12:00:00", "2025-12-29", "2026-01-05"),
        ("monthly", "2026-06-30T23:59:59", "2026-06-01", "2026-07-01"),
        ("monthly", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("monthly", "2028-02-29T00:00:00", "2028-02-01", "2028-03-01"),
        ("2026-06-03..2026-06-05", "2026-06-04T23:59:59", "2026-06-03", "2026-06-05"),
    ],
)
def test_a_period_is_half_open_in_utc(period, at, start, end):
    assert period_of(period).bounds(micros(at)) == (micros(start), micros(end))


@pytest.mark.parametrize("at", ["2026-06-02T23:59:59", "2026-06-05T00:00:00"])
def test_fixed_dates_hold_between_them_only(at):
    assert period_of("2026-06-03..2026-06-05").bounds(micros(at)) is None


@pytest.mark.parametrize("text", ["yearly", "2026-06-05..2026-06-03", "2026-06-03..2026-06-03", "20260603..20260605"])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(BadDocument):
        budget(period=text)


@pytest.mark.parametrize(
    ("spent", "soft", "hard", "state"),
    [
        ("0", ("80",), "100", "OK"),
        ("79.999999999999", ("80",), "100", "OK"),
        ("80", ("80",), "100", "WARN"),
        ("99.999999999999", ("80",), "100", "WARN"),
        ("100", ("80",), "100", "EXCEEDED"),
        ("100", (), "100.000000000001", "OK"),
        ("-5", ("80",), "100", "OK"),
    ],
)
def test_a_threshold_is_reached_when_it_is_met(spent, soft, hard, state):
    assert state_of(Decimal(spent), tuple(map(Decimal, soft)), Decimal(hard)) == state


@pytest.mark.parametrize(
    ("soft", "hard", "limit", "amounts", "stop"),
    [
        (("80%",), "100%", "50", ["40"], "50"),
        (("10", "50%"), "120%", "50", ["10", "25"], "60"),
        (("33.333333333333%",), "100%", "1", ["0.333333333333"], "1"),
    ],
)
def test_a_threshold_is_a_share_of_the_limit_or_an_amount(soft, hard, limit, amounts, stop):
    found = standing(budget(limit, soft=soft, hard=hard), Spend(), JUNE_1)
    assert [str(each.normalize()) if each % 1 else str(int(each)) for each in found.soft] == amounts
    assert found.hard == Decimal(stop)


@pytest.mark.parametrize(
    "changed",
    [
        {"limit": "0"},
        {"limit": "1e3"},
        {"limit": "0.0000000000001"},
        {"soft": ("100%",)},
        {"soft": ("0%",)},
        {"soft": ("often",)},
        {"currency": "EURO?"},
    ],
)
def test_what_is_no_budget_is_refused(changed):
    with pytest.raises(BadDocument):
        budget(**changed)


def test_a_budget_survives_being_written():
    found = budget("12.5", team="a:b", project="p", experiment="e", soft=("80%", "3"), period="2026-06-01..2026-07-01")
    assert budget_from_json(budget_to_json(found)) == found


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        (Scope("acme"), "acme"),
        (Scope("acme", "search"), "acme:team:search"),
        (Scope("acme", "search", "rank", "e1"), "acme:team:search:project:rank:experiment:e1"),
        (Scope("acme", None, None, "e1"), "acme:experiment:e1"),
        (Scope("a:team:x"), "a%3Ateam%3Ax"),
        (Scope("{a}@%"), "%7Ba%7D%40%25"),
    ],
)
def test_the_path_of_a_scope_is_its_own(scope, path):
    assert scope.path == path


def test_of_the_versions_of_a_budget_the_one_that_began_last_holds():
    small, large = budget("1"), budget("2")
    name = small.budget_id
    versions = [BudgetVersion(name, 10, small), BudgetVersion(name, 30, None), BudgetVersion(name, 20, large)]
    held = {at: valid_budgets(versions, at).get(name) for at in (9, 10, 19, 20, 29, 30)}
    assert held == {9: None, 10: small, 19: small, 20: large, 29: large, 30: None}


def test_of_two_versions_from_one_time_the_one_recorded_last_holds():
    small, large = budget("1"), budget("2")
    versions = [BudgetVersion(small.budget_id, 10, small), BudgetVersion(small.budget_id, 10, large)]
    assert valid_budgets(versions, 10) == {small.budget_id: large}


@pytest.mark.parametrize(
    ("scope", "spent"),
    [
        ({}, "15"),
        ({"team": "search"}, "7"),
        ({"team": "search", "project": "rank"}, "4"),
        ({"project": "rank"}, "12"),
        ({"experiment": "e1"}, "4"),
        ({"account": "other"}, "0"),
    ],
)
def test_a_budget_covers_what_carries_all_its_names(scope, spent):
    spend = Spend()
    rows = [
        pane(1, 0, "4", project="rank", experiment_id="e1"),
        pane(1, 1, "3", project="index"),
        pane(1, 2, "8", team="ads", project="rank"),
    ]
    spend.add(table(*rows), JUNE_1)
    assert standing(budget(**scope), spend, JUNE_1 + HOUR_US).spent == Decimal(spent)


def test_another_currency_is_told_and_not_added():
    spend = Spend()
    spend.add(table(pane(1, 0, "4"), pane(1, 1, "9", currency="EUR"), pane(1, 2, "0", currency=None)), JUNE_1)
    found = standing(budget(), spend, JUNE_1 + HOUR_US)
    assert (found.spent, found.other_currencies) == (Decimal(4), ("EUR",))


def test_a_new_period_begins_with_nothing_spent():
    spend = Spend()
    spend.add(table(pane(1, 0, "90", JUNE_1 + DAY_US - MINUTE_US)), JUNE_1)
    daily = budget(period="daily")
    assert standing(daily, spend, JUNE_1 + DAY_US - 1).state == "WARN"
    assert standing(daily, spend, JUNE_1 + DAY_US).state == "OK"
    assert standing(daily, spend, JUNE_1 + DAY_US).spent == 0


def test_spend_that_comes_late_belongs_to_its_own_period():
    spend = Spend()
    spend.add(table(pane(1, 0, "5", JUNE_1 + DAY_US)), JUNE_1)
    spend.add(table(pane(2, 0, "7", JUNE_1)), JUNE_1)
    daily = budget(period="daily")
    assert [standing(daily, spend, JUNE_1 + day * DAY_US).spent for day in (0, 1)] == [Decimal(7), Decimal(5)]


@pytest.mark.parametrize(
    ("spent", "elapsed", "length", "share", "wanted"),
    [
        (10, 1, 10, None, Fraction(100)),
        (10, 1, 3, None, Fraction(30)),
        (10, 9, 100, None, None),  # too early to tell
        (10, 10, 100, Fraction(1, 4), Fraction(40)),
        (7, 3, 3, None, Fraction(7)),
        (10, 30, 100, Fraction(1, 20), None),  # the days so far are quiet ones: too little to tell
    ],
)
def test_the_forecast_is_exact(spent, elapsed, length, share, wanted):
    assert forecast(spent, elapsed, length, share) == wanted


@pytest.mark.parametrize(
    ("per_minute", "minutes", "fast", "slow"),
    [
        ("0", 60, False, False),
        ("0.1", 60, False, False),  # 144 of 1440 a day: the even rate of a limit of 144 is 0.1 a minute
        ("1.44", 5, False, False),  # only the short window
        ("1.6", 65, True, False),
        ("0.7", 365, False, True),
    ],
)
def test_a_burn_rate_needs_both_windows(per_minute, minutes, fast, slow):
    spend, now = Spend(), JUNE_1 + 12 * HOUR_US
    rows = [pane(1, number, per_minute, now - (number + 1) * MINUTE_US) for number in range(minutes)]
    spend.add(table(*rows), JUNE_1)
    monthly = budget("4320", hard="100%")  # 30 days of 144
    burns = {each.name: each.is_burning for each in standing(monthly, spend, now).burns}
    assert burns == {"FAST": fast, "SLOW": slow}


def test_a_burn_says_in_how_many_hours_the_budget_is_gone():
    spend, now = Spend(), JUNE_1 + 12 * HOUR_US
    rows = [pane(1, number, "2", now - (number + 1) * MINUTE_US) for number in range(60)]
    spend.add(table(*rows), JUNE_1)
    fast = standing(budget("4320"), spend, now).burns[0]
    assert (fast.rate, fast.gone_in_h) == (Decimal("20.0"), Decimal("35.0"))  # (4320 - 120) / 120 an hour


def test_money_is_exact_beyond_28_digits():
    picos = 10**37 + 1
    assert picos_of(amount(picos)) == picos
    assert picos_of(amount(-picos)) == -picos


def told(found):
    return {each.alert.anomaly_id: each for each in found}


def spent(cost, at=JUNE_1):
    spend = Spend()
    spend.add(table(pane(1, 0, cost, at)), JUNE_1)
    return spend


def test_a_threshold_is_told_once_and_resolved_once():
    terms, now = budget(soft=("50%", "80%"), period="daily"), JUNE_1 + 20 * HOUR_US
    first = changes([standing(terms, spent("60"), now)], {}, now)
    assert [(each.alert.state, each.alert.sequence, each.alert.expected) for each in first] == [
        ("OPEN", 1, Decimal(50))
    ]
    assert changes([standing(terms, spent("61"), now)], told(first), now + 1) == []
    second = changes([standing(terms, spent("100"), now)], told(first), now)
    assert sorted(each.alert.severity for each in second) == ["CRITICAL", "MEDIUM"]
    over = changes([standing(terms, spent("10"), now)], told(first) | told(second), now)
    assert {(each.alert.state, each.alert.sequence) for each in over} == {("RESOLVED", 2)}
    again = changes([standing(terms, spent("60"), now)], told(over), now)
    assert [(each.alert.state, each.alert.sequence) for each in again] == [("UPDATED", 3)]


def test_the_end_of_a_period_resolves_its_alerts_and_the_next_one_has_other_ids():
    terms = budget(period="daily", soft=())
    first = changes([standing(terms, spent("100"), JUNE_1)], {}, JUNE_1)
    tomorrow = JUNE_1 + DAY_US
    after = changes([standing(terms, spent("100", tomorrow), tomorrow)], told(first), tomorrow)
    assert sorted(each.alert.state for each in after) == ["OPEN", "RESOLVED"]
    assert len({each.alert.anomaly_id for each in after}) == 2


def test_the_id_of_an_alert_follows_from_budget_threshold_and_period():
    assert alert_id("acme@monthly", "HARD", JUNE_1) == "266d89088499d5fa5015fb7e2cc4493a"
    names = {alert_id(*each) for each in [("a", "HARD", 1), ("a", "HARD", 2), ("aH", "ARD", 1), ("a", "SOFT 1", 1)]}
    assert len(names) == 4


def test_a_forecast_is_told_before_the_budget_is_gone():
    terms, now = budget("100", soft=()), JUNE_1 + 3 * DAY_US
    found = changes([standing(terms, spent("11"), now)], {}, now)
    assert [(each.alert.severity, each.alert.actual) for each in found] == [("MEDIUM", Decimal(110))]


def workdays(weeks, amount=7):
    """Spend of a team on every workday of the weeks before June, a Monday; nothing on weekends."""
    spend = Spend()
    for number in range(7 * weeks):
        if number % 7 < 5:
            spend.add(table(pane(number, 0, str(amount), JUNE_1 + (number - 7 * weeks) * DAY_US)), JUNE_1)
    return spend


def test_the_forecast_knows_that_weekends_are_quiet():
    """35 a week were usual. On Saturday morning 35 are spent, and it will stay so; a straight line sees 47."""
    terms, spend, saturday = budget("40", period="weekly"), workdays(4), JUNE_1 + 5 * DAY_US + DAY_US // 4
    for number in range(5):
        spend.add(table(pane(100 + number, 0, "7", JUNE_1 + number * DAY_US)), JUNE_1)
    weights = weekday_weights(terms, spend, JUNE_1)
    assert standing(terms, spend, saturday, weights).forecast == Decimal(35)
    straight = standing(terms, spend, saturday)
    assert straight.forecast == Decimal("46.666666666667")
    assert [each.alert.what for each in changes([straight], {}, saturday) if "last" in each.alert.what]
    assert not changes([standing(terms, spend, saturday, weights)], {}, saturday)[1:]


@pytest.mark.parametrize(("weeks", "is_known"), [(0, False), (1, False), (2, True), (6, True)])
def test_a_weeks_course_is_known_after_two_weeks(weeks, is_known):
    assert (weekday_weights(budget(), workdays(weeks), JUNE_1) is not None) is is_known


def test_a_weeks_course_is_that_of_the_last_four_weeks_of_the_budgets_own_spend():
    spend = workdays(8)
    spend.add(table(pane(100, 0, "99", JUNE_1 - 30 * DAY_US), pane(100, 1, "50", JUNE_1 - 3 * DAY_US, team="ads")), 0)
    # Day 0, and so the first weight, is a Thursday.
    assert weekday_weights(budget(team="search"), spend, JUNE_1) == tuple(
        28 * 10**12 if number in (0, 1, 4, 5, 6) else 0 for number in range(7)
    )


@pytest.mark.parametrize(
    ("days", "wanted"),
    [(0, Fraction(0)), (1, Fraction(1, 28)), (2.5, Fraction(2 + 4 + 3, 56)), (7, Fraction(1))],
)
def test_the_usual_share_of_a_week(days, wanted):
    """Monday to Sunday bring 2, 4, 6, 8, 10, 12, 14 of 56."""
    weights = (8, 10, 12, 14, 2, 4, 6)
    assert usual_share(weights, JUNE_1, JUNE_1 + 7 * DAY_US, JUNE_1 + int(days * DAY_US)) == wanted


def test_what_was_told_survives_being_stored():
    found = changes([standing(budget(team="t", soft=()), spent("100"), JUNE_1)], {}, JUNE_1)
    found += changes([standing(budget(soft=()), spent("100"), JUNE_1)], {}, JUNE_1)
    assert [told_of(each.encode()) for each in found] == found


def test_the_document_is_that_of_the_tightest_budget_and_has_them_all():
    spend = spent("90")
    both = [standing(budget("1000"), spend, JUNE_1), standing(budget("100", period="daily"), spend, JUNE_1)]
    assert document(both, JUNE_1, 5) == (
        '{"budget_id":"acme@daily","state":"WARN","unit":"USD","spent":"90","limit":"100","hard":"100",'
        '"remaining":"10","period":"daily","period_start":"2026-06-01T00:00:00Z",'
        '"period_end":"2026-06-02T00:00:00Z","forecast":null,"complete":true,"soft":"80",'
        '"updated_at":"2026-06-01T00:00:00Z","next_offset":5,"budgets":['
        '{"budget_id":"acme@daily","state":"WARN","unit":"USD","spent":"90","limit":"100","hard":"100",'
        '"remaining":"10","period":"daily","period_start":"2026-06-01T00:00:00Z",'
        '"period_end":"2026-06-02T00:00:00Z","forecast":null,"complete":true,"soft":"80"},'
        '{"budget_id":"acme@monthly","state":"OK","unit":"USD","spent":"90","limit":"1000","hard":"1000",'
        '"remaining":"910","period":"monthly","period_start":"2026-06-01T00:00:00Z",'
        '"period_end":"2026-07-01T00:00:00Z","forecast":null,"complete":true,"soft":"800"}]}'
    )
