"""Reading litellm's catalogue: an object, key to entry, prices in US dollars for one token or unit.

A key is a routing name: the provider's own prefix is taken off, the rest is the model's exact name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from chargeline.domain.catalogues.bands import NotExpressible, factor_between, from_windows
from chargeline.domain.catalogues.entries import (
    Catalogue,
    Entry,
    Finding,
    NotAPrice,
    Price,
    PriceVersion,
    Texts,
    price_of,
)
from chargeline.domain.catalogues.litellm_fields import Meaning, is_price, meaning
from chargeline.domain.catalogues.providers import provider_name
from chargeline.domain.money import plain
from chargeline.domain.rates.book import PARENTS

_TIERED, _OFF_PEAK, _SEARCH = "tiered_pricing", "off_peak_pricing", "search_context_cost_per_query"
_SIZES = ("low", "medium", "high")
_NAME_HOLDS_MORE = re.compile(
    r"(^|/)([0-9]+-x-[0-9]+|max-x-max|[0-9]+-steps|low|medium|high|standard|hd|\*|[0-9]-month-commitment"
    r"|us|eu|global|global-standard|[a-z]{2}(-gov)?-[a-z]+-[0-9])/"
)


@dataclass(frozen=True)
class _Read:
    """One number of an entry with what it is the price of."""

    field: str
    what: Meaning
    price: Decimal


def read_litellm(document: Mapping[str, Any]) -> Catalogue:
    """Every entry of the catalogue, and what a card cannot say of it.

    Args:
        document: the catalogue with its numbers as Decimal.
    """
    found = Catalogue(count=len(document))
    by_name: dict[tuple[str, str], Entry] = {}
    # A name without the routing prefix is the plainer one: it goes first and keeps its prices.
    for key in sorted(document, key=lambda each: "/" in each):
        entry = _entry(key, document[key], found.findings)
        if entry is None:
            continue
        place = (entry.provider, entry.model)
        other = by_name.setdefault(place, entry)
        if other is entry:
            continue
        if _free(other) and not _free(entry):  # the other one may only not know the price
            by_name[place] = entry
            found.merged = {name: key if kept == other.name else kept for name, kept in found.merged.items()}
            entry, other = other, entry
        found.merged[entry.name] = other.name
        if other.versions != entry.versions:
            text = f"{other.name} has other prices for the same model and stands in the card"
            found.findings.append(Finding(entry.name, "key", "SAME_MODEL", text))
    found.entries += by_name.values()
    return found


def _free(entry: Entry) -> bool:
    return all(price.base == 0 for version in entry.versions for price in version.prices)


def model_name(key: str, provider: str) -> str:
    """The key without the provider's prefix.

    >>> model_name("vertex_ai/claude-opus-4", "vertex_ai-anthropic_models"), model_name("gpt-4o", "openai")
    ('claude-opus-4', 'gpt-4o')
    """
    first, slash, rest = key.partition("/")
    return rest if slash and rest and first in (provider, provider.partition("-")[0]) else key


def _entry(key: str, fields: Mapping[str, Any], findings: list[Finding]) -> Entry | None:
    provider = fields.get("litellm_provider")
    if not isinstance(provider, str) or key == "sample_spec":
        findings.append(Finding(key, "litellm_provider", "NOT_A_MODEL", "the entry describes no model of a provider"))
        return None
    mine: list[Finding] = []
    prices = _prices(key, fields, mine)
    model = model_name(key, provider)
    if not prices:
        mine.append(Finding(key, "key", "NO_PRICE", "the entry has no price that a card can hold"))
    elif all(price.base == 0 for price in prices):
        mine.append(Finding(key, "key", "ALL_ZERO", "every price is 0: free, or not known"))
    else:
        mine += _free_parts(key, prices)
    if _NAME_HOLDS_MORE.search(key):
        text = f"the name {model} holds a size, quality, region or term: an event must carry it as its model"
        mine.append(Finding(key, "key", "NAME_HOLDS_MORE", text))
    findings += mine
    if not prices:
        return None
    source = fields.get("source")
    return Entry(
        key,
        provider_name(provider),
        model,
        (PriceVersion(None, prices),),
        source=source if isinstance(source, str) and source else None,
    )


def _free_parts(key: str, prices: Sequence[Price]) -> Iterator[Finding]:
    """Parts of the input or output that cost nothing beside an input or output that does."""
    base = {price.measures: price.base for price in prices if price.tier is None}
    for leaf, parents in PARENTS.items():
        if base.get(leaf) == 0 and any(base.get(parent) for parent in parents):
            yield Finding(key, leaf, "ZERO_PART", f"0 beside a price for {parents[-1]}: free, or never counted", "0")


def _prices(key: str, fields: Mapping[str, Any], findings: list[Finding]) -> tuple[Price, ...]:
    mode = fields.get("mode")
    reads: list[_Read] = []
    for name in sorted(fields):
        value = fields[name]
        if name in (_TIERED, _OFF_PEAK, _SEARCH) or value is None:
            continue
        if name == "provider_specific_entry":
            text = "a factor for a way of calling that events do not name"
            factors = [each for each in value if isinstance(value[each], Decimal)]
            findings += [Finding(key, f"{name}.{each}", "FACTOR", text, str(value[each])) for each in factors]
        elif is_price(name):
            reads += _read(key, name, value, meaning(name, mode), findings)
    reads = [*_tiered(key, fields, reads, findings), *_search(key, fields, findings)]
    prices = _grouped(key, _one_side(reads), findings)
    return tuple(_off_peak(key, fields, prices, findings))


def _read(key: str, name: str, value: Any, what: Meaning | None, findings: list[Finding]) -> Iterator[_Read]:
    if what is None:
        reason = "FACTOR" if "multiplier" in name else "OTHER_CURRENCY" if "_dbu_" in name else "NO_PLACE"
        findings.append(Finding(key, name, reason, "a rate card has no place for it", _short(value)))
        return
    try:
        price, rounded = price_of(value, what.scale)
    except NotAPrice:
        findings.append(Finding(key, name, "BAD_PRICE", "not a price", _short(value)))
        return
    if rounded:
        findings.append(Finding(key, name, "ROUNDED", "more than 12 significant digits: rounded to 12", _short(value)))
    yield _Read(name, what, price)


def _tiered(key: str, fields: Mapping[str, Any], reads: list[_Read], findings: list[Finding]) -> list[_Read]:
    """A list of prices by ranges of input tokens takes the place of the plain prices of the same leaves."""
    ranges = fields.get(_TIERED)
    if ranges is None:
        return reads
    starts, last = [], Decimal(0)
    for each in ranges:
        bounds = each.get("range", (None, None))
        if bounds[0] != last or bounds[0] != int(bounds[0]):
            findings.append(Finding(key, _TIERED, "NO_PLACE", "no ranges of input tokens from 0 on", _short(ranges)))
            return reads
        starts.append(int(bounds[0]))
        last = bounds[1]
    tiered: list[_Read] = []
    for above, each in zip(starts, ranges, strict=True):
        for name in sorted(set(each) - {"range"}):
            what = meaning(name, fields.get("mode"))
            at = None if what is None else replace(what, above=above)
            tiered += _read(key, f"{_TIERED}.{name}", each[name], at, findings)
    text = "ranges of input tokens are read as the price of the whole request whose input is longer than their start"
    findings.append(Finding(key, _TIERED, "RANGES", text))
    taken = {(read.what.measures, read.what.tier) for read in tiered}
    first = {read.what.measures: read.price for read in tiered if read.what.above == 0}
    for read in reads:
        measures = read.what.measures
        if (measures, read.what.tier) in taken and not read.what.inside and first.get(measures) != read.price:
            text = f"{_TIERED} has another price"
            findings.append(Finding(key, read.field, "OTHER_PRICE", text, str(fields[read.field])))
    return tiered + [read for read in reads if (read.what.measures, read.what.tier) not in taken]


def _search(key: str, fields: Mapping[str, Any], findings: list[Finding]) -> Iterator[_Read]:
    """A price for a web search by the size of its context; medium is what a request gets that names none."""
    sizes = fields.get(_SEARCH)
    if sizes is None:
        return
    per_search = Meaning("web_searches", "Searches", 1)
    read: dict[str, Decimal] = {}
    for size in _SIZES:
        name = f"search_context_size_{size}"
        if name in sizes:
            for each in _read(key, f"{_SEARCH}.{name}", sizes[name], per_search, findings):
                read[size] = each.price
    usual = read.get("medium", next(iter(read.values()), None))
    for size, price in read.items():
        labels: Texts = () if price == usual else (("search_context_size", size),)
        yield _Read(f"{_SEARCH}.{size}", replace(per_search, labels=labels), price)


def _one_side(reads: list[_Read]) -> list[_Read]:
    """Of a quantity with a price on either side of the call the one that is not 0; both: the request's has a name."""
    sides = {(read.what.measures, read.what.tier, read.what.labels, read.what.side): read for read in reads}
    kept = []
    for read in reads:
        what = read.what
        other = sides.get((what.measures, what.tier, what.labels, "output" if what.side == "input" else "input"))
        if what.side is None or other is None or other is read:
            kept.append(read)
        elif what.side == "output":
            kept.append(read if read.price else replace(read, price=other.price))
        elif read.price and other.price and read.price != other.price:
            kept.append(replace(read, what=replace(what, measures=f"input_{what.measures}")))
    return kept


def _grouped(key: str, reads: list[_Read], findings: list[Finding]) -> list[Price]:
    """Base price and thresholds of each (measure, tier, labels) together."""
    groups: dict[tuple[str, str | None, Texts], dict[int, _Read]] = {}
    for read in reads:
        what = read.what
        group = groups.setdefault((what.measures, what.tier, what.labels), {})
        if what.inside:
            continue
        other = group.setdefault(what.above, read)
        if other.price != read.price:
            findings.append(
                Finding(key, read.field, "OTHER_PRICE", f"{other.field} has another price", plain(read.price))
            )
    for read in reads:
        if read.what.inside:
            _inside(key, read, groups, findings)
    prices = []
    for (measures, tier, labels), group in groups.items():
        base = group.pop(0, None)
        if base is None:
            text = "a price above a prompt length, without the price below it"
            findings += [Finding(key, each.field, "NO_BASE", text, plain(each.price)) for each in group.values()]
            continue
        thresholds = tuple((above, group[above].price) for above in sorted(group))
        prices.append(Price(measures, base.price, base.what.unit, tier, labels, thresholds))
    _shorter_lists(key, prices, findings)
    return prices


def _inside(
    key: str, read: _Read, groups: dict[tuple[str, str | None, Texts], dict[int, _Read]], findings: list[Finding]
) -> None:
    """Tokens without a leaf of their own: nothing is lost where they cost what the tokens around them cost."""
    what = read.what
    around = groups.get((what.measures, what.tier, ()), {}).get(what.above)
    if around is None or around.price != read.price:
        text = f"no leaf holds these tokens alone: they are counted in {what.measures} and pay its price"
        findings.append(Finding(key, read.field, "NO_LEAF", text, plain(read.price)))


def _shorter_lists(key: str, prices: list[Price], findings: list[Finding]) -> None:
    """A service tier without the prompt lengths of the standard price costs the same at any length: is that meant?"""
    standard = {price.measures: price for price in prices if price.tier is None}
    for price in prices:
        usual = standard.get(price.measures)
        if price.tier and usual and usual.thresholds and not price.thresholds:
            text = f"the standard price changes above {usual.thresholds[0][0]} input tokens, the {price.tier} price not"
            findings.append(Finding(key, f"{price.measures} ({price.tier})", "NO_THRESHOLD", text))


def _off_peak(key: str, fields: Mapping[str, Any], prices: list[Price], findings: list[Finding]) -> Iterator[Price]:
    """Prices of some hours become a factor of the price of all hours, where a factor says it exactly."""
    off_peak = fields.get(_OFF_PEAK)
    if off_peak is None:
        yield from prices
        return
    cheaper: dict[str, Decimal] = {}
    for name in sorted(set(off_peak) - {"windows", "weekday_timezone"}):
        what = meaning(name, fields.get("mode"))
        for read in _read(key, f"{_OFF_PEAK}.{name}", off_peak[name], what, findings):
            cheaper[read.what.measures] = read.price
    for price in prices:
        if price.tier is not None or price.labels or price.measures not in cheaper:
            yield price
            continue
        try:
            if price.thresholds:
                raise NotExpressible("a price by hours that also depends on the prompt's length")
            if "weekday_timezone" in off_peak:
                raise NotExpressible("weekdays of another time zone than the hours")
            factor = factor_between(price.base, cheaper[price.measures])
            yield replace(price, bands=from_windows(off_peak["windows"], factor))
        except NotExpressible as error:
            text = f"{error}; the price of all hours stands in the card"
            value = plain(cheaper[price.measures])
            findings.append(Finding(key, f"{_OFF_PEAK}.{price.measures}", "TIME_BAND", text, value))
            yield price
    for measures in sorted(set(cheaper) - {price.measures for price in prices}):
        text = "a price of some hours, without the price of the others"
        findings.append(Finding(key, f"{_OFF_PEAK}.{measures}", "NO_BASE", text, plain(cheaper[measures])))


def _short(value: object) -> str:
    return str(value)[:200]
