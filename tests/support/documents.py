"""Documents of people as the loaders hand them on: YAML whose numbers stay texts."""

from typing import Any

import yaml

_WORDS = {"null": None, "": None, "~": None, "true": True, "false": False}


def document(text: str) -> Any:
    """Structure and texts; null, true and false are what they say."""
    return _with_words(yaml.load(text, yaml.BaseLoader))


def _with_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_words(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_words(each) for each in value]
    return _WORDS.get(value, value)
