"""Credits: grants pay the positive entries of a period, in log order, and get back what negative entries return.

Source: spec/rating.md, section 9.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.accounts import Credit
from chargeline.domain.closing.charges import by_charge, charge_keys, netted
from chargeline.domain.closing.entries import Booked, Coordinate, Period, Scope, covers_sku, q12


def order_of_use(grant: Credit) -> tuple[int, bool, int, int, bytes]:
    """In which order grants are used: priority number, expiry (never is last), start, id."""
    expires_at = grant.expires_at or 0
    return grant.priority, grant.expires_at is None, expires_at, grant.effective_at, grant.grant_id.encode()


def pays(grant: Credit, entry: Booked) -> bool:
    """Whether a grant may pay an entry, whatever its balance."""
    in_time = grant.effective_at <= entry.event_time and not _is_over(grant.expires_at, entry.event_time)
    return in_time and covers_sku(grant.sku_ids, entry.sku_id) and (grant.covers_minimum or not _of_a_minimum(entry))


@dataclass(frozen=True)
class Drawn:
    """What one grant has paid of one entry, in picounits, less what was given back since.

    Attributes:
        event: the event behind the entry, as `Booked` names it; None: a fee, a scope, or a minimum.
        place: what a negative entry without an event looks for, see `_place`.
    """

    grant_id: str
    amount: int
    event: Coordinate | str | None
    sku_id: str | None
    place: tuple[object, ...]


@dataclass(frozen=True)
class CreditClose:
    """Entries of credits, FORFEIT last; what each grant has paid or forfeited, picounits; its draws, oldest first.

    Attributes:
        drawn: those of the closes before at their places, maybe with nothing left of them, then the new ones.
        forfeited: ids of grants whose rest was taken: they pay nothing more.
    """

    entries: tuple[Booked, ...]
    used: Mapping[str, int]
    drawn: tuple[Drawn, ...]
    forfeited: frozenset[str]


def open_amounts(entries: Sequence[Booked]) -> list[int]:
    """What credits see of each entry: its billed cost after the entries of its own charge are netted."""
    return netted(charge_keys(entries), [entry.billed_cost for entry in entries])


def _place(entry: Booked, period: Period) -> tuple[object, ...]:
    """SKU, project and billing period; minimums, and of them those of commitments, apart.

    A settlement or a smaller fee has no event: it gives back what charges of the same place have drawn.
    """
    commitment = entry.scope.commitment_id if _of_a_minimum(entry) and entry.scope is not None else None
    return entry.sku_id, entry.project, entry.usage or period, _of_a_minimum(entry), commitment


class _Draws:
    """Balances and draws while the entries of a period pass."""

    def __init__(
        self,
        grants: Sequence[Credit],
        used: Mapping[str, int],
        drawn: Iterable[Drawn],
        forfeited: Collection[str],
        period: Period,
    ) -> None:
        self.grants = sorted(grants, key=order_of_use)
        self._amounts = {each.grant_id: q12(Fraction(each.amount)) for each in grants}
        self.balances = {name: amount - used.get(name, 0) for name, amount in self._amounts.items()}
        self.drawn = list(drawn)
        self._usable = [each for each in self.grants if each.grant_id not in forfeited]
        self._period = period
        self._places: dict[tuple[object, ...], list[int]] = {}
        for number in range(len(self.drawn)):
            self._index(number)

    def _index(self, number: int) -> None:
        each = self.drawn[number]
        self._places.setdefault(each.place, []).append(number)
        if each.event is not None:
            self._places.setdefault((each.event, each.sku_id), []).append(number)

    @property
    def used(self) -> dict[str, int]:
        """What each grant has paid or forfeited."""
        return {name: amount - self.balances[name] for name, amount in self._amounts.items()}

    def pay(self, charge: Booked, amount: int) -> list[tuple[Credit, int]]:
        """(grant, what it pays) in order of use, until the amount or the grants are used up.

        Args:
            charge: the first entry of the charge, by which grants are chosen.
            amount: of one of its entries, picounits.
        """
        paid: list[tuple[Credit, int]] = []
        for grant in self._usable:
            part = min(amount, self.balances[grant.grant_id])
            if part <= 0 or not pays(grant, charge):
                continue
            self.balances[grant.grant_id] -= part
            amount -= part
            paid.append((grant, part))
            event = charge.corrects or charge.event
            self.drawn.append(Drawn(grant.grant_id, part, event, charge.sku_id, _place(charge, self._period)))
            self._index(len(self.drawn) - 1)
        return paid

    def give_back(self, charge: Booked, amount: int) -> list[tuple[Credit, int]]:
        """(grant, what it gets back), last drawn first, at most what the charge has drawn."""
        key: tuple[object, ...] = _place(charge, self._period)
        if charge.event is not None:
            key = (charge.corrects or charge.event, charge.sku_id)
        known = {grant.grant_id: grant for grant in self.grants}
        returned: list[tuple[Credit, int]] = []
        for number in reversed(self._places.get(key, [])):
            each = self.drawn[number]
            part = min(amount, each.amount)
            if part <= 0 or each.grant_id not in known:
                continue
            self.drawn[number] = replace(each, amount=each.amount - part)
            self.balances[each.grant_id] += part
            amount -= part
            returned.append((known[each.grant_id], part))
        return returned


def close_credits(
    entries: Sequence[Booked],
    grants: Sequence[Credit],
    used: Mapping[str, int],
    drawn: Sequence[Drawn],
    period: Period,
    forfeited: frozenset[str] = frozenset(),
) -> CreditClose:
    """Draw the account's grants over the entries of a period, then forfeit what has expired by its end.

    Args:
        entries: all of the period in log order, commitments included; `billed_cost` is paid.
        grants: those in the billing currency, any order.
        used, drawn, forfeited: from the closes before; `used` in picounits. What a grant gives is what the facts say
            now, less that.

    Returns:
        A COVER entry for each part that a prepaid grant pays, a CREDIT entry for a granted one; both negative, and
        positive where a grant gets back. Never more than a grant's balance, never more than a charge.

    Source: spec/rating.md, section 9.
    """
    state = _Draws(grants, used, drawn, forfeited, period)
    made: list[Booked] = []
    amounts = open_amounts(entries)
    for place, first in by_charge(charge_keys(entries)):
        entry, charge, amount = entries[place], entries[first], amounts[place]
        if amount > 0:
            made += [_credit(entry, grant, part) for grant, part in state.pay(charge, amount)]
        elif amount < 0:
            made += [_credit(entry, grant, -part) for grant, part in state.give_back(charge, -amount)]
    # Late events use a rest until the period of its last instant closes; what comes back after that goes at once.
    ends = {each.grant_id for each in grants if each.expires_at and period.start < each.expires_at <= period.end}
    for grant in state.grants:
        rest = state.balances[grant.grant_id]
        if rest > 0 and grant.grant_id in ends | forfeited:
            state.balances[grant.grant_id] = 0
            made.append(_forfeit(grant, rest))
    return CreditClose(tuple(made), state.used, tuple(state.drawn), forfeited | ends)


def _is_over(expires_at: int | None, at: int) -> bool:
    return expires_at is not None and expires_at <= at


def _of_a_minimum(entry: Booked) -> bool:
    """A true-up, also one of a commitment: both are what is paid for nothing used."""
    return entry.entry_kind == "TRUE_UP"


def _credit(entry: Booked, grant: Credit, amount: int) -> Booked:
    """What a prepaid grant covers stays in the effective cost of its charge; what is granted lowers it."""
    is_prepaid = grant.kind == "prepaid"
    return Booked(
        "COVER" if is_prepaid else "CREDIT",
        entry.charge_category if is_prepaid else "CREDIT",
        entry.event_time,
        0,
        -amount,
        0 if is_prepaid else -amount,
        event=entry.event,
        event_id=entry.event_id,
        corrects=entry.corrects,
        sku_id=entry.sku_id,
        sku_price_id=entry.sku_price_id if is_prepaid else None,
        project=entry.project,
        charge_class=entry.charge_class,
        scope=Scope(grant_id=grant.grant_id),
        credit_amount=amount,
    )


def _forfeit(grant: Credit, rest: int) -> Booked:
    """Takes the rest of an expired grant; what was bought and not used becomes a cost, but nothing is billed."""
    assert grant.expires_at is not None
    is_prepaid = grant.kind == "prepaid"
    return Booked(
        "FORFEIT",
        "ADJUSTMENT" if is_prepaid else "CREDIT",
        grant.expires_at - 1,
        0,
        0,
        rest if is_prepaid else 0,
        scope=Scope(grant_id=grant.grant_id),
        credit_amount=rest,
    )
