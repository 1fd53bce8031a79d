"""What rating looks at of the facts about accounts, for many events at once.

An account's facts change at a few instants; between them its events share one `Payer`, and so do all accounts of which
the same holds.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chargeline.domain.accounts import AccountFacts, Accounts, FxPolicy
from chargeline.domain.columns.exact import Int64Array
from chargeline.domain.rates.card import DEFAULT, Scope
from chargeline.domain.usage import Text

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Payer:
    """What decides about the price of an event, but for the event itself.

    Attributes:
        owners: of the scopes that have rate cards those that hold for the account, nearest first; default is the last.
        billing_currency: None: the pricing currency.
        known: a row of the account holds.
    """

    owners: tuple[Scope, ...] = (DEFAULT,)
    billing_currency: str | None = None
    billing_cycle_day: int = 1
    correction_months: int = 13
    fx: FxPolicy = field(default=FxPolicy())
    known: bool = False


class Payers:
    """The payers met so far, by number; 0 is an account without facts and cards.

    Args:
        scopes: whom there are rate cards for.
    """

    def __init__(self, accounts: Accounts, scopes: frozenset[Scope]) -> None:
        self.payers = [Payer()]
        self._accounts = accounts
        self._scopes = scopes
        self._numbers = {self.payers[0]: 0}
        self._named = {row.billing_account_id for row in accounts.accounts}
        self._named |= {row.billing_account_id for row in accounts.contracts}
        self._named |= {scope.name for scope in scopes if scope.kind == "account" and scope.name is not None}
        self._spans: dict[str, tuple[list[int], list[int]]] = {}

    def numbers(self, account: Text, time: Int64Array) -> Int64Array | None:
        """The payer of each event at an instant (microseconds); None: all have number 0."""
        if not self._named or not len(time):
            return None
        lowest, highest = int(time.min()), int(time.max())
        first = np.zeros(len(account.values), np.int64)
        changes: list[tuple[int, int, int]] = []  # (account's code, instant, number from then on)
        for code, name in enumerate(account.values.to_pylist()):
            if name in self._named:
                times, numbers = self._span(name)
                low, high = bisect_right(times, lowest), bisect_right(times, highest)
                first[code] = numbers[low]
                changes += [(code, times[at], numbers[at + 1]) for at in range(low, high)]
        if not changes:
            return first[account.codes] if first.any() else None
        place = _place(account.codes, time, [(code, instant) for code, instant, _ in changes], len(first))
        flat = sorted([(code, -1, number) for code, number in enumerate(first.tolist())] + changes)
        return np.array([number for _, _, number in flat], np.int64)[place]

    def changes(self, account: Text, start: Int64Array, end: Int64Array) -> BoolArray | None:
        """Whether the facts of the account change inside (start, end); None: nowhere."""
        if not self._named or not len(start):
            return None
        lowest, highest = int(start.min()), int(end.max()) - 1
        inside: list[tuple[int, int]] = []
        for code, name in enumerate(account.values.to_pylist()):
            if name in self._named:
                times, _ = self._span(name)
                inside += [(code, each) for each in times[bisect_right(times, lowest) : bisect_right(times, highest)]]
        if not inside:
            return None
        places = [_place(account.codes, time, inside, len(account.values)) for time in (start, end - 1)]
        return places[0] != places[1]

    def edges(self, account: str) -> tuple[int, ...]:
        """The instants at which something about an account changes, ascending."""
        return tuple(self._span(account)[0]) if account in self._named else ()

    def number_at(self, account: str, time: int) -> int:
        """The payer of an account at one instant."""
        if account not in self._named:
            return 0
        times, numbers = self._span(account)
        return numbers[bisect_right(times, time)]

    def _span(self, account: str) -> tuple[list[int], list[int]]:
        """The instants at which the facts change, and the payer before, between and after them."""
        if account not in self._spans:
            times = list(self._accounts.boundaries(account))
            before = times[0] - 1 if times else 0
            numbers = [self._number(self._accounts.at(account, time)) for time in (before, *times)]
            self._spans[account] = (times, numbers)
        return self._spans[account]

    def _number(self, facts: AccountFacts) -> int:
        owners = [
            *([] if facts.contract is None else [Scope("contract", facts.contract)]),
            Scope("account", facts.billing_account_id),
            *(Scope("group", group) for group in facts.groups),
        ]
        payer = Payer(
            (*(each for each in owners if each in self._scopes), DEFAULT),
            facts.billing_currency,
            facts.billing_cycle_day,
            facts.correction_months,
            facts.fx,
            facts.known,
        )
        if payer not in self._numbers:
            self._numbers[payer] = len(self.payers)
            self.payers.append(payer)
        return self._numbers[payer]


def _place(code: npt.NDArray[np.int32], time: Int64Array, changes: list[tuple[int, int]], accounts: int) -> Int64Array:
    """Where an event stands among all changes, sorted by account and time; every account has one before all times."""
    times = sorted({time for _, time in changes})
    step = len(times) + 1
    keys = np.array(sorted([(at, -1) for at in range(accounts)] + changes), np.int64)
    ranked = keys[:, 0] * step + np.searchsorted(times, keys[:, 1], "right")
    return np.searchsorted(ranked, code * np.int64(step) + np.searchsorted(times, time, "right"), "right") - 1
