"""Credits (spec/rating.md 9)."""

import pytest

from chargeline.domain.closing.credits import close_credits
from chargeline.domain.closing.entries import Booked, Scope
from tests.support.closing import JUNE, SKU, at, charge, grant, grant_id, of_kind, period, picos, texts

APRIL, MAY, JULY = period("04-01", "05-01"), period("05-01", "06-01"), period("07-01", "08-01")
A, B, C = grant("A", 30, 1, "06-01"), grant("B", 20, 1, "05-01"), grant("C", 5, 0)


def drawn(result):
    return [(grant_id(each), *texts([each.credit_amount])) for each in result.entries if each.entry_kind != "FORFEIT"]


def forfeits(result):
    return [(grant_id(each), *texts([each.credit_amount])) for each in result.entries if each.entry_kind == "FORFEIT"]


@pytest.mark.parametrize(
    ("time", "whole", "grants", "paid", "billed"),
    [
        ("04-10", APRIL, (A, B, C), [("C", "5"), ("B", "20"), ("A", "15")], "0"),
        ("04-10", APRIL, (C, B, A), [("C", "5"), ("B", "20"), ("A", "15")], "0"),
        ("05-10", MAY, (A, B, C), [("C", "5"), ("A", "30")], "5"),
        ("05-01", MAY, (A, B, C), [("C", "5"), ("A", "30")], "5"),
        ("04-10", APRIL, (grant("x", 10), grant("y", 10, expires="12-01")), [("y", "10"), ("x", "10")], "20"),
        ("04-10", APRIL, (grant("x", 10, start="02-01"), grant("y", 10)), [("y", "10"), ("x", "10")], "20"),
        ("04-10", APRIL, (grant("y", 10), grant("x", 10)), [("x", "10"), ("y", "10")], "20"),
        ("04-10", APRIL, (grant("x", 10, start="04-11"),), [], "40"),
        ("04-10", APRIL, (grant("x", 10, start="04-10"),), [("x", "10")], "30"),
        ("04-10", APRIL, (grant("x", 10, sku_ids=("other",)),), [], "40"),
        ("04-10", APRIL, (grant("x", 10, sku_ids=("other", SKU)),), [("x", "10")], "30"),
    ],
)
def test_grants_are_used_in_their_order(time, whole, grants, paid, billed):
    entry = charge(40, time=time)
    result = close_credits([entry], grants, {}, (), whole)
    assert drawn(result) == paid
    assert texts([entry.billed_cost + sum(each.billed_cost for each in result.entries)]) == [billed]


@pytest.mark.parametrize(
    ("kind", "entry_kind", "category", "effective", "price_id"),
    [("granted", "CREDIT", "CREDIT", "-30", None), ("prepaid", "COVER", "USAGE", "0", f"{SKU}/1")],
)
def test_a_prepaid_grant_covers_and_a_granted_one_lowers_the_charge(kind, entry_kind, category, effective, price_id):
    (made,) = close_credits([charge(40)], [grant("G", 30, kind=kind)], {}, (), JUNE).entries
    assert (made.entry_kind, made.charge_category, made.sku_price_id) == (entry_kind, category, price_id)
    assert texts([made.billed_cost, made.effective_cost, made.contracted_cost]) == ["-30", effective, "0"]
    assert (made.event_id, made.sku_id, made.scope) == ("e0", SKU, Scope(grant_id="G"))


def test_entries_are_paid_in_log_order():
    result = close_credits([charge(20, 2, "06-20"), charge(20, 1, "06-02")], [grant("G", 30)], {}, (), JUNE)
    assert [(each.event_id, *texts([each.credit_amount])) for each in result.entries] == [("e2", "20"), ("e1", "10")]


def reversal(amount, number, of, **fields):
    return charge(amount, number, corrects=(0, of, 0), entry_kind="REVERSAL", **fields)


@pytest.mark.parametrize(
    ("entries", "paid", "balances"),
    [
        ([charge(40, 1), reversal(-40, 2, 1)],
         [("C", "5"), ("B", "20"), ("A", "15"), ("A", "-15"), ("B", "-20"), ("C", "-5")], ["30", "20", "5"]),
        ([charge(40, 1), reversal(-18, 2, 1)],
         [("C", "5"), ("B", "20"), ("A", "15"), ("A", "-15"), ("B", "-3")], ["30", "3", "0"]),
        ([charge(3, 1), charge(2, 2), reversal(-3, 3, 1)], [("C", "3"), ("C", "2"), ("C", "-3")], ["30", "20", "3"]),
        ([charge(60, 1), reversal(-60, 2, 1), charge(60, 3)],
         [("C", "5"), ("B", "20"), ("A", "30"), ("A", "-30"), ("B", "-20"), ("C", "-5"), ("C", "5"), ("B", "20"), ("A", "30")],
         ["0", "0", "0"]),
        ([charge(3, 1), reversal(-3, 2, 9)], [("C", "3")], ["30", "20", "2"]),
        ([charge(21, 1), reversal(-21, 2, 1), charge("1.5", 2, corrects=(0, 1, 0), entry_kind="TIER_SHIFT")],
         [("C", "5"), ("B", "16"), ("B", "-16"), ("C", "-3.5")], ["30", "20", "3.5"]),
        ([charge(12, 1), reversal(-12, 2, 1), charge(10, 2)],
         [("C", "5"), ("B", "7"), ("B", "-7"), ("C", "-5"), ("C", "5"), ("B", "5")], ["30", "15", "0"]),
        ([charge(12, 1), charge(-8, 1, entry_kind="CAP")], [("C", "4")], ["30", "20", "1"]),
        ([charge(12, 1), charge(-8, 1, entry_kind="CAP", sku_id="other")], [("C", "5"), ("B", "7")], ["30", "13", "0"]),
    ],
)  # fmt: skip
def test_a_negative_entry_gives_back_last_drawn_first(entries, paid, balances):
    at_april = [Booked(**{**vars(each), "event_time": at("04-10")}) for each in entries]
    # B ends with April, so its rest is forfeited after the draws.
    result = close_credits(at_april, (A, B, C), {}, (), APRIL)
    assert drawn(result) == paid
    forfeited = [] if balances[1] == "0" else [("B", balances[1])]
    assert forfeits(result) == forfeited
    left = [picos(amount) - result.used[name] for name, amount in (("A", 30), ("B", 20), ("C", 5))]
    assert texts(left) == [balances[0], "0", balances[2]]


def settled(amount, project, scope):
    return Booked(
        "TIER_SETTLEMENT", "ADJUSTMENT", JUNE.end - 1, amount, amount, amount, sku_id=SKU, project=project, scope=scope
    )


def test_a_settlement_gives_back_what_its_project_drew():
    scope = Scope(SKU)
    entries = [
        charge(21, 1, project="a", scope=scope),
        charge(33, 2, project="b", scope=scope),
        settled(picos(-4), "a", scope),
        settled(picos(3), "b", scope),
    ]
    result = close_credits(entries, [grant("G", 100)], {}, (), JUNE)
    assert drawn(result) == [("G", "21"), ("G", "33"), ("G", "-4"), ("G", "3")]


def test_a_reversal_in_a_later_period_gives_back_too():
    grants = [grant("G", 30)]
    june = close_credits([charge(40, 1)], grants, {}, (), JUNE)
    july = close_credits([reversal(-40, 2, 1, charge_class="CORRECTION")], grants, june.used, june.drawn, JULY)
    assert drawn(july) == [("G", "-30")]
    assert july.entries[0].charge_class == "CORRECTION"
    assert [each.amount for each in july.drawn] == [0]


@pytest.mark.parametrize(
    ("kind", "effective", "category"), [("granted", "0", "CREDIT"), ("prepaid", "18", "ADJUSTMENT")]
)
def test_an_expired_rest_pays_late_events_of_its_time_and_is_then_forfeited(kind, effective, category):
    entries = [charge(5, 1, "06-20"), charge(12, 2, "06-09")]
    result = close_credits(entries, [grant("G", 30, expires="06-10", kind=kind)], {}, (), JUNE)
    assert drawn(result) == [("G", "12")]
    assert forfeits(result) == [("G", "18")]
    last = result.entries[-1]
    assert (last.charge_category, *texts([last.billed_cost, last.effective_cost])) == (category, "0", effective)
    assert result.used == {"G": picos(30)}


@pytest.mark.parametrize(
    ("expires", "used", "lost"),
    [
        ("07-01", {}, [("G", "30")]),
        ("07-02", {}, []),
        (None, {}, []),
        ("06-01", {}, []),
        ("06-01", {"G": picos(26)}, []),
        ("06-01", {"G": picos(30)}, []),
    ],
)
def test_a_rest_is_forfeited_when_the_period_of_its_expiry_closes(expires, used, lost):
    assert forfeits(close_credits([], [grant("G", 30, expires=expires)], used, (), JUNE)) == lost


def test_what_comes_back_after_the_rest_was_taken_is_taken_too():
    first = close_credits([charge(5, 1, "06-09")], [grant("G", 30, expires="06-10")], {}, (), JUNE)
    back = charge(-5, 2, "06-09", corrects=(0, 1, 0), entry_kind="REVERSAL", charge_class="CORRECTION")
    late = charge(3, 3, "06-09", charge_class="CORRECTION")
    then = close_credits(
        [back, late], [grant("G", 30, expires="06-10")], first.used, first.drawn, JULY, first.forfeited
    )
    assert drawn(then) == [("G", "-5")]
    assert forfeits(then) == [("G", "5")]


@pytest.mark.parametrize(
    ("scope", "covers", "paid"),
    [
        (Scope("calls"), False, []),
        (Scope("calls"), True, ["-19"]),
        (Scope(account_minimum=True), False, []),
        (Scope(account_minimum=True), True, ["-19"]),
        (Scope(commitment_id="K"), False, []),
        (Scope(commitment_id="K"), True, ["-19"]),
    ],
)
def test_the_true_up_of_a_minimum_is_paid_only_by_a_grant_that_says_so(scope, covers, paid):
    amount = picos(19)
    entry = Booked("TRUE_UP", "ADJUSTMENT", JUNE.end - 1, 0, amount, amount, scope=scope)
    result = close_credits([entry], [grant("G", 30, covers_minimum=covers)], {}, (), JUNE)
    assert of_kind(result.entries, "CREDIT") == paid
