"""One vocabulary for the providers of all catalogues: the names that OpenTelemetry gives to GenAI providers.

Source: OpenTelemetry semantic conventions for generative AI, attribute `gen_ai.provider.name`. A provider without a
name there keeps the name that it has in its catalogue, or gets the one of the other catalogue.
"""

_NAMES = {
    "text-completion-openai": "openai",
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "bedrock_mantle": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_text": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "mistral": "mistral_ai",
    "codestral": "mistral_ai",
    "text-completion-codestral": "mistral_ai",
    "xai": "x_ai",
    "x-ai": "x_ai",
    "cohere_chat": "cohere",
    "watsonx": "ibm.watsonx.ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "fireworks_ai-embedding-models": "fireworks_ai",
    "text-completion-inception": "inception",
}


def provider_name(name: str) -> str:
    """The provider's name in events; an unknown one goes through unchanged.

    >>> provider_name("vertex_ai-anthropic_models"), provider_name("groq")
    ('gcp.vertex_ai', 'groq')
    """
    if name.startswith("vertex_ai-"):
        return "gcp.vertex_ai"
    return _NAMES.get(name, name)
