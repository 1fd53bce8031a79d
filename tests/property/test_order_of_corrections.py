"""Whatever comes first of the records about one event, the running pricer, a log in memory and the slow reference decide
alike: which is refused, which waits, which acts.
"""

from itertools import permutations

import pytest

from chargeline.verify.rating.price import price_document
from tests.support.corrected import Running, read_lines
from tests.support.pricing import engine
from tests.support.rating import cancel, card, event, sku, tiers, used
from tests.support.same_entries import assert_same, assert_same_object, entries

TWO = tiers(("40", "0.7", "0"), (None, "0.55", "0"))
LONG_AGO = "2024-06-10T08:00:00Z"
SINCE = "2020-01-01T00:00:00Z"
GRADUATED = sku("graduated", tiers=TWO)
OF_OTHERS = sku("dynamic", "reported_cost", "USD", dynamic=True, price_sources=["other"], match={"models": ["routed"]})
LATER = sku("per_unit", unit_price="3", sku_id="later", match={"models": ["later"]})
CARDS = [
    card(GRADUATED, OF_OTHERS, effective_from=SINCE),
    card(GRADUATED, OF_OTHERS, LATER, effective_from=SINCE, version=9, correction=True),  # for re-rating only
]


def amend(of, event_id, **more):
    return used("10", event_id, event_kind="AMEND", amends_event_id=of, **more)


def rerate(of, event_id):
    return event(event_id, event_kind="RERATE", amends_event_id=of, requests=0)


REFUSED = {"request_model": "routed", "reported_cost_picos": 5}


def usage(**more):
    return used("30", "e", **more)


CANCELS = [amend("e", "a"), cancel("e", "c"), cancel("a", "ca")]
AMENDED = [amend("e", "a"), cancel("a", "ca"), rerate("a", "r")]
FIRST = {"the amend is too old": [usage(event_time=LONG_AGO), amend("e", "a", event_time=LONG_AGO)]}
RECORDS = {
    "an amend and its original are cancelled": [usage(), *CANCELS],
    "a cancel is cancelled": [usage(), cancel("e", "c"), cancel("c", "cc"), rerate("e", "r")],
    "one comes twice": [usage(), usage(), cancel("e", "c"), cancel("e", "c")],
    "an amend is rated anew": [usage(), *AMENDED],
    "the event is too old": [usage(event_time=LONG_AGO), *AMENDED],
    "the amend is too old": [amend("a", "b"), cancel("b", "cb"), cancel("e", "c")],
    "the amend has no price before": [usage(), amend("e", "a", request_model="later"), *AMENDED[1:]],
    "neither has a price before": [
        usage(request_model="later"), amend("e", "a", request_model="later"), rerate("a", "r"), rerate("e", "re")],
    "the amend is refused": [usage(), event("a", event_kind="AMEND", amends_event_id="e", **REFUSED), *AMENDED[1:]],
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_every_order_of_records_about_an_event_ends_as_the_reference_says(name):
    for order in permutations(RECORDS[name]):
        records = [*FIRST.get(name, ()), *order]
        wanted = price_document(CARDS, None, None, records, False)[: len(records)]
        for one, other in zip(engine(CARDS, None, None, records, unit=1), wanted, strict=False):
            assert_same_object(one, other)
        running = Running(CARDS, None, None)
        for line, other in zip(read_lines(records), wanted, strict=True):
            running.unit([line])
            assert running.computed[-1].booked.outcomes[other["outcome"]] == 1
        for offset, other in enumerate(wanted):
            assert_same(entries(running.object(offset, other["outcome"], other["reason"])), entries(other))
