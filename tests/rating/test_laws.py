"""Laws of rating, on random rates and quantities (spec/rating.md 2, 3, 4 and 12)."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.rating import cancel, card, costs, sku, total, used

LAWS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
AMOUNTS = st.integers(0, 3_000_000).map(lambda count: f"{count // 1000}.{count % 1000:03d}")
PRICES = st.integers(0, 9_999_999).map(lambda count: f"{count // 10**6}.{count % 10**6:06d}")
QUANTITIES = st.lists(AMOUNTS.filter(lambda number: Fraction(number) > 0), min_size=1, max_size=6)
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "free_units": AMOUNTS,
        "maximum": AMOUNTS,
        "round": st.just("up"),
        "discounts": st.lists(st.sampled_from([{"percent": "10"}, {"percent": "33.3"}, {"fixed": "5"}]), max_size=2),
    },
)


@st.composite
def tiered(draw, blocks=True):
    bounds = sorted({draw(st.integers(1, 2_000_000)) for _ in range(draw(st.integers(0, 3)))})
    rows = []
    for bound in [*bounds, None]:
        row = {"up_to": None if bound is None else f"{bound // 1000}.{bound % 1000:03d}",
               "unit_price": draw(PRICES), "flat_fee": draw(PRICES)}  # fmt: skip
        if blocks and draw(st.booleans()):
            row["block_size"] = draw(st.sampled_from(["1", "2.5", "25"]))
        rows.append(row)
    return rows


@st.composite
def rates(draw):
    kind = draw(st.sampled_from(["graduated", "package", "per_unit"]))
    terms = {
        "graduated": lambda: {"tiers": draw(tiered())},
        "package": lambda: {"package_price": draw(PRICES), "package_size": draw(st.sampled_from(["0.7", "3", "48"]))},
        "per_unit": lambda: {"unit_price": draw(PRICES)},
    }[kind]()
    return sku(kind, **terms, **draw(EXTRAS))


def events(numbers, **more):
    return [used(number, f"e{at}", **more) for at, number in enumerate(numbers)]


def summed(*numbers):
    thousandths = sum(int(Fraction(number) * 1000) for number in numbers)
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def exact_costs(results):
    return [Fraction(cost) for cost in costs(results) if cost is not None]


def sum_of(results):
    return sum(exact_costs(results), Fraction(0))


@LAWS
@given(rate=rates(), numbers=QUANTITIES)
def test_the_parts_sum_to_the_whole(price, rate, numbers):
    rate |= {"maximum": rate.get("maximum", "1000000000")}  # it accumulates
    parts = price([card(rate)], None, None, events(numbers), False)
    assert sum_of(parts) == sum_of(price([card(rate)], None, None, events([summed(*numbers)]), False))
    assert Fraction(total(parts)) == sum_of(parts)


@LAWS
@given(rate=rates(), numbers=QUANTITIES, order=st.randoms())
def test_the_sum_does_not_depend_on_order(price, rate, numbers, order):
    shuffled = events(numbers)
    order.shuffle(shuffled)
    one = price([card(rate)], None, None, events(numbers), False)
    assert sum_of(one) == sum_of(price([card(rate)], None, None, shuffled, False))


@LAWS
@given(rate=rates(), numbers=QUANTITIES)
def test_more_never_costs_less(price, rate, numbers):
    assert all(cost >= 0 for cost in exact_costs(price([card(rate)], None, None, events(numbers), False)))


@LAWS
@given(tiers=tiered(blocks=False))
def test_there_is_no_gap_at_a_bound(price, tiers):
    """One millionth above a bound costs the next tier's flat fee and a millionth of its price, no more."""
    for low, high in pairwise(tiers):
        rate = sku("graduated", tiers=tiers)
        results = price([card(rate)], None, None, [used(low["up_to"], "at"), used("0.000001", "above")], False)
        step = Fraction(high["unit_price"]) / 10**6 + Fraction(high["flat_fee"])
        assert exact_costs(results)[1] == step


@LAWS
@given(rate=rates(), numbers=QUANTITIES, at=st.integers(0, 5))
def test_a_cancelled_event_has_never_been(price, rate, numbers, at):
    rate |= {"maximum": rate.get("maximum", "1000000000")}
    name = f"e{at % len(numbers)}"
    all_events = events(numbers)
    results = price([card(rate)], None, None, [*all_events, cancel(name)], False)
    without = [each for each in all_events if each["event_id"] != name]
    assert sum_of(results) == sum_of(price([card(rate)], None, None, without, False))
    reversed_ = [e["contracted_cost"] for e in results[-2]["entries"] if e["entry_kind"] == "REVERSAL"]
    booked = [e["contracted_cost"] for e in results[at % len(numbers)]["entries"]]
    assert [-Fraction(each) for each in reversed_] == [Fraction(each) for each in booked]


@LAWS
@given(
    tiers=tiered(),
    numbers=QUANTITIES,
    order=st.randoms(),
    projects=st.lists(st.sampled_from("abc"), min_size=6, max_size=6),
)
def test_a_settled_volume_does_not_depend_on_order(price, tiers, numbers, order, projects):
    all_events = [used(number, f"e{at}", project=projects[at]) for at, number in enumerate(numbers)]
    shuffled = list(all_events)
    order.shuffle(shuffled)
    rate = card(sku("volume", tiers=tiers))
    assert total(price([rate], None, None, all_events, True)) == total(price([rate], None, None, shuffled, True))


@LAWS
@given(rate=rates(), numbers=QUANTITIES, late=AMOUNTS)
def test_a_late_event_costs_what_it_would_have_in_time(price, rate, numbers, late):
    from tests.support.rating import close_record

    rate |= {"maximum": rate.get("maximum", "1000000000")}
    last = used(late, "late", event_time="2026-06-20T00:00:00Z")
    in_time = price([card(rate)], None, None, [*events(numbers), last], False)
    too_late = price([card(rate)], None, None, [*events(numbers), close_record(), last], False)
    assert sum_of(in_time) == sum((Fraction(cost) for cost in costs(too_late) if cost is not None), Fraction(0))
