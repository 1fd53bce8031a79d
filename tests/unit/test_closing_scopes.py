"""Openings, volume settlements and minimums of accumulating rates (spec/rating.md 3, 4.5, 12)."""

from fractions import Fraction

import pytest

from chargeline.domain.closing.entries import Rate, Scope
from chargeline.domain.closing.largest_remainder import split_steps
from chargeline.domain.closing.settlement import ProjectUsage, ScopeTotal, scope_entries, settlement, with_project
from tests.support.closing import JUNE, period, picos, span, texts

MAY = period("05-01", "06-01")
RATE = Rate("images")


@pytest.mark.parametrize(
    ("steps", "weights", "parts"),
    [
        (1000, {"x": 1, "y": 1, "z": 1}, {"x": 334, "y": 333, "z": 333}),
        (1000, {"z": 1, "x": 1, "y": 1}, {"x": 334, "y": 333, "z": 333}),
        (-1000, {"x": 1, "y": 1, "z": 1}, {"x": -334, "y": -333, "z": -333}),
        (100, {"a": 3, "b": 3, "c": 1}, {"a": 43, "b": 43, "c": 14}),
        (2, {"a": 1, "b": 1, "c": 98}, {"a": 0, "b": 0, "c": 2}),
        (7, {"y": 35, "x": 65}, {"y": 2, "x": 5}),
        (3, {"y": 1, "x": 1}, {"x": 2, "y": 1}),
        (10**12, {"a": 1, "b": 2}, {"a": 333333333333, "b": 666666666667}),
        (3, {"a": 1, None: 1}, {None: 2, "a": 1}),
        (0, {"a": 0}, {"a": 0}),
    ],
)
def test_steps_left_over_go_to_the_largest_remainders(steps, weights, parts):
    assert split_steps(steps, weights) == parts


@pytest.mark.parametrize("weights", [{"a": 0}, {}, {"a": 2, "b": -1}])
def test_an_amount_without_weight_is_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        split_steps(100, weights)


@pytest.mark.parametrize(
    ("total", "projects", "parts"),
    [
        ("53.5", {"a": (30, 21), "b": (60, 33)}, {"a": "-3.166666666667", "b": "2.666666666667"}),
        ("53.5", {"b": (60, 33), "a": (30, 21)}, {"a": "-3.166666666667", "b": "2.666666666667"}),
        ("9", {}, {None: "9"}),
        ("9", {"a": (0, 0)}, {"a": "0", None: "9"}),
        ("0", {"a": (0, 0)}, {"a": "0"}),
        ("30", {None: (455, "109.2")}, {None: "-79.2"}),
    ],
)
def test_a_settlement_brings_each_project_to_its_share_of_the_total(total, projects, parts):
    rows = [ProjectUsage(name, quantity, picos(booked)) for name, (quantity, booked) in projects.items()]
    found = settlement(picos(total), rows)
    assert dict(zip(found, texts(found.values()), strict=True)) == parts


def scope(total="0", minimum=None, **fields):
    fields = {"scope": Scope("images")} | fields
    least = None if minimum is None else Fraction(minimum)
    return ScopeTotal(rate=RATE, used=span("01-01"), total=picos(total), minimum=least, **fields)


NO_EVENT = {"has_events": False, "is_opened": False}
BY_PROJECT = {"scope": Scope("images", by=(("project", "a"),))}
BY_HOUR = {"scope": Scope("images", window_start=JUNE.start)}
FLAT = {"opening": picos(9)}


@pytest.mark.parametrize(
    ("state", "booked"),
    [
        (scope("56", 75), ["TRUE_UP 19"]),
        (scope("80", 75), []),
        (scope("0", 75, is_explicit=True, **NO_EVENT), ["TRUE_UP 75"]),
        (scope("0", 75, **NO_EVENT), []),
        (scope("0", 75, is_explicit=True, **NO_EVENT, **BY_PROJECT), []),
        (scope("9", is_explicit=True, **FLAT, **NO_EVENT), ["TIER_FLAT 9"]),
        (scope("9", 75, is_explicit=True, **FLAT, **NO_EVENT), ["TIER_FLAT 9", "TRUE_UP 66"]),
        (scope("9", **FLAT, **NO_EVENT), []),
        (scope("9", is_explicit=True, is_opened=False, **FLAT), ["TIER_FLAT 9"]),
        (scope("9.7", is_explicit=True, **FLAT), []),
        (scope("9", is_explicit=True, **FLAT, **NO_EVENT, **BY_PROJECT), []),
        (scope("9", is_explicit=True, **FLAT, **NO_EVENT, **BY_HOUR), []),
        (scope("0", is_explicit=True, **NO_EVENT), []),
        (scope("9", is_explicit=True, is_volume=True, **NO_EVENT), ["TIER_SETTLEMENT 9"]),
        (scope("9", is_volume=True, **NO_EVENT), []),
        (scope("9", is_volume=True, is_explicit=True, **NO_EVENT, **BY_PROJECT), []),
        (scope("68", 75, period=MAY, true_up_booked=picos(19)), ["TRUE_UP -12"]),
        (scope("80", 75, period=MAY, true_up_booked=picos(19)), ["TRUE_UP -19"]),
    ],
)
def test_a_scope_is_opened_settled_and_brought_to_its_minimum(state, booked):
    entries = scope_entries([state], JUNE)
    found = [
        f"{each.entry_kind} {amount}"
        for each, amount in zip(entries, texts(e.billed_cost for e in entries), strict=True)
    ]
    assert found == booked
    assert all(each.charge_class == ("CORRECTION" if state.period == MAY else None) for each in entries)


def test_openings_come_before_settlements_before_true_ups():
    states = [
        scope("5", 6, scope=Scope("b")),
        scope("9", scope=Scope("c"), is_explicit=True, **FLAT, **NO_EVENT),
        scope("3", 4, scope=Scope("a"), is_volume=True, projects=(ProjectUsage("p", 1, 0),)),
    ]
    kinds = [(each.entry_kind, each.scope) for each in scope_entries(states, JUNE)]
    assert kinds == [
        ("TIER_FLAT", Scope("c")),
        ("TIER_SETTLEMENT", Scope("a")),
        ("TRUE_UP", Scope("a")),
        ("TRUE_UP", Scope("b")),
    ]
    assert scope_entries(states[::-1], JUNE) == scope_entries(states, JUNE)


def test_a_settlement_is_named_with_its_project():
    assert with_project(Scope("images"), "a").by == (("project", "a"),)
    assert with_project(Scope("images", by=(("feature", "f"),)), None).by == (("feature", "f"), ("project", None))
