"""A card document as YAML text: block style for the card and its SKUs, one line for what is inside them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_LISTS = ("aliases", "skus")
# What a reader looks for first stands first; keys that are not here keep their order behind these.
_FIRST = ("sku_id", "variant", "match", "leaf", "quantity", "charge_model", "unit_price", "base", "thresholds")
_RANK = {key: at for at, key in enumerate(_FIRST)}


def card_text(document: Mapping[str, Any], head: str = "", remarks: Mapping[int, str] | None = None) -> str:
    """The text of a card.

    Args:
        document: as read from a card, its numbers as text; without nulls.
        head: comment for the top of the file.
        remarks: comments on SKUs, by their position.

    Returns:
        YAML that reads as `document`.
    """
    return "\n".join(_lines(document, head, remarks or {})) + "\n"


def _lines(document: Mapping[str, Any], head: str, remarks: Mapping[int, str]) -> Iterator[str]:
    yield from (f"# {line}" for line in head.splitlines())
    for key, value in document.items():
        if key not in _LISTS:
            yield f"{key}: {_flow(value)}"
    if document.get("aliases"):
        yield "aliases:"
        yield from (f"  - {_flow(each)}" for each in document["aliases"])
    yield "skus:"
    for at, sku in enumerate(document["skus"]):
        mark = "  - "
        for key, value in sorted(sku.items(), key=lambda each: _RANK.get(each[0], len(_RANK))):
            remark = f"  # {remarks[at]}" if mark == "  - " and at in remarks else ""
            yield f"{mark}{key}: {_flow(value)}{remark}"
            mark = "    "


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        value = dict(sorted(value.items(), key=lambda each: each[0] != "provider_name"))
        return "{" + ", ".join(f"{_flow(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
