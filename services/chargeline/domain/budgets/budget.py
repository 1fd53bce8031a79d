"""Budgets: what an owner may spend in a period, and which budgets hold at a time.

A budget is named by its scope and its period; setting it again records a further version with its own time of
validity, and nothing recorded is ever edited. The levels are account, team, project, experiment; a scope names the
account and any of the others, and covers what carries all the names that it has.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.budgets.periods import Period, period_of
from chargeline.domain.currencies import is_currency
from chargeline.domain.documents import BadDocument, Problem, read_json
from chargeline.domain.fields import AMOUNT
from chargeline.domain.money import NotANumber, parse_decimal, plain, rounded

LEVELS = ("team", "project", "experiment")
_HUNDRED = Fraction(100)
_ESCAPED = {"%": "%25", ":": "%3A", "@": "%40", "{": "%7B", "}": "%7D"}


@dataclass(frozen=True)
class Scope:
    """Whose spend it is; None: whoever's."""

    billing_account_id: str
    team: str | None = None
    project: str | None = None
    experiment: str | None = None

    @property
    def path(self) -> str:
        """The scope in Redis keys: acme, acme:team:search, acme:team:search:project:rank …

        In a name, the characters % : @ { } are percent-encoded.
        """
        parts = [_escaped(self.billing_account_id)]
        for level in LEVELS:
            name = getattr(self, level)
            if name is not None:
                parts += [level, _escaped(name)]
        return ":".join(parts)

    def covers(self, team: str | None, project: str | None, experiment: str | None) -> bool:
        """Whether spend of the same account with these names belongs to it."""
        return (
            self.team in (None, team)
            and self.project in (None, project)
            and self.experiment in (None, experiment)
        )  # fmt: skip


@dataclass(frozen=True)
class Threshold:
    """A share of the limit in percent, or an amount."""

    number: Decimal
    is_percent: bool

    def of(self, limit: Decimal) -> Decimal:
        """The amount, at most 12 decimals, halves away from zero."""
        return rounded(Fraction(limit) * Fraction(self.number) / _HUNDRED, 12) if self.is_percent else self.number

    def __str__(self) -> str:
        return plain(self.number) + ("%" if self.is_percent else "")


@dataclass(frozen=True)
class Budget:
    """One version's terms.

    Attributes:
        limit: what may be spent in a period, in `currency`, > 0.
        soft: at these the state is WARN, ascending by amount.
        hard: at this the state is EXCEEDED, and a gateway stops.
    """

    scope: Scope
    period: Period
    limit: Decimal
    currency: str
    soft: tuple[Threshold, ...]
    hard: Threshold

    @property
    def budget_id(self) -> str:
        """Scope and period: what a further version of it keeps."""
        return f"{self.scope.path}@{self.period}"


@dataclass(frozen=True)
class BudgetVersion:
    """A budget from a time on. `effective_from`: microseconds since 1970 UTC; `budget` None: removed from then on."""

    budget_id: str
    effective_from: int
    budget: Budget | None


def valid_budgets(versions: Iterable[BudgetVersion], at: int) -> dict[str, Budget]:
    """The budgets that hold at an instant (microseconds since 1970 UTC), by id, sorted.

    Of each id the version with the latest effective_from <= `at`; of equal ones the one recorded last.

    Args:
        versions: visible ones, in the order of the log.
    """
    newest: dict[str, BudgetVersion] = {}
    for each in versions:
        known = newest.get(each.budget_id)
        if each.effective_from <= at and (known is None or each.effective_from >= known.effective_from):
            newest[each.budget_id] = each
    return {name: newest[name].budget for name in sorted(newest) if newest[name].budget is not None}  # type: ignore[misc]


def threshold_of(text: str) -> Threshold:
    """A threshold of its text: 80% or 1200.50. Raises NotANumber, also for a threshold that is not above 0."""
    is_percent = text.endswith("%")
    number = parse_decimal(text.removesuffix("%"))
    if number <= 0 or _is_too_fine(number):
        raise NotANumber(text)
    return Threshold(number, is_percent)


def budget_of(
    scope: Scope, period: str, limit: str, currency: str, soft: Iterable[str] = (), hard: str = "100%"
) -> Budget:
    """A budget of its texts, checked.

    Raises:
        BadDocument: with every fault.
    """
    problems: list[Problem] = []
    found_period, found_limit, thresholds = Period("monthly"), Decimal(1), []
    try:
        found_period = period_of(period)
    except ValueError as error:
        problems.append(Problem("BAD_PERIOD", str(error)))
    try:
        found_limit = parse_decimal(limit)
        if found_limit <= 0 or _is_too_fine(found_limit):
            raise NotANumber(limit)
    except NotANumber:
        problems.append(Problem("BAD_NUMBER", f"the limit {limit} is not a plain number above 0 of 12 decimals"))
    for text in (*soft, hard):
        try:
            thresholds.append(threshold_of(text))
        except NotANumber:
            problems.append(Problem("BAD_NUMBER", f"the threshold {text} is not a percentage such as 80% or an amount"))
    if not is_currency(currency):
        problems.append(Problem("BAD_CURRENCY", f"{currency} is no currency"))
    if problems:
        raise BadDocument(problems)
    *softs, last = thresholds
    above = [each for each in softs if each.of(found_limit) >= last.of(found_limit)]
    if above:
        raise BadDocument([Problem("BAD_ORDER", f"the soft threshold {above[0]} is not below the hard one, {last}")])
    ordered = sorted(set(softs), key=lambda each: (each.of(found_limit), str(each)))
    return Budget(scope, found_period, found_limit, currency, tuple(ordered), last)


def budget_to_json(budget: Budget) -> str:
    """The canonical text of a fact."""
    scope = {"account": budget.scope.billing_account_id} | {
        level: getattr(budget.scope, level) for level in LEVELS if getattr(budget.scope, level) is not None
    }
    document = {
        "scope": scope,
        "period": str(budget.period),
        "limit": plain(budget.limit),
        "currency": budget.currency,
        "soft": [str(each) for each in budget.soft],
        "hard": str(budget.hard),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def budget_from_json(text: str) -> Budget:
    """The budget of a fact. Raises BadDocument if no `budgets set` would have let it through."""
    document = read_json(text)
    try:
        scope = document["scope"]
        names = {level: scope.get(level) for level in LEVELS}
        return budget_of(
            Scope(scope["account"], **names),
            document["period"],
            document["limit"],
            document["currency"],
            document["soft"],
            document["hard"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadDocument([Problem("BAD_VALUE", f"not a budget: {type(error).__name__}")]) from error


def _is_too_fine(number: Decimal) -> bool:
    decimals, digits = AMOUNT
    return -int(number.as_tuple().exponent) > decimals or number >= Decimal(10**digits)


def _escaped(name: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in name)
