"""What publication refuses, and what it warns of (spec/rating.md, sections 7.4 and 14)."""

from collections import Counter
from collections.abc import Sequence

from chargeline.domain.documents import Problem
from chargeline.domain.rate_book import PARENTS, PublishedCard, accept, live_rates
from chargeline.domain.rate_card import RateCard, Sku


def check(
    card: RateCard,
    published: Sequence[PublishedCard],
    *,
    recorded_time: int | None,
    margin_ms: int,
    future_bound_ms: int,
) -> list[Problem]:
    """Every problem of a card that was read without fault, beside the cards that are published.

    Args:
        recorded_time: milliseconds, when it would be recorded; None: only the card by itself is checked.
    """
    problems = [*_twice(card), *_parents(card), *_free(card)]
    if recorded_time is None:
        return problems
    same = [each.card for each in published if each.card.rate_card_id == card.rate_card_id]
    if any(each.version == card.version for each in same):
        problems.append(Problem("VERSION_TAKEN", f"version {card.version} of {card.rate_card_id} has other content"))
    if card.supersedes is not None and all(each.version != card.supersedes for each in same):
        problems.append(Problem("UNKNOWN_VERSION", f"version {card.supersedes}, which it supersedes, is not published"))
    live = live_rates(published, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    candidate = PublishedCard(card, recorded_time, len(published))
    if accept(candidate, live, margin_ms=margin_ms, future_bound_ms=future_bound_ms) is None and not card.correction:
        problems.append(
            Problem(
                "OVERLAP",
                "another version covers this time. A version that replaces a visible price must name it in "
                f"`supersedes` and begin at least {(margin_ms + future_bound_ms) // 1000} s from now",
            )
        )
    return problems


def _twice(card: RateCard) -> list[Problem]:
    keys = Counter((sku.key) for sku in card.skus)
    problems = [
        _problem(sku, "SKU_TWICE", f"{sku.sku_id} has two rates: name each with a variant")
        for sku in card.skus
        if keys[sku.key] > 1
    ]
    ties: dict[object, Sku] = {}
    for sku in card.skus:
        for model in sku.match.models or (sku.match.model_prefix,):
            place = (sku.match.provider_name, model, sku.measures, sku.match.attributes, sku.match.labels)
            if place in ties and ties[place].key != sku.key:
                problems.append(_problem(sku, "TIE", f"{sku.sku_id} and {ties[place].sku_id} fit the same events"))
            ties[place] = sku
    return problems


def _parents(card: RateCard) -> list[Problem]:
    """Each priced leaf needs a price for its parent, else a leaf without one would find none."""
    problems = []
    priced: dict[object, set[str]] = {}
    for sku in card.skus:
        priced.setdefault(_models(sku), set()).add(sku.measures)
    for sku in card.skus:
        has = priced[_models(sku)]
        parents = PARENTS.get(sku.measures, ())
        if parents and parents[-1] not in has and card.account is None:
            problems.append(_problem(sku, "NO_PARENT", f"{sku.sku_id} needs a price for {parents[-1]} too"))
        if {"cache_read_input", "input_audio"} <= has and "cache_read_audio" not in has:
            problems.append(_problem(sku, "TWO_PARENTS", f"{sku.sku_id}: cache_read_audio needs a price of its own"))
    return problems


def _free(card: RateCard) -> list[Problem]:
    return [
        Problem("FREE", f"{sku.sku_id} costs nothing", sku.line, 1, warning=True)
        for sku in card.skus
        if any(price.price == 0 for price in sku.prices)
    ]


def _models(sku: Sku) -> object:
    return (sku.match.provider_name, sku.match.models, sku.match.model_prefix)


def _problem(sku: Sku, code: str, message: str) -> Problem:
    return Problem(code, message, sku.line, 1)
