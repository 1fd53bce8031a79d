"""The published schema of rate cards takes what the reader takes, and refuses what it refuses."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from chargeline.domain.documents import BadDocument, read_document
from chargeline.domain.rates.card_format import PARAMETERS
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rates.card_text import to_json
from tests.support.cards import ACCOUNT_CARD
from tests.support.cards import CARD as TEST_CARD
from tests.support.full_card import FULL_CARD

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "rates").glob("*.yaml"))
SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "rate_card.schema.json").read_text()))
CARD = """\
id: list
version: 2
supersedes: 1
correction: false
currency: USD
effective_from: 2026-01-01T00:00:00Z
effective_to: null
scope: {account: acme}
aliases:
  - {provider_name: p, alias: old, model: m}
status_policy: {ERROR: bill_full, PARTIAL: bill_full}
focus: {service_name: Model API, service_subcategory: Generative AI}
skus:
  - sku_id: m/input
    variant: null
    match: {provider_name: p, models: [m], region: [eu, us], service_tier: null, labels: {plan: gold}}
    leaf: input
    charge_model: per_unit
    unit_price: 2.50
    pricing_unit: 1000000 Tokens
    divide_by: 1000000
    free_units: 0
    source: {url: "https://example.org", date: "2026-01-01"}
  - sku_id: long/input
    match: {provider_name: p, models: null, model_prefix: long-}
    quantity: null
    leaf: input
    charge_model: threshold
    base: "1.2"
    thresholds: [{above: 128000, price: 2.4}]
    pricing_unit: 1000000 Tokens
"""
# A SKU of each charge model that the card above has not.
LATER = {
    "flat": "amount: 60, bill_in: arrears, pricing_unit: Seats",
    "package": "quantity: pages, package_price: 7, package_size: 48, package_round: up, pricing_unit: Pages",
    "graduated": "quantity: calls, pricing_unit: Calls, minimum: 20, maximum: 100, window: day, scope_by: [project], "
                 "tiers: [{up_to: 40, unit_price: 0.7, flat_fee: 9}, {up_to: null, unit_price: 0.3}]",
    "volume": "quantity: images, pricing_unit: Images, tiers: [{up_to: null, unit_price: 6, block_size: 100}]",
    "percentage": "quantity: transaction_amount, rate_percent: 2.4, fixed: 0.30, free_events: 2, free_amount: 120, "
                  "per_event_min: null, pricing_unit: USD",
    "graduated_percentage": "quantity: transaction_amount, tiers: [{up_to: null, rate_percent: 0.8}], "
                            "pricing_unit: USD",
    "dynamic": "quantity: reported_cost, dynamic: true, price_sources: [gateway-1], pricing_unit: USD",
    "cost_plus": "quantity: reported_cost, multiplier: 1.15, pricing_unit: USD, discounts: [{percent: 10}], modifiers: "
                 "[{attribute: service_tier, factors: {batch: 0.5}}], status_policy: {ERROR: {amortise: POOL}}",
}  # fmt: skip


class AsAnEditor(yaml.SafeLoader):
    """Numbers as numbers and times as text, which is how an editor that knows the schema reads YAML."""


AsAnEditor.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def faults(text):
    """What the schema says of a card: as its texts, and as an editor reads it."""
    documents = (read_document(text), yaml.load(text, AsAnEditor))
    return [[each.message for each in SCHEMA.iter_errors(document)] for document in documents]


def codes(text):
    try:
        read_rate_card(text)
    except BadDocument as error:
        return {each.code for each in error.problems}
    return set()


def changed(old, new):
    assert CARD.count(old) == 1
    return CARD.replace(old, new)


def later(model, parameters=None):
    match = "" if model == "flat" else "match: {provider_name: house, models: [x]}, "
    return CARD + f"  - {{sku_id: later, charge_model: {model}, {match}{parameters or LATER[model]}}}\n"


def test_the_schema_is_a_json_schema():
    Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize(
    "text", [CARD, TEST_CARD, ACCOUNT_CARD, FULL_CARD], ids=["all keys", "test", "account", "full"]
)
def test_a_card_that_is_read_is_in_the_schema_as_written_and_as_stored(text):
    assert codes(text) == set()
    assert faults(text) == [[], []]
    assert faults(to_json(read_rate_card(text))) == [[], []]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_in_the_schema(path):
    assert faults(path.read_text()) == [[], []]


@pytest.mark.parametrize("model", LATER)
def test_every_charge_model_is_in_the_schema_and_read(model):
    assert faults(later(model)) == [[], []]
    assert codes(later(model)) == set()


def test_every_charge_model_is_tried():
    assert set(LATER) | {"per_unit", "threshold"} == set(PARAMETERS)


def test_the_card_of_the_format_with_every_charge_model_is_in_the_schema(shared_data):
    text = (shared_data.parent / "spec" / "formats.md").read_text()
    section = text[text.index("\n## 2. Rate card") : text.index("\n## 3.")]
    cards = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert [faults(card) for card in cards] == [[[], []]]
    assert [read_rate_card(card) for card in cards] == [read_rate_card(FULL_CARD)]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        # unknown keys
        ("currency: USD", "currency: USD\nowner: me", "UNKNOWN_KEY"),
        ("variant: null", "colour: red", "UNKNOWN_KEY"),
        ("models: [m]", "models: [m], model: m", "UNKNOWN_KEY"),
        ("{above: 128000, price: 2.4}", "{above: 128000, price: 2.4, below: 3}", "UNKNOWN_KEY"),
        ("alias: old,", "alias: old, since: x,", "UNKNOWN_KEY"),
        ("service_name: Model API", "service: Model API", "UNKNOWN_KEY"),
        ("unit_price: 2.50", "unit_price: 2.50\n    base: 1", "UNKNOWN_KEY"),
        ("{ERROR: bill_full, PARTIAL", "{FAILED: bill_full, PARTIAL", "UNKNOWN_KEY"),
        # missing keys
        ("id: list\n", "", "MISSING_KEY"),
        ("version: 2\n", "", "MISSING_KEY"),
        ("currency: USD\n", "", "MISSING_KEY"),
        ("currency: USD", "currency: null", "MISSING_KEY"),
        ("effective_from: 2026-01-01T00:00:00Z\n", "", "MISSING_KEY"),
        ("scope: {account: acme}\n", "", "MISSING_KEY"),
        ("sku_id: m/input\n    variant: null", "variant: null", "MISSING_KEY"),
        ("    unit_price: 2.50\n", "", "MISSING_KEY"),
        ('    base: "1.2"\n', "", "MISSING_KEY"),
        ("    thresholds: [{above: 128000, price: 2.4}]\n", "", "MISSING_KEY"),
        ("[{above: 128000, price: 2.4}]", "[]", "MISSING_KEY"),
        (", price: 2.4", "", "MISSING_KEY"),
        ("    match: {provider_name: p, models: null, model_prefix: long-}\n", "", "MISSING_KEY"),
        ("{provider_name: p, models: null,", "{models: null,", "MISSING_KEY"),
        # wrong types and values
        ("id: list", "id: [list]", "BAD_VALUE"),
        ("id: list", 'id: ""', "BAD_VALUE"),
        ("version: 2", "version: 1.5", "BAD_NUMBER"),
        ("version: 2", "version: two", "BAD_NUMBER"),
        ("correction: false", 'correction: "no"', "BAD_VALUE"),
        ("scope: {account: acme}", "scope: everybody", "BAD_VALUE"),
        ("scope: {account: acme}", "scope: {account: acme, group: g}", "BAD_VALUE"),
        ("models: [m]", "models: m", "BAD_VALUE"),
        ("models: [m]", "models: [m, m]", "BAD_VALUE"),
        ("models: [m]", "models: [m], model_prefix: m", "BAD_VALUE"),
        ("models: null, model_prefix: long-", "models: null", "BAD_VALUE"),
        ("labels: {plan: gold}", "labels: [gold]", "BAD_VALUE"),
        ("region: [eu, us]", "region: []", "BAD_VALUE"),
        ("unit_price: 2.50", "unit_price: -1", "NEGATIVE"),
        ("unit_price: 2.50", "unit_price: cheap", "BAD_NUMBER"),
        ("unit_price: 2.50", "unit_price: [2.50]", "BAD_NUMBER"),
        ("unit_price: 2.50", 'unit_price: "2.5e0"', "BAD_NUMBER"),
        ("above: 128000", "above: 1.5", "BAD_NUMBER"),
        ("    variant: null", "    quantity: pages", "BAD_VALUE"),
        ("    quantity: null\n    leaf: input\n", "", "BAD_VALUE"),
        ("    quantity: null\n    leaf: input\n", "    leaf: prompt\n", "BAD_VALUE"),
        ("aliases:\n  - {provider_name: p, alias: old, model: m}", "aliases: [old]", "BAD_VALUE"),
        # unknown charge models
        ("charge_model: per_unit", "charge_model: bargain", "BAD_VALUE"),
        ("charge_model: per_unit", "charge_model: threshold", "UNKNOWN_KEY"),
        # bad instants
        ("effective_to: null", "effective_to: 2027-01-01", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-01-01 00:00:00Z", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-01-01T00:00:00", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-01-01T00:00:00+01:00", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-13-01T00:00:00Z", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-01-32T00:00:00Z", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-01-01T24:00:00Z", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-01-01T00:00:60Z", "BAD_TIME"),
        ("effective_to: null", "effective_to: 2027-01-01T00:00:00.1234567Z", "BAD_TIME"),
    ],
)  # fmt: skip
def test_what_the_reader_refuses_is_not_in_the_schema(old, new, code):
    text = changed(old, new)
    assert code in codes(text)
    as_texts, as_an_editor = faults(text)
    assert as_texts
    assert as_an_editor


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("flat", "bill_in: arrears, pricing_unit: Seats"),
        ("package", "quantity: pages, package_price: 7, pricing_unit: Pages"),
        ("graduated", "quantity: calls, tiers: [], pricing_unit: Calls"),
        ("volume", "quantity: images, tiers: [{unit_price: 2}], pricing_unit: Images"),
        ("percentage", "quantity: transaction_amount, fixed: 1, pricing_unit: USD"),
        ("dynamic", "quantity: reported_cost, dynamic: false, price_sources: [a], pricing_unit: USD"),
        ("dynamic", "quantity: reported_cost, dynamic: true, pricing_unit: USD"),
        ("cost_plus", "quantity: reported_cost, rate_percent: 15, pricing_unit: USD"),
        ("cost_plus", "quantity: transaction_amount, multiplier: 1, pricing_unit: USD"),
        ("flat", "amount: 1, pricing_unit: Seats, quantity: pages"),
        ("flat", "amount: 1, pricing_unit: Seats, match: {provider_name: a, models: [b]}"),
        ("package", "quantity: pages, package_price: 7, package_size: 0, pricing_unit: Pages"),
        ("graduated", "quantity: calls, tiers: [{up_to: 0}, {up_to: null}], pricing_unit: Calls"),
        ("graduated", "quantity: calls, tiers: [{up_to: null, rate_percent: 1}], pricing_unit: Calls"),
        ("graduated_percentage", "quantity: transaction_amount, tiers: [{up_to: null}], pricing_unit: USD"),
        (
            "volume",
            (
                "quantity: images, tiers: [{up_to: null}], pricing_unit: Images, "
                "modifiers: [{attribute: region, factors: {a: 1}}]"
            ),
        ),
        ("volume", "quantity: images, tiers: [{up_to: null}], pricing_unit: Images, scope_by: [colour]"),
        ("volume", "quantity: images, tiers: [{up_to: null}], pricing_unit: Images, discounts: [{percent: 101}]"),
        ("volume", "quantity: images, tiers: [{up_to: null}], pricing_unit: Images, window: week"),
        ("volume", "quantity: images, tiers: [{up_to: null}], pricing_unit: Images, status_policy: {OK: bill_zero}"),
        (
            "percentage",
            (
                "quantity: transaction_amount, rate_percent: 1, pricing_unit: USD, "
                "modifiers: [{attribute: colour, factors: {a: 1}}]"
            ),
        ),
        (
            "percentage",
            (
                "quantity: transaction_amount, rate_percent: 1, pricing_unit: USD, modifiers: "
                "[{attribute: time_band, time_zone: Asia/Tokyo, "
                "bands: [{weekdays: [MON], from: '25:00', to: '03:00', factor: 1}]}]"
            ),
        ),
    ],
)
def test_a_charge_model_with_wrong_parameters_is_not_in_the_schema(model, parameters):
    assert all(faults(later(model, parameters)))
    assert codes(later(model, parameters))
