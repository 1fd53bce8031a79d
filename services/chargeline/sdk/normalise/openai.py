"""OpenAI's formats and those made after them: parts are inside the totals, unless a line says otherwise.

Sources: platform.openai.com/docs/api-reference (chat, responses, embeddings, images, realtime; 2025-11),
openrouter.ai/docs/use-cases/usage-accounting, api-docs.deepseek.com, docs.x.ai, docs.perplexity.ai.
"""

from dataclasses import replace

from chargeline.sdk.normalise.formats import Format, Stop, names, prefixed

_CUT = ("in_progress", "queued", "incomplete", "cancelled")
_TIMES = names("queue_time prompt_time completion_time total_time")  # seconds, groq and its kind

CHAT = Format(
    name="openai.chat",
    counts={
        "prompt_tokens | prompt_cache_hit_tokens + prompt_cache_miss_tokens": "input",
        "prompt_tokens_details.cached_tokens | prompt_cache_hit_tokens | cached_tokens": "cache_read_input -input",
        "prompt_tokens_details.cache_write_tokens": "cache_write_input -input",
        "prompt_tokens_details.audio_tokens": "input_audio -input",
        "prompt_tokens_details.image_tokens": "input_image -input",
        "completion_tokens": "output",
        "completion_tokens_details.reasoning_tokens | reasoning_tokens": "reasoning_output -output",
        "completion_tokens_details.audio_tokens": "output_audio -output",
        "completion_tokens_details.image_tokens": "output_image -output",
        "server_tool_use.web_search_requests | server_tool_use_details.web_search_requests": "web_searches",
        "server_tool_use_details.tool_calls_executed": "tool_calls",
    },
    known=names("total_tokens service_tier cost cost_details is_byok server_tool_use_details.tool_calls_requested")
    | _TIMES
    | prefixed("prompt_tokens_details.", "text_tokens video_tokens")
    | prefixed("completion_tokens_details.", "text_tokens accepted_prediction_tokens rejected_prediction_tokens"),
    signs=("prompt_tokens", "completion_tokens"),
    roots=("usage", "response.body.usage", "response.usage", "x_groq.usage"),
    stops=(Stop("choices[].finish_reason"),),
    total="total_tokens",
)

# Azure, Google and Groq: cache writes are no leaf of their own, they are paid as input.
CHAT_WITHOUT_WRITES = replace(
    CHAT,
    name="openai.chat_without_writes",
    counts={line: effect for line, effect in CHAT.counts.items() if not effect.startswith("cache_write")},
    uncounted=names("prompt_tokens_details.cache_write_tokens"),
)

RESPONSES = Format(
    name="openai.responses",
    counts={
        "input_tokens": "input",
        "input_tokens_details.cached_tokens": "cache_read_input -input",
        "input_tokens_details.cache_write_tokens": "cache_write_input -input",
        "input_tokens_details.audio_tokens": "input_audio -input",
        "input_tokens_details.image_tokens": "input_image -input",
        "output_tokens": "output",
        "output_tokens_details.reasoning_tokens": "reasoning_output -output",
        "output_tokens_details.audio_tokens": "output_audio -output",
        "output_tokens_details.image_tokens": "output_image -output",
    },
    known=names("total_tokens service_tier input_tokens_details.text_tokens output_tokens_details.text_tokens"),
    signs=("input_tokens_details", "output_tokens_details"),
    roots=("usage", "response.body.usage", "response.usage"),
    stops=(Stop("status", words=_CUT), Stop("choices[].finish_reason")),
    total="total_tokens",
)

RESPONSES_WITHOUT_WRITES = replace(
    RESPONSES,
    name="openai.responses_without_writes",
    counts={line: effect for line, effect in RESPONSES.counts.items() if not effect.startswith("cache_write")},
    uncounted=names("input_tokens_details.cache_write_tokens"),
)

# Only what was read is paid.
EMBEDDINGS = Format(
    name="openai.embeddings",
    counts={"prompt_tokens | input_tokens": "input"},
    known=names("total_tokens service_tier cost cost_details is_byok") | _TIMES,
    uncounted=names(
        "completion_tokens output_tokens completion_tokens_details prompt_tokens_details "
        "input_tokens_details output_tokens_details"
    ),
    roots=("usage", "response.body.usage"),
    needs=("input",),
)

IMAGES = replace(RESPONSES, name="openai.images")

_CACHED = "input_token_details.cached_tokens_details"

# Realtime and transcription; cached audio and images are inside both the cached and the audio or image count.
REALTIME = Format(
    name="openai.realtime",
    counts={
        "input_tokens": "input",
        "input_token_details.cached_tokens": "cache_read_input -input",
        "input_token_details.audio_tokens": "input_audio -input",
        "input_token_details.image_tokens": "input_image -input",
        f"{_CACHED}.audio_tokens": "cache_read_audio -cache_read_input -input_audio input",
        f"{_CACHED}.image_tokens": "-input_image input",
        "output_tokens": "output",
        "output_token_details.audio_tokens": "output_audio -output",
        "output_token_details.reasoning_tokens": "reasoning_output -output",
        "seconds": "audio_s",
    },
    known=names(
        "total_tokens type input_token_details.text_tokens input_token_details.cached_tokens_details.text_tokens "
        "output_token_details.text_tokens"
    ),
    signs=("input_token_details", "output_token_details"),
    roots=("response.usage", "usage"),
    stops=(Stop("status", words=_CUT),),
    needs=(),
)

MISTRAL = replace(
    CHAT,
    name="mistral",
    counts=dict(CHAT.counts) | {"prompt_audio_seconds": "audio_s"},
    # The engine's own cache hits; what is paid as cached is in prompt_tokens_details.
    uncounted=names("num_cached_tokens"),
)


def _with(changes: dict[str, str]) -> dict[str, str]:
    """Chat's table with other effects for the fields of some lines."""
    fields = {path.strip() for line in changes for path in line.split("|")}
    kept = {line: text for line, text in CHAT.counts.items() if not fields & {path.strip() for path in line.split("|")}}
    return kept | changes


# xAI counts reasoning beside the completion.
XAI = replace(
    CHAT,
    name="xai",
    counts=_with(
        {
            "completion_tokens_details.reasoning_tokens | reasoning_tokens": "reasoning_output",
            "prompt_tokens_details.cached_tokens | cached_prompt_text_tokens": "cache_read_input -input",
            "prompt_tokens_details.image_tokens | prompt_image_tokens": "input_image -input",
            "server_side_tool_usage_details.web_search_calls": "web_searches",
            "num_sources_used": "search_sources",
        }
    ),
    known=CHAT.known | names("prompt_text_tokens cost_in_usd_ticks num_server_side_tools_used"),
)

# Perplexity counts reasoning and citations beside the completion.
PERPLEXITY = replace(
    CHAT,
    name="perplexity",
    counts=_with(
        {
            "reasoning_tokens": "reasoning_output",
            "citation_tokens": "output",
            "num_search_queries": "web_searches",
        }
    ),
    known=CHAT.known | names("search_context_size"),
)

# A proxy that speaks OpenAI's format and repeats Anthropic's names; its prompt_tokens hold everything.
LITELLM = replace(
    CHAT,
    name="litellm",
    counts=_with(
        {
            "prompt_tokens_details.cached_tokens | cache_read_input_tokens": "cache_read_input -input",
            "prompt_tokens_details.cache_creation_tokens | cache_creation_input_tokens": "cache_write_input -input",
        }
    ),
)
