"""Anthropic's messages, also as Bedrock, Vertex, Azure and others pass them on: cache counts stand beside the input.

Source: docs.anthropic.com/en/api/messages (2025-11).
"""

from chargeline.sdk.normalise.formats import Format, Stop, names, prefixed

_WRITTEN = "cache_creation.ephemeral_5m_input_tokens + cache_creation.ephemeral_1h_input_tokens"

MESSAGES = Format(
    name="anthropic.messages",
    counts={
        "input_tokens": "input",
        "cache_read_input_tokens": "cache_read_input",
        f"cache_creation_input_tokens | {_WRITTEN}": "cache_write_input",
        "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_input -cache_write_input",
        "output_tokens": "output",
        "output_tokens_details.thinking_tokens": "reasoning_output -output",
        "server_tool_use.web_search_requests": "web_searches",
    },
    # The totals hold the iterations of the model that answered. `iterations[].model` is not known on purpose: what
    # another model used (an advisor) is not in the totals and needs an event of its own, so it is reported.
    known=names("inference_geo service_tier server_tool_use.web_fetch_requests speed")
    | prefixed(
        "iterations[].",
        "type input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens cache_creation",
    ),
    signs=("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation", "server_tool_use"),
    roots=("usage", "message.usage", "result.message.usage"),
    stops=(Stop("stop_reason"), Stop("delta.stop_reason")),
)
