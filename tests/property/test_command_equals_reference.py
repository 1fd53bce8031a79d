"""`chargeline price` and the slow reference agree on random documents with corrections, control records and closes."""

from typing import Any

import pytest

from chargeline.verify.rating.price import price_document
from tests.property.test_pricer_equals_reference import assert_same, entries
from tests.support.pricing import engine
from tests.support.publishable import publishable_case
from tests.support.random_rating import RandomRating

Document = dict[str, Any]


@pytest.mark.parametrize("close_period", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_every_object_is_that_of_the_reference(seed, close_period):
    case = RandomRating(seed)
    cards, events = publishable_case(case)
    wanted = price_document(cards, case.accounts, case.fx, events, close_period)
    found = engine(cards, case.accounts, case.fx, events, close_period, unit=3 + seed)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert {**one, "entries": None} == {**other, "entries": None}
        assert_same(entries(one), entries(other))
