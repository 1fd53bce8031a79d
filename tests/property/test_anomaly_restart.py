"""Whatever is delivered again and wherever the process dies: the same incidents, under the same names."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.domain.anomaly.contribution import Amount, contributors, effects, scaled
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_bytes, due_bases, restored
from tests.support.panes import MINUTE, PICO, START, unit

PARAMETERS = replace(
    shipped_parameters("cost"), learning_rows=8, cool_down_rows=3, history_rows=100, pattern_history_rows=100
)
RULES = Rules(window_us=MINUTE, bound_us=MINUTE, minimum_impact=Decimal("0.01"), full_max=2, series_max=12)
TEAMS = ("x", "y", None)
MODELS = ("large", "small")


@st.composite
def deliveries(draw):
    """Units with bursts, silence, late and negative panes, missing dimensions; watermarks that jump and go back."""
    units, at = [], 0
    for number in range(draw(st.integers(20, 40))):
        at += draw(st.sampled_from((0, 1, 1, 1, 1, 2, 30)))
        rows = []
        for _ in range(draw(st.integers(0, 4))):
            back = draw(st.sampled_from((0, 0, 0, 0, 1, 3, 20)))
            amount = draw(st.sampled_from((0, 1, 1, 1, 2, 50, -1, 10**9)))
            events = draw(st.sampled_from((0, 1, 30)))
            rows.append({"window": START + (at - back) * MINUTE, "team": draw(st.sampled_from(TEAMS)),
                         "request_model": draw(st.sampled_from(MODELS)), "picos": amount * PICO + number,
                         "billing_currency": draw(st.sampled_from(("USD", "USD", "USD", None))),
                         "events": events, "unrated": events // 2, "measured": events, "input_tokens": 1000 * events,
                         "output_tokens": 1000 * events, "errors": draw(st.integers(0, events))})  # fmt: skip
        units.append(unit(number, rows, START + (at - draw(st.sampled_from((1, 1, 1, 5)))) * MINUTE))
    return units


class Store:
    """What survives a crash: the core and the bases of the last snapshot, and where it was taken."""

    def __init__(self):
        self.core, self.bases, self.place = None, {}, 0

    def write(self, subject, place):
        self.bases |= due_bases(subject, 1)
        self.core, self.place = core_bytes(subject), place

    def read(self):
        if self.core is None:
            return Watch(0, RULES, PARAMETERS)
        return restored(self.core, self.bases.get, 0, RULES, PARAMETERS)


@settings(max_examples=40)
@given(
    units=deliveries(),
    faults=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(("crash", "store", "again", "half"))), max_size=8),
)
def test_crashes_and_repeats_anywhere_give_the_same_updates(units, faults):
    calm = Watch(0, RULES, PARAMETERS)
    wanted = {(each.anomaly_id, each.sequence): each for number in units for each in calm.take(number)}
    store, subject = Store(), Watch(0, RULES, PARAMETERS)
    found: dict[tuple[str, int], Any] = {}
    left = sorted(faults)
    at = 0
    while at < len(units):
        for each in subject.take(units[at]):
            assert found.setdefault((each.anomaly_id, each.sequence), each) == each
        at += 1
        while left and left[0][0] < at:
            _, fault = left.pop(0)
            if fault == "store":
                store.write(subject, at)
            elif fault == "half":  # bases were written, the core was not
                store.bases |= due_bases(subject, 1)
                subject, at = store.read(), store.place
            elif fault == "crash":
                subject, at = store.read(), store.place
            else:
                assert [update for each in units[max(0, at - 3) : at] for update in subject.take(each)] == []
    assert found == wanted
    assert subject.counted == calm.counted
    assert core_bytes(subject)


@given(deliveries())
@settings(max_examples=30)
def test_updates_are_numbered_without_gaps_and_nothing_opens_twice(units):
    subject = Watch(0, RULES, PARAMETERS)
    numbers: dict[str, int] = {}
    for each in (update for number in units for update in subject.take(number)):
        assert each.sequence == numbers.get(each.anomaly_id, 0) + 1
        numbers[each.anomaly_id] = each.sequence


amounts = st.dictionaries(
    st.sampled_from("abcdef"), st.builds(Amount, st.integers(-(10**30), 10**30), st.integers(0, 10**9)), max_size=6
)


@given(actual=amounts, reference=amounts)
def test_volume_price_and_mix_add_up_to_the_change_to_the_last_picounit(actual, reference):
    parts = effects(actual, reference)
    change = sum(each.picos for each in actual.values()) - sum(each.picos for each in reference.values())
    assert parts.volume + parts.price + parts.mix == change


@given(actual=amounts, reference=amounts)
def test_contributors_are_those_that_moved_with_the_whole(actual, reference):
    change = sum(each.picos for each in actual.values()) - sum(each.picos for each in reference.values())
    for each in contributors({"team": actual}, {"team": reference}, 10):
        assert each.change * (1 if change >= 0 else -1) > 0
        assert each.volume_effect + each.price_effect == each.change


@given(amounts, st.integers(1, 50))
def test_a_reference_scaled_to_its_own_windows_is_itself(reference, windows):
    assert scaled(reference, windows, windows) == reference


def test_price_alone_is_price_and_volume_alone_is_volume():
    before = {"a": Amount(100, 10), "b": Amount(900, 30)}
    assert effects({"a": Amount(200, 10), "b": Amount(900, 30)}, before).price == 100
    doubled = effects({"a": Amount(200, 20), "b": Amount(1800, 60)}, before)
    assert (doubled.volume, doubled.price, doubled.mix) == (1000, 0, 0)
    shifted = effects({"a": Amount(0, 0), "b": Amount(1200, 40)}, before)
    assert (shifted.volume, shifted.price, shifted.mix) == (0, 0, 200)
