"""Closes of random accounts book what the slow reference books: fees, recurring units, scopes, commitments, credits.

Each case has random cards and accounts, events with corrections, several closes among them and one of all periods at
the end; billing cycle days, contracts and currencies differ, and accounts end within a period.
"""

import pytest

from chargeline.verify.rating.price import price_document
from tests.support.closable import closable_case
from tests.support.closed import closed_objects
from tests.support.pricing import engine
from tests.support.random_rating import RandomRating

PLATFORM = "platform"


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_every_object_of_a_close_is_that_of_the_reference(seed):
    case = RandomRating(seed, closes=True)
    cards, events = closable_case(case)
    wanted = price_document(cards, case.accounts, case.fx, events, True)
    found = engine(cards, case.accounts, case.fx, events, True, unit=3 + seed % 40)
    assert closed_objects(found, events) == closed_objects(wanted, events)
    for totals in (found[-1]["totals"], wanted[-1]["totals"]):
        totals.pop(PLATFORM, None)
    assert found[-1] == wanted[-1]
