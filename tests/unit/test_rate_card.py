"""Reading rate cards: strict, exact, with the place of every fault (spec/formats.md 1 and 2)."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from chargeline.domain.documents import BadDocument
from chargeline.domain.rates.card import PriceAbove
from chargeline.domain.rates.card_format import CARD_KEYS, FOCUS_KEYS, MATCH_ATTRIBUTES, PARAMETERS, SKU_KEYS, STATUSES
from chargeline.domain.rates.card_reader import from_json, read_rate_card
from chargeline.domain.rates.card_text import to_json
from chargeline.domain.usage import LEAVES

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "rates").glob("*.yaml"))
CARD = """\
id: list
version: 1
currency: USD
effective_from: 2026-01-01T00:00:00Z
scope: default
skus:
  - sku_id: gpt-4o/input
    match: {provider_name: openai, models: [gpt-4o]}
    leaf: input
    charge_model: per_unit
    unit_price: 2.50
    pricing_unit: 1000000 Tokens
"""


def problems(text):
    with pytest.raises(BadDocument) as caught:
        read_rate_card(text)
    return [(each.code, each.line) for each in caught.value.problems]


def changed(old, new):
    assert CARD.count(old) == 1
    return CARD.replace(old, new)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_read_and_written_without_loss(path):
    card = read_rate_card(path.read_text())
    assert from_json(to_json(card)) == card
    assert read_rate_card(to_json(card)) == card
    assert to_json(from_json(to_json(card))) == to_json(card)


def test_the_price_of_gpt_4o_is_what_the_readme_promises():
    card = read_rate_card((ROOT / "examples" / "rates" / "openai.yaml").read_text())
    prices = {sku.sku_id: sku.prices for sku in card.skus}
    assert prices["gpt-4o/input"] == (PriceAbove(0, Decimal("2.50")),)
    assert prices["gpt-4o/output"] == (PriceAbove(0, Decimal("10.00")),)


@pytest.mark.parametrize("price", ["2.5", '"2.50"', "'2.500'"])
def test_a_number_means_its_text_however_it_is_written(price):
    card = read_rate_card(changed("2.50", price))
    assert card == read_rate_card(CARD)
    assert to_json(card) == to_json(read_rate_card(CARD))


def test_defaults_that_are_written_out_make_the_same_card():
    card = changed("scope: default", "scope: default\naliases: []\nsupersedes: null\ncorrection: false\nfocus: {}")
    assert to_json(read_rate_card(card)) == to_json(read_rate_card(CARD))


def test_a_json_file_with_tabs_and_escapes_is_the_same_card():
    document = json.loads(to_json(read_rate_card(CARD)))
    document["description"] = "rates \U0001f600 \x7f"
    for text in (json.dumps(document, indent="\t"), json.dumps(document)):
        assert read_rate_card(text).description == document["description"]
    stored = to_json(read_rate_card(json.dumps(document)))
    assert from_json(stored).description == document["description"]


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("version: 1", "version: 1\nversion: 2", "DUPLICATE_KEY", 3),
        ("version: 1", "version: 1\nowner: me", "UNKNOWN_KEY", 3),
        ("version: 1\n", "", "MISSING_KEY", 1),
        ("version: 1", "version: 1.5", "BAD_NUMBER", 2),
        ("version: 1", "version: ²", "BAD_NUMBER", 2),
        ("version: 1", "version: 3000000000", "BAD_NUMBER", 2),
        ("id: list", "id: &a list", "NOT_ALLOWED", 1),
        ("id: list", "id: !!str list", "NOT_ALLOWED", 1),
        ("id: list", "id: [a]", "BAD_VALUE", 1),
        ("id: list", 'id: ""', "BAD_VALUE", 1),
        ("id: list", "id: {", "NOT_YAML", 3),
        ("id: list", 'id: "\\ud83d"', "BAD_TEXT", 1),
        ("id: list", "id: " + "[" * 5000, "NOT_YAML", 1),
        ("currency: USD", "currency: XXY", "UNKNOWN_CURRENCY", 3),
        ("2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "BAD_TIME", 4),
        ("2026-01-01T00:00:00Z", "2026-01-01", "BAD_TIME", 4),
        ("scope: default", "scope: default\neffective_to: 2025-01-01T00:00:00Z", "BAD_PERIOD", 6),
        ("scope: default", "scope: everybody", "BAD_VALUE", 5),
        ("scope: default", "scope: default\nsupersedes: 1", "BAD_VALUE", 6),
        ("scope: default", 'scope: default\ncorrection: "true"', "BAD_VALUE", 6),
        ("scope: default", "scope: default\naliases: [a]", "BAD_VALUE", 6),
        ("models: [gpt-4o]", "models: gpt-4o", "BAD_VALUE", 8),
        ("models: [gpt-4o]", "model_prefix: gpt-, models: [gpt-4o]", "BAD_VALUE", 8),
        ("models: [gpt-4o]", "models: [gpt-4o], labels: [a]", "BAD_VALUE", 8),
        ("leaf: input", "leaf: prompt", "BAD_VALUE", 9),
        ("leaf: input", "quantity: input", "BAD_VALUE", 9),
        ("leaf: input", "leaf: input\n    quantity: pages", "BAD_VALUE", 9),
        ("charge_model: per_unit", "charge_model: graduated\n    tiers: []", "UNKNOWN_KEY", 12),
        ("charge_model: per_unit", "charge_model: bargain", "BAD_VALUE", 10),
        ("unit_price: 2.50", "unit_price: -1", "NEGATIVE", 11),
        ("unit_price: 2.50", "unit_price: 1e-5", "BAD_NUMBER", 11),
        ("unit_price: 2.50", "unit_price: 0.1234567890123456789", "BAD_NUMBER", 11),
        ("unit_price: 2.50", "unit_price: 100000000000000000000", "BAD_NUMBER", 11),
        ("unit_price: 2.50", "base: 1", "UNKNOWN_KEY", 11),
        ("unit_price: 2.50", "unit_price: 2.50\n    divide_by: 1000", "BAD_VALUE", 12),
        ("unit_price: 2.50", "unit_price: 2.50\n    divide_by: 0", "ZERO_DIVISOR", 12),
        ("1000000 Tokens", "0 Tokens", "UNKNOWN_UNIT", 12),
        ("1000000 Tokens", "GPU-Hours", "UNKNOWN_UNIT", 12),
    ],
)
def test_a_fault_is_told_with_its_code_and_line(old, new, code, line):
    assert (code, line) in problems(changed(old, new))


def test_every_fault_of_a_card_is_told_at_once():
    text = changed("currency: USD", "currency: XXY").replace("unit_price: 2.50", "unit_price: x")
    assert [code for code, _ in problems(text)] == ["UNKNOWN_CURRENCY", "BAD_NUMBER"]


@pytest.mark.parametrize(
    ("thresholds", "code"),
    [
        ("[{above: 0, price: 1}]", "NOT_ASCENDING"),
        ("[{above: 10, price: 1}, {above: 10, price: 2}]", "NOT_ASCENDING"),
        ("[{above: 1.5, price: 1}]", "BAD_NUMBER"),
        ("[{above: 99999999999999999999, price: 1}]", "BAD_NUMBER"),
        ("[{above: 10}]", "MISSING_KEY"),
        ("[10]", "BAD_VALUE"),
        ("[]", "MISSING_KEY"),
    ],
)
def test_thresholds_must_ascend_from_above_zero(thresholds, code):
    new = f"base: 1\n    thresholds: {thresholds}"
    text = changed("unit_price: 2.50", new).replace("per_unit", "threshold")
    assert code in [each for each, _ in problems(text)]


@pytest.mark.parametrize(
    ("quantity", "unit", "size"),
    [
        ("gpu_ms", "GPU-Hours", "3600000"),
        ("memory_mib_s", "GiB-Hours", "3686400"),
        ("io_bytes", "GB", "1000000000"),
        ("io_bytes", "GiB", "1073741824"),
        ("requests", "1000 Requests", "1000"),
        ("web_searches", "1000 Searches", "1000"),
        ("audio_s", "Minutes", "60"),
        ("provisioned_unit_s", "Unit-Hours", "3600"),
        ("widgets", "Widgets", "1"),
        ("widgets", "Units", "1"),
        ("storage_mib_s", "GB-Months", None),
    ],
)
def test_a_unit_holds_so_many_base_units(quantity, unit, size):
    text = changed("leaf: input", f"quantity: {quantity}").replace("1000000 Tokens", unit)
    assert read_rate_card(text).skus[0].divide_by == (None if size is None else Decimal(size))


@pytest.mark.parametrize(("quantity", "unit"), [("storage_mib_s", "10 GB-Months"), ("widgets", "GPU-Hours")])
def test_a_unit_of_something_else_is_refused(quantity, unit):
    text = changed("leaf: input", f"quantity: {quantity}").replace("1000000 Tokens", unit)
    assert [code for code, _ in problems(text)] == ["UNKNOWN_UNIT"]


def test_a_unit_without_a_number_takes_its_size_from_divide_by():
    text = changed("leaf: input", "quantity: tool_calls").replace("1000000 Tokens", "Calls\n    divide_by: 250")
    card = read_rate_card(text)
    assert card.skus[0].divide_by == 250
    assert from_json(to_json(card)) == card


def test_the_published_schema_names_the_same_keys_as_the_reader():
    schema = json.loads((ROOT / "schemas" / "rate_card.schema.json").read_text())
    sku, match = schema["$defs"]["sku"], schema["$defs"]["match"]
    assert set(schema["properties"]) == CARD_KEYS
    assert set(sku["properties"]) == SKU_KEYS.union(*PARAMETERS.values())
    assert set(sku["properties"]["charge_model"]["enum"]) == set(PARAMETERS)
    assert sku["properties"]["leaf"]["anyOf"][0]["enum"] == list(LEAVES)
    assert set(match["properties"]) == {"provider_name", "models", "model_prefix", "labels", *MATCH_ATTRIBUTES}
    assert set(schema["$defs"]["focus"]["anyOf"][0]["properties"]) == FOCUS_KEYS
    assert set(schema["$defs"]["status_policy"]["anyOf"][0]["properties"]) == set(STATUSES)
