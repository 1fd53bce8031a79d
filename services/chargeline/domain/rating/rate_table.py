"""The prices that a rate book gives, as arrays that a whole commit unit can be looked up in.

The book answers one question at a time and slowly; the questions of a unit are few and repeat, so each is asked once
and its answer kept. An answer is a row of the slot matrix: for each leaf the number of the price that it pays. A price
is a rate with the factor of its modifiers; where it is worked out in columns it has price points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np

from chargeline.domain.accounts import Accounts
from chargeline.domain.columns.exact import Int64Array, Ratios
from chargeline.domain.fx import Conversion, FxTable, conversion
from chargeline.domain.rates.book import Choice, RateBook, Resolution
from chargeline.domain.rates.card import FactorTable, Percentage, Scope, TimeBands
from chargeline.domain.rating.payers import Payers
from chargeline.domain.rating.period_columns import ratios
from chargeline.domain.rating.price_arrays import Arrays, PriceRow
from chargeline.domain.rating.price_points import factor_of, plain_points, scope_points, thresholds_of, units_of
from chargeline.domain.rating.rate_functions import function_of, undiscounted
from chargeline.domain.usage import COUNTED, LEAVES

FIXED_SLOTS = (*LEAVES, *COUNTED)
REPORTED = "reported_cost"
MATCH_KINDS = ("NONE", "EXACT", "ALIAS", "PREFIX")
# GB-Months divide by the hours of the billing period: one price for each length of a month (spec/rating.md 6).
MONTH_DAYS = (28, 29, 30, 31)
_ANSWERS_MAX = 200_000  # distinct questions kept; a flood of invented model names must not fill the memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()


@dataclass(frozen=True)
class Question:
    """What decides about the prices of an event. Times lie in the time segments of the same name.

    Attributes:
        owners: whose cards hold, nearest first.
        bands: by table of time bands the one that holds, -1: none.
        start_owners, start_segment, start_time: at the start of the billing period; the same as at the event where no
            rate accumulates.
    """

    owners: tuple[Scope, ...]
    provider: str
    model: str
    attributes: tuple[tuple[str, str | None], ...]
    labels: tuple[tuple[str, str], ...]
    bands: tuple[int, ...]
    segment: int
    start_owners: tuple[Scope, ...]
    start_segment: int


@dataclass(frozen=True)
class _Deciding:
    """What the factors of a choice follow from, and the numbers of its prices by the values of these."""

    attributes: tuple[str, ...]
    bands: tuple[TimeBands, ...]
    numbers: dict[tuple[str | int | None, ...], int]

    @classmethod
    def of(cls, choice: Choice) -> "_Deciding":
        modifiers = (*choice.rate.sku.modifiers, *choice.listed.sku.modifiers)
        names = dict.fromkeys(each.attribute for each in modifiers if isinstance(each, FactorTable))
        bands = dict.fromkeys(each for each in modifiers if isinstance(each, TimeBands))
        return cls(tuple(names), tuple(bands), {})


class RateTable:
    """All answers asked so far of one rate book, with the accounts and exchange rates that are visible with it."""

    def __init__(self, book: RateBook, accounts: Accounts | None = None, fx: FxTable | None = None) -> None:
        self.book = book
        self.fx = fx or FxTable()
        self.payers = Payers(accounts or Accounts(), book.scopes)
        self.currencies: list[str] = []
        self.fx_rates: list[Conversion] = []
        self._fx_numbers: dict[Conversion, int] = {}
        self._prices: list[PriceRow] = []
        self._numbers: dict[tuple[Choice, Fraction | None, Fraction], int] = {}
        self._deciding: dict[Choice, _Deciding] = {}
        self._answers: dict[Question, int] = {}
        self._by_content: dict[tuple[int, tuple[tuple[str, int], ...]], int] = {}
        self._slots: list[dict[str, int]] = []
        self._match: list[int] = []
        self._arrays: Arrays | None = None
        self._before: Arrays | None = None
        self._conversions: dict[tuple[int, int, int], int] = {}

    def answer(self, question: Question, time: int, start_time: int) -> int:
        """Number of the answer to a question; two questions with one answer have one number."""
        known = self._answers.get(question)
        if known is not None:
            return known
        resolution = self._resolution(question, time, start_time)
        attributes, bands = dict(question.attributes), dict(zip(self.book.time_bands, question.bands, strict=True))
        slots = {name: self._number(choice, attributes, bands) for name, choice in sorted(resolution.choices.items())}
        content = (MATCH_KINDS.index(resolution.match_kind), tuple(slots.items()))
        if content not in self._by_content:
            self._by_content[content] = len(self._match)
            self._slots.append(slots)
            self._match.append(content[0])
            self._arrays = None
        self._answers[question] = self._by_content[content]
        return self._by_content[content]

    def arrays(self) -> Arrays:
        """The answers so far; what was returned before stays as it is."""
        if self._arrays is None:
            names = list(dict.fromkeys([*FIXED_SLOTS, *(name for each in self._slots for name in each)]))
            self._arrays = Arrays.of(names, self._slots, self._match, self._prices, self.currencies, self._before)
            self._before = self._arrays
        return self._arrays

    def payer_currencies(self) -> Int64Array:
        """By payer, its billing currency as a number; -1: the pricing currency."""
        names = [each.billing_currency for each in self.payers.payers]
        return np.array([-1 if name is None else self.currency(name) for name in names], np.int64)

    def currency(self, name: str) -> int:
        if name not in self.currencies:
            self.currencies.append(name)
        return self.currencies.index(name)

    def conversion(self, currency: int, payer: int, day: int) -> int:
        """The exchange rate of a payer for a pricing currency on a day since 1970: index into `fx_rates`; -1: none."""
        key = (currency, payer, day)
        if key not in self._conversions:
            facts = self.payers.payers[payer]
            date = _EPOCH + timedelta(days=day)
            found = conversion(facts.fx, self.fx, self.currencies[currency], facts.billing_currency or "", date)
            self._conversions[key] = -1 if found is None else self._fx_rate(found)
        return self._conversions[key]

    def time_bands_of(self, answers: set[int]) -> set[TimeBands]:
        """The time bands of all rates in some answers."""
        rates = [self._prices[number].rate for answer in answers for number in self._slots[answer].values()]
        return {each for rate in rates for each in rate.sku.modifiers if isinstance(each, TimeBands)}

    def fx_ratios(self) -> Ratios:
        """The exchange rates so far, by number."""
        return ratios([Fraction(each.rate) for each in self.fx_rates])

    @property
    def full(self) -> bool:
        """Time to begin a new table."""
        return len(self._answers) > _ANSWERS_MAX or len(self._conversions) > _ANSWERS_MAX

    def _fx_rate(self, rate: Conversion) -> int:
        if rate not in self._fx_numbers:
            self._fx_numbers[rate] = len(self.fx_rates)
            self.fx_rates.append(rate)
        return self._fx_numbers[rate]

    def _resolution(self, question: Question, time: int, start_time: int) -> Resolution:
        """What holds, the rule for versions of accumulating rates included.

        Such a rate is selected once for a scope: a version that starts inside a billing period waits for the next one
        if another rate applied at the start (spec/rating.md 3).
        """
        asked = question.provider, question.model, dict(question.attributes), dict(question.labels)
        now = self.book.resolve(question.owners, *asked, time)
        if not self.book.accumulates or all(each.rate.start <= start_time for each in now.choices.values()):
            return now
        before = self.book.resolve(question.start_owners, *asked, start_time).choices
        choices = dict(now.choices)
        for name, choice in now.choices.items():
            waits = choice.rate.start > start_time and name in before
            if waits and (choice.rate.sku.accumulates or before[name].rate.sku.accumulates):
                choices[name] = before[name]
        return Resolution(now.match_kind, choices)

    def _number(self, choice: Choice, attributes: Mapping[str, str | None], bands: Mapping[TimeBands, int]) -> int:
        """The number of the price of a choice; what few values decide about it is looked up before any arithmetic."""
        deciding = self._deciding.get(choice)
        if deciding is None:
            deciding = self._deciding[choice] = _Deciding.of(choice)
        values = tuple(
            [attributes.get(name) for name in deciding.attributes] + [bands[each] for each in deciding.bands]
        )
        if values not in deciding.numbers:
            deciding.numbers[values] = self._number_of_factors(choice, attributes, bands)
        return deciding.numbers[values]

    def _number_of_factors(
        self, choice: Choice, attributes: Mapping[str, str | None], bands: Mapping[TimeBands, int]
    ) -> int:
        factor = factor_of(choice.rate, attributes, bands)
        # A list price with a value that only its own table lacks: it is not the rate that is paid.
        list_factor = factor_of(choice.listed, attributes, bands)
        listed = Fraction(1) if list_factor is None else list_factor
        key = (choice, factor, listed)
        if key not in self._numbers:
            self._numbers[key] = len(self._prices)
            monthly = choice.rate.sku.divide_by is None or choice.listed.sku.divide_by is None
            for days in MONTH_DAYS if monthly else (0,):
                self._prices.append(self._price(choice, factor, listed, days, monthly=monthly))
        return self._numbers[key]

    def _price(
        self, choice: Choice, factor: Fraction | None, listed: Fraction, days: int, *, monthly: bool
    ) -> PriceRow:
        sku = choice.rate.sku
        currency = self.currency(choice.rate.card.currency)
        if factor is None:
            return PriceRow(choice.rate, currency, (), monthly, None, Fraction(1), (), is_unknown=True)
        if sku.accumulates or isinstance(sku.model, Percentage):
            function = function_of(sku, units_of(sku, days))
            if not sku.accumulates:
                function = undiscounted(function)
            points = scope_points(choice, factor, listed, days, function)
            return PriceRow(choice.rate, currency, (), monthly, function, factor, tuple(points))
        points = plain_points(choice, factor, listed, days)
        return PriceRow(choice.rate, currency, thresholds_of(choice), monthly, None, factor, tuple(points))
