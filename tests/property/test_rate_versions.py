"""Laws of rate cards: nothing priced is repriced in silence, and a card survives being written."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.rates.book import PublishedCard, RateBook
from chargeline.domain.rates.card import DEFAULT
from chargeline.domain.rates.card_reader import from_json
from chargeline.domain.rates.card_text import to_json
from tests.support.rates import FUTURE_BOUND_MS, JANUARY_1, MARGIN_MS, card, sku

DAY_MS = 86_400_000
PRICES = st.integers(0, 9999).map(lambda number: f"{number / 100:.2f}")


@st.composite
def histories(draw):
    """Versions of one card by the day on which each is recorded, legal or not."""
    cards = []
    recorded = JANUARY_1
    for number in range(draw(st.integers(1, 6))):
        start = draw(st.integers(1, 28))
        length = draw(st.sampled_from([None, 1, 2]))
        models = draw(st.sampled_from(["[m]", "[m, n]", "[n]"]))
        version = card(
            sku(price=str(number + 1), models=models),
            version=number,
            start=f"2026-01-{start:02d}",
            end=None if length is None else f"2026-0{1 + length}-01",
            supersedes=draw(st.sampled_from(["null", *map(str, range(number))])),
        )
        cards.append(PublishedCard(version, recorded, number))
        recorded += draw(st.integers(0, 10)) * DAY_MS
    return cards


def prices(cards, model, time):
    found = RateBook(cards, margin_ms=MARGIN_MS, future_bound_ms=FUTURE_BOUND_MS)
    choice = found.resolve([DEFAULT], "p", model, {}, {}, time).choices.get("input")
    return None if choice is None else choice.rate.sku.prices[0].price


@settings(max_examples=80)
@given(histories(), st.integers(0, 60), st.sampled_from(["m", "n"]))
def test_a_new_card_never_changes_a_price_that_an_event_may_have_paid(cards, day, model):
    time = (JANUARY_1 + day * DAY_MS) * 1000
    for count in range(1, len(cards)):
        visible = (cards[count].recorded_time + MARGIN_MS + FUTURE_BOUND_MS) * 1000
        before = prices(cards[:count], model, time)
        if before is not None and time < visible:
            assert prices(cards[: count + 1], model, time) == before


@settings(max_examples=40)
@given(histories(), st.integers(0, 59), st.sampled_from(["m", "n"]))
def test_between_two_boundaries_the_price_stays(cards, day, model):
    book = RateBook(cards, margin_ms=MARGIN_MS, future_bound_ms=FUTURE_BOUND_MS)
    time = (JANUARY_1 + day * DAY_MS) * 1000
    later = time + DAY_MS * 1000 - 1
    if not any(time < boundary <= later for boundary in book.boundaries):
        assert prices(cards, model, time) == prices(cards, model, later)


@settings(max_examples=60)
@given(
    price=PRICES,
    thresholds=st.lists(st.tuples(st.integers(1, 10**12), PRICES), unique_by=lambda each: each[0], max_size=3),
    models=st.lists(st.text("abc-.:1", min_size=1, max_size=5), min_size=1, max_size=3, unique=True),
    text=st.text(min_size=1, max_size=20).filter(lambda each: not any("\ud800" <= c <= "\udfff" for c in each)),
)
def test_a_card_written_and_read_is_the_same_card(price, thresholds, models, text):
    steps = ", ".join(f"{{above: {above}, price: {cost}}}" for above, cost in sorted(thresholds))
    more = {"base": price, "thresholds": f"[{steps}]"} if thresholds else {}
    names = json.dumps(models)
    found = card(sku(price=price, models=names, match=f"region: {json.dumps(text)}", **more))
    assert from_json(to_json(found)) == found
