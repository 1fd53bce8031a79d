"""The real catalogues whole: nothing lost, every candidate accepted, prices exact, and where the two disagree."""

import time
from collections import Counter

import pytest

from chargeline.domain.catalogues.cards import candidates
from chargeline.domain.catalogues.compare import compare, newest
from chargeline.domain.catalogues.genai_prices import read_genai_prices
from chargeline.domain.catalogues.litellm import read_litellm
from chargeline.domain.catalogues.yaml_text import card_text
from chargeline.domain.rates.card import instant
from chargeline.domain.rates.card_reader import read_rate_card
from tests.support.catalogues import BEGINNING, ORIGIN, exact, prices

LITELLM, GENAI = "litellm_model_prices_1.109.1.json", "genai_prices_v2.json"


@pytest.fixture(scope="module")
def whole(shared_data):
    """Both real catalogues: (catalogue, candidates, findings, seconds)."""
    found = {}
    for name, read in ((LITELLM, read_litellm), (GENAI, read_genai_prices)):
        began = time.monotonic()
        catalogue = read(exact((shared_data / "prices" / name).read_text()))
        cards, findings = candidates(catalogue, ORIGIN, BEGINNING)
        found[name] = (catalogue, cards, findings, time.monotonic() - began)
    return found


@pytest.mark.parametrize(("name", "count"), [(LITELLM, 4553), (GENAI, 1466)])
def test_every_entry_of_the_real_catalogue_is_in_a_card_or_in_review(whole, name, count):
    catalogue, cards, findings, _ = whole[name]
    in_cards = {entry for card in cards for entry in card.entries}
    listed = {each.entry for each in findings}
    document_names = in_cards | set(catalogue.merged) | {each.entry for each in findings}
    assert catalogue.count == len(document_names) == count
    assert document_names - in_cards - set(catalogue.merged) <= listed
    assert not [each for each in findings if each.reason.startswith("REFUSED")]


def test_the_text_of_a_real_candidate_reads_as_the_candidate(whole):
    small = [each for name in whole for each in whole[name][1] if len(each.card.skus) <= 60]
    assert len(small) > 50
    for each in small:
        assert read_rate_card(card_text(each.document, "", dict(each.remarks))) == each.card


REAL = [
    (LITELLM, "litellm-openai", "openai/gpt-4o/input", "2.5"),
    (LITELLM, "litellm-openai", ("openai/gpt-4o/input", "batch"), "1.25"),
    (LITELLM, "litellm-openai", ("openai/gpt-4o/input", "priority"), "4.25"),
    (LITELLM, "litellm-openai", "openai/gpt-4o/output", "10"),
    (LITELLM, "litellm-gcp.gemini", "gcp.gemini/gemini-2.5-pro/input", {0: "1.25", 200000: "2.5"}),
    (
        LITELLM,
        "litellm-aws.bedrock",
        "aws.bedrock/anthropic.claude-sonnet-4-20250514-v1:0/input",
        {0: "3", 200000: "6"},
    ),
    (GENAI, "genai-anthropic", "anthropic/claude-sonnet-4-5/input", {0: "3", 200000: "6"}),
]


@pytest.mark.parametrize(("name", "card", "sku", "price"), REAL)
def test_prices_of_the_real_catalogues_are_exact(whole, name, card, sku, price):
    found = {each.provider: prices(each.card) for each in whole[name][1]}
    assert found[card.partition("-")[2]][sku] == price


def test_the_history_of_a_real_model_is_a_version_for_each_price(whole):
    found = [each.card for each in whole[GENAI][1] if each.provider == "openai"]
    assert [instant(each.effective_from)[:10] for each in found] == ["2020-01-01", "2025-06-10", "2026-07-30"]
    assert [each.supersedes for each in found] == [None, 1, 2]
    assert [prices(each)["openai/o3/input"] for each in found] == ["10", "2", "2"]


def test_fifteen_of_108_models_of_seven_providers_have_another_input_price(whole):
    sides = [newest(each.card for each in whole[name][1]) for name in (LITELLM, GENAI)]
    seven = {"openai", "anthropic", "gcp.gemini", "mistral_ai", "deepseek", "x_ai", "perplexity"}
    pairs = [
        pair
        for pair in compare(*sides).pairs
        if pair.thing.provider_name in seven
        and (pair.thing.measures, pair.thing.service_tier, pair.thing.above) == ("input", "standard", 0)
        and pair.matched_by == "name"
    ]
    assert Counter(bool(pair.difference) for pair in pairs) == {False: 93, True: 15}


def test_the_real_catalogue_is_read_in_seconds_not_minutes(whole):
    assert whole[LITELLM][3] < 60  # two seconds on the machine it was written on
