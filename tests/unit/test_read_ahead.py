"""A card is read, and its prices are made, beside the pricer's loop; a unit that may see it waits for it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from chargeline.domain.errors import Fault
from chargeline.domain.governance import GovernanceChain
from chargeline.pricer.compute import Rules
from chargeline.pricer.intake import Intake, Limits
from tests.support.rates import card
from tests.unit.test_governance import TOPIC, datum, digest

WAIT_S = 10.0


def chain_of(reading, text=None):
    """Two facts: the topic and a card."""
    chain = GovernanceChain(reading)
    previous = "0" * 64
    facts: list[tuple[str, dict[str, Any]]] = [("InputTopicCreated", TOPIC)]
    facts += [("RateCardPublished", {"rate_card_id": "list", "rate_card_version": 1, "card": text or card().text})]
    for number, (name, fact) in enumerate(facts):
        body = datum(number, previous, fact, name)
        assert chain.add({"sequence": number, "previous_hash": previous, "fact": fact}, body, 1000 + number * 1000)
        previous = digest(body)
    return chain


def intake(chain, **ahead):
    governance = SimpleNamespace(chain=chain)
    none = cast("Any", None)
    rules = Rules(1, 60_000_000, 60_000_000, 300_000)
    return Intake(none, cast("Any", governance), none, none, rules, Limits(margin_ms=0), **ahead)


def test_a_unit_waits_for_the_prices_of_the_facts_that_it_may_see():
    gate, found = threading.Event(), []
    with ThreadPoolExecutor(1) as ahead:

        def reading(call):
            def slow():
                assert gate.wait(WAIT_S)
                return call()

            return ahead.submit(slow).result

        chain = chain_of(reading)  # taken in at once, though nothing is read yet
        assert chain.visible_count(np.array([1500, 2500]), 0).tolist() == [1, 2]
        one = intake(chain, make_ahead=ahead.submit)
        one._start_table(2)
        unit = threading.Thread(target=lambda: found.append(one._table(2)))
        unit.start()
        unit.join(0.05)
        assert found == []
        gate.set()
        unit.join(WAIT_S)
    assert [rate.sku.sku_id for rate in found[0].book.rates] == [each.sku_id for each in card().skus]


def test_the_prices_of_fewer_facts_are_made_for_records_that_see_fewer():
    one = intake(chain_of(lambda call: call))
    one._start_table(2)
    assert (len(one._table(1).book.rates), len(one._table(2).book.rates) > 0) == (0, True)
    assert one._table(1) is one._table(1)


def test_what_this_version_cannot_read_stops_the_unit_that_may_see_it_and_no_other():
    def reading(call):
        def refuse():
            raise Fault("needs a newer version")

        return refuse if "card" in call.args[0] else call

    one = intake(chain_of(reading))
    one._start_table(2)
    assert one._table(1).book.rates == ()
    with pytest.raises(Fault, match="newer version"):
        one._table(2)
