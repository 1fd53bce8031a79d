"""Which price holds for an event (spec/rating.md 6 and 7)."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from chargeline.domain.rates.card import DEFAULT, Scope
from chargeline.domain.rating.price_points import plain_points, thresholds_of
from tests.support.rates import DAY_MS, JANUARY_1, book, card, sku

ATTRIBUTES = {"service_tier": None, "region": None}


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000) * 1000


def answer(rates, model="m", time="2026-06-01T00:00:00+00:00", account=None, labels=None, **attributes):
    owners = [*([] if account is None else [Scope("account", account)]), DEFAULT]
    return rates.resolve(owners, "p", model, {**ATTRIBUTES, **attributes}, labels or {}, at(time))


def points(rates, measures="input", **question):
    found = answer(rates, **question).choices.get(measures)
    return None if found is None else plain_points(found, Fraction(1), Fraction(1), 30)


def price(rates, measures="input", **question):
    found = points(rates, measures, **question)
    return None if found is None else found[0].contracted_unit_price


@pytest.mark.parametrize(
    ("account", "time", "expected"),
    [
        ("acme", "2026-01-15T00:00:00+00:00", "3"),
        ("acme", "2026-02-01T00:00:00+00:00", "2.6"),
        ("acme", "2026-03-31T23:59:59.999+00:00", "2.6"),
        ("acme", "2026-04-01T00:00:00+00:00", "2.5"),
        ("other", "2026-03-01T00:00:00+00:00", "2.5"),
        ("other", "2026-02-28T23:59:59.999+00:00", "3"),
        ("other", "2025-12-31T23:59:59.999+00:00", None),
    ],
)
def test_the_nearest_level_valid_at_event_time_wins(account, time, expected):
    rates = book(
        card(sku(price="3")),
        card(sku(price="2.5"), version=2, supersedes=1, start="2026-03-01"),
        card(sku(price="2.6"), id="contract", scope="{account: acme}", start="2026-02-01", end="2026-04-01"),
        recorded=JANUARY_1 - DAY_MS,
    )
    assert price(rates, account=account, time=time) == (None if expected is None else Decimal(expected))


def test_the_rate_that_names_more_attributes_wins_within_a_level():
    rates = book(
        card(
            sku(price="4"),
            sku(price="2", variant="batch", match="service_tier: batch"),
            sku(price="1", variant="batch-eu", match="service_tier: [batch, flex], region: eu"),
            sku(price="3", variant="team", match="labels: {team: a}"),
        )
    )
    assert price(rates) == 4
    assert price(rates, service_tier="batch") == 2
    assert price(rates, service_tier="batch", region="eu") == 1
    assert price(rates, service_tier="priority", region="eu") == 4
    assert price(rates, labels={"team": "a"}) == 3
    assert (list(rates.attributes), list(rates.labels)) == (["region", "service_tier"], ["team"])


def test_a_level_comes_before_the_number_of_attributes():
    rates = book(
        card(sku(price="4"), sku(price="2", variant="batch", match="service_tier: batch")),
        card(sku(price="3"), id="own", scope="{account: acme}"),
    )
    assert price(rates, account="acme", service_tier="batch") == 3


def test_a_leaf_of_the_default_list_beats_its_parent_in_a_contract():
    rates = book(
        card(sku(price="4"), sku("cache_read_input", "1")),
        card(sku(price="3"), id="own", scope="{account: acme}"),
    )
    assert price(rates, "cache_read_input", account="acme") == 1


@pytest.mark.parametrize(
    ("leaf", "priced", "pays"),
    [
        ("cache_read_input", ["input"], "input"),
        ("cache_write_1h_input", ["input"], "input"),
        ("cache_write_1h_input", ["input", "cache_write_input"], "cache_write_input"),
        ("cache_read_audio", ["input", "input_audio"], "input_audio"),
        ("cache_read_audio", ["input", "cache_read_input"], "cache_read_input"),
        ("cache_read_audio", ["input", "cache_read_input", "input_audio", "cache_read_audio"], "cache_read_audio"),
        ("reasoning_output", ["input", "output"], "output"),
        ("output_image", ["input"], None),
        ("input", ["output"], None),
    ],
)
def test_a_leaf_without_a_price_pays_its_parents(leaf, priced, pays):
    rates = book(card(*(sku(each, str(number)) for number, each in enumerate(priced, start=1))))
    expected = None if pays is None else Decimal(priced.index(pays) + 1)
    assert price(rates, leaf) == expected


def test_a_parents_price_keeps_the_parents_sku():
    found = points(book(card(sku())), "cache_read_input")[0]
    assert (found.rate.sku.sku_id, found.sku_price_id, found.consumed_unit) == ("m/input", "m/input/1", "Tokens")


def test_a_model_is_found_by_name_then_alias_then_longest_prefix():
    rates = book(
        card(
            sku(price="1", models="[gpt-x]", sku_id="exact"),
            sku(price="2", models="gpt-", sku_id="short"),
            sku(price="3", models="gpt-x-", sku_id="long"),
            aliases="[{provider_name: p, alias: gpt-x-latest, model: gpt-x}]",
        )
    )
    found = {model: answer(rates, model) for model in ("gpt-x", "gpt-x-latest", "gpt-x-1", "gpt-y", "claude")}
    kinds = [each.match_kind for each in found.values()]
    assert kinds == ["EXACT", "ALIAS", "PREFIX", "PREFIX", "NONE"]
    prices = [price(rates, model=model) for model, each in found.items() if each.choices]
    assert prices == [1, 1, 3, 2]


def test_a_named_model_without_a_valid_price_does_not_hide_behind_a_prefix():
    rates = book(card(sku(models="[gpt-x]", sku_id="exact"), start="2027-01-01"), card(sku(models="gpt-"), id="old"))
    found = answer(rates, "gpt-x")
    assert (found.match_kind, found.choices) == ("EXACT", {})


def test_an_alias_ends_with_its_card():
    rates = book(
        card(aliases="[{provider_name: p, alias: a, model: m}]", end="2026-03-01"),
        card(aliases="[]", version=2, start="2026-03-01"),
    )
    assert answer(rates, "a", "2026-02-28T00:00:00+00:00").match_kind == "ALIAS"
    assert answer(rates, "a", "2026-03-01T00:00:00+00:00").match_kind == "NONE"


def test_a_superseded_alias_points_to_its_new_model_from_then_on():
    skus = (sku(), sku(price="5", models="[n]", sku_id="n/input"))
    rates = book(
        card(*skus, aliases="[{provider_name: p, alias: a, model: m}]"),
        card(*skus, aliases="[{provider_name: p, alias: a, model: n}]", version=2, supersedes=1, start="2026-03-01"),
    )
    assert price(rates, model="a", time="2026-02-28T00:00:00+00:00") == 2
    assert price(rates, model="a", time="2026-03-01T00:00:00+00:00") == 5


def test_the_first_price_may_be_back_dated():
    assert price(book(card(start="2020-01-01")), time="2020-06-01T00:00:00+00:00") == 2


def test_a_back_dated_version_over_a_covered_time_is_ignored():
    rates = book(card(), card(sku(price="9"), version=2, supersedes=1), recorded=JANUARY_1 + DAY_MS)
    assert price(rates) == 2


def test_a_back_dated_version_may_fill_a_gap():
    rates = book(
        card(end="2026-02-01"),
        card(sku(price="3"), version=2, start="2026-03-01"),
        card(sku(price="9"), version=3, start="2026-02-01", end="2026-03-01"),
        recorded=JANUARY_1 + 300 * DAY_MS,
    )
    assert [price(rates, time=f"2026-0{month}-15T00:00:00+00:00") for month in (1, 2, 3)] == [2, 9, 3]


def test_a_back_dated_version_with_more_models_does_not_reprice_the_old_ones():
    rates = book(card(), card(sku(price="9", models="[m, n]"), version=2), recorded=JANUARY_1 + DAY_MS)
    assert price(rates) == 2
    assert answer(rates, "n").match_kind == "NONE"


@pytest.mark.parametrize(("late_ms", "expected"), [(0, 9), (1, 2)])
def test_a_replacement_must_begin_after_the_margin_and_the_future_bound(late_ms, expected):
    recorded = JANUARY_1 + 31 * DAY_MS - 310_000 + late_ms
    rates = book(card(), card(sku(price="9"), version=2, supersedes=1, start="2026-02-01"), recorded=recorded)
    assert price(rates) == expected


def test_a_version_number_counts_once():
    rates = book(card(end="2026-03-01"), card(sku(price="9"), start="2026-03-01"))
    assert price(rates) is None


def test_a_correction_version_prices_nothing():
    """It names the model: what lacks is a price."""
    found = answer(book(card(correction="true")))
    assert (found.match_kind, dict(found.choices)) == ("EXACT", {})


def test_what_a_new_version_leaves_out_ends():
    rates = book(
        card(sku(), sku("output", "7")),
        card(sku(price="3"), version=2, supersedes=1, start="2026-03-01"),
        recorded=JANUARY_1 - DAY_MS,
    )
    assert price(rates, "output", time="2026-02-28T00:00:00+00:00") == 7
    assert price(rates, "output", time="2026-03-01T00:00:00+00:00") is None


def test_boundaries_are_where_an_answer_may_change():
    rates = book(
        card(aliases="[{provider_name: p, alias: a, model: m}]"),
        card(version=2, supersedes=1, start="2026-03-01", end="2026-05-01"),
        recorded=JANUARY_1 - DAY_MS,
    )
    days = ("2026-01-01", "2026-03-01", "2026-05-01")
    assert rates.boundaries == tuple(at(f"{day}T00:00:00+00:00") for day in days)


def test_the_list_price_is_the_default_lists():
    own = card(sku(price="2"), id="own", scope="{account: acme}")
    assert _listed(book(card(sku(price="4")), own)) == 4
    assert _listed(book(own)) == 2


def test_the_list_price_is_told_for_the_contracts_unit():
    own = card(sku(price="0.002", unit="1000 Tokens"), id="own", scope="{account: acme}")
    assert _listed(book(card(sku(price="4")), own)) == Decimal("0.004")


def test_a_list_price_in_another_currency_is_not_compared():
    own = card(sku(price="2"), id="own", scope="{account: acme}", currency="EUR")
    assert _listed(book(card(sku(price="4")), own)) == 2


def _listed(rates):
    return points(rates, account="acme")[0].list_unit_price


def test_threshold_prices_come_in_order_with_their_own_ids():
    rates = book(card(sku(base="1.2", thresholds="[{above: 128000, price: 2.4}]")))
    above = (0, *thresholds_of(answer(rates).choices["input"]))
    found = zip(above, points(rates), strict=True)
    assert [(above, point.sku_price_id, point.contracted_unit_price) for above, point in found] == [
        (0, "m/input/1", Decimal("1.2")),
        (128_000, "m/input/2", Decimal("2.4")),
    ]


def test_a_variant_stands_in_the_price_id():
    rates = book(card(sku(variant="batch", match="service_tier: batch")))
    assert points(rates, service_tier="batch")[0].sku_price_id == "m/input/batch/1"


def test_only_accounts_with_cards_are_owners():
    assert book(card(), card(id="own", scope="{account: acme}")).scopes == {DEFAULT, Scope("account", "acme")}
