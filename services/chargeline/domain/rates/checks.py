"""What publication refuses, and what it warns of (spec/rating.md, sections 7.4 and 14).

A card is checked by itself (`check_card`) and beside the cards that are published (`check_publication`). Faults of the
document itself are found when it is read.
"""

from collections import Counter
from collections.abc import Sequence

from chargeline.domain.documents import Problem
from chargeline.domain.money import fits_columns, picos_per_base_unit, plain
from chargeline.domain.periods import billing_period
from chargeline.domain.rates.book import (
    PARENTS,
    Live,
    LiveAlias,
    PublishedCard,
    Rate,
    accept,
    earliest_replacement,
    live_cards,
    overlap,
)
from chargeline.domain.rates.card import DEFAULT, LEVELS, Alias, Match, RateCard, Scope, Sku, instant
from chargeline.domain.rates.prices import is_free, jump
from chargeline.domain.rates.support import unsupported
from chargeline.domain.rates.units import base_units

_TEXT_BYTES_MAX = 15_000_000  # governance-log takes records of 16 MiB


def check_card(card: RateCard) -> list[Problem]:
    """Every problem of a card that was read without fault, whatever else is published."""
    rates = [Rate(sku, card, card.effective_from, card.effective_to) for sku in card.skus]
    return [
        *_sku_twice(card),
        *_ties(rates, ()),
        *(_without_parent(card, ()) if card.scope == DEFAULT else []),
        *_join_price_missing(card, ()),
        *_alias_faults(card, ()),
        *_warnings(card),
    ]


def check_publication(
    card: RateCard,
    published: Sequence[PublishedCard],
    *,
    recorded_time: int,
    margin_ms: int,
    future_bound_ms: int,
) -> list[Problem]:
    """The same, and every problem that it would have beside the cards that are published.

    Args:
        published: every card of the log so far.
        recorded_time: milliseconds, when it would be recorded.
    """
    live = live_cards(published, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    candidate = PublishedCard(card, recorded_time, len(published))
    after = accept(candidate, live, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    earliest = earliest_replacement(recorded_time, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    problems = [*_not_supported(card), *_sku_twice(card), *_versions(card, published)]
    if not card.correction and not problems:
        problems += _replacements(card, live, earliest)
    fresh = [Rate(sku, card, card.effective_from, card.effective_to) for sku in card.skus]
    others = [rate for rate in (after or live).rates if rate.card is not card]
    problems += _ties(fresh, () if after is None or card.correction else others)
    problems += _gaps(fresh, others)
    reachable = [rate for rate in others if _may_see(card.scope, rate.card.scope)]
    problems += _without_parent(card, reachable)
    problems += _join_price_missing(card, reachable)
    problems += _alias_faults(card, [each for each in (after or live).aliases if each.card is not card])
    return [*problems, *_warnings(card), *_jumps(fresh, live)]


def _may_see(scope: Scope, other: Scope) -> bool:
    """Whether an event that a card of `scope` is for may also find prices of a card of the other one.

    Groups nest, and which account lies in which group is not known here: every group may be the one.
    """
    return other in (DEFAULT, scope) or other.kind == "group" or LEVELS.index(other.kind) < LEVELS.index(scope.kind)


def _not_supported(card: RateCard) -> list[Problem]:
    found = [(sku, unsupported(sku, card)) for sku in card.skus]
    return [_problem(sku, "NOT_SUPPORTED_YET", what) for sku, what in found if what is not None]


def _sku_twice(card: RateCard) -> list[Problem]:
    counts = Counter(sku.key for sku in card.skus)
    return [
        _problem(sku, "SKU_TWICE", f"{_name(sku)} stands twice: name each rate of a SKU with a variant")
        for sku in card.skus
        if counts[sku.key] > 1
    ]


def _ties(fresh: Sequence[Rate], others: Sequence[Rate]) -> list[Problem]:
    """Two rates of one level that fit the same event and name equally many attributes."""
    rivals: dict[object, list[Rate]] = {}
    for rate in others:
        for name in rate.sku.match.names:
            rivals.setdefault((rate.card.scope, rate.sku.measures, name), []).append(rate)
    problems = []
    for rate in fresh:
        keys = [(rate.card.scope, rate.sku.measures, name) for name in rate.sku.match.names]
        found = next((each for key in keys for each in rivals.get(key, ()) if _tied(rate, each)), None)
        if found is not None:
            text = f"{_name(rate.sku)} and {_name(found.sku)} of {found.card.rate_card_id} version {found.card.version}"
            problems.append(_problem(rate.sku, "TIE", f"{text} fit the same events: let one name more attributes"))
        for key in keys:
            rivals.setdefault(key, []).append(rate)
    return problems


def _tied(one: Rate, two: Rate) -> bool:
    return one.place != two.place and overlap(one, two) and _fit_together(one.sku.match, two.sku.match)


def _fit_together(one: Match, two: Match) -> bool:
    """Whether some event fits both, neither being nearer."""
    values, labels = dict(two.attributes), dict(two.labels)
    return (
        one.named_count == two.named_count
        and all(not set(mine).isdisjoint(values.get(name, mine)) for name, mine in one.attributes)
        and all(labels.get(name, value) == value for name, value in one.labels)
    )


def _versions(card: RateCard, published: Sequence[PublishedCard]) -> list[Problem]:
    problems = []
    versions = {each.card.version for each in published if each.card.rate_card_id == card.rate_card_id}
    if card.version in versions:
        taken = f"version {card.version} of {card.rate_card_id} is published with other content: use a new version"
        problems.append(Problem("VERSION_TAKEN", taken))
    if card.supersedes is not None and card.supersedes not in versions:
        unknown = f"version {card.supersedes} of {card.rate_card_id}, which it supersedes, is not published"
        problems.append(Problem("UNKNOWN_VERSION", unknown))
    if len(card.text.encode()) > _TEXT_BYTES_MAX:
        problems.append(Problem("TOO_LARGE", f"a card has at most {_TEXT_BYTES_MAX} bytes: split it"))
    return problems


def _replacements(card: RateCard, live: Live, earliest: int) -> list[Problem]:
    """Visible prices that the card would replace without being allowed to."""
    superseded = (card.rate_card_id, card.supersedes)
    late_enough = card.effective_from >= earliest
    by_key = {sku.key: sku for sku in card.skus}
    problems: list[Problem] = []
    for rate in live.rates:
        if rate.end is not None and rate.end <= card.effective_from:
            continue
        sku = by_key.get(rate.sku.key)
        if (rate.card.rate_card_id, rate.card.version) == superseded:
            if not late_enough:
                when, bound = instant(card.effective_from), instant(earliest)
                late = f"effective_from {when} is too early to replace {_name(rate.sku)}; the earliest is {bound}"
                return [_problem(sku or card.skus[0], "OVERLAP", late)]
            continue
        fresh = None if sku is None else Rate(sku, card, card.effective_from, card.effective_to)
        if sku is not None and fresh is not None and fresh.place == rate.place and overlap(fresh, rate):
            other = f"{rate.card.rate_card_id} version {rate.card.version}"
            text = f"{_name(sku)} is covered by {other}: name it in `supersedes`, or choose a time that it leaves free"
            problems.append(_problem(sku, "OVERLAP", text))
    return problems


def _without_parent(card: RateCard, others: Sequence[Rate]) -> list[Problem]:
    """A priced leaf whose parent has no price: other leaves of the same model would find none."""
    priced = _priced(card, others)
    return [
        _problem(sku, "NO_PARENT", f"{_name(sku)} prices {sku.measures}: {name[2]} needs a price for {parent} too")
        for sku in card.skus
        for parent in PARENTS.get(sku.measures, ())[-1:]
        for name in sku.match.names
        if parent not in priced[name]
    ]


def _join_price_missing(card: RateCard, others: Sequence[Rate]) -> list[Problem]:
    """Cached audio that would fit the price of cached tokens and the price of audio alike."""
    priced = _priced(card, others)
    needed = {"cache_read_input", "input_audio"}
    return [
        _problem(sku, "TWO_PARENTS", f"{_name(sku)}: {name[2]} needs a price for cache_read_audio too")
        for sku in card.skus
        if sku.measures in needed
        for name in sku.match.names
        if needed <= priced[name] and "cache_read_audio" not in priced[name]
    ]


def _priced(card: RateCard, others: Sequence[Rate]) -> dict[tuple[str, bool, str], set[str]]:
    """By model name, what has a price in the card or beside it."""
    priced: dict[tuple[str, bool, str], set[str]] = {}
    for sku in (*card.skus, *(rate.sku for rate in others)):
        for name in sku.match.names:
            priced.setdefault(name, set()).add(sku.measures)
    return priced


def _alias_faults(card: RateCard, others: Sequence[LiveAlias]) -> list[Problem]:
    """An alias has one target at a time, and its target is a model."""
    problems = []
    span = LiveAlias(Alias("", "", ""), card, card.effective_from, card.effective_to)
    known = [*card.aliases, *(each.alias for each in others if overlap(span, each))]
    names = {(each.provider_name, each.alias) for each in known}
    targets = {(each.provider_name, each.model) for each in known}
    for at, alias in enumerate(card.aliases):
        same = [each for each in known[:at] + known[len(card.aliases) :] if _same_name(each, alias)]
        if any(each.model != alias.model for each in same):
            problems.append(_alias_problem(alias, "ALIAS_TWICE", f"{alias.alias} has another target already"))
        if (alias.provider_name, alias.model) in names or (alias.provider_name, alias.alias) in targets:
            text = f"{alias.alias} → {alias.model}: an alias must name a model, not another alias"
            problems.append(_alias_problem(alias, "ALIAS_TO_ALIAS", text))
    return problems


def _same_name(one: Alias, two: Alias) -> bool:
    return (one.provider_name, one.alias) == (two.provider_name, two.alias)


def _gaps(fresh: Sequence[Rate], others: Sequence[Rate]) -> list[Problem]:
    """Times between two versions of a price that no version covers."""
    ends: dict[tuple[object, ...], int] = {}
    for rate in others:
        if rate.end is not None:
            ends[rate.place] = max(rate.end, ends.get(rate.place, rate.end))
    return [
        _problem(rate.sku, "GAP", f"{_name(rate.sku)} has no price from {instant(end)} to {instant(rate.start)}", True)
        for rate in fresh
        if (end := ends.get(rate.place, rate.start)) < rate.start
    ]


def _jumps(fresh: Sequence[Rate], live: Live) -> list[Problem]:
    """Prices that differ from the version before by more than half."""
    before = {rate.place: rate for rate in sorted(live.rates, key=lambda each: each.start)}
    problems = []
    for rate in fresh:
        old = before.get(rate.place)
        if old is None or old.card.currency != rate.card.currency:
            continue
        found = jump(old.sku, rate.sku)
        if found is not None:
            name, was, now = found
            text = f"{name} of {_name(rate.sku)} goes from {plain(was)} to {plain(now)}"
            problems.append(_problem(rate.sku, "PRICE_JUMP", text, True))
    return problems


def _warnings(card: RateCard) -> list[Problem]:
    problems = [*card.remarks]
    for sku in card.skus:
        if is_free(sku):
            problems.append(_problem(sku, "FREE", f"{_name(sku)} has a price of 0", True))
        if sku.accumulates and sku.window != "event" and not _starts_a_month(card.effective_from):
            text = f"{_name(sku)} adds up over a period and starts inside one: where it follows another, it waits"
            problems.append(_problem(sku, "STARTS_INSIDE_PERIOD", text, True))
        size = base_units(sku.divide_by, sku.measures)
        if not all(fits_columns(*picos_per_base_unit(each.price, size)) for each in sku.prices):
            problems.append(_problem(sku, "WIDE_PRICE", f"{_name(sku)} has a price of the exact, slow way", True))
    return problems


def _starts_a_month(time: int) -> bool:
    """Whether a billing period of most accounts begins then; a card cannot know the cycle day of each."""
    return billing_period(time)[0] == time


def _name(sku: Sku) -> str:
    return sku.sku_id if sku.variant is None else f"{sku.sku_id}/{sku.variant}"


def _problem(sku: Sku, code: str, message: str, warning: bool = False) -> Problem:
    return Problem(code, message, sku.line, sku.column, warning)


def _alias_problem(alias: Alias, code: str, message: str) -> Problem:
    return Problem(code, message, alias.line, alias.column)
