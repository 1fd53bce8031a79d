"""Google's Gemini, on AI Studio and Vertex: cached tokens inside the prompt, thoughts and tool use beside.

A document is paid as images. Cached audio is inside the audio and the cached count, a cached image inside the image
and the cached count; without details by modality spec/rating.md 6 takes what is missing off the images.
Source: ai.google.dev/api/generate-content, UsageMetadata (2025-11). JSON uses camelCase, Python's objects snake_case.
"""

import re

from chargeline.sdk.normalise.formats import Format, Stop, names, prefixed

_PROMPT, _TOOL, _CACHED, _ANSWER = (
    "promptTokensDetails", "toolUsePromptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails",
)  # fmt: skip


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z]", lambda found: "_" + found[0].lower(), name)


def _both(path: str) -> str:
    """A path in both spellings, as alternatives; what is in brackets is a value and stays."""
    words = re.split(r"(\[.*?\])", path)
    return f"{path} | " + "".join(word if word.startswith("[") else _snake(word) for word in words)


_COUNTS = {
    "promptTokenCount": "input",
    "toolUsePromptTokenCount": "input",
    "cachedContentTokenCount": "cache_read_input -input",
    f"{_PROMPT}[AUDIO].tokenCount": "input_audio -input",
    f"{_PROMPT}[IMAGE].tokenCount": "input_image -input",
    f"{_PROMPT}[DOCUMENT].tokenCount": "input_image -input",
    f"{_TOOL}[AUDIO].tokenCount": "input_audio -input",
    f"{_TOOL}[IMAGE].tokenCount": "input_image -input",
    f"{_TOOL}[DOCUMENT].tokenCount": "input_image -input",
    f"{_CACHED}[AUDIO].tokenCount": "cache_read_audio -cache_read_input -input_audio input",
    f"{_CACHED}[IMAGE].tokenCount": "-input_image input",
    f"{_CACHED}[DOCUMENT].tokenCount": "-input_image input",
    "candidatesTokenCount": "output",
    "responseTokenCount": "output",  # the live API's name
    "thoughtsTokenCount": "reasoning_output",
    f"{_ANSWER}[AUDIO].tokenCount": "output_audio -output",
    f"{_ANSWER}[IMAGE].tokenCount": "output_image -output",
    f"{_ANSWER}[DOCUMENT].tokenCount": "output_image -output",
    "responseTokensDetails[AUDIO].tokenCount": "output_audio -output",
    "responseTokensDetails[IMAGE].tokenCount": "output_image -output",
}
_LISTS = (_PROMPT, _TOOL, _CACHED, _ANSWER, "responseTokensDetails")
_KNOWN = names("totalTokenCount trafficType serviceTier").union(
    *(prefixed(f"{each}[{kind}].", "modality tokenCount") for each in _LISTS for kind in ("TEXT", "VIDEO")),
    *(prefixed(f"{each}[{kind}].", "modality") for each in _LISTS for kind in ("AUDIO", "IMAGE", "DOCUMENT")),
)

GEMINI = Format(
    name="google.gemini",
    counts={_both(path): effect for path, effect in _COUNTS.items()},
    known=frozenset(path.strip() for each in _KNOWN for path in _both(each).split("|")),
    signs=("promptTokenCount", "candidatesTokenCount", "prompt_token_count", "candidates_token_count"),
    roots=("usageMetadata", "usage_metadata", "response.usageMetadata"),
    models=("modelVersion", "model_version", "model"),
    stops=(Stop("candidates[].finishReason", required=True),),
    needs=(),  # a count of zero is left out of the JSON
    selector="modality",
)
