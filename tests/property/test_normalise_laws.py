"""Laws of normalised usage, for any numbers and any JSON."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from chargeline.sdk.normalise import CODES, normalise, normalise_row
from chargeline.sdk.normalise.providers import FLAVORS, PROVIDERS, SHAPES

COUNT = st.one_of(st.integers(0, 5000), st.just(0), st.none())
FORMATS = [*FLAVORS.values(), *SHAPES]
NAMES = sorted({path.split("[")[0].split(".")[0] for shape in FORMATS for line in shape.counts for path in line.replace(" | ", "+").replace(" + ", "+").split("+")}
               | {"usage", "usageMetadata", "response", "message", "model", "choices", "candidates", "status", "stop_reason"})  # fmt: skip
SCALARS = (st.none() | st.booleans() | st.integers() | st.integers(0, 99) | st.floats() | st.text(max_size=5) | st.decimals()
           | st.sampled_from(["12", "-0", "1e9", "1" * 60, "٣", "TEXT", "AUDIO", "1h"]))  # fmt: skip
KEYS = st.sampled_from(
    [*NAMES, "cached_tokens", "audio_tokens", "reasoning_tokens", "modality", "tokenCount", "ttl", "finish_reason"]
) | st.text(max_size=4)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)
WHO = st.sampled_from([*PROVIDERS, "azure.ai.openai", "nobody", "", None])
FLAVOR = st.sampled_from([*FLAVORS, "default", "tokens", "moon", None])


@given(ANY, WHO, FLAVOR)
def test_no_json_raises_and_no_quantity_is_below_zero_or_more_than_a_long(usage, provider, flavor):
    found = normalise(usage, provider=provider, api_flavor=flavor)
    assert (found.error is None) == (found.status != "ERROR")
    assert found.error is None or (found.error in CODES and not found.quantities and not found.extra_quantities)
    for number in (*found.quantities.values(), *found.extra_quantities.values()):
        assert type(number) is int
        assert 0 < number < 1 << 63


@given(ANY)
def test_no_row_raises(row):
    assert normalise_row(row)["token_convention"] == "DISJOINT"


def side(quantities, is_output):
    return sum(number for name, number in quantities.items() if ("output" in name) == is_output)


@given(whole=st.integers(0, 9000), parts=st.lists(COUNT, min_size=4, max_size=4), answer=st.integers(0, 9000), hidden=COUNT,
       names=st.sampled_from([("openai", "chat", "prompt_tokens", "completion_tokens"), ("azure", "responses", "input_tokens", "output_tokens"),
                              ("openrouter", None, "prompt_tokens", "completion_tokens"), ("nobody", None, "prompt_tokens", "completion_tokens")]))  # fmt: skip
def test_inclusive_counts_add_up_to_the_providers_own_totals_or_contradict_them(whole, parts, answer, hidden, names):
    provider, flavor, before, after = names
    cached, written, audio, image = parts
    block = {before: whole, after: answer, f"{before}_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio, "image_tokens": image},
             f"{after}_details": {"reasoning_tokens": hidden}}  # fmt: skip
    found = normalise(block, provider=provider, api_flavor=flavor)
    counted = (cached or 0) + (audio or 0) + (0 if provider == "azure" else written or 0)
    if counted > whole or (hidden or 0) > answer:
        assert found.error == "NEGATIVE_QUANTITY"
    else:
        assert (side(found.quantities, False), side(found.quantities, True)) == (whole, answer)


@given(st.lists(COUNT, min_size=4, max_size=4), st.sampled_from(["anthropic", "aws"]))
def test_counts_that_stand_beside_each_other_add_up(counts, provider):
    names = {"anthropic": ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"],
             "aws": ["inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "outputTokens"]}[provider]  # fmt: skip
    found = normalise({"usage": dict(zip(names, counts, strict=True))}, provider=provider)
    if all(count is None for count in counts):
        assert found.error == "NO_USAGE"
    else:
        assert side(found.quantities, False) == sum(count or 0 for count in counts[:3])
        assert side(found.quantities, True) == (counts[3] or 0)


KINDS = ("TEXT", "AUDIO", "IMAGE", "DOCUMENT", "VIDEO")


@given(
    st.lists(st.integers(0, 900), min_size=5, max_size=5),
    st.lists(st.integers(0, 100), min_size=5, max_size=5),
    st.integers(0, 50),
)
def test_gemini_counts_each_modality_once_cached_or_not(fresh, shares, tool):
    """`fresh` tokens of each kind, of which a share of percents is cached."""
    cached = [number * share // 100 for number, share in zip(fresh, shares, strict=True)]
    block = {"promptTokenCount": sum(fresh), "toolUsePromptTokenCount": tool, "cachedContentTokenCount": sum(cached), "candidatesTokenCount": 1,
             "promptTokensDetails": [{"modality": kind, "tokenCount": number} for kind, number in zip(KINDS, fresh, strict=True)],
             "cacheTokensDetails": [{"modality": kind, "tokenCount": number} for kind, number in zip(KINDS, cached, strict=True)]}  # fmt: skip
    found = normalise({"usageMetadata": block}, provider="google").quantities
    rest = {kind: number - part for kind, number, part in zip(KINDS, fresh, cached, strict=True)}
    expected = {"input_tokens": rest["TEXT"] + rest["VIDEO"] + tool, "input_audio_tokens": rest["AUDIO"],
                "input_image_tokens": rest["IMAGE"] + rest["DOCUMENT"], "cache_read_audio_tokens": cached[1],
                "cache_read_input_tokens": sum(cached) - cached[1], "output_tokens": 1}  # fmt: skip
    assert found == {name: number for name, number in expected.items() if number}


BLOCKS = [("openai", {"prompt_tokens": 50, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}),
          ("anthropic", {"input_tokens": 5, "cache_read_input_tokens": 9, "output_tokens": 5}),
          ("google", {"promptTokenCount": 50, "candidatesTokenCount": 5, "cachedContentTokenCount": 4}),
          ("aws", {"inputTokens": 50, "outputTokens": 5}), ("nobody", {"prompt_tokens": 50, "completion_tokens": 5})]  # fmt: skip


@given(
    st.sampled_from(BLOCKS), st.text(max_size=8).map("new_".__add__), ANY.filter(lambda value: value != {"usage": 0})
)
def test_an_unknown_field_changes_unknown_fields_alone(case, name, value):
    provider, block = case
    plain, more = (normalise_row({"provider": provider, "usage": usage}) for usage in (block, block | {name: value}))
    assert more == plain | {"unknown_fields": [name]}


@given(st.integers(0, 10**15))
def test_a_number_counts_the_same_in_each_of_its_spellings(number):
    spellings = [number, str(number), Decimal(number), Decimal(f"{number}.0"), float(number)]
    found = [
        normalise({"prompt_tokens": each, "completion_tokens": 1}, provider="openai").quantities for each in spellings
    ]
    assert all(each == found[0] for each in found)
