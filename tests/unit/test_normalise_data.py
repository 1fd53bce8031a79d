"""Usage blocks as providers answered them: normalised and rated, each costs what an independent library says."""

import json
from fractions import Fraction

import pytest

from chargeline.sdk.normalise import normalise_row

# Leaf: the names of its price, then of those that it pays without one (spec/rating.md 6).
PAYS = {
    "input_tokens": ["input"],
    "cache_read_input_tokens": ["cache_read", "input"],
    "cache_write_input_tokens": ["cache_write", "input"],
    "cache_write_1h_input_tokens": ["cache_write_1h", "cache_write", "input"],
    "input_audio_tokens": ["input_audio", "input"],
    "input_image_tokens": ["input_image", "input"],
    "cache_read_audio_tokens": ["cache_audio_read", "cache_read", "input_audio", "input"],
    "output_tokens": ["output"],
    "reasoning_output_tokens": ["output_reasoning", "output"],
    "output_audio_tokens": ["output_audio", "output"],
    "output_image_tokens": ["output_image", "output"],
}


@pytest.fixture
def rows(shared_data):
    with (shared_data / "usage" / "provider_usage_priced.jsonl").open() as lines:
        return [json.loads(line) for line in lines]


def answer(row):
    return normalise_row({"id": row["id"], "provider": row["provider"], "api_flavor": row["api_flavor"],
                          "model": row["model_ref"], "usage": row["raw_usage"]})  # fmt: skip


def cost(found, prices):
    """(input, output, total) in dollars, exact; a tier holds for the whole request once its input is above its start."""
    size = sum(number for name, number in found["quantities"].items() if "output" not in name)
    sides = {False: Fraction(0), True: Fraction(0)}
    for name, number in found["quantities"].items():
        price = next(prices[f"{each}_mtok"] for each in PAYS[name] if f"{each}_mtok" in prices)
        if isinstance(price, dict):
            price = [price["base"], *(tier["price"] for tier in price["tiers"] if size > tier["start"])][-1]
        sides["output" in name] += Fraction(price) * number / 1_000_000
    searches = Fraction(found["extra_quantities"].get("web_searches", 0), 1_000_000)
    total = sum(sides.values()) + searches * Fraction(prices.get("web_searches_kcount", "0")) / 1000
    return sides[False], sides[True], total


def test_every_recorded_answer_costs_what_the_reference_says(rows):
    assert len(rows) == 633
    for row in rows:
        found = answer(row)
        assert (found["status"], found["error"]) == ("OK", None), row["id"]
        expected = tuple(Fraction(row["expected"][name]) for name in ("input_price", "output_price", "total_price"))
        assert cost(found, row["unit_prices_per_mtok"]) == expected, row["id"]


def test_every_recorded_answer_has_the_references_totals_and_model(rows):
    for row in rows:
        found, usage = answer(row), row["usage"]
        sides = [
            sum(n for name, n in found["quantities"].items() if ("output" in name) == side) for side in (False, True)
        ]
        assert sides == [usage.get("input_tokens", 0), usage.get("output_tokens", 0)], row["id"]
        assert found["response_model"] == row["model_ref"], row["id"]


def test_an_answer_in_its_providers_own_format_has_no_unknown_field(rows):
    """Others are on purpose: a block of one API read as another's, and what that API does not bill."""
    left = {
        (row["provider"], row["api_flavor"], name)
        for row in rows
        if row["api_flavor"] in ("chat", "default") or row["provider"] in ("openai", "anthropic")
        for name in answer(row)["unknown_fields"]
    }
    assert left == {
        ("anthropic", "default", "iterations[].model"),  # another model's tokens: an event of their own
        ("azure", "chat", "prompt_tokens_details.cache_write_tokens"),
        ("mistral", "default", "num_cached_tokens"),
        ("openai", "embeddings", "completion_tokens"),
        ("openai", "embeddings", "completion_tokens_details"),
        ("openai", "embeddings", "prompt_tokens_details"),
    }
