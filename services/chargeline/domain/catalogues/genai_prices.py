"""Reading the catalogue genai-prices: a list of providers with models, prices in US dollars for a million tokens.

A tier of a price holds for the whole request once its input tokens are greater than `start`: the rule of
spec/rating.md 4.8. Of a list of prices the last whose constraint holds is in force; a start date is UTC midnight.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from chargeline.domain.catalogues.bands import NotExpressible, factor_between, from_times
from chargeline.domain.catalogues.entries import (
    MILLION_TOKENS,
    Catalogue,
    Entry,
    Finding,
    NotAPrice,
    Price,
    PriceVersion,
    price_of,
)
from chargeline.domain.catalogues.providers import provider_name
from chargeline.domain.money import plain

_MEANS = {
    "input_mtok": ("input", MILLION_TOKENS),
    "cache_read_mtok": ("cache_read_input", MILLION_TOKENS),
    "cache_write_mtok": ("cache_write_input", MILLION_TOKENS),
    "cache_write_1h_mtok": ("cache_write_1h_input", MILLION_TOKENS),
    "input_audio_mtok": ("input_audio", MILLION_TOKENS),
    "cache_audio_read_mtok": ("cache_read_audio", MILLION_TOKENS),
    "input_image_mtok": ("input_image", MILLION_TOKENS),
    "output_mtok": ("output", MILLION_TOKENS),
    "output_reasoning_mtok": ("reasoning_output", MILLION_TOKENS),
    "output_audio_mtok": ("output_audio", MILLION_TOKENS),
    "output_image_mtok": ("output_image", MILLION_TOKENS),
    "output_citation_mtok": ("citation_tokens", MILLION_TOKENS),
    "requests_kcount": ("requests", "1000 Requests"),
    "web_searches_kcount": ("web_searches", "1000 Searches"),
}
# Tokens without a leaf of their own, by the field whose price they pay.
_INSIDE = {
    "cache_image_read_mtok": "cache_read_mtok",
    "input_video_mtok": "input_mtok",
    "output_video_mtok": "output_mtok",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_genai_prices(document: Sequence[Mapping[str, Any]]) -> Catalogue:
    """Every model of the catalogue, and what a card cannot say of it.

    Args:
        document: the catalogue with its numbers as Decimal.
    """
    found = Catalogue()
    for provider in document:
        name = provider_name(provider["id"])
        urls = provider.get("pricing_urls") or [None]
        models = provider["models"]
        found.count += len(models)
        taken = {model["id"] for model in models}
        prefixes: set[str] = set()
        starts = {str(value) for model in models for kind, value in _clauses(model["match"]) if kind == "starts_with"}
        for model in models:
            entry = _entry(name, provider["id"], model, found.findings)
            if entry is not None:
                aliases, mine = _names(entry, model["match"], taken, prefixes, found.findings)
                needed = tuple(prefix for prefix in mine if not _covered(prefix, mine, starts))
                found.entries.append(replace(entry, aliases=aliases, prefixes=needed, source=urls[0]))
    return found


def _entry(provider: str, provider_id: str, model: Mapping[str, Any], findings: list[Finding]) -> Entry | None:
    name = f"{provider_id}/{model['id']}"
    dated = _versions(name, model["prices"], findings)
    versions = tuple(_with_variants(name, dated, model.get("price_variants") or (), findings))
    if not any(version.prices for version in versions):
        findings.append(Finding(name, "prices", "NO_PRICE", "the entry has no price that a card can hold"))
        return None
    if all(price.base == 0 for version in versions for price in version.prices):
        findings.append(Finding(name, "prices", "ALL_ZERO", "every price is 0: free, or not known"))
    return Entry(name, provider, model["id"], versions)


def _names(
    entry: Entry, match: Mapping[str, Any], taken: set[str], prefixes: set[str], findings: list[Finding]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Exact names and prefixes of the clauses; each name goes to the first model that has it."""
    aliases: list[str] = []
    starts: list[str] = []
    for kind, value in _clauses(match):
        if kind == "equals" and value == entry.model:
            continue
        if kind not in ("equals", "starts_with"):
            text = f"neither a name nor the beginning of one: only {entry.model} is matched in its place"
            findings.append(Finding(entry.name, f"match.{kind}", "NO_PATTERN", text, str(value)[:200]))
            continue
        known, mine = (taken, aliases) if kind == "equals" else (prefixes, starts)
        if value in mine:
            continue
        if value in known:
            text = "another model of the provider has this name"
            findings.append(Finding(entry.name, f"match.{kind}", "NAME_TAKEN", text, value))
            continue
        known.add(value)
        mine.append(value)
    return tuple(aliases), tuple(starts)


def _covered(prefix: str, mine: Sequence[str], starts: set[str]) -> bool:
    """Whether a shorter prefix of the same model finds the same names: none of another model lies between."""
    shorter = [each for each in starts if len(each) < len(prefix) and prefix.startswith(each)]
    return bool(shorter) and max(shorter, key=len) in mine


def _clauses(match: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for kind, value in match.items():
        if kind == "or":
            for each in value:
                yield from _clauses(each)
        else:
            yield kind, value


def _versions(name: str, prices: Any, findings: list[Finding]) -> list[PriceVersion]:
    """By start. Hours of the day take precedence over every price that stands before them in the list."""
    versions: list[PriceVersion] = []
    for each in prices if isinstance(prices, list) else [{"prices": prices}]:
        constraint = each.get("constraint") or {}
        fresh = tuple(_prices(name, each["prices"], findings))
        kinds = set(constraint)
        if kinds == {"start_date"} or (not kinds and not versions):
            versions.append(PriceVersion(_midnight(constraint["start_date"]) if kinds else None, fresh))
        elif kinds == {"start_time", "end_time"} and versions:
            versions = [
                replace(version, prices=tuple(_with_hours(name, version.prices, fresh, constraint, findings)))
                for version in versions
            ]
        else:
            text = "a constraint that is neither a start date nor hours of the day"
            findings.append(Finding(name, "constraint", "NO_PLACE", text, str(dict(constraint))[:200]))
    return sorted(versions, key=_start)


def _start(version: PriceVersion) -> int:
    return -1 if version.start is None else version.start


def _with_variants(
    name: str, versions: list[PriceVersion], variants: Sequence[Mapping[str, Any]], findings: list[Finding]
) -> list[PriceVersion]:
    """With the prices of service tiers; of two variants that price the same thing the first one counts."""
    for variant in variants:
        if not variant["prices"]:
            continue
        when, constraint = dict(variant["when"]), variant.get("constraint") or {}
        tier = when.get("service_tier") or ("batch" if when == {"processing": "batch"} else None)
        if tier is None or len(when) > 1 or set(constraint) - {"start_date"}:
            text = "prices for a way of calling that events do not name"
            findings.append(Finding(name, "price_variants", "NO_PLACE", text, str({**when, **constraint})[:200]))
            continue
        prices = [replace(price, tier=tier) for price in _prices(name, variant["prices"], findings)]
        start = _midnight(constraint["start_date"]) if constraint else None
        versions = [_with_tier(version, prices, start) for version in _split(versions, start)]
    return versions


def _split(versions: list[PriceVersion], start: int | None) -> list[PriceVersion]:
    """The same prices, with a version that begins at `start`."""
    if start is None or any(version.start == start for version in versions):
        return versions
    before = [version for version in versions if version.start is None or version.start < start]
    after = [version for version in versions if version.start is not None and version.start > start]
    return [*before, *(PriceVersion(start, version.prices) for version in before[-1:]), *after]


def _with_tier(version: PriceVersion, prices: Sequence[Price], start: int | None) -> PriceVersion:
    if start is not None and _start(version) < start:
        return version
    taken = {price.place for price in version.prices}
    return replace(version, prices=(*version.prices, *(price for price in prices if price.place not in taken)))


def _midnight(date: str) -> int:
    """Microseconds of the beginning of a date, UTC."""
    return (datetime.fromisoformat(date).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def _prices(name: str, fields: Mapping[str, Any], findings: list[Finding]) -> Iterator[Price]:
    for field, value in fields.items():
        if value is None or field in _INSIDE:
            continue
        if field not in _MEANS:
            findings.append(Finding(name, field, "NO_PLACE", "a rate card has no place for it", str(value)[:200]))
            continue
        measures, unit = _MEANS[field]
        listed = value if isinstance(value, dict) else {"base": value, "tiers": []}
        base = _number(name, field, listed["base"], findings)
        above = [(int(tier["start"]), _number(name, field, tier["price"], findings)) for tier in listed["tiers"]]
        thresholds = tuple((start, price) for start, price in sorted(above) if price is not None)
        if base is not None:
            yield Price(measures, base, unit, thresholds=thresholds)
    for field, around in _INSIDE.items():
        if field in fields and fields[field] != fields.get(around):
            text = f"no leaf holds these tokens alone: they pay the price of {_MEANS[around][0]}"
            findings.append(Finding(name, field, "NO_LEAF", text, str(fields[field])[:200]))


def _number(name: str, field: str, value: object, findings: list[Finding]) -> Decimal | None:
    try:
        price, rounded = price_of(value)
    except NotAPrice:
        findings.append(Finding(name, field, "BAD_PRICE", "not a price", str(value)[:200]))
        return None
    if rounded:
        findings.append(Finding(name, field, "ROUNDED", "more than 12 significant digits: rounded to 12", str(value)))
    return price


def _with_hours(
    name: str, usual: Sequence[Price], special: Sequence[Price], constraint: Mapping[str, str], findings: list[Finding]
) -> Iterator[Price]:
    """The usual prices with a factor for some hours; where no factor is exact, the higher one for the whole day."""
    by_place = {price.place: price for price in special}
    for price in usual:
        other = by_place.pop(price.place, None)
        if other is None:
            yield price
            continue
        try:
            if price.thresholds or other.thresholds:
                raise NotExpressible("a price by hours that also depends on the prompt's length")
            factor = factor_between(price.base, other.base)
            bands = from_times(constraint["start_time"], constraint["end_time"], factor)
            yield replace(price, bands=(*price.bands, *bands))
        except NotExpressible as error:
            dearer, cheaper = (price, other) if price.base >= other.base else (other, price)
            text = f"{error}; the higher price stands in the card for all hours"
            findings.append(Finding(name, f"{price.measures} by hours", "TIME_BAND", text, plain(cheaper.base)))
            yield dearer
    for price in by_place.values():
        text = "a price of some hours, without the price of the others"
        findings.append(Finding(name, f"{price.measures} by hours", "NO_BASE", text, plain(price.base)))
