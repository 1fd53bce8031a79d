"""Which provider answers in which format: the table that a new provider is added to."""

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

# "default" is the provider's own API: meant by `default`, by a flavor that is not named, and by none.
PROVIDERS: dict[str, dict[str, Format]] = {
    "anthropic": {"default": MESSAGES},
    "aws": {"default": BEDROCK},
    "azure": {"default": CHAT_WITHOUT_WRITES, "chat": CHAT_WITHOUT_WRITES, "responses": RESPONSES_WITHOUT_WRITES},
    "cohere": {"default": COHERE, "embeddings": COHERE, "tokens": COHERE_TOKENS},
    "deepseek": {"default": CHAT},
    "google": {"default": GEMINI, "chat": CHAT_WITHOUT_WRITES},
    "groq": {"default": CHAT_WITHOUT_WRITES, "chat": CHAT_WITHOUT_WRITES},
    "huggingface": {"default": CHAT},
    "litellm": {"default": LITELLM, "chat": LITELLM},
    "minimax": {"default": MESSAGES},
    "mistral": {"default": MISTRAL, "chat": MISTRAL},
    "openai": {"default": CHAT},
    "openrouter": {"default": CHAT},
    "perplexity": {"default": PERPLEXITY, "chat": PERPLEXITY},
    "xai": {"default": XAI, "chat": XAI},
} | {
    name: {"default": CHAT}
    for name in (
        "cerebras", "doubleword", "fireworks", "modal", "moonshotai", "nebius", "novita", "ovhcloud", "sambanova",
        "together", "voyageai", "zai", "zhipuai",
    )
}  # fmt: skip

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

# In this order a block's own names are asked when nothing else says what it is: the tellest first.
BY_SHAPE = (GEMINI, BEDROCK, COHERE, MESSAGES, REALTIME, CHAT, RESPONSES)


def provider_formats(provider: str | None) -> dict[str, Format] | None:
    """The formats of a provider by flavor; None: a provider that nobody has told us about."""
    name = (provider or "").strip().lower()
    if name not in PROVIDERS:
        name = next((known for word, known in WORDS if word in name), "")
    return PROVIDERS.get(name)


def candidates(provider: str | None, api_flavor: str | None) -> list[Format]:
    """The formats to try, most likely first; each at most once.

    A flavor that was named is asked first, then the provider's own API, its other APIs, and the shapes of all.
    An unknown provider has the flavor's format, and the shapes.
    """
    own = provider_formats(provider) or {}
    flavor = (api_flavor or "").strip().lower()
    first = [own[flavor]] if flavor in own else [FLAVORS[flavor]] if flavor in FLAVORS else []
    default = [own["default"]] if "default" in own else []
    return list({id(each): each for each in (*first, *default, *own.values(), *BY_SHAPE)}.values())
