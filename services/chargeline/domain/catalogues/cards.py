"""Candidate rate cards out of the entries of a catalogue.

One card for each provider, and a version of it for each time at which prices of the provider change.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chargeline.domain.catalogues.entries import Band, Catalogue, Entry, Finding, Price
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.money import plain
from chargeline.domain.rates.book import PARENTS
from chargeline.domain.rates.card import RateCard, instant
from chargeline.domain.rates.card_reader import from_json
from chargeline.domain.rates.checks import check_card
from chargeline.domain.usage import LEAVES

_JOIN = "cache_read_audio"  # has two parents, spec/rating.md 6
Document = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where a catalogue comes from; `date` is YYYY-MM-DD."""

    name: str
    version: str
    date: str
    url: str


@dataclass(frozen=True)
class Candidate:
    """A card that nobody has published.

    Attributes:
        document: the card in the format of spec/formats.md 2, its numbers as text.
        remarks: by position of the SKU, what a reader of the file should know of it.
    """

    provider: str
    document: Document
    card: RateCard
    entries: tuple[str, ...]
    remarks: tuple[tuple[int, str], ...]


def candidates(
    catalogue: Catalogue, origin: Origin, effective_from: int, done: Callable[[], object] = lambda: None
) -> tuple[list[Candidate], list[Finding]]:
    """The cards, each of them accepted by the rules of publication, and everything that a person must look at.

    Args:
        effective_from: microseconds since 1970 UTC: from when on the first versions hold. A change before it makes
            no version of its own.
        done: called after each entry.

    Returns:
        The cards by provider and version; the findings of the catalogue and those that the cards add.
    """
    findings = list(catalogue.findings)
    by_provider: dict[str, list[Entry]] = {}
    for entry in catalogue.entries:
        complete = _complete(entry, findings)
        refused = _refusal(complete, origin, effective_from)
        if refused is None:
            by_provider.setdefault(entry.provider, []).append(complete)
        else:
            findings.append(Finding(entry.name, "card", f"REFUSED_{refused.code}", refused.message))
        done()
    cards = [
        card
        for provider in sorted(by_provider)
        for card in _of_provider(provider, by_provider[provider], origin, effective_from)
    ]
    return cards, findings


def _of_provider(provider: str, entries: list[Entry], origin: Origin, effective_from: int) -> Iterator[Candidate]:
    starts = {version.start for entry in entries for version in entry.versions if version.start is not None}
    times = [effective_from, *sorted(start for start in starts if start > effective_from)]
    priced = [time for time in times if any(_in_force(entry, time) for entry in entries)]
    for number, time in enumerate(priced, 1):
        yield _candidate(provider, entries, origin, time, number)


def _candidate(provider: str, entries: Sequence[Entry], origin: Origin, time: int, number: int) -> Candidate:
    skus: list[Document] = []
    remarks: list[tuple[int, str]] = []
    for entry in entries:
        for price in _in_force(entry, time):
            for sku in _skus(entry, price, origin):
                if price.copy_of is not None:
                    remarks.append((len(skus), f"copy of the price of {price.copy_of}: the catalogue has none"))
                skus.append(sku)
    aliases = [
        {"provider_name": provider, "alias": alias, "model": entry.model}
        for entry in entries
        for alias in entry.aliases
    ]
    document: Document = {
        "id": f"{origin.name}-{provider}",
        "version": str(number),
        "currency": "USD",
        "effective_from": instant(time),
        "scope": "default",
        "description": f"Candidate from {origin.name} {origin.version} of {origin.date}",
    }
    if number > 1:
        document["supersedes"] = str(number - 1)
    if aliases:
        document["aliases"] = aliases
    document["skus"] = skus
    names = tuple(entry.name for entry in entries if _in_force(entry, time))
    return Candidate(provider, document, _accepted(document), names, tuple(remarks))


def _accepted(document: Document) -> RateCard:
    card = from_json(json.dumps(document))
    faults = [each for each in check_card(card) if not each.warning]
    if faults:
        raise BadDocument(faults)
    return card


def _refusal(entry: Entry, origin: Origin, effective_from: int) -> Problem | None:
    """The first fault that publication would find in a card of this entry alone, in any of its versions."""
    for time in (effective_from, *(each.start for each in entry.versions if each.start is not None)):
        if not _in_force(entry, time):
            continue
        try:
            _candidate(entry.provider, [entry], origin, time, 1)
        except BadDocument as error:
            return error.problems[0]
    return None


def _in_force(entry: Entry, time: int) -> tuple[Price, ...]:
    prices: tuple[Price, ...] = ()
    for version in entry.versions:
        if version.start is None or version.start <= time:
            prices = version.prices
    return prices


def _complete(entry: Entry, findings: list[Finding]) -> Entry:
    """With a price for every parent that publication asks for: the dearest of the leaves that need it."""
    versions = []
    for version in entry.versions:
        missing = tuple(_missing(version.prices))
        for price in missing:
            text = f"a card needs a price for {price.measures} here: a copy of the price of {price.copy_of}"
            finding = Finding(entry.name, price.measures, "PARENT_COPY", text, plain(price.base))
            if finding not in findings[-8:]:
                findings.append(finding)
        versions.append(replace(version, prices=(*version.prices, *missing)))
    return replace(entry, versions=tuple(versions))


def _missing(prices: Sequence[Price]) -> Iterator[Price]:
    by_measure: dict[str, Price] = {}
    for price in sorted(prices, key=lambda each: each.tier is not None):
        by_measure.setdefault(price.measures, price)
    for root in ("input", "output"):
        children = [each for leaf, each in by_measure.items() if PARENTS.get(leaf, ())[-1:] == (root,)]
        if children and root not in by_measure:
            yield _copy(root, children)
    both = [by_measure[leaf] for leaf in ("cache_read_input", "input_audio") if leaf in by_measure]
    if len(both) == 2 and _JOIN not in by_measure:
        yield _copy(_JOIN, both)


def _copy(measures: str, of: Iterable[Price]) -> Price:
    dearest = max(of, key=lambda each: each.base)
    return replace(dearest, measures=measures, tier=None, labels=(), copy_of=dearest.measures)


def _skus(entry: Entry, price: Price, origin: Origin) -> Iterator[Document]:
    yield _sku(entry, price, origin, {"models": [entry.model]}, None)
    for prefix in entry.prefixes:
        yield _sku(entry, price, origin, {"model_prefix": prefix}, f"{prefix}*")


def _sku(entry: Entry, price: Price, origin: Origin, names: Document, name: str | None) -> Document:
    parts = [price.tier, *(f"{key}={value}" for key, value in price.labels), name]
    variant = ",".join(part for part in parts if part is not None)
    match: Document = {"provider_name": entry.provider, **names}
    if price.tier is not None:
        match["service_tier"] = price.tier
    if price.labels:
        match["labels"] = dict(price.labels)
    document: Document = {"sku_id": f"{entry.provider}/{entry.model}/{price.measures}"}
    if variant:
        document["variant"] = variant
    document |= {"match": match, "leaf" if price.measures in LEAVES else "quantity": price.measures}
    if price.thresholds:
        rows = [{"above": str(above), "price": plain(each)} for above, each in price.thresholds]
        document |= {"charge_model": "threshold", "base": plain(price.base), "thresholds": rows}
    else:
        document |= {"charge_model": "per_unit", "unit_price": plain(price.base)}
    document["pricing_unit"] = price.unit
    if price.bands:
        bands = [_band(band) for band in price.bands]
        document["modifiers"] = [{"attribute": "time_band", "time_zone": "UTC", "bands": bands}]
    document["source"] = {"url": entry.source or origin.url, "date": origin.date}
    return document


def _band(band: Band) -> Document:
    return {"weekdays": list(band.weekdays), "from": band.start, "to": band.end, "factor": plain(band.factor)}
