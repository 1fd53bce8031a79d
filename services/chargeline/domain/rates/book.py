"""Which price holds for an event: the rate cards visible at some moment, and the rules of selection.

Source: spec/rating.md, sections 6 (parents of leaves) and 7 (selection, versions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from chargeline.domain.rates.card import DEFAULT, Alias, FactorTable, RateCard, Scope, Sku, TimeBands

# The price a leaf pays if it has none of its own, nearest first.
PARENTS: Mapping[str, tuple[str, ...]] = {
    "input": (),
    "cache_read_input": ("input",),
    "cache_write_input": ("input",),
    "cache_write_1h_input": ("cache_write_input", "input"),
    "input_audio": ("input",),
    "input_image": ("input",),
    "cache_read_audio": ("cache_read_input", "input_audio", "input"),
    "output": (),
    "reasoning_output": ("output",),
    "output_audio": ("output",),
    "output_image": ("output",),
}


@dataclass(frozen=True)
class PublishedCard:
    """A card as the log has it: when it was recorded (milliseconds) and its place in the chain of facts."""

    card: RateCard
    recorded_time: int
    sequence: int


@dataclass(frozen=True)
class Rate:
    """One SKU of one card with the time in which it holds (microseconds, half-open)."""

    sku: Sku
    card: RateCard
    start: int
    end: int | None

    def holds(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)

    @property
    def place(self) -> tuple[object, ...]:
        """What no two versions may cover at the same time: level, owner, SKU and attributes."""
        return (self.card.scope, self.sku.key, self.sku.match.attributes, self.sku.match.labels)


@dataclass(frozen=True, eq=False)
class Choice:
    """The rate that a leaf or quantity pays, and the default rate of the same (the paid one where there is none)."""

    rate: "Rate"
    listed: "Rate"

    @property
    def has_list(self) -> bool:
        """Whether there is a list price that can be compared: that of a default rate in the same currency."""
        return self.listed.card.scope == DEFAULT and self.listed.card.currency == self.rate.card.currency


@dataclass(frozen=True)
class Resolution:
    """The answer for one kind of event. `match_kind` NONE: no visible card names the model."""

    match_kind: str
    choices: Mapping[str, Choice]


@dataclass(frozen=True)
class LiveAlias:
    """An alias of one card with the time in which it holds (microseconds, half-open)."""

    alias: Alias
    card: RateCard
    start: int
    end: int | None

    def holds(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


@dataclass(frozen=True)
class Live:
    """What counts of the cards of the log: in the order of the log, so that the first recorded wins a conflict.

    Attributes:
        versions: (id, version) of every card taken, correction versions included.
    """

    rates: tuple[Rate, ...] = ()
    aliases: tuple[LiveAlias, ...] = ()
    versions: frozenset[tuple[str, int]] = field(default=frozenset())


class RateBook:
    """The live rates of the cards given, which are those visible at some moment.

    Attributes:
        attributes: by attribute that any live rate or modifier names, the values that it names; others are all alike.
        labels: likewise by label.
        time_bands: every table of time bands of a live rate.
        boundaries: ascending microseconds; between two of them the answer to a question does not change.
        scopes: whom the live rates are for.
        accumulates: some live rate does.

    Args:
        rerating: for re-rating runs, which alone see `correction: true` versions: these come before the others.
    """

    def __init__(
        self, cards: Sequence[PublishedCard], *, margin_ms: int, future_bound_ms: int, rerating: bool = False
    ) -> None:
        live = live_cards(cards, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
        corrections = _corrections(cards)
        self.rates = corrections + live.rates if rerating else live.rates
        self.scopes = frozenset(rate.card.scope for rate in self.rates)
        self.attributes = _named_values(self.rates)
        self.labels = _named_labels(self.rates)
        bands = [each for rate in self.rates for each in rate.sku.modifiers if isinstance(each, TimeBands)]
        self.time_bands = tuple(dict.fromkeys(bands))
        self.accumulates = any(rate.sku.accumulates for rate in self.rates)
        spans = [(rate.start, rate.end) for rate in self.rates] + [(each.start, each.end) for each in live.aliases]
        self.boundaries = tuple(sorted({time for span in spans for time in span if time is not None}))
        self._aliases: dict[tuple[str, str], list[LiveAlias]] = {}
        for each in live.aliases:
            self._aliases.setdefault((each.alias.provider_name, each.alias.alias), []).append(each)
        self._by_model: dict[tuple[str, str], list[Rate]] = {}
        self._by_prefix: dict[tuple[str, str], list[Rate]] = {}
        for rate in self.rates:
            for provider, is_prefix, name in rate.sku.match.names:
                table = self._by_prefix if is_prefix else self._by_model
                table.setdefault((provider, name), []).append(rate)
        for rate in corrections:  # a card that only re-rating prices by names its models all the same
            for provider, is_prefix, name in rate.sku.match.names:
                (self._by_prefix if is_prefix else self._by_model).setdefault((provider, name), [])
        self._choices: dict[tuple[int, int], Choice] = {}

    def resolve(
        self,
        owners: Sequence[Scope],
        provider: str,
        model: str,
        attributes: Mapping[str, str | None],
        labels: Mapping[str, str],
        event_time: int,
    ) -> Resolution:
        """The prices of an event of this kind, by leaf or quantity; leaves without a price of their own included.

        Args:
            owners: whose cards hold for the account, nearest first: contract, account, groups, default.
            model: response_model, or request_model where there is none.
            event_time: microseconds since 1970 UTC.
        """
        kind, candidates = self._named(provider, model, event_time)
        place = {scope: number for number, scope in enumerate(owners)}
        fitting: dict[str, list[Rate]] = {}
        for rate in candidates:
            if rate.holds(event_time) and rate.card.scope in place and _fits(rate.sku, attributes, labels):
                fitting.setdefault(rate.sku.measures, []).append(rate)
        own = {name: self._best(rates, place) for name, rates in fitting.items()}
        choices = dict(own)
        for leaf, parents in PARENTS.items():
            if leaf not in own:
                found = next((parent for parent in parents if parent in own), None)
                if found is not None:
                    choices[leaf] = own[found]
        return Resolution(kind, choices)

    def _named(self, provider: str, model: str, time: int) -> tuple[str, list[Rate]]:
        """Exact name, else the alias table, else the longest declared prefix; before any level is looked at."""
        if (provider, model) in self._by_model:
            return "EXACT", self._by_model[provider, model]
        for each in self._aliases.get((provider, model), ()):
            if each.holds(time):
                return "ALIAS", self._by_model.get((provider, each.alias.model), [])
        for length in range(len(model), 0, -1):
            if (provider, model[:length]) in self._by_prefix:
                return "PREFIX", self._by_prefix[provider, model[:length]]
        return "NONE", []

    def _best(self, rates: list[Rate], place: Mapping[Scope, int]) -> Choice:
        """The nearest level, within it the rate that names most; one object for each pair of rates."""
        best = min(rates, key=lambda rate: (place[rate.card.scope], -rate.sku.match.named_count))
        default = [rate for rate in rates if rate.card.scope == DEFAULT]
        listed = max(default, key=_named_count, default=best)
        return self._choices.setdefault((id(best), id(listed)), Choice(best, listed))


_Timed = TypeVar("_Timed", Rate, LiveAlias)


def live_cards(cards: Sequence[PublishedCard], *, margin_ms: int, future_bound_ms: int) -> Live:
    """What counts of the cards, taken in the order of the log: illegal ones are ignored."""
    live = Live()
    for published in sorted(cards, key=lambda each: each.sequence):
        live = accept(published, live, margin_ms=margin_ms, future_bound_ms=future_bound_ms) or live
    return live


def _corrections(cards: Sequence[PublishedCard]) -> tuple[Rate, ...]:
    """The rates of `correction: true` versions; of several for one SKU the one recorded last comes first."""
    known: dict[tuple[str, int], RateCard] = {}
    for published in sorted(cards, key=lambda each: each.sequence):
        known.setdefault((published.card.rate_card_id, published.card.version), published.card)
    rates = [
        Rate(sku, card, card.effective_from, card.effective_to)
        for card in known.values()
        if card.correction
        for sku in card.skus
    ]
    return tuple(reversed(rates))


def earliest_replacement(recorded_time: int, *, margin_ms: int, future_bound_ms: int) -> int:
    """Microseconds from which a card recorded then (milliseconds) may replace a visible price."""
    return (recorded_time + margin_ms + future_bound_ms) * 1000


def accept(published: PublishedCard, live: Live, *, margin_ms: int, future_bound_ms: int) -> Live | None:
    """What counts after this card; None if it must be ignored as a whole.

    A version ends the one that it supersedes. A back-dated version (one that begins before its own visibility plus the
    future bound) ends nothing: it may only fill a time that no other version covers, so that what was priced is never
    repriced in silence.

    Source: spec/rating.md, section 7.4.
    """
    card = published.card
    version = (card.rate_card_id, card.version)
    if version in live.versions:
        return None
    if card.correction:
        return replace(live, versions=live.versions | {version})
    rates, aliases = live.rates, live.aliases
    earliest = earliest_replacement(published.recorded_time, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    if card.supersedes is not None and card.effective_from >= earliest:
        rates = tuple(left for rate in rates if (left := _ended(rate, card)) is not None)
        aliases = tuple(rest for alias in aliases if (rest := _ended(alias, card)) is not None)
    fresh = tuple(Rate(sku, card, card.effective_from, card.effective_to) for sku in card.skus)
    taken: dict[tuple[object, ...], list[Rate]] = {}
    for rate in rates:
        taken.setdefault(rate.place, []).append(rate)
    if any(overlap(rate, other) for rate in fresh for other in taken.get(rate.place, ())):
        return None
    named = tuple(LiveAlias(alias, card, card.effective_from, card.effective_to) for alias in card.aliases)
    return Live(rates + fresh, aliases + named, live.versions | {version})


def overlap(one: Rate | LiveAlias, two: Rate | LiveAlias) -> bool:
    """Whether some instant lies in both."""
    return (two.end is None or one.start < two.end) and (one.end is None or two.start < one.end)


def _ended(each: _Timed, card: RateCard) -> _Timed | None:
    """What is left of it when `card` begins; None: nothing."""
    if (each.card.rate_card_id, each.card.version) != (card.rate_card_id, card.supersedes):
        return each
    end = card.effective_from if each.end is None else min(each.end, card.effective_from)
    return replace(each, end=end) if end > each.start else None


def _fits(sku: Sku, attributes: Mapping[str, str | None], labels: Mapping[str, str]) -> bool:
    return all(attributes.get(name) in values for name, values in sku.match.attributes) and all(
        labels.get(name) == value for name, value in sku.match.labels
    )


def _named_count(rate: Rate) -> int:
    return rate.sku.match.named_count


def _named_values(rates: Sequence[Rate]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for rate in rates:
        for name, values in rate.sku.match.attributes:
            found.setdefault(name, set()).update(values)
        for modifier in rate.sku.modifiers:
            if isinstance(modifier, FactorTable):
                found.setdefault(modifier.attribute, set()).update(value for value, _ in modifier.factors)
    return {name: frozenset(found[name]) for name in sorted(found)}


def _named_labels(rates: Sequence[Rate]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for rate in rates:
        for name, value in rate.sku.match.labels:
            found.setdefault(name, set()).add(value)
    return {name: frozenset(found[name]) for name in sorted(found)}
