"""One card out of chosen models of candidate cards."""

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from chargeline.domain.documents import Problem
from chargeline.domain.errors import Refused
from chargeline.domain.rates.card import RateCard, instant
from chargeline.domain.rates.card_reader import from_json
from chargeline.domain.rates.checks import check_card


def select(
    cards: Iterable[RateCard], patterns: Sequence[str], *, rate_card_id: str, version: int, effective_from: int
) -> tuple[dict[str, Any], list[str]]:
    """A card document with the prices of the models that fit.

    Args:
        cards: of each id one version, the one whose prices are wanted.
        patterns: `provider/model`, with `*` and `?` as in file names.
        effective_from: microseconds since 1970 UTC.

    Returns:
        The document, its numbers as text, and the `provider/model` names in it.

    Raises:
        Refused: a pattern fits nothing, or two cards have different currencies.
    """
    listed = list(cards)
    currencies = sorted({card.currency for card in listed})
    if len(currencies) > 1:
        raise Refused("CURRENCIES", f"one card has one currency, these have {', '.join(currencies)}")
    skus: list[dict[str, Any]] = []
    aliases: list[dict[str, str]] = []
    chosen: set[str] = set()
    used: set[str] = set()
    for card in listed:
        document = json.loads(card.text)
        for sku in document["skus"]:
            names = _names(sku)
            fitting = {pattern for pattern in patterns if any(fnmatchcase(name, pattern) for name in names)}
            if fitting:
                skus.append(sku)
                used |= fitting
                chosen |= {f"{sku['match']['provider_name']}/{model}" for model in sku["match"].get("models", ())}
        aliases += document.get("aliases") or []
    for pattern in patterns:
        if pattern not in used:
            raise Refused("NOTHING_SELECTED", f"no model of these cards fits {pattern}")
    document = {
        "id": rate_card_id,
        "version": str(version),
        "currency": currencies[0],
        "effective_from": instant(effective_from),
        "scope": "default",
        "aliases": [each for each in aliases if f"{each['provider_name']}/{each['model']}" in chosen],
        "skus": skus,
    }
    return _without_nulls(document), sorted(chosen)


def problems(document: dict[str, Any]) -> list[Problem]:
    """What publication would say of the card by itself. Raises BadDocument."""
    return check_card(from_json(json.dumps(document)))


def _names(sku: dict[str, Any]) -> list[str]:
    """`provider/model` of everything that the rate is found by, and the stem of a candidate's `sku_id`."""
    match = sku.get("match") or {}
    provider = match.get("provider_name", "")
    found = [f"{provider}/{model}" for model in match.get("models") or ()]
    if match.get("model_prefix"):
        found.append(f"{provider}/{match['model_prefix']}")
    stem = sku["sku_id"].rpartition("/")[0]
    return [*found, stem] if stem.startswith(f"{provider}/") else found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each not in (None, [], {})}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
