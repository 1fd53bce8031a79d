"""Formats of their own: Amazon Bedrock and Cohere.

Sources: docs.aws.amazon.com/bedrock, API reference, TokenUsage (2025-11); docs.cohere.com/reference/chat (2025-11).
"""

from chargeline.sdk.normalise.formats import Format, Stop, names

# Converse, and the metrics that InvokeModel streams append; cache counts stand beside the input.
BEDROCK = Format(
    name="aws.bedrock",
    counts={
        "inputTokens | inputTokenCount": "input",
        "cacheReadInputTokens | cacheReadInputTokenCount": "cache_read_input",
        "cacheWriteInputTokens | cacheWriteInputTokenCount": "cache_write_input",
        "cacheDetails[1h].inputTokens": "cache_write_1h_input -cache_write_input",
        "outputTokens | outputTokenCount": "output",
        "serverToolUsage.webSearchRequests": "web_searches",
    },
    known=names(
        "totalTokens invocationLatency firstByteLatency cacheDetails[1h].ttl cacheDetails[5m].ttl "
        "cacheDetails[5m].inputTokens"
    ),
    signs=("inputTokens", "outputTokens", "inputTokenCount", "outputTokenCount"),
    roots=("usage", "metadata.usage", "amazon-bedrock-invocationMetrics"),
    stops=(Stop("stopReason"),),
    total="totalTokens",
    selector="ttl",
)

# What Cohere bills; its `tokens` are what the model saw, including its own preamble.
COHERE = Format(
    name="cohere",
    counts={
        "billed_units.input_tokens": "input",
        "billed_units.images": "images",
        "billed_units.output_tokens": "output",
        "billed_units.search_units": "search_units",
        "billed_units.classifications": "classifications",
    },
    known=names("tokens cached_tokens api_version warnings"),
    signs=("billed_units",),
    roots=("usage", "meta", "response.meta"),
    stops=(Stop("finish_reason"),),
    needs=(),
)

COHERE_TOKENS = Format(
    name="cohere.tokens",
    counts={
        "tokens.input_tokens": "input",
        "cached_tokens": "cache_read_input -input",
        "tokens.output_tokens": "output",
    },
    known=names("billed_units api_version warnings"),
    signs=("tokens",),
    roots=("usage", "meta"),
    stops=(Stop("finish_reason"),),
    needs=(),
)
