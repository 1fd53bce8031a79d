"""The close of one account's billing period, as one function.

1. Standing fees and recurring units.
2. Accumulating scopes: openings without events, volume settlements, minimums of rates.
3. Commitments over everything so far, in log order: purchase, overage and cover beside each charge, true-up.
4. The account minimum.
5. Credits over everything so far, in log order, then forfeits.

Source: spec/rating.md, section 3 (steps 11 and 12), 8, 9.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chargeline.domain.accounts import Commitment, Credit
from chargeline.domain.closing.commitments import CommitmentClose, Progress, close_commitments
from chargeline.domain.closing.credits import Drawn, close_credits
from chargeline.domain.closing.entries import Booked, Period, PeriodOf, Span
from chargeline.domain.closing.minimum import SettledMinimum, account_minimum, minimum_entries
from chargeline.domain.closing.settlement import ScopeTotal, scope_entries
from chargeline.domain.periods import billing_period


@dataclass(frozen=True)
class PeriodFacts:
    """What holds for an account in the period that closes; amounts in the billing currency but for rates.

    Attributes:
        period_of: the account's billing period of an instant; without facts, a calendar month.
        fees: entries of standing fees and recurring units, in the order in which they shall stand.
        minimums: (account minimum in picounits a period, when it is in force).
        commitments, grants: those in the billing currency, any order.
    """

    period_of: PeriodOf = lambda instant: Period(*billing_period(instant, 1))
    fees: tuple[Booked, ...] = ()
    minimums: tuple[tuple[int, Span], ...] = ()
    commitments: tuple[Commitment, ...] = ()
    grants: tuple[Credit, ...] = ()


@dataclass(frozen=True)
class Carried:
    """What one close hands to the next: commitments by id, grants (picounits used, draws, ids), minimums."""

    commitments: Mapping[str, Progress] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    drawn: tuple[Drawn, ...] = ()
    minimums: tuple[SettledMinimum, ...] = ()
    forfeited: frozenset[str] = frozenset()


def close_period(
    booked: Sequence[Booked],
    scopes: Sequence[ScopeTotal],
    facts: PeriodFacts,
    period: Period,
    carried: Carried,
) -> tuple[list[Booked], Carried]:
    """Close a billing period of one account.

    Args:
        booked: the entries of (account, period) in log order, late corrections of closed periods included.
        scopes: accumulating scopes of the period, also those without events whose rate the account has explicitly,
            and closed ones whose minimum a correction changes; any order.
        carried: from the close before; `Carried()` for the first.

    Returns:
        (entries of the close, in the order of the steps above and within a step in log order; what to carry on). The
        period's `billed_cost` is the sum over `booked` and these.
    """
    first = [*facts.fees, *scope_entries(scopes, period)]
    charges = [*booked, *first]
    spent = close_commitments(
        charges,
        facts.commitments,
        carried.commitments,
        period,
        facts.period_of,
    )
    before_minimum = [*_in_log_order(charges, spent), *spent.true_ups]
    least = account_minimum(facts.minimums, period)
    minimums, settled = minimum_entries(before_minimum, least, carried.minimums, period)
    # Purchases are no charges to credits: what is given for usage buys no commitment. They cost nothing themselves.
    paid = close_credits(
        [*before_minimum, *minimums],
        facts.grants,
        carried.used,
        carried.drawn,
        period,
        carried.forfeited,
    )
    beside = [entry for made in spent.beside.values() for entry in made]
    entries = [*first, *spent.purchases, *beside, *spent.true_ups, *minimums, *paid.entries]
    progress = {**carried.commitments, **spent.progress}
    used = {**carried.used, **paid.used}
    return entries, Carried(progress, used, paid.drawn, settled, paid.forfeited)


def _in_log_order(charges: Sequence[Booked], spent: CommitmentClose) -> Iterator[Booked]:
    for place, charge in enumerate(charges):
        yield charge
        yield from spent.beside.get(place, ())
