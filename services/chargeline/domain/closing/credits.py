"""Credits: grants pay the positive entries of a period, in log order, and get back what negative entries return.

Source: spec/rating.md, section 9.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.accounts import Credit
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
    """What one grant has paid of one entry, in picounits, less what was given back since."""

    grant_id: str
    amount: int
    event: Coordinate | None
    sku_id: str | None
    scope: Scope | None
    project: str | None


@dataclass(frozen=True)
class CreditClose:
    """Entries of credits, FORFEIT last; the balance of each grant in picounits; what stays drawn, oldest first."""

    entries: tuple[Booked, ...]
    balances: Mapping[str, int]
    drawn: tuple[Drawn, ...]


def open_amounts(entries: Sequence[Booked]) -> list[int]:
    """What credits see of each entry: its billed cost after the entries of its own charge are netted.

    A discount, a cap, or the cover of a commitment lowers the positive entries of its own event and SKU, the nearest
    before it first: credits pay what is left of a charge. A record's reversals are netted apart from its new charge.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    key: tuple[object, ...] = ()
    for place, entry in enumerate(entries):
        if entry.event is not None:
            key = (entry.event, entry.corrects, entry.sku_id)
        elif not _is_beside(entry):  # an entry beside a charge without an event follows it, and shares its key
            key = (place,)
        groups.setdefault(key, []).append(place)
    left = [0] * len(entries)
    for places in groups.values():
        amounts = _netted([entries[place].billed_cost for place in places])
        for place, amount in zip(places, amounts, strict=True):
            left[place] = amount
    return left


def _netted(amounts: Sequence[int]) -> list[int]:
    """Amounts with the same sum, none of the sign opposite to it."""
    sign = 1 if sum(amounts) >= 0 else -1
    left = [sign * each for each in amounts]
    for place, amount in enumerate(left):
        if amount >= 0:
            continue
        for other in [*range(place - 1, -1, -1), *range(place + 1, len(left))]:
            part = min(-left[place], max(0, left[other]))
            left[place] += part
            left[other] -= part
    return [sign * each for each in left]


class _Draws:
    """Balances and draws while the entries of a period pass."""

    def __init__(self, grants: Sequence[Credit], balances: Mapping[str, int], drawn: Iterable[Drawn]) -> None:
        self.grants = sorted(grants, key=order_of_use)
        self.balances = {each.grant_id: balances.get(each.grant_id, q12(Fraction(each.amount))) for each in grants}
        self.drawn = list(drawn)
        self._places: dict[tuple[object, ...], list[int]] = {}
        for place in range(len(self.drawn)):
            self._index(place)

    def _index(self, place: int) -> None:
        each = self.drawn[place]
        if each.event is not None:
            self._places.setdefault((each.event, each.sku_id), []).append(place)
        if each.scope is not None:
            self._places.setdefault((each.scope, each.project), []).append(place)

    def pay(self, entry: Booked, amount: int) -> list[tuple[Credit, int]]:
        """(grant, what it pays) in order of use, until the amount or the grants are used up."""
        paid: list[tuple[Credit, int]] = []
        for grant in self.grants:
            part = min(amount, self.balances[grant.grant_id])
            if part <= 0 or not pays(grant, entry):
                continue
            self.balances[grant.grant_id] -= part
            amount -= part
            paid.append((grant, part))
            drawn = Drawn(grant.grant_id, part, entry.event, entry.sku_id, entry.scope, entry.project)
            self.drawn.append(drawn)
            self._index(len(self.drawn) - 1)
        return paid

    def give_back(self, entry: Booked, amount: int) -> list[tuple[Credit, int]]:
        """(grant, what it gets back), last drawn first, at most what the entry's charge has drawn."""
        key: tuple[object, ...] = (entry.scope, entry.project)
        if entry.event is not None:
            key = (entry.corrects or entry.event, entry.sku_id)
        known = {grant.grant_id: grant for grant in self.grants}
        returned: list[tuple[Credit, int]] = []
        for place in reversed(self._places.get(key, [])):
            each = self.drawn[place]
            part = min(amount, each.amount)
            if part <= 0 or each.grant_id not in known:
                continue
            self.drawn[place] = replace(each, amount=each.amount - part)
            self.balances[each.grant_id] += part
            amount -= part
            returned.append((known[each.grant_id], part))
        return returned


def close_credits(
    entries: Sequence[Booked],
    grants: Sequence[Credit],
    balances: Mapping[str, int],
    drawn: Sequence[Drawn],
    period: Period,
) -> CreditClose:
    """Draw the account's grants over the entries of a period, then forfeit what has expired by its end.

    Args:
        entries: all of the period in log order, commitments included; `billed_cost` is paid.
        grants: those in the billing currency, any order.
        balances: picounits, from the close before; a new grant has its amount.
        drawn: from the closes before.

    Returns:
        A COVER entry for each part that a prepaid grant pays, a CREDIT entry for a granted one; both negative, and
        positive where a grant gets back. Never more than a grant's balance, never more than a charge.

    Source: spec/rating.md, section 9.
    """
    # What expired in a period that was never closed is nobody's business any more.
    known = [each for each in grants if each.grant_id in balances or not _is_over(each.expires_at, period.start)]
    state = _Draws(known, balances, drawn)
    made: list[Booked] = []
    for entry, amount in zip(entries, open_amounts(entries), strict=True):
        if amount > 0:
            made += [_credit(entry, grant, part) for grant, part in state.pay(entry, amount)]
        elif amount < 0:
            made += [_credit(entry, grant, -part) for grant, part in state.give_back(entry, -amount)]
    for grant in state.grants:
        rest = state.balances[grant.grant_id]
        if rest > 0 and _is_over(grant.expires_at, period.end):
            state.balances[grant.grant_id] = 0
            made.append(_forfeit(grant, rest))
    return CreditClose(tuple(made), state.balances, tuple(each for each in state.drawn if each.amount))


def _is_over(expires_at: int | None, at: int) -> bool:
    return expires_at is not None and expires_at <= at


def _of_a_minimum(entry: Booked) -> bool:
    return entry.entry_kind == "TRUE_UP" and (entry.scope is None or entry.scope.commitment_id is None)


def _is_beside(entry: Booked) -> bool:
    return entry.entry_kind in {"COVER", "OVERAGE"}


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
