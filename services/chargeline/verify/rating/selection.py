"""Which rate a leaf or quantity pays, and which one its list price comes from.

Source: spec/rating.md, sections 3 (version change), 5 (modifiers), 6 (price of a leaf) and 7.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from chargeline.verify.rating.accounts import Accounts
from chargeline.verify.rating.cards import Cards, Rate, declares
from chargeline.verify.rating.numbers import number
from chargeline.verify.rating.times import band_changes, band_of

_PARENTS = {
    "cache_read_input": ["input"], "cache_write_input": ["input"],
    "cache_write_1h_input": ["cache_write_input", "input"], "input_audio": ["input"], "input_image": ["input"],
    "cache_read_audio": ["cache_read_input", "input_audio", "input"], "reasoning_output": ["output"],
    "output_audio": ["output"], "output_image": ["output"],
}  # fmt: skip
_CHOSEN_MAX = 100_000  # some 100 MB
Event = dict[str, Any]


class UnknownValue(Exception):
    """A modifier has no factor for the event's value."""


@dataclass(frozen=True)
class Choice:
    """The rate that is paid, and the default rate of the same leaf (the paid one where there is none)."""

    rate: Rate
    listed: Rate


@dataclass(frozen=True)
class Selection:
    """By leaf or quantity what it pays. `match_kind`: how the model was found."""

    match_kind: str
    choices: dict[str, Choice]


class Selector:
    """Chooses among the visible cards with the visible facts."""

    def __init__(self, cards: Cards, accounts: Accounts) -> None:
        self._cards = cards
        self._accounts = accounts
        rates = cards.rates + cards.corrections
        self._attributes = sorted({name for rate in rates for name in rate.wanted})
        self._labels = sorted({name for rate in rates for name in rate.match.get("labels") or {}})
        self._edges_of: dict[str, list[int]] = {}
        self._chosen: dict[tuple[Any, ...], Selection] = {}

    def select(self, event: Event, time: int, *, rerating: bool) -> Selection:
        """What holds at an instant, the rule for versions of accumulating rates included.

        A rate that accumulates is selected once for a scope: a version that starts inside a billing period waits for
        the next one if another rate applied at the start.
        """
        now = self._at(event, time, rerating=rerating)
        start = self._accounts.period(event["billing_account_id"], time).start
        if all(choice.rate.start <= start for choice in now.choices.values()):
            return now
        before = self._at(event, start, rerating=rerating).choices
        choices = dict(now.choices)
        for name, choice in now.choices.items():
            waits = choice.rate.start > start and name in before
            if waits and (choice.rate.accumulates or before[name].rate.accumulates):
                choices[name] = before[name]
        return Selection(now.match_kind, choices)

    def _at(self, event: Event, time: int, *, rerating: bool) -> Selection:
        """Worked out once for all that no card and no fact can tell apart: between two edges nothing changes."""
        account = event["billing_account_id"]
        asked = (account, bisect_right(self._edges(account), time), rerating,
                 event["provider_name"], event["request_model"], event["response_model"],
                 *[event[name] for name in self._attributes],
                 *[event["labels"].get(name) for name in self._labels])  # fmt: skip
        found = self._chosen.get(asked)
        if found is None:
            if len(self._chosen) >= _CHOSEN_MAX:
                self._chosen.clear()
            found = self._chosen[asked] = self._choose(event, time, rerating=rerating)
        return found

    def _edges(self, account: str) -> list[int]:
        """The instants, ascending, at which another rate or owner may begin to hold for an account."""
        if account not in self._edges_of:
            self._edges_of[account] = sorted(self._cards.edges() | self._accounts.edges(account))
        return self._edges_of[account]

    def _choose(self, event: Event, time: int, *, rerating: bool) -> Selection:
        kind, names = self._cards.naming(event, time)
        owners = self._accounts.owners(event["billing_account_id"], time)
        corrections = self._cards.corrections[::-1] if rerating else []  # of several the one recorded last
        fitting = [
            rate
            for rate in corrections + self._cards.rates
            if rate.holds(time)
            and rate.owner in owners
            and declares(rate, event["provider_name"], names)
            and rate.fits(event)
        ]
        own = {}
        for name in {rate.measures for rate in fitting if rate.measures is not None}:
            mine = [rate for rate in fitting if rate.measures == name]
            best = min(mine, key=lambda rate: (owners.index(rate.owner), -rate.named()))
            default = [rate for rate in mine if rate.owner == "default"]
            own[name] = Choice(best, max(default, key=Rate.named) if default else best)
        chosen = dict(own)
        for leaf, parents in _PARENTS.items():
            found = next((parent for parent in parents if parent in own), None)
            if leaf not in own and found is not None:
                chosen[leaf] = own[found]
        return Selection(kind, chosen)

    def cuts(self, event: Event, start: int, end: int, *, rerating: bool) -> list[int]:
        """Where an interval is split: at billing periods, where a leaf's rate changes, and at time bands."""
        period = self._accounts.period(event["billing_account_id"], start)
        found = set()
        while period.end < end:
            found.add(period.end)
            period = self._accounts.period(event["billing_account_id"], period.end)
        last = self.select(event, start, rerating=rerating)
        seen = [last]
        edges = {*self._edges(event["billing_account_id"]), *found}
        for edge in sorted(edge for edge in edges if start < edge < end):
            now = self.select(event, edge, rerating=rerating)
            if now != last:
                found.add(edge)
            last = now
            seen.append(now)
        rates = {id(choice.rate): choice.rate for each in seen for choice in each.choices.values()}
        for modifier in _applied(rates.values()):
            found.update(band_changes(start, end, modifier))
        return sorted(found)


def _applied(rates: Iterable[Rate]) -> list[dict[str, Any]]:
    return [each for rate in rates for each in rate.sku.get("modifiers") or [] if each["attribute"] == "time_band"]


def factor(rate: Rate, event: Event, time: int) -> Fraction:
    """The product of the factors of a rate's modifiers.

    Raises:
        UnknownValue: the event has a value that a table does not list.
    """
    product = Fraction(1)
    for modifier in rate.sku.get("modifiers") or []:
        attribute = modifier["attribute"]
        if attribute == "time_band":
            band = band_of(time, modifier)
            product *= 1 if band is None else number(modifier["bands"][band]["factor"])
        elif rate.match.get(attribute) is None and event[attribute] is not None:
            table = modifier["factors"]
            found = table.get(event[attribute], table.get("*"))
            if found is None:
                raise UnknownValue
            product *= number(found)
    return product
