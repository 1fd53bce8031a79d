"""Rates over time: what holds when, by what was known then (spec/rating.md 7.4)."""

from dataclasses import replace

import pytest

from chargeline.domain.rates.history import as_of, history
from tests.support.rates import DAY_MS, FUTURE_BOUND_MS, JANUARY_1, MARGIN_MS, card, published, sku

RULES = {"margin_ms": MARGIN_MS, "future_bound_ms": FUTURE_BOUND_MS}
FEBRUARY_1 = JANUARY_1 + 31 * DAY_MS
MARCH_1 = FEBRUARY_1 + 28 * DAY_MS
# Version 1 is recorded on 1 January, version 2 (from March on) on 1 February, a correction later still.
CARDS = [
    replace(each, recorded_time=JANUARY_1 + 31 * DAY_MS * number)
    for number, each in enumerate(
        published(
            card(sku(price="2")),
            card(sku(price="3"), version=2, supersedes=1, start="2026-03-01"),
            card(sku(price="9"), version=3, correction="true"),
        )
    )
]


@pytest.mark.parametrize(
    ("time", "known_on", "version"),
    [
        (JANUARY_1 - 1, None, None),
        (JANUARY_1, None, 1),
        (MARCH_1 - 1, None, 1),
        (MARCH_1, None, 2),
        (MARCH_1, FEBRUARY_1, 2),
        (MARCH_1, FEBRUARY_1 - 1, 1),
        (MARCH_1, JANUARY_1 - 1, None),
    ],
)
def test_a_rate_holds_at_a_time_by_what_was_known(time, known_on, version):
    found = as_of(CARDS, time * 1000, known_on_ms=known_on, **RULES)
    assert [each.published.card.version for each in found] == ([] if version is None else [version])


def test_the_history_of_a_sku_has_every_version_with_the_time_in_which_it_held():
    found = history(CARDS, "m/input", **RULES)
    times = [(each.published.card.version, each.start, each.end) for each in found]
    assert times == [(1, JANUARY_1 * 1000, MARCH_1 * 1000), (2, MARCH_1 * 1000, None), (3, None, None)]
    assert history(CARDS, "other", **RULES) == ()
