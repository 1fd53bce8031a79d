"""Usage blocks become disjoint leaves: one row a rule, the expected leaves worked out by hand; the command whole."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from chargeline.cli.main import build
from chargeline.sdk.client import Call
from chargeline.sdk.normalise import CODES, UsageNotUnderstood, normalise, normalise_row, usage_fields
from chargeline.sdk.normalise.formats import LEAVES
from chargeline.sdk.normalise.providers import FLAVORS, PROVIDERS, SHAPES, candidates

RUNNER = CliRunner()


def leaves(block, provider, flavor=None):
    found = normalise(block, provider=provider, api_flavor=flavor)
    assert found.error is None, found.message
    short = {name.removesuffix("_tokens"): number for name, number in found.quantities.items()}
    return short | {name: number / 1_000_000 for name, number in found.extra_quantities.items()}


DETAILS = "prompt_tokens_details"
AFTER = "completion_tokens_details"
MODALITY = [{"modality": "TEXT", "tokenCount": 10}, {"modality": "AUDIO", "tokenCount": 30}, {"modality": "IMAGE", "tokenCount": 40},
            {"modality": "DOCUMENT", "tokenCount": 5}, {"modality": "VIDEO", "tokenCount": 15}]  # fmt: skip
CACHED = [
    {"modality": "AUDIO", "tokenCount": 20},
    {"modality": "IMAGE", "tokenCount": 25},
    {"modality": "TEXT", "tokenCount": 3},
]


@pytest.mark.parametrize(
    ("provider", "flavor", "block", "expected"),
    [
        # OpenAI chat: parts are inside the totals
        ("openai", "chat", {"prompt_tokens": 100, "completion_tokens": 50}, {"input": 100, "output": 50}),
        ("openai", "chat", {"prompt_tokens": 100, "completion_tokens": 50, DETAILS: {"cached_tokens": 60}}, {"input": 40, "cache_read_input": 60, "output": 50}),
        ("openai", "chat", {"prompt_tokens": 100, "completion_tokens": 50, DETAILS: {"cached_tokens": 60, "cache_write_tokens": 30}}, {"input": 10, "cache_read_input": 60, "cache_write_input": 30, "output": 50}),
        ("openai", "chat", {"prompt_tokens": 100, "completion_tokens": 50, DETAILS: {"audio_tokens": 70, "image_tokens": 20, "text_tokens": 10}}, {"input": 10, "input_audio": 70, "input_image": 20, "output": 50}),
        ("openai", "chat", {"prompt_tokens": 100, "completion_tokens": 50, AFTER: {"reasoning_tokens": 20, "audio_tokens": 5, "rejected_prediction_tokens": 9}}, {"input": 100, "output": 25, "reasoning_output": 20, "output_audio": 5}),
        ("openai", "chat", {"prompt_tokens": 500, DETAILS: {"image_tokens": 400, "cached_tokens": 250}, "completion_tokens": 1}, {"cache_read_input": 250, "input_image": 250, "output": 1}),
        ("openai", "responses", {"input_tokens": 100, "output_tokens": 50, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 5}, "output_tokens_details": {"reasoning_tokens": 50}}, {"input": 35, "cache_read_input": 60, "cache_write_input": 5, "reasoning_output": 50}),
        ("openai", "embeddings", {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}, {"input": 7}),
        ("openai", "images", {"input_tokens": 60, "input_tokens_details": {"text_tokens": 10, "image_tokens": 50}, "output_tokens": 900, "output_tokens_details": {"image_tokens": 880}}, {"input": 10, "input_image": 50, "output": 20, "output_image": 880}),
        ("openai", "realtime", {"input_tokens": 100, "output_tokens": 30, "input_token_details": {"audio_tokens": 80, "cached_tokens": 50, "cached_tokens_details": {"audio_tokens": 40, "text_tokens": 10}}, "output_token_details": {"audio_tokens": 25}},
         {"input": 10, "cache_read_input": 10, "input_audio": 40, "cache_read_audio": 40, "output": 5, "output_audio": 25}),
        ("openai", None, {"type": "tokens", "input_tokens": 14, "input_token_details": {"text_tokens": 4, "audio_tokens": 10}, "output_tokens": 45}, {"input": 4, "input_audio": 10, "output": 45}),
        # whose format has no cache writes pays them as input
        ("azure", "chat", {"prompt_tokens": 100, "completion_tokens": 1, DETAILS: {"cache_write_tokens": 90}}, {"input": 100, "output": 1}),
        ("azure", "responses", {"input_tokens": 100, "output_tokens": 1, "input_tokens_details": {"cache_write_tokens": 90, "cached_tokens": 8}}, {"input": 92, "cache_read_input": 8, "output": 1}),
        # Anthropic: beside; an hour's writes are inside all writes; thinking inside the output
        ("anthropic", "default", {"input_tokens": 3, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 80, "output_tokens": 20}, {"input": 3, "cache_read_input": 900, "cache_write_input": 80, "output": 20}),
        ("anthropic", None, {"input_tokens": 3, "output_tokens": 2, "cache_creation_input_tokens": 80, "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 30}}, {"input": 3, "cache_write_input": 50, "cache_write_1h_input": 30, "output": 2}),
        ("anthropic", None, {"input_tokens": 3, "output_tokens": 2, "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 30}}, {"input": 3, "cache_write_input": 50, "cache_write_1h_input": 30, "output": 2}),
        ("vertex_ai", "anthropic", {"input_tokens": 3, "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 15}, "server_tool_use": {"web_search_requests": 4, "web_fetch_requests": 9}}, {"input": 3, "output": 5, "reasoning_output": 15, "web_searches": 4}),
        ("aws", "anthropic", {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 20}, {"input": 3, "cache_read_input": 7, "output": 20}),
        # Gemini: thoughts and tool use beside, cached inside, each modality once
        ("google", "default", {"promptTokenCount": 30, "cachedContentTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 6, "toolUsePromptTokenCount": 2}, {"input": 22, "cache_read_input": 10, "output": 4, "reasoning_output": 6}),
        ("gcp.gemini", None, {"promptTokenCount": 100, "promptTokensDetails": MODALITY, "candidatesTokenCount": 9}, {"input": 25, "input_audio": 30, "input_image": 45, "output": 9}),
        ("google", None, {"promptTokenCount": 100, "promptTokensDetails": MODALITY, "cachedContentTokenCount": 48, "cacheTokensDetails": CACHED, "candidatesTokenCount": 9},
         {"input": 22, "input_audio": 10, "input_image": 20, "cache_read_audio": 20, "cache_read_input": 28, "output": 9}),
        ("google", None, {"promptTokenCount": 17, "candidatesTokenCount": 1300, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}, {"input": 17, "output": 10, "output_image": 1290}),
        ("google", None, {"prompt_token_count": 30, "cached_content_token_count": 10, "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 5}], "candidates_token_count": 4}, {"input": 15, "cache_read_input": 10, "input_audio": 5, "output": 4}),
        ("google", None, {"promptTokenCount": "30", "candidatesTokenCount": "4"}, {"input": 30, "output": 4}),
        # Bedrock: beside
        ("aws.bedrock", "default", {"inputTokens": 5, "cacheReadInputTokens": 70, "cacheWriteInputTokens": 20, "outputTokens": 6, "totalTokens": 101}, {"input": 5, "cache_read_input": 70, "cache_write_input": 20, "output": 6}),
        ("aws", None, {"inputTokens": 5, "cacheWriteInputTokens": 20, "cacheDetails": [{"ttl": "1h", "inputTokens": 15}, {"ttl": "5m", "inputTokens": 5}], "outputTokens": 6}, {"input": 5, "cache_write_input": 5, "cache_write_1h_input": 15, "output": 6}),
        # others
        ("deepseek", "chat", {"prompt_tokens": 90, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 26, DETAILS: {"cached_tokens": 64}, "completion_tokens": 5}, {"input": 26, "cache_read_input": 64, "output": 5}),
        ("deepseek", "chat", {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 26, "completion_tokens": 5}, {"input": 26, "cache_read_input": 64, "output": 5}),
        ("mistral", "default", {"prompt_tokens": 90, "num_cached_tokens": 64, "completion_tokens": 5, "prompt_audio_seconds": 12}, {"input": 90, "output": 5, "audio_s": 12}),
        ("groq", "default", {"prompt_tokens": 90, "completion_tokens": 5, "queue_time": 0.04, AFTER: {"reasoning_tokens": 2}}, {"input": 90, "output": 3, "reasoning_output": 2}),
        ("xai", "chat", {"prompt_tokens": 32, "completion_tokens": 9, AFTER: {"reasoning_tokens": 220}, "num_sources_used": 3}, {"input": 32, "output": 9, "reasoning_output": 220, "search_sources": 3}),
        ("x-ai", "default", {"prompt_tokens": 32, "completion_tokens": 9, "reasoning_tokens": 220, "cached_prompt_text_tokens": 12}, {"input": 20, "cache_read_input": 12, "output": 9, "reasoning_output": 220}),
        ("perplexity", "default", {"prompt_tokens": 8, "completion_tokens": 9, "reasoning_tokens": 100, "citation_tokens": 11, "num_search_queries": 7}, {"input": 8, "output": 20, "reasoning_output": 100, "web_searches": 7}),
        ("cohere", "default", {"billed_units": {"input_tokens": 8, "output_tokens": 9}, "tokens": {"input_tokens": 700}}, {"input": 8, "output": 9}),
        ("openrouter", "chat", {"prompt_tokens": 50, DETAILS: {"cache_write_tokens": 44, "video_tokens": 3}, "completion_tokens": 9, "cost": 0.01, "server_tool_use_details": {"tool_calls_requested": 2, "tool_calls_executed": 1}}, {"input": 6, "cache_write_input": 44, "output": 9, "tool_calls": 1}),
        ("litellm", "chat", {"prompt_tokens": 50, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 10, "completion_tokens": 9}, {"input": 20, "cache_read_input": 20, "cache_write_input": 10, "output": 9}),
        ("modal", "chat", {"prompt_tokens": 50, "completion_tokens": 9, "reasoning_tokens": 4}, {"input": 50, "output": 5, "reasoning_output": 4}),
        # a provider that nobody knows is read by its block's shape
        ("acme-llm", None, {"prompt_tokens": 100, "completion_tokens": 50, DETAILS: {"cached_tokens": 60}}, {"input": 40, "cache_read_input": 60, "output": 50}),
        ("acme-llm", None, {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 2}, {"input": 3, "cache_read_input": 7, "output": 2}),
        ("acme-llm", None, {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 7}, "output_tokens": 2}, {"input": 3, "cache_read_input": 7, "output": 2}),
        (None, None, {"promptTokenCount": 3, "candidatesTokenCount": 2}, {"input": 3, "output": 2}),
        # a known provider with the block of another API
        ("google", None, {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 2}, {"input": 3, "cache_read_input": 7, "output": 2}),
        ("azure", None, {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 7}, "output_tokens": 2}, {"input": 2, "cache_read_input": 7, "output": 2}),
        # null is absent, and absent is zero
        ("openai", "chat", {"prompt_tokens": 100, "completion_tokens": 50, DETAILS: None, AFTER: {"reasoning_tokens": None}}, {"input": 100, "output": 50}),
        ("openai", "chat", {"prompt_tokens": 12.0, "completion_tokens": "8"}, {"input": 12, "output": 8}),
    ],
)  # fmt: skip
def test_each_field_of_a_block_goes_to_its_leaf_once(provider, flavor, block, expected):
    assert leaves(block, provider, flavor) == expected


@pytest.mark.parametrize(
    ("answer", "provider", "model"),
    [
        ({"model": "gpt-x-1", "choices": [{"finish_reason": "length"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}, "openai", "gpt-x-1"),
        ({"type": "response.completed", "response": {"model": "gpt-x-2", "status": "completed", "usage": {"input_tokens": 3, "output_tokens": 1}}}, "openai", "gpt-x-2"),
        ({"modelVersion": "gem-1", "candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}}, "google", "gem-1"),
        ({"id": "m", "model": "cl-1", "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 1}}, "anthropic", "cl-1"),
        ({"custom_id": "b", "response": {"body": {"model": "gpt-x-3", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}}}, "openai", "gpt-x-3"),
        ({"stopReason": "end_turn", "usage": {"inputTokens": 3, "outputTokens": 1}}, "aws", "given"),
        ({"prompt_tokens": 3, "completion_tokens": 1}, "openai", "given"),
        ({"prompt_tokens": 3, "total_tokens": 3}, "openai", "given"),
    ],
)  # fmt: skip
def test_a_whole_answer_names_its_model_and_holds_its_block(answer, provider, model):
    found = normalise(answer, provider=provider, model="given")
    assert (found.status, found.response_model, found.quantities["input_tokens"]) == ("OK", model, 3)
    assert found.unknown_fields == []


@pytest.mark.parametrize(
    ("answer", "provider"),
    [
        ({"choices": [{"finish_reason": None}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}, "openai"),
        ({"object": "chat.completion.chunk", "choices": [{"delta": {}, "finish_reason": None}], "usage": None}, "openai"),
        ({"status": "incomplete", "usage": {"input_tokens": 3, "output_tokens": 1}}, "openai"),
        ({"status": "in_progress", "usage": None}, "openai"),
        ({"type": "message_start", "message": {"stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}}, "anthropic"),
        ({"candidates": [{"content": {}}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}}, "google"),
        ({"stopReason": None, "usage": {"inputTokens": 3, "outputTokens": 1}}, "aws"),
        ({"prompt_tokens": 3}, "openai"),
        ({"input_tokens": 3, "output_tokens": None}, "anthropic"),
    ],
)  # fmt: skip
def test_an_answer_that_was_cut_off_is_partial_and_keeps_its_counts(answer, provider):
    found = normalise(answer, provider=provider)
    assert (found.status, found.error) == ("PARTIAL", None)
    assert found.quantities.get("input_tokens", 3) == 3


@pytest.mark.parametrize(
    ("usage", "provider", "code"),
    [
        (None, "openai", "NO_USAGE"),
        ({}, "openai", "NO_USAGE"),
        ({"model": "m", "usage": None}, "openai", "NO_USAGE"),
        ({"error": {"message": "quota"}}, "openai", "NO_USAGE"),
        ({"tokens_in": 4}, "acme-llm", "UNKNOWN_PROVIDER"),
        ([], "openai", "MALFORMED"),
        ("12", "openai", "MALFORMED"),
        ({"usage": [1]}, "openai", "MALFORMED"),
        ({"prompt_tokens": 1, "completion_tokens": 1, DETAILS: [1]}, "openai", "MALFORMED"),
        ({"promptTokenCount": 1, "promptTokensDetails": [7]}, "google", "MALFORMED"),
        ({"promptTokenCount": 1, "promptTokensDetails": {"modality": "TEXT"}}, "google", "MALFORMED"),
        ({"prompt_tokens": True, "completion_tokens": 1}, "openai", "BAD_NUMBER"),
        ({"prompt_tokens": 1.5, "completion_tokens": 1}, "openai", "BAD_NUMBER"),
        ({"prompt_tokens": "many", "completion_tokens": 1}, "openai", "BAD_NUMBER"),
        ({"prompt_tokens": float("nan"), "completion_tokens": 1}, "openai", "BAD_NUMBER"),
        ({"prompt_tokens": 1 << 63, "completion_tokens": 1}, "openai", "BAD_NUMBER"),
        ({"prompt_tokens": 10**5000, "completion_tokens": 1}, "openai", "BAD_NUMBER"),
        ({"prompt_tokens": [3], "completion_tokens": 1}, "openai", "BAD_NUMBER"),
        ({"prompt_tokens": "x", "completion_tokens": -1}, "openai", "BAD_NUMBER"),
        ({"promptTokenCount": 1 << 62, "toolUsePromptTokenCount": 1 << 62}, "google", "BAD_NUMBER"),
        ({"prompt_tokens": -3, "completion_tokens": 1}, "openai", "NEGATIVE_QUANTITY"),
        ({"prompt_tokens": 100, "completion_tokens": 1, DETAILS: {"cached_tokens": 140}}, "openai", "NEGATIVE_QUANTITY"),
        ({"completion_tokens": 1, DETAILS: {"cached_tokens": 140}}, "openai", "NEGATIVE_QUANTITY"),
        ({"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 2}}, "anthropic", "NEGATIVE_QUANTITY"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_has_a_code_and_no_quantities(usage, provider, code):
    found = normalise(usage, provider=provider)
    assert (found.status, found.error, found.quantities, found.extra_quantities) == ("ERROR", code, {}, {})
    assert code in CODES
    assert found.message


@pytest.mark.parametrize(
    ("provider", "flavor", "block", "expected"),
    [
        ("openai", "chat", {"prompt_tokens": 1, "completion_tokens": 1, "moon_tokens": 0}, ["moon_tokens"]),
        ("openai", "chat", {"prompt_tokens": 1, "completion_tokens": 1, DETAILS: {"moon_tokens": 4}}, [f"{DETAILS}.moon_tokens"]),
        ("openai", "chat", {"prompt_tokens": 1, "completion_tokens": 1, "moon": {"deep": [{"er": 4}]}}, ["moon"]),
        ("openai", "chat", {"prompt_tokens": 1, "completion_tokens": 1, f"{DETAILS}.cached_tokens": 1}, [f"{DETAILS}.cached_tokens"]),
        ("google", None, {"promptTokenCount": 9, "candidatesTokenCount": 1, "promptTokensDetails": [{"modality": "SMELL", "tokenCount": 4}, {"modality": "SMELL"}]}, ["promptTokensDetails[SMELL]"]),
        ("azure", "chat", {"prompt_tokens": 9, "completion_tokens": 1, DETAILS: {"cache_write_tokens": 4}}, [f"{DETAILS}.cache_write_tokens"]),
        ("azure", "chat", {"prompt_tokens": 9, "completion_tokens": 1, DETAILS: {"cache_write_tokens": 0}}, []),
        ("anthropic", None, {"input_tokens": 1, "output_tokens": 1, "iterations": [{"type": "a", "input_tokens": 5, "model": "other"}, {"model": "other"}]}, ["iterations[].model"]),
        ("openai", "embeddings", {"prompt_tokens": 9, "completion_tokens": 4}, ["completion_tokens"]),
        ("azure", "responses", {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 7}, ["cache_read_input_tokens"]),
    ],
)  # fmt: skip
def test_what_no_rule_counts_is_reported_by_its_path(provider, flavor, block, expected):
    assert normalise(block, provider=provider, api_flavor=flavor).unknown_fields == expected


TABLES = {
    each.name: each for each in (*FLAVORS.values(), *SHAPES, *(f for own in PROVIDERS.values() for f in own.values()))
}


@pytest.mark.parametrize("shape", TABLES.values(), ids=TABLES)
def test_a_table_counts_each_token_once(shape):
    """A whole adds its tokens to one leaf; a part moves them between leaves of one side."""
    for line, effect in zip(shape.counts, shape.effects, strict=True):
        names = [name for name, _ in effect]
        if len(effect) == 1:
            assert effect[0][1] == 1, line
            continue
        assert set(names) <= set(LEAVES), line
        assert sum(sign for _, sign in effect) == 0, line
        assert len({"output" in name for name in names}) == 1, line


@pytest.mark.parametrize(
    ("name", "known"),
    [("azure.ai.openai", "azure"), ("huggingface_groq", "huggingface"), ("gcp.vertex_ai", "google"), ("mistral_ai", "mistral"),
     ("x_ai", "xai"), ("aws.bedrock", "aws"), (" OpenAI ", "openai"), ("moonshot_ai", "moonshotai")],
)  # fmt: skip
def test_a_provider_goes_by_many_names(name, known):
    assert candidates(name, None) == candidates(known, None)


def test_event_fields_are_what_an_event_takes():
    answer = {"model": "cl-1", "stop_reason": None,
              "usage": {"input_tokens": 3, "output_tokens": 2, "server_tool_use": {"web_search_requests": 1}}}  # fmt: skip
    assert usage_fields(answer, provider="anthropic") == {
        "input_tokens": 3, "output_tokens": 2, "extra_quantities": {"web_searches": 1_000_000}, "response_model": "cl-1",
        "status": "PARTIAL"}  # fmt: skip
    with pytest.raises(UsageNotUnderstood, match="NO_USAGE"):
        usage_fields({}, provider="openai")


def test_a_measured_call_takes_what_its_answer_says():
    call = Call({"provider_name": "anthropic", "request_model": "cl"})
    call.answered({"model": "cl-1", "usage": {"input_tokens": 3, "cache_read_input_tokens": 8, "output_tokens": 2}})
    expected = {"input_tokens": 3, "cache_read_input_tokens": 8, "output_tokens": 2, "response_model": "cl-1"}
    assert {name: call.fields.get(name) for name in expected} == expected


ROW = {"id": "r1", "provider": "openai", "api_flavor": None, "model": "m",
       "usage": {"prompt_tokens": 1000, "completion_tokens": 200, DETAILS: {"cached_tokens": 400}}}  # fmt: skip


def test_a_row_has_all_keys_whatever_happens():
    good = normalise_row(ROW)
    assert good == {"id": "r1", "status": "OK", "token_convention": "DISJOINT", "response_model": "m",
                    "quantities": {"input_tokens": 600, "cache_read_input_tokens": 400, "output_tokens": 200},
                    "extra_quantities": {}, "unknown_fields": [], "error": None}  # fmt: skip
    rows: list[Any] = [None, 7, [], {}, {"id": {"a": 1}, "usage": 3}, {"id": 1, "provider": 3, "usage": {}}]
    for row in rows:
        bad = normalise_row(row)
        assert list(bad) == list(good)
        assert bad["error"] in CODES


def run(*arguments, text=None):
    return RUNNER.invoke(build(["normalise"]), ["normalise", *arguments], input=text)


def test_a_file_has_one_answer_a_row_in_order_and_faults_are_answers(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps(ROW), "", "no json", '{"id":"r3","id":"r4"}', json.dumps(ROW | {"id": 5}), '{"id":1.50,"usage":null}',
             '{"id":"\\ud800","usage":NaN}', json.dumps(ROW | {"id": "\ud800"}), "[" * 100_000]  # fmt: skip
    source.write_text("\n".join(lines))
    assert run("--input", str(source), "--output", str(output)).exit_code == 0
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["id"], row["error"]) for row in found] == [
        ("r1", None), (None, "MALFORMED"), (None, "MALFORMED"), (5, None), ("1.50", "NO_USAGE"), (None, "MALFORMED"),
        ("\ud800", None), (None, "MALFORMED")]  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl"}


def test_one_answer_on_standard_input_is_one_object():
    done = run("--provider", "openai", "--model", "m", text=json.dumps(ROW["usage"]))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == normalise_row(ROW | {"id": None})


def test_an_unusable_file_is_exit_code_2_and_nothing_is_written(tmp_path):
    output = tmp_path / "out.jsonl"
    for arguments, text in (
        (["--input", str(tmp_path / "absent")], None),
        (["--input", str(tmp_path)], None),
        ([], "no json"),
    ):
        done = run(*arguments, "--output", str(output), "--json", text=text)
        assert done.exit_code == 2
        assert json.loads(done.stderr)[0]["code"] == "UNUSABLE_FILE"
        assert list(tmp_path.iterdir()) == []
