"""`chargeline price` and the slow reference agree on random documents with corrections, control records and closes."""

from typing import Any

import pytest

from chargeline.verify.rating.price import price_document
from tests.support.pricing import engine
from tests.support.publishable import publishable_case
from tests.support.random_rating import RandomRating
from tests.support.same_entries import assert_same_object

Document = dict[str, Any]
_OF_RATES = {"TIER_FLAT", "TIER_SETTLEMENT", "TRUE_UP"}


# 8499 has list costs of blocks of a volume rate that counts whole units.
@pytest.mark.parametrize(("seed", "lines"), [*((seed, 60) for seed in range(30)), (8499, 100)])
def test_every_object_is_that_of_the_reference(seed, lines):
    case = RandomRating(seed, lines)
    cards, events = publishable_case(case)
    wanted = price_document(cards, case.accounts, case.fx, events, False)
    found = engine(cards, case.accounts, case.fx, events, unit=3 + seed)
    count = len(events)
    assert len(found) >= count
    for one, other in zip(found[:count], wanted[:count], strict=True):
        assert_same_object(one, other)
    assert found[-1]["outcomes"] == wanted[-1]["outcomes"]


@pytest.mark.parametrize("seed", range(30))
def test_a_close_settles_every_scope_of_a_metered_rate_as_the_reference_does(seed):
    case = RandomRating(seed)
    cards, events = publishable_case(case)
    wanted = _of_rates(price_document(cards, case.accounts, case.fx, events, True))
    found = _of_rates(engine(cards, case.accounts, case.fx, events, True, unit=3 + seed))
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def _of_rates(results: list[Document]) -> list[tuple[Any, ...]]:
    """Openings, settlements and minimums of scopes of rates that events pay."""
    return [
        (sorted(each["scope"].items(), key=str), each["billing_period"], each["billing_currency"],
         [(entry["entry_kind"], entry["contracted_cost"], entry.get("charge_class")) for entry in each["entries"]])
        for each in results
        if "sku_id" in each.get("scope", {}) and {entry["entry_kind"] for entry in each["entries"]} <= _OF_RATES
    ]  # fmt: skip
