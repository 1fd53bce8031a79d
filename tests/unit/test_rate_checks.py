"""What publication refuses and warns of (spec/rating.md 6, 7.4, 14)."""

import pytest

from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rates.checks import check_card, check_publication
from chargeline.domain.rates.prices import jump
from tests.support.rates import DAY_MS, FUTURE_BOUND_MS, JANUARY_1, MARGIN_MS, card, published, sku


def alone(candidate, *, warnings=False):
    return [each.code for each in check_card(candidate) if each.warning == warnings]


def beside(candidate, *cards, recorded=JANUARY_1 - DAY_MS, warnings=False):
    found = check_publication(
        candidate,
        published(*cards, recorded=recorded),
        recorded_time=recorded,
        margin_ms=MARGIN_MS,
        future_bound_ms=FUTURE_BOUND_MS,
    )
    return [each.code for each in found if each.warning == warnings]


def alias(name, model):
    return f"{{provider_name: p, alias: {name}, model: {model}}}"


@pytest.mark.parametrize(
    ("skus", "codes"),
    [
        ([sku(), sku(sku_id="m/output", measures="output")], []),
        ([sku(), sku()], ["SKU_TWICE", "SKU_TWICE"]),
        ([sku(), sku(variant="b")], ["TIE"]),
        ([sku(), sku(variant="b", match="region: eu")], []),
        ([sku(variant="a", match="service_tier: batch"), sku(variant="b", match="region: eu")], ["TIE"]),
        ([sku(variant="a", match="region: us"), sku(variant="b", match="region: eu")], []),
        ([sku(variant="a", match="region: [us, eu]"), sku(variant="b", match="region: eu")], ["TIE"]),
        ([sku(variant="a", match="labels: {t: a}"), sku(variant="b", match="labels: {t: b}")], []),
        ([sku(models="[m, n]"), sku(models="[n, o]", sku_id="other")], ["TIE"]),
        ([sku(models="m"), sku(models="[m]", sku_id="other")], []),
        ([sku("cache_read_input")], ["NO_PARENT"]),
        ([sku(models="[m, n]"), sku("cache_read_input", models="[n]")], []),
        ([sku(models="[m]"), sku("cache_read_input", models="[m, n]")], ["NO_PARENT"]),
        ([sku(), sku("cache_read_input"), sku("input_audio")], ["TWO_PARENTS", "TWO_PARENTS"]),
        ([sku(), sku("cache_read_input"), sku("input_audio"), sku("cache_read_audio")], []),
    ],
)
def test_a_card_is_refused_for_what_it_says_by_itself(skus, codes):
    assert alone(card(*skus)) == codes


@pytest.mark.parametrize(
    ("aliases", "codes"),
    [
        (alias("a", "m"), []),
        (f"{alias('a', 'm')}, {alias('a', 'n')}", ["ALIAS_TWICE"]),
        (f"{alias('a', 'm')}, {alias('b', 'a')}", ["ALIAS_TO_ALIAS", "ALIAS_TO_ALIAS"]),
        (alias("a", "a"), ["ALIAS_TO_ALIAS"]),
    ],
)
def test_an_alias_has_one_target_which_is_a_model(aliases, codes):
    assert alone(card(aliases=f"[{aliases}]")) == codes


def test_an_alias_of_another_card_counts_too():
    other = card(aliases=f"[{alias('a', 'm')}]")
    assert beside(card(sku(models="[n]", sku_id="n"), id="two", aliases=f"[{alias('a', 'n')}]"), other) == [
        "ALIAS_TWICE"
    ]
    late = card(sku(models="[n]", sku_id="n"), id="two", aliases=f"[{alias('b', 'a')}]")
    assert beside(late, other) == ["ALIAS_TO_ALIAS"]


@pytest.mark.parametrize(
    ("candidate", "codes"),
    [
        (
            card(sku(base="1", thresholds="[{above: 5, price: 2}]", discounts="[{fixed: 1}]"), id="two"),
            ["NOT_SUPPORTED_YET"],
        ),
        (card(version=2, supersedes=1, start="2026-03-01"), []),
        (card(version=2, start="2026-03-01"), ["OVERLAP"]),
        (card(version=2, supersedes=1, start="2025-12-31"), ["OVERLAP"]),
        (card(sku("output"), version=2, supersedes=1, start="2025-06-01"), ["OVERLAP"]),
        (card(version=2, supersedes=7, start="2026-03-01"), ["UNKNOWN_VERSION"]),
        (card(sku(price="9")), ["VERSION_TAKEN"]),
        (card(id="two"), ["OVERLAP"]),
        (card(sku(sku_id="other"), id="two"), ["TIE"]),
        (card(id="two", scope="{account: acme}"), []),
        (card(sku("cache_read_input"), id="two"), []),
        (card(sku("cache_read_input"), id="two", scope="{account: acme}"), []),
        (card(sku("cache_read_input", models="[n]"), id="two", scope="{account: acme}"), ["NO_PARENT"]),
        (card(version=2, correction="true", start="2025-06-01"), []),
        (card(version=2, start="2025-06-01", end="2026-01-01"), []),
    ],
)
def test_a_card_is_refused_for_what_is_published(candidate, codes):
    assert beside(candidate, card()) == codes


def test_a_refusal_says_when_a_replacement_may_begin():
    found = check_publication(
        card(version=2, supersedes=1, start="2025-12-31"),
        published(card(), recorded=JANUARY_1 - DAY_MS),
        recorded_time=JANUARY_1 - DAY_MS,
        margin_ms=MARGIN_MS,
        future_bound_ms=FUTURE_BOUND_MS,
    )
    assert "the earliest is 2025-12-31T00:05:10Z" in found[0].message


@pytest.mark.parametrize(
    ("candidate", "codes"),
    [
        (card(sku(price="0"), version=2, supersedes=1, start="2026-03-01"), ["FREE", "PRICE_JUMP"]),
        (card(sku(price="3"), version=2, supersedes=1, start="2026-03-01"), []),
        (card(sku(price="3.01"), version=2, supersedes=1, start="2026-03-01"), ["PRICE_JUMP"]),
        (card(sku(price="10000000000000000000"), id="two", scope="{account: a}"), ["WIDE_PRICE"]),
    ],
)
def test_what_is_odd_is_accepted_with_a_warning(candidate, codes):
    assert beside(candidate, card()) == []
    assert beside(candidate, card(), warnings=True) == codes


CALLS = "  - {sku_id: s, match: {provider_name: p, models: [m]}, quantity: tool_calls, pricing_unit: Calls, "


@pytest.mark.parametrize(
    ("rate", "start", "codes"),
    [
        ("charge_model: per_unit, unit_price: 1", "2026-01-15", []),
        ("charge_model: per_unit, unit_price: 1, free_units: 1", "2026-01-15", ["STARTS_INSIDE_PERIOD"]),
        ("charge_model: per_unit, unit_price: 1, free_units: 1", "2026-02-01", []),
        ("charge_model: per_unit, unit_price: 1, free_units: 1, window: event", "2026-01-15", []),
        ("charge_model: per_unit, unit_price: 0", "2026-01-01", ["FREE"]),
        ("charge_model: graduated, tiers: [{up_to: 2}, {up_to: null, unit_price: 1}]", "2026-01-01", ["FREE"]),
        ("charge_model: graduated, tiers: [{up_to: 2, flat_fee: 1}, {up_to: null, unit_price: 1}]", "2026-01-01", []),
        ("charge_model: graduated, tiers: [{up_to: 2, unit_price: 1}]", "2026-01-01", ["BOUND_REMOVED"]),
        ("charge_model: package, package_price: 0, package_size: 1", "2026-01-01", ["FREE"]),
    ],
)
def test_a_card_is_warned_of_for_what_it_says_by_itself(rate, start, codes):
    assert alone(card(f"{CALLS}{rate}}}", start=start), warnings=True) == codes


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("charge_model: per_unit, unit_price: 4", "charge_model: per_unit, unit_price: 6", None),
        ("charge_model: per_unit, unit_price: 4", "charge_model: per_unit, unit_price: 1", "unit_price"),
        ("charge_model: graduated, tiers: [{up_to: 2, unit_price: 1}, {up_to: null, unit_price: 2}]",
         "charge_model: graduated, tiers: [{up_to: 2, unit_price: 1}, {up_to: null, unit_price: 4}]", "tier 2 unit_price"),
        ("charge_model: package, package_price: 1, package_size: 1", "charge_model: package, package_price: 2, package_size: 1", "package_price"),
        ("charge_model: package, package_price: 1, package_size: 1", "charge_model: per_unit, unit_price: 9", None),
    ],
)  # fmt: skip
def test_a_price_is_compared_with_the_same_price_before(before, after, name):
    skus = [
        read_rate_card(
            f"id: a\nversion: 1\ncurrency: USD\neffective_from: 2026-01-01T00:00:00Z\nscope: default\nskus:\n{CALLS}{each}}}\n"
        ).skus[0]
        for each in (before, after)
    ]
    found = jump(*skus)
    assert (found and found[0]) == name


def test_a_gap_between_two_versions_is_warned_of():
    assert beside(card(version=2, start="2026-04-01"), card(end="2026-03-01"), warnings=True) == ["GAP"]
