"""What holds for every document of results, on random cases that reach every rule."""

from collections import Counter
from fractions import Fraction
from functools import cache

import pytest

from tests.support.publishable import publishable_case
from tests.support.random_rating import RandomRating
from tests.support.rating import scopes

pytestmark = pytest.mark.long
PRICED = {"CHARGED", "CONTROL"}
RULES = {
    "CHARGED", "UNRATED", "DUPLICATE", "CONFLICT", "DEAD_LETTER", "WAITING", "CONTROL", "UNKNOWN_MODEL", "NO_PRICE",
    "UNKNOWN_MODIFIER_VALUE", "CURRENCY_MISMATCH", "NO_FX_RATE", "UNIT", "FREE_UNITS", "TIER_FLAT", "PER_EVENT_FEE",
    "STANDING_FEE", "DISCOUNT", "CAP", "TRUE_UP", "TIER_SETTLEMENT", "TIER_SHIFT", "OVERAGE", "COVER", "CREDIT",
    "FORFEIT", "REVERSAL", "charge_class", "pool", "waived_cost", "estimated", "PRICE_NOT_ALLOWED",
    "NEGATIVE_QUANTITY", "BAD_SAMPLE_WEIGHT", "MALFORMED", "MISSING_FIELD"}  # fmt: skip


@cache
def priced(price, seed):
    """How many events a case has, and its objects with the totals."""
    case = RandomRating(seed)
    cards, events = publishable_case(case)
    return len(events), price(cards, case.accounts, case.fx, events, True)


@pytest.mark.parametrize("seed", range(25))
def test_objects_and_totals_are_the_sums_of_their_entries(price, seed):
    count, results = priced(price, seed)
    *objects, last = results
    assert len(objects) - len(scopes(results)) == count
    sums: Fraction = Fraction(0)
    for found in objects:
        if found["contracted_cost"] is None:
            assert found["entries"] == []
            assert found["outcome"] != "CHARGED"
            continue
        assert found["outcome"] in PRICED
        assert Fraction(found["contracted_cost"]) == sum(Fraction(e["contracted_cost"]) for e in found["entries"])
        assert Fraction(found["billed_cost"]) == sum(
            Fraction(e.get("billed_cost", e["contracted_cost"])) for e in found["entries"]
        )
        sums += Fraction(found["billed_cost"])
    totals = [Fraction(each["billed_cost"]) for account in last["totals"].values() for each in account.values()]
    assert sums == sum(totals)
    assert last["outcomes"] == dict(Counter(each["outcome"] for each in objects if "event_id" in each))


def test_the_cases_reach_every_rule(price):
    """A generator that forgets a rule would test nothing; these are all outcomes, reasons and kinds of entries."""
    missing = set(RULES)
    for seed in range(60):
        for found in priced(price, seed)[1][:-1]:
            missing -= {found["outcome"], str(found["reason"])}
            for entry in found["entries"]:
                missing -= {entry["entry_kind"], *entry}
        if not missing:
            return
    pytest.fail(f"no case of 60 has {missing}")


def test_one_seed_is_one_case():
    assert RandomRating(7).events == RandomRating(7).events
    assert RandomRating(7).cards != RandomRating(8).cards
