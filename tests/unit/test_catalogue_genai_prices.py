"""The catalogue genai-prices becomes candidate cards: names, prefixes, history, hours of the day."""

import sys
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from types import ModuleType

import pytest

from chargeline.adapters import genai_prices
from chargeline.domain.catalogues.genai_prices import read_genai_prices
from chargeline.domain.errors import Refused
from chargeline.domain.rates.card import instant
from tests.support.catalogues import JUNE, genai, made, prices


def one(price, **more):
    cards, findings = made(read_genai_prices(genai({"id": "m", "prices": price} | more)))
    return cards, findings


@pytest.mark.parametrize(
    ("field", "sku"),
    [("cache_read_mtok", "cache_read_input"), ("cache_write_mtok", "cache_write_input"),
     ("cache_write_1h_mtok", "cache_write_1h_input"), ("input_audio_mtok", "input_audio"),
     ("cache_audio_read_mtok", "cache_read_audio"), ("input_image_mtok", "input_image"),
     ("output_reasoning_mtok", "reasoning_output"), ("output_audio_mtok", "output_audio"),
     ("output_image_mtok", "output_image"), ("output_citation_mtok", "citation_tokens"),
     ("web_searches_kcount", "web_searches"), ("requests_kcount", "requests")],
)  # fmt: skip
def test_a_field_is_the_price_of_one_leaf_or_quantity(field, sku):
    cards, findings = one({"input_mtok": 3, "output_mtok": 15, field: 0.75})
    assert prices(cards[0])[f"anthropic/m/{sku}"] == "0.75"
    assert findings == []


def test_counts_are_priced_by_the_thousand():
    cards, _ = one({"web_searches_kcount": 10, "requests_kcount": 5})
    assert {sku.measures: sku.pricing_unit for sku in cards[0].skus} == {
        "web_searches": "1000 Searches", "requests": "1000 Requests"}  # fmt: skip


def test_a_tier_holds_above_its_start():
    cards, _ = one({"input_mtok": {"base": 1.25, "tiers": [{"start": 200000, "price": 2.5}]}})
    assert prices(cards[0]) == {"anthropic/m/input": {0: "1.25", 200000: "2.5"}}


def test_start_dates_make_versions_that_supersede_each_other():
    price = [{"prices": {"input_mtok": 10}}, {"constraint": {"start_date": "2025-06-10"}, "prices": {"input_mtok": 2}}]
    cards, _ = made(read_genai_prices(genai({"id": "m", "prices": price}, {"id": "n", "prices": {"input_mtok": 1}})))
    assert [(each.version, each.supersedes, instant(each.effective_from)) for each in cards] == [
        (1, None, "2020-01-01T00:00:00Z"), (2, 1, "2025-06-10T00:00:00Z")]  # fmt: skip
    assert [prices(each) for each in cards] == [{"anthropic/m/input": "10", "anthropic/n/input": "1"},
                                                {"anthropic/m/input": "2", "anthropic/n/input": "1"}]  # fmt: skip


def test_a_card_that_begins_after_a_change_has_the_changed_price_only():
    price = [{"prices": {"input_mtok": 10}}, {"constraint": {"start_date": "2025-06-10"}, "prices": {"input_mtok": 2}}]
    cards, _ = made(read_genai_prices(genai({"id": "m", "prices": price})), JUNE)
    assert [prices(each) for each in cards] == [{"anthropic/m/input": "2"}]


def test_a_provider_whose_first_price_has_a_date_has_no_card_before_it():
    price = [{"constraint": {"start_date": "2025-06-10"}, "prices": {"input_mtok": 2}}]
    cards, _ = one(price)
    assert [(each.version, instant(each.effective_from)) for each in cards] == [(1, "2025-06-10T00:00:00Z")]


HOURS = {"start_time": "00:30:00Z", "end_time": "16:30:00Z"}


def test_hours_of_the_day_are_a_factor_where_one_is_exact():
    price = [{"prices": {"input_mtok": 0.135}}, {"constraint": HOURS, "prices": {"input_mtok": 0.27}}]
    version = read_genai_prices(genai({"id": "m", "prices": price})).entries[0].versions[0]
    band = version.prices[0].bands[0]
    assert (len(band.weekdays), band.start, band.end, band.factor) == (7, "00:30", "16:30", Decimal(2))


def test_hours_of_the_day_without_an_exact_factor_leave_the_higher_price_and_a_finding():
    price = [{"prices": {"input_mtok": 0.135}}, {"constraint": HOURS, "prices": {"input_mtok": 0.55}}]
    cards, findings = one(price)
    assert prices(cards[0]) == {"anthropic/m/input": "0.55"}
    assert findings == [("anthropic/m", "input by hours", "TIME_BAND")]


@pytest.mark.parametrize(
    ("match", "models", "aliases", "prefixes", "reasons"),
    [
        ({"equals": "m"}, {"m"}, set(), set(), []),
        ({"or": [{"equals": "m"}, {"equals": "m-2026"}]}, {"m"}, {"m-2026"}, set(), []),
        ({"starts_with": "m-"}, {"m"}, set(), {"m-"}, []),
        ({"or": [{"starts_with": "m-"}, {"starts_with": "m-1"}]}, {"m"}, set(), {"m-"}, []),
        ({"contains": "m"}, {"m"}, set(), set(), ["NO_PATTERN"]),
        ({"or": [{"regex": "^m"}, {"equals": "mm"}]}, {"m"}, {"mm"}, set(), ["NO_PATTERN"]),
        ({"or": [{"equals": "m"}, {"equals": "other"}]}, {"m"}, set(), set(), ["NAME_TAKEN"]),
    ],
)
def test_names_and_beginnings_are_matched_and_other_patterns_are_for_review(match, models, aliases, prefixes, reasons):
    model = {"id": "m", "match": match, "prices": {"input_mtok": 1}}
    cards, findings = made(read_genai_prices(genai(model, {"id": "other", "prices": {"input_mtok": 2}})))
    mine = [sku for sku in cards[0].skus if sku.sku_id == "anthropic/m/input"]
    assert {name for sku in mine for name in sku.match.models} == models
    assert {each.alias for each in cards[0].aliases} == aliases
    assert {sku.match.model_prefix for sku in mine} - {None} == prefixes
    assert [reason for _, _, reason in findings] == reasons


def test_a_longer_prefix_stays_where_another_model_lies_between():
    between = {"id": "n", "match": {"starts_with": "m-1"}, "prices": {"input_mtok": 2}}
    both = {"or": [{"starts_with": "m-"}, {"starts_with": "m-1.0"}]}
    cards, _ = made(read_genai_prices(genai({"id": "m", "match": both, "prices": {"input_mtok": 1}}, between)))
    assert {sku.match.model_prefix for sku in cards[0].skus} == {None, "m-", "m-1.0", "m-1"}


def test_variants_of_a_model_are_prices_of_service_tiers_from_their_date_on():
    variants = [{"when": {"processing": "batch"}, "prices": {"input_mtok": 5}, "constraint": {"start_date": "2026-10-14"}},
                {"when": {"service_tier": "flex"}, "prices": {"input_mtok": 4}},
                {"when": {"speed": "fast"}, "prices": {"input_mtok": 30}},
                {"when": {"service_tier": "default"}, "prices": {}}]  # fmt: skip
    cards, findings = one({"input_mtok": 10}, price_variants=variants)
    assert [prices(each) for each in cards] == [
        {"anthropic/m/input": "10", ("anthropic/m/input", "flex"): "4"},
        {"anthropic/m/input": "10", ("anthropic/m/input", "flex"): "4", ("anthropic/m/input", "batch"): "5"}]  # fmt: skip
    assert findings == [("anthropic/m", "price_variants", "NO_PLACE")]


def test_a_model_without_prices_is_for_review_only():
    assert one({}) == ([], [("anthropic/m", "prices", "NO_PRICE")])


def test_a_missing_package_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    with pytest.raises(Refused, match=r"pip install 'chargeline\[genai-prices\]'"):
        genai_prices.installed_catalogue()


@dataclass
class Hours:
    start_time: time
    end_time: time


@dataclass
class AnyOf:
    or_: list[object]


@dataclass
class Equals:
    equals: str


class ModelPrice:
    def __init__(self, **fields):
        self.__dict__.update(fields)


@dataclass
class Conditional:
    prices: ModelPrice
    constraint: object = None


@dataclass
class Dated:
    start_date: date


@dataclass
class Model:
    id: str
    match: object
    prices: object
    deprecated: bool | None = None


@dataclass
class Provider:
    id: str
    models: list[Model]
    pricing_urls: list[str] | None = None


def test_the_installed_package_reads_as_its_file(monkeypatch):
    listed = [Conditional(ModelPrice(input_mtok=Decimal("0.135"), output_mtok=None)),
              Conditional(ModelPrice(input_mtok=Decimal("0.27")), Dated(date(2026, 3, 1)))]  # fmt: skip
    model = Model("m", AnyOf([Equals("m"), Equals("mm")]), listed)
    data = ModuleType("genai_prices.data")
    vars(data)["providers"] = [Provider("anthropic", [model])]
    monkeypatch.setitem(sys.modules, "genai_prices", ModuleType("genai_prices"))
    monkeypatch.setitem(sys.modules, "genai_prices.data", data)
    monkeypatch.setattr(genai_prices, "version", lambda _: "9.9")
    document, number = genai_prices.installed_catalogue()
    assert number == "9.9"
    assert document == [{"id": "anthropic", "models": [{"id": "m", "match": {"or": [{"equals": "m"}, {"equals": "mm"}]},
        "prices": [{"prices": {"input_mtok": Decimal("0.135")}},
                   {"prices": {"input_mtok": Decimal("0.27")}, "constraint": {"start_date": "2026-03-01"}}]}]}]  # fmt: skip
