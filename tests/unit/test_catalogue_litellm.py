"""litellm's catalogue becomes candidate cards; what a card cannot say is in the review list."""

import pytest

from chargeline.domain.catalogues.litellm import model_name, read_litellm
from tests.support.catalogues import exact, litellm, made, prices

PLAIN = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}


def one(**fields):
    cards, findings = made(read_litellm(litellm(**{"m-1": fields})))
    return prices(cards[0]) if cards else {}, findings


@pytest.mark.parametrize(
    ("fields", "sku", "price"),
    [
        ({"cache_read_input_token_cost": 1.25e-06}, "cache_read_input", "1.25"),
        ({"input_cost_per_token_cache_hit": 1.25e-06}, "cache_read_input", "1.25"),
        ({"cache_creation_input_token_cost": 3e-06}, "cache_write_input", "3"),
        ({"cache_creation_input_token_cost_above_1hr": 6e-06}, "cache_write_1h_input", "6"),
        ({"input_cost_per_audio_token": 4e-05}, "input_audio", "40"),
        ({"cache_read_input_audio_token_cost": 1e-07}, "cache_read_audio", "0.1"),
        ({"input_cost_per_image_token": 7e-06}, "input_image", "7"),
        ({"output_cost_per_reasoning_token": 3e-06}, "reasoning_output", "3"),
        ({"output_cost_per_audio_token": 8e-05}, "output_audio", "80"),
        ({"output_cost_per_image_token": 3e-05}, "output_image", "30"),
        ({"input_cost_per_request": 0.005}, "requests", "0.005"),
        ({"input_cost_per_query": 0.002}, "requests", "0.002"),
        ({"ocr_cost_per_page": 0.003}, "pages", "0.003"),
        ({"citation_cost_per_token": 2e-06}, "citation_tokens", "2"),
        ({"input_cost_per_image": 0.0011}, "input_images", "0.0011"),
        ({"output_cost_per_image": 0.04}, "images", "0.04"),
        ({"input_cost_per_character": 1.5e-05}, "characters", "15"),
        ({"mode": "image_generation", "input_cost_per_image": 0.04}, "images", "0.04"),
        ({"mode": "image_generation", "input_cost_per_pixel": 1.9e-08}, "pixels", "0.019"),
        ({"mode": "audio_transcription", "input_cost_per_second": 0.0001}, "audio_s", "0.0001"),
        ({"mode": "video_generation", "output_cost_per_second": 0.1}, "video_s", "0.1"),
        ({"cost_per_second": 0.01}, "provisioned_unit_s", "36"),
        ({"google_maps_grounding_cost_per_query": 0.025}, "map_searches", "0.025"),
    ],
)
def test_a_field_is_the_price_of_one_leaf_or_quantity(fields, sku, price):
    found, findings = one(**PLAIN | fields)
    assert found[f"openai/m-1/{sku}"] == price
    assert findings == []


@pytest.mark.parametrize(
    ("suffix", "tier"),
    [("batches", "batch"), ("flex", "flex"), ("priority", "priority"), ("ultrafast", "ultrafast")],
)
def test_the_price_of_a_service_tier_is_a_variant_that_names_it(suffix, tier):
    cards, _ = made(read_litellm(litellm(**{"m-1": PLAIN | {f"input_cost_per_token_{suffix}": 1e-06}})))
    assert prices(cards[0])["openai/m-1/input", tier] == "1"
    match = next(sku.match for sku in cards[0].skus if sku.variant == tier)
    assert match.attributes == (("service_tier", (tier,)),)


@pytest.mark.parametrize("limit", [128, 200, 272])
def test_a_price_above_a_prompt_length_is_a_threshold_of_its_leaf_and_tier(limit):
    found, findings = one(
        **PLAIN | {"input_cost_per_token_priority": 5e-06},
        **{f"input_cost_per_token_above_{limit}k_tokens": 5e-06},
        **{f"input_cost_per_token_above_{limit}k_tokens_priority": 9e-06},
    )
    assert found["openai/m-1/input"] == {0: "2.5", limit * 1000: "5"}
    assert found["openai/m-1/input", "priority"] == {0: "5", limit * 1000: "9"}
    assert found["openai/m-1/output"] == "10"
    assert findings == []


def test_ranges_of_input_tokens_are_thresholds_at_their_starts():
    ranges = [{"range": [0, 256000.0], "input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07},
              {"range": [256000.0, 1000000.0], "input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}]  # fmt: skip
    found, findings = one(tiered_pricing=ranges)
    assert found == {"openai/m-1/input": {0: "0.05", 256000: "0.25"}, "openai/m-1/output": {0: "0.4", 256000: "2"}}
    assert findings == [("m-1", "tiered_pricing", "RANGES")]


def test_a_search_costs_what_its_context_size_says_and_medium_without_one():
    sizes = {f"search_context_size_{size}": price for size, price in (("low", 0.03), ("medium", 0.035), ("high", 0.05))}
    found, _ = one(**PLAIN, search_context_cost_per_query=sizes)
    assert found["openai/m-1/web_searches"] == "0.035"
    assert found["openai/m-1/web_searches", "search_context_size=low"] == "0.03"
    assert found["openai/m-1/web_searches", "search_context_size=high"] == "0.05"


def test_the_resolution_of_an_image_or_video_is_a_label():
    found, _ = one(mode="video_generation", output_cost_per_second_720p=0.3, output_cost_per_second_1080p=0.5)
    assert found == {
        ("openai/m-1/video_s", "resolution=720p"): "0.3",
        ("openai/m-1/video_s", "resolution=1080p"): "0.5",
    }


def test_hours_with_another_price_are_a_factor_of_the_price_of_all_hours():
    windows = [{"hours_utc": ["16:30-00:30"], "weekdays": [1, 5]}, {"hours_utc": "00:00-00:00", "weekdays": [7]}]
    catalogue = read_litellm(
        litellm(**{"m-1": PLAIN | {"off_peak_pricing": {"input_cost_per_token": 1.25e-06, "windows": windows}}})
    )
    price = {price.measures: price for price in catalogue.entries[0].versions[0].prices}
    bands = [(each.weekdays, each.start, each.end, str(each.factor)) for each in price["input"].bands]
    assert bands == [(("MON", "FRI"), "16:30", "00:30", "0.5"), (("SUN",), "00:00", "24:00", "0.5")]
    assert price["output"].bands == ()
    assert catalogue.findings == []


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"input_cost_per_token_above_200k_tokens_flex": 1e-06}, ("input_cost_per_token_above_200k_tokens_flex", "NO_BASE")),
        ({"cache_creation_input_token_cost_above_12hr": 9e-06}, ("cache_creation_input_token_cost_above_12hr", "NO_LEAF")),
        ({"input_cost_per_video_token": 9e-06}, ("input_cost_per_video_token", "NO_LEAF")),
        ({"regional_processing_uplift_multiplier_eu": 1.1}, ("regional_processing_uplift_multiplier_eu", "FACTOR")),
        ({"provider_specific_entry": {"fast": 2.0, "schema": "x"}}, ("provider_specific_entry.fast", "FACTOR")),
        ({"input_dbu_cost_per_token": 1e-06}, ("input_dbu_cost_per_token", "OTHER_CURRENCY")),
        ({"some_new_cost_per_thing": 1}, ("some_new_cost_per_thing", "NO_PLACE")),
        ({"search_free_requests": {"count": 9}}, ("search_free_requests", "NO_PLACE")),
        ({"cache_read_input_token_cost": -1}, ("cache_read_input_token_cost", "BAD_PRICE")),
        ({"cache_read_input_token_cost": 1e-7, "input_cost_per_token_cache_hit": 2e-7}, ("input_cost_per_token_cache_hit", "OTHER_PRICE")),
        ({"cache_creation_input_token_cost": 0.0}, ("cache_write_input", "ZERO_PART")),
        ({"off_peak_pricing": {"output_cost_per_token": 1e-06, "windows": [{"hours_utc": "9-12"}]}}, ("off_peak_pricing.output", "TIME_BAND")),
        ({"off_peak_pricing": {"output_cost_per_token": 1e-06, "weekday_timezone": "Asia/Shanghai", "windows": []}}, ("off_peak_pricing.output", "TIME_BAND")),
    ],
)  # fmt: skip
def test_what_a_card_cannot_say_is_for_review_and_the_rest_stands(fields, finding):
    found, findings = one(**PLAIN | fields)
    assert found["openai/m-1/input"] == "2.5"
    assert found["openai/m-1/output"] == "10"
    assert findings == [("m-1", *finding)]


def test_tokens_inside_another_leaf_need_no_review_where_they_cost_the_same():
    assert one(**PLAIN, input_cost_per_video_token=2.5e-06)[1] == []


def test_a_tier_without_the_prompt_lengths_of_the_standard_price_is_for_review():
    _, findings = one(**PLAIN, input_cost_per_token_above_200k_tokens=5e-06, input_cost_per_token_batches=1e-06)
    assert findings == [("m-1", "input (batch)", "NO_THRESHOLD")]


@pytest.mark.parametrize(
    ("text", "price", "rounded"),
    [("5.0000000000000004E-8", "0.05", True), ("1.23456789012e-06", "1.23456789012", False),
     ("1.234567890125e-06", "1.23456789013", True), ("2.9999e-07", "0.29999", False)],
)  # fmt: skip
def test_a_price_keeps_its_decimals_and_noise_beyond_twelve_digits_is_rounded_and_marked(text, price, rounded):
    document = exact(f'{{"m-1": {{"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": {text}}}}}')
    cards, findings = made(read_litellm(document))
    assert prices(cards[0]) == {"openai/m-1/input": price}
    assert findings == ([("m-1", "input_cost_per_token", "ROUNDED")] if rounded else [])


def test_a_leaf_without_its_parent_gets_a_marked_copy_of_the_dearest():
    found, findings = one(output_cost_per_image_token=3e-05, output_cost_per_audio_token=4e-05)
    assert found["openai/m-1/output"] == "40"
    assert findings == [("m-1", "output", "PARENT_COPY")]


def test_cached_audio_with_two_possible_parents_gets_a_price_of_its_own():
    found, findings = one(**PLAIN, cache_read_input_token_cost=1e-06, input_cost_per_audio_token=4e-05)
    assert found["openai/m-1/cache_read_audio"] == "40"
    assert findings == [("m-1", "cache_read_audio", "PARENT_COPY")]


@pytest.mark.parametrize(
    ("key", "provider", "model"),
    [("gpt-9", "openai", "gpt-9"), ("xai/grok-9", "xai", "grok-9"), ("azure/eu/gpt-9", "azure", "eu/gpt-9"),
     ("vertex_ai/claude-9", "vertex_ai-anthropic_models", "claude-9"), ("low/dall-e", "openai", "low/dall-e"),
     ("fireworks_ai/accounts/x/m", "fireworks_ai", "accounts/x/m"), ("meta/m", "vertex_ai", "meta/m")],
)  # fmt: skip
def test_the_routing_prefix_of_a_key_is_no_part_of_the_model(key, provider, model):
    assert model_name(key, provider) == model


def test_two_keys_of_one_model_are_one_and_other_prices_are_for_review():
    same = {"litellm_provider": "xai"} | PLAIN
    catalogue = read_litellm(
        exact({"xai/m": same, "m": same, "xai/n": same, "n": same | {"input_cost_per_token": 1e-6}})
    )
    assert [entry.name for entry in catalogue.entries] == ["m", "n"]
    assert catalogue.merged == {"xai/m": "m", "xai/n": "n"}
    assert [(each.entry, each.reason) for each in catalogue.findings] == [("xai/n", "SAME_MODEL")]


def test_a_known_price_goes_before_a_zero_of_the_same_model():
    zero = {"litellm_provider": "xai", "input_cost_per_token": 0.0}
    catalogue = read_litellm(exact({"xai/m": zero | {"input_cost_per_token": 1e-6}, "m": zero}))
    assert [entry.name for entry in catalogue.entries] == ["xai/m"]
    assert catalogue.merged == {"m": "xai/m"}


def test_an_entry_without_a_price_or_a_provider_is_for_review_only():
    cards, findings = made(read_litellm(exact({"sample_spec": {"litellm_provider": "one of them"}, "rules": {"rules": []},
                                               "bare": {"litellm_provider": "openai"}})))  # fmt: skip
    assert cards == []
    assert {(entry, reason) for entry, _, reason in findings} == {
        ("sample_spec", "NOT_A_MODEL"), ("rules", "NOT_A_MODEL"), ("bare", "NO_PRICE")}  # fmt: skip
