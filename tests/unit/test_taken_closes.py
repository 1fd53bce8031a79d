"""Which closes the running pricer takes: the pricer and the reference say the same of any cards and accounts."""

import pytest

from chargeline.domain.closing import booking
from chargeline.verify.rating import taken
from chargeline.verify.rating.price import view_of
from tests.support.closable import only_closing_case
from tests.support.pricing import documents_of
from tests.support.publishable import publishable_case
from tests.support.random_rating import ACCOUNTS, RandomRating
from tests.support.rating import card, sku

TIERS = [{"up_to": "10", "unit_price": "2"}, {"up_to": None, "unit_price": "1"}]
OPENED = [{"up_to": None, "unit_price": "1", "flat_fee": "3"}]


def both(cards, accounts, account="acme"):
    published, facts, _ = documents_of(cards, accounts, None)
    found = booking.may_book(account, facts, [each.card for each in published])
    assert found == taken.may_book(account, view_of(cards, accounts, None))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_both_refuse_the_same_closes(seed):
    case = RandomRating(seed, 1, closes=True)
    cards, _ = publishable_case(case)
    taken_cards, accounts, _ = only_closing_case(case, settles=True)
    for account in ACCOUNTS:
        both(cards, case.accounts, account)
        both(cards, accounts, account)
        assert not both(taken_cards, accounts, account)


@pytest.mark.parametrize(
    ("rate", "scope", "is_refused"),
    [
        (sku("per_unit", unit_price="1"), "default", False),
        (sku("volume", tiers=TIERS), "default", False),
        (sku("volume", tiers=TIERS, window="event"), "default", True),
        (sku("volume", tiers=TIERS, status_policy={"ERROR": "bill_zero"}), "default", True),
        (sku("per_unit", unit_price="1", status_policy={"ERROR": "bill_zero"}), "default", False),
        (sku("per_unit", unit_price="1", minimum="5"), {"account": "acme"}, False),
        (sku("graduated", tiers=OPENED), "default", False),
        (sku("graduated", tiers=OPENED), {"account": "acme"}, True),
        (sku("graduated", tiers=OPENED), {"account": "bolt"}, False),
        (sku("graduated", tiers=OPENED), {"contract": "C"}, True),
    ],
)
def test_what_a_card_makes_of_a_close(rate, scope, is_refused):
    assert both([card(rate, scope=scope)], None) is is_refused


@pytest.mark.parametrize("name", ["commitments", "credits"])
def test_terms_of_the_account_itself_refuse_it(name):
    terms = next(each.accounts[name] for each in map(RandomRating, range(99)) if each.accounts and each.accounts[name])
    mine = terms[0]["billing_account_id"]
    only = {"accounts": [], name: terms[:1]}
    assert both([card(sku("per_unit", unit_price="1"))], only, mine)
    assert not both([card(sku("per_unit", unit_price="1"))], only, "nobody")
