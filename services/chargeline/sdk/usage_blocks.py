"""Usage blocks of the three most common answer formats as quantities of a UsageEvent. Pure.

The counts become disjoint here, so that no token is in two of them (spec/rating.md 6); zeros are left out.
"""

from collections.abc import Mapping
from typing import Any

Block = Mapping[str, Any]
Quantities = dict[str, int]


class ContradictingCountsError(ValueError):
    """A part is larger than its whole; the text names both counts and their values."""


def from_openai(usage: Block) -> Quantities:
    """A `usage` block of OpenAI's chat completions or responses: parts are inside the totals."""
    prompt = usage.get("prompt_tokens", usage.get("input_tokens", 0))
    answer = usage.get("completion_tokens", usage.get("output_tokens", 0))
    before = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    after = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    parts = {
        "cache_read_input_tokens": before.get("cached_tokens") or 0,
        "input_audio_tokens": before.get("audio_tokens") or 0,
    }
    outputs = {
        "reasoning_output_tokens": after.get("reasoning_tokens") or 0,
        "output_audio_tokens": after.get("audio_tokens") or 0,
    }
    return _kept(
        {
            "input_tokens": _rest("prompt_tokens", prompt, parts),
            **parts,
            "output_tokens": _rest("completion_tokens", answer, outputs),
            **outputs,
        }
    )


def from_anthropic(usage: Block) -> Quantities:
    """A `usage` block of Anthropic's messages: cache counts stand beside the input; 1-hour writes inside all writes."""
    written = usage.get("cache_creation_input_tokens") or 0
    hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    return _kept(
        {
            "input_tokens": usage.get("input_tokens") or 0,
            "cache_read_input_tokens": usage.get("cache_read_input_tokens") or 0,
            "cache_write_input_tokens": _rest("cache_creation_input_tokens", written, {"ephemeral_1h": hour}),
            "cache_write_1h_input_tokens": hour,
            "output_tokens": usage.get("output_tokens") or 0,
        }
    )


def from_gemini(usage: Block) -> Quantities:
    """A `usageMetadata` block of Gemini: cached tokens inside the prompt, thoughts beside the candidates."""
    prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    cached = usage.get("cachedContentTokenCount") or 0
    return _kept(
        {
            "input_tokens": _rest("promptTokenCount", prompt, {"cachedContentTokenCount": cached}),
            "cache_read_input_tokens": cached,
            "output_tokens": usage.get("candidatesTokenCount") or 0,
            "reasoning_output_tokens": usage.get("thoughtsTokenCount") or 0,
        }
    )


def _rest(name: str, whole: int, parts: Quantities) -> int:
    rest = whole - sum(parts.values())
    if rest < 0:
        raise ContradictingCountsError(f"{name} is {whole}, less than its parts {parts}")
    return rest


def _kept(quantities: Quantities) -> Quantities:
    return {name: number for name, number in quantities.items() if number}
