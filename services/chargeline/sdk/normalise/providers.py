"""Which provider answers in which format: the table that a new provider is added to."""

from collections.abc import Iterable
from functools import lru_cache

from chargeline.sdk.normalise.anthropic import MESSAGES
from chargeline.sdk.normalise.formats import Format
from chargeline.sdk.normalise.google import GEMINI
from chargeline.sdk.normalise.openai import (
    CHAT,
    CHAT_WITHOUT_WRITES,
    EMBEDDINGS,
    IMAGES,
    LITELLM,
    MISTRAL,
    PERPLEXITY,
    REALTIME,
    RESPONSES,
    RESPONSES_WITHOUT_WRITES,
    XAI,
)
from chargeline.sdk.normalise.others import BEDROCK, COHERE, COHERE_TOKENS

# An API's format by `api_flavor`; what a provider's own line does not name is taken from here.
FLAVORS: dict[str, Format] = {
    "chat": CHAT,
    "responses": RESPONSES,
    "embeddings": EMBEDDINGS,
    "images": IMAGES,
    "realtime": REALTIME,
    "anthropic": MESSAGES,
}

_LIKE_OPENAI = {"default": CHAT, "responses": RESPONSES}

# "default" is the provider's own API: meant by `default`, by a flavor that is not named, and by none.
PROVIDERS: dict[str, dict[str, Format]] = {
    "anthropic": {"default": MESSAGES},
    "aws": {"default": BEDROCK},
    "azure": {"default": CHAT_WITHOUT_WRITES, "chat": CHAT_WITHOUT_WRITES, "responses": RESPONSES_WITHOUT_WRITES},
    "cerebras": _LIKE_OPENAI,
    "cohere": {"default": COHERE, "embeddings": COHERE, "tokens": COHERE_TOKENS},
    "deepseek": _LIKE_OPENAI,
    "doubleword": _LIKE_OPENAI,
    "fireworks": _LIKE_OPENAI,
    "google": {"default": GEMINI, "chat": CHAT_WITHOUT_WRITES},
    "groq": {"default": CHAT_WITHOUT_WRITES, "chat": CHAT_WITHOUT_WRITES},
    "huggingface": _LIKE_OPENAI,
    "litellm": {"default": LITELLM, "chat": LITELLM},
    "minimax": {"default": MESSAGES},
    "mistral": {"default": MISTRAL, "chat": MISTRAL},
    "modal": _LIKE_OPENAI,
    "moonshotai": _LIKE_OPENAI,
    "nebius": _LIKE_OPENAI,
    "novita": _LIKE_OPENAI,
    "openai": _LIKE_OPENAI,
    "openrouter": _LIKE_OPENAI,
    "ovhcloud": _LIKE_OPENAI,
    "perplexity": {"default": PERPLEXITY, "chat": PERPLEXITY},
    "sambanova": _LIKE_OPENAI,
    "together": _LIKE_OPENAI,
    "voyageai": _LIKE_OPENAI,
    "xai": {"default": XAI, "chat": XAI},
    "zai": _LIKE_OPENAI,
    "zhipuai": _LIKE_OPENAI,
}

# Other words for a provider: OpenTelemetry's gen_ai.provider.name, and those of proxies. A name that is not in
# PROVIDERS is the first of these that it contains: `azure.ai.openai`, `huggingface_groq`, `vertex_ai-anthropic`.
WORDS = (
    ("huggingface", "huggingface"), ("openrouter", "openrouter"), ("litellm", "litellm"), ("azure", "azure"),
    ("bedrock", "aws"), ("aws", "aws"), ("amazon", "aws"), ("vertex", "google"), ("gemini", "google"),
    ("google", "google"), ("gcp", "google"), ("anthropic", "anthropic"), ("mistral", "mistral"), ("x-ai", "xai"),
    ("x_ai", "xai"), ("xai", "xai"), ("cohere", "cohere"), ("deepseek", "deepseek"), ("groq", "groq"),
    ("perplexity", "perplexity"), ("moonshot", "moonshotai"), ("fireworks", "fireworks"), ("together", "together"),
    ("cerebras", "cerebras"), ("voyage", "voyageai"), ("minimax", "minimax"), ("openai", "openai"),
)  # fmt: skip

# A block whose own names have to tell what it is: asked in this order.
SHAPES = (GEMINI, BEDROCK, COHERE, MESSAGES, REALTIME, CHAT, RESPONSES)


def provider_formats(provider: str | None) -> dict[str, Format] | None:
    """The formats of a provider by flavor; None: a provider that nobody has told us about."""
    name = (provider or "").strip().lower()
    if name not in PROVIDERS:
        name = next((known for word, known in WORDS if word in name), "")
    return PROVIDERS.get(name)


@lru_cache(maxsize=1024)
def candidates(provider: str | None, api_flavor: str | None) -> tuple[tuple[Format, ...], tuple[Format, ...]]:
    """The formats to try, most likely first, each at most once: those that are meant, then those by shape.

    Meant are the flavor's format and the provider's own API; a block that is neither of them is what its names say.
    """
    own = provider_formats(provider) or {}
    flavor = (api_flavor or "").strip().lower()
    named = own.get(flavor) or FLAVORS.get(flavor)
    meant = _once(each for each in (named, own.get("default")) if each is not None)
    return meant, _once((*own.values(), *SHAPES))


def _once(formats: Iterable[Format]) -> tuple[Format, ...]:
    return tuple({each.name: each for each in formats}.values())
