"""Commitments and the account minimum (spec/rating.md 8)."""

from dataclasses import replace

import pytest

from chargeline.domain.closing.close import Carried, PeriodFacts, close_period
from chargeline.domain.closing.entries import Scope, Span
from tests.support.closing import JUNE, SKU, charge, commitment, of_kind, period, picos, span, texts

JULY, AUGUST = period("07-01", "08-01"), period("08-01", "09-01")


def close(charges, *commitments, minimums=(), whole=JUNE, carried=None):
    facts = PeriodFacts(commitments=commitments, minimums=minimums)
    return close_period(charges, [], facts, whole, carried or Carried())


def total(charges, made):
    return texts([sum(each.billed_cost for each in [*charges, *made])])[0]


@pytest.mark.parametrize(
    ("promise", "charged", "overage", "true_up", "billed"),
    [
        (commitment(), ["640"], [], ["360"], "1000"),
        (commitment(), ["1000"], [], [], "1000"),
        (commitment(), ["1180"], ["45"], [], "1225"),
        (commitment(), ["960", "80"], ["10"], [], "1050"),
        (commitment(), ["960", "80", "-80"], ["10", "-10"], ["40"], "1000"),
        (commitment(), [], [], ["1000"], "1000"),
        (commitment(factor="0.5"), ["1180"], ["-90"], [], "1090"),
        (commitment(factor="1"), ["1180"], [], [], "1180"),
        (commitment(factor="0"), ["1180"], ["-180"], [], "1000"),
        (commitment(start="06-01", end="06-13"), ["390"], [], ["10"], "400"),
        (commitment(start="06-01", end="06-13"), ["480"], ["20"], [], "500"),
        (commitment(start="06-10", end="07-01"), ["480"], [], ["220"], "700"),
        (commitment(sku_ids=(SKU,)), ["1180"], ["45"], [], "1225"),
        (commitment(sku_ids=("other",)), ["1180"], [], ["1000"], "2180"),
        (commitment(end="08-01"), ["640"], [], [], "640"),
        (commitment(start="07-01", end="08-01"), ["640"], [], [], "640"),
        (commitment(start="05-01", end="06-01"), ["640"], [], [], "640"),
    ],
)
def test_a_commitment_bills_overage_and_true_up(promise, charged, overage, true_up, billed):
    charges = [charge(amount, number) for number, amount in enumerate(charged)]
    made, _ = close(charges, promise)
    assert of_kind(made, "OVERAGE") == overage
    assert of_kind(made, "TRUE_UP") == true_up
    assert total(charges, made) == billed
    assert {each.contracted_cost for each in made} <= {0}


def test_the_overage_of_an_event_is_one_entry_that_names_it():
    charges = [charge("90", 1), charge("30", 1), charge("-10", 1, entry_kind="CAP"), charge("50", 2)]
    made, _ = close(charges, commitment(100, "1.1"))
    assert [(each.event_id, *texts([each.billed_cost])) for each in made] == [("e1", "1"), ("e2", "5")]
    assert {(each.entry_kind, each.charge_category, each.scope, each.sku_id) for each in made} == {
        ("OVERAGE", "ADJUSTMENT", Scope(commitment_id="K"), SKU)
    }


@pytest.mark.parametrize(
    ("charged", "covers", "effective_true_up", "billed"),
    [
        (["640"], ["-640"], ["360"], "1000"),
        (["1000"], ["-1000"], [], "1000"),
        (["960", "220"], ["-960", "-40"], [], "1225"),
        (["960", "-60"], ["-960", "60"], ["100"], "1000"),
        ([], [], ["1000"], "1000"),
    ],
)
def test_what_is_paid_up_front_covers_its_usage(charged, covers, effective_true_up, billed):
    charges = [charge(amount, number) for number, amount in enumerate(charged)]
    made, _ = close(charges, commitment(paid_up_front=True))
    assert of_kind(made, "STANDING_FEE") == ["1000"]
    assert of_kind(made, "COVER") == covers
    true_ups = [each for each in made if each.entry_kind == "TRUE_UP"]
    assert texts(each.effective_cost for each in true_ups) == effective_true_up
    assert not any(each.billed_cost for each in true_ups)
    assert total(charges, made) == billed
    # The purchase is spread over what used it: both sums are the same.
    assert total(charges, made) == texts([sum(each.effective_cost for each in [*charges, *made])])[0]


def test_a_term_of_three_periods_is_trued_up_at_its_end_and_purchased_at_its_start():
    promise = commitment(end="09-01", paid_up_front=True)
    june, carried = close([charge("300")], promise)
    july, carried = close([charge("600", time="07-10")], promise, whole=JULY, carried=carried)
    august, carried = close([charge("180", time="08-10")], promise, whole=AUGUST, carried=carried)
    assert [(each.entry_kind, *texts([each.billed_cost])) for each in june] == [
        ("STANDING_FEE", "1000"),
        ("COVER", "-300"),
    ]
    assert [(each.entry_kind, *texts([each.billed_cost])) for each in july] == [("COVER", "-600")]
    assert [(each.entry_kind, *texts([each.billed_cost])) for each in august] == [("COVER", "-100"), ("OVERAGE", "20")]
    assert texts([carried.commitments["K"].counted]) == ["1080"]


@pytest.mark.parametrize(
    ("charged", "late", "kinds"),
    [
        ("640", "100", ["TRUE_UP -100"]),
        ("640", "400", ["OVERAGE 10", "TRUE_UP -360"]),
        ("1000", "-100", ["TRUE_UP 100"]),
        ("1000", "100", ["OVERAGE 25"]),
    ],
)
def test_late_usage_of_an_ended_term_changes_its_settled_total(charged, late, kinds):
    _, carried = close([charge(charged)], commitment())
    made, _ = close([charge(late, charge_class="CORRECTION")], commitment(), whole=JULY, carried=carried)
    assert [f"{each.entry_kind} {texts([each.billed_cost])[0]}" for each in made] == kinds
    assert {each.charge_class for each in made} == {"CORRECTION"}


FIRST, SECOND = commitment(100, "2", "A", priority=1), commitment(50, "3", "B", priority=2)


@pytest.mark.parametrize(
    ("promises", "charged", "overage", "true_up"),
    [
        ((FIRST, SECOND), ["120"], {}, {"B": ["30"]}),
        ((SECOND, FIRST), ["120"], {}, {"B": ["30"]}),
        ((FIRST, SECOND), ["160"], {"B": ["20"]}, {}),
        ((FIRST, SECOND), ["60"], {}, {"A": ["40"], "B": ["50"]}),
        ((replace(FIRST, priority=3), SECOND), ["120"], {}, {"A": ["30"]}),
        ((FIRST, commitment(60, "3", "B", end="06-21", priority=1)), ["120"], {}, {"A": ["20"]}),
        ((FIRST, replace(SECOND, priority=1)), ["120"], {}, {"B": ["30"]}),
        ((FIRST, SECOND), ["120", "-30"], {}, {"A": ["10"], "B": ["50"]}),
        ((FIRST, SECOND), ["160", "-30"], {"B": ["20", "-20"]}, {"B": ["20"]}),
        ((replace(FIRST, sku_ids=("other",)), SECOND), ["60"], {"B": ["20"]}, {"A": ["100"]}),
    ],
)
def test_a_charge_or_its_part_counts_for_one_commitment_only(promises, charged, overage, true_up):
    made, _ = close([charge(amount, number) for number, amount in enumerate(charged)], *promises)
    for name in ("A", "B"):
        assert of_kind(made, "OVERAGE", commitment_id=name) == overage.get(name, [])
        assert of_kind(made, "TRUE_UP", commitment_id=name) == true_up.get(name, [])


def test_a_reversal_leaves_commitments_as_if_its_charge_had_never_been():
    charges = [charge("100", 1), charge("30", 2), charge("-100", 3, corrects=(0, 1, 0), entry_kind="REVERSAL")]
    made, _ = close(charges, FIRST, SECOND)
    assert of_kind(made, "TRUE_UP", commitment_id="A") == ["70"]
    assert of_kind(made, "TRUE_UP", commitment_id="B") == ["50"]


@pytest.mark.parametrize(
    ("minimums", "charged", "promises", "true_up"),
    [
        ([(100, span("01-01"))], "60", (), ["40"]),
        ([(100, span("01-01"))], "100", (), []),
        ([(100, span("01-01"))], "120", (), []),
        ([(100, span("06-16"))], "20", (), ["30"]),
        ([(100, span("01-01", "06-16")), (40, span("06-16"))], "20", (), ["50"]),
        ([(100, span("01-01"))], "60", (commitment(80),), ["20"]),
        ([(100, span("01-01"))], "60", (commitment(50, "2"),), ["30"]),
        ([(2000, span("01-01"))], "60", (commitment(paid_up_front=True),), ["1000"]),
    ],
)  # fmt: skip
def test_the_account_minimum_comes_after_commitments(minimums, charged, promises, true_up):
    facts = tuple((picos(amount), used) for amount, used in minimums)
    made, _ = close([charge(charged)], *promises, minimums=facts)
    assert of_kind(made, "TRUE_UP", account_minimum=True) == true_up


@pytest.mark.parametrize(
    ("charged", "late", "change"), [("60", "10", ["-10"]), ("60", "50", ["-40"]), ("120", "-30", ["10"])]
)
def test_late_usage_changes_the_minimum_of_its_own_period(charged, late, change):
    least = ((picos(100), Span(JUNE.start, None)),)
    _, carried = close([charge(charged)], minimums=least)
    charges = [charge(late, 1, charge_class="CORRECTION", usage=JUNE), charge("100", 2, "07-10")]
    made, _ = close(charges, minimums=least, whole=JULY, carried=carried)
    assert of_kind(made, "TRUE_UP") == change
    assert {each.charge_class for each in made} == {"CORRECTION"}


def test_usage_that_was_paid_up_front_counts_for_the_minimum_of_the_period_it_is_used_in():
    least = ((picos(500), Span(JUNE.start, None)),)
    promise = commitment(end="08-01", paid_up_front=True)
    june, carried = close([charge("300")], promise, minimums=least)
    july, _ = close([charge("500", time="07-10")], promise, minimums=least, whole=JULY, carried=carried)
    assert of_kind(june, "TRUE_UP", account_minimum=True) == ["200"]
    assert of_kind(july, "TRUE_UP", account_minimum=True) == []
