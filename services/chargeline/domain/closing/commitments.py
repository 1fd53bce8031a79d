"""Spend commitments: what charges count for them, overage, cover of what was paid up front, true-up at the term's end.

With R = sum of `contracted_cost` in the term, a commitment of C with overage factor g bills B(R) = R up to C and
C + g * (R - C) above; its end adds max(0, C - R). Source: spec/rating.md, section 8.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.accounts import Commitment
from chargeline.domain.closing.charges import by_charge, charge_keys, netted
from chargeline.domain.closing.entries import CORRECTION, Booked, Period, PeriodOf, Scope, covers_sku, q12
from chargeline.domain.closing.proration import days_between
from chargeline.domain.money import PICOS


def commitment_order(commitment: Commitment) -> tuple[int, int, bytes]:
    """In which order commitments take charges: lowest priority number, earliest end, id."""
    return commitment.priority, commitment.end, commitment.commitment_id.encode()


def takes(commitment: Commitment, entry: Booked) -> bool:
    """Whether an entry may count for a commitment."""
    return commitment.start <= entry.event_time < commitment.end and covers_sku(commitment.sku_ids, entry.sku_id)


@dataclass(frozen=True)
class Progress:
    """Where a commitment stands after a close.

    Attributes:
        counted: R, picounits.
        true_up_booked: what its end has booked so far.
        ended: the closed period that holds its last instant.
    """

    counted: int = 0
    true_up_booked: int = 0
    ended: Period | None = None


def committed(commitment: Commitment, period_of: PeriodOf) -> int:
    """C in picounits: the amount, by whole days of the billing periods that the term touches.

    It is the whole amount where the term is whole periods.
    """
    whole = days_between(period_of(commitment.start).start, period_of(commitment.end - 1).end)
    days = days_between(commitment.start, commitment.end)
    return q12(Fraction(commitment.amount) * Fraction(days, whole))


def overage(counted: int, amount: int, factor: Fraction) -> int:
    """B(R) - R in picounits: what the part of R above C costs beyond its contracted cost; rounded once."""
    return q12(Fraction(max(0, counted - amount), PICOS) * (factor - 1))


def covered(counted: int, amount: int) -> int:
    """The part of R that the purchase of C has paid."""
    return min(counted, amount)


def shortfall(counted: int, amount: int) -> int:
    """The true-up at the end of the term: max(0, C - R)."""
    return max(0, amount - counted)


@dataclass(frozen=True)
class CommitmentClose:
    """What commitments add to the entries of a period.

    Attributes:
        purchases: one PURCHASE for each commitment paid up front, at the first close of a period of its term.
        beside: OVERAGE and COVER entries, by the place (0-based) of the entry that they stand beside.
        true_ups: at the end of a term, or their change by late events after it.
    """

    purchases: tuple[Booked, ...]
    beside: Mapping[int, tuple[Booked, ...]]
    true_ups: tuple[Booked, ...]
    progress: Mapping[str, Progress]


def _moves(
    amount: int, fitting: Sequence[Commitment], amounts: Mapping[str, int], counted: Mapping[str, int]
) -> dict[str, int]:
    """Which commitment counts how much of an amount: signed picounits that sum to it.

    Each takes what fits below its C, the last one what is left, at its overage factor. What goes down leaves in the
    opposite order, the first one taking what is left: so the sum of charges alone decides where they stand.
    """
    rest, moved = abs(amount), dict[str, int]()
    for each in fitting[:-1] if amount > 0 else fitting[:0:-1]:
        name = each.commitment_id
        room = amounts[name] - counted[name] if amount > 0 else counted[name]
        moved[name] = min(rest, max(0, room))
        rest -= moved[name]
    moved[fitting[-1 if amount > 0 else 0].commitment_id] = rest
    sign = 1 if amount > 0 else -1
    return {name: sign * part for name, part in moved.items() if part}


def close_commitments(
    entries: Sequence[Booked],
    commitments: Iterable[Commitment],
    progress: Mapping[str, Progress],
    period: Period,
    period_of: PeriodOf,
) -> CommitmentClose:
    """Count the entries of a period, in log order, for the account's commitments.

    A charge, or the part of it that fits, counts for one commitment only. OVERAGE is one entry for each event, SKU and
    commitment, beside the last entry that moved it; COVER is one for each entry. Entries of several commitments stand
    in the order in which these take charges.

    Args:
        entries: events first, in log order, then what the close has booked so far; `contracted_cost` counts.
        commitments: those in the billing currency, any order.
        progress: from the close before; none for a new commitment.
        period_of: the account's billing period of an instant.

    Source: spec/rating.md, sections 8 and 12.
    """
    # A term that ended in a period which was never closed has no true-up; one that is known goes on for late events.
    ordered = sorted(
        (
            each
            for each in commitments
            if each.commitment_id in progress or (each.start < period.end and each.end > period.start)
        ),
        key=commitment_order,
    )
    amounts = {each.commitment_id: committed(each, period_of) for each in ordered}
    counted = {name: progress.get(name, Progress()).counted for name in amounts}
    beside = _beside_charges(entries, ordered, amounts, counted)
    true_ups: list[Booked] = []
    ends: dict[str, Progress] = {}
    for each in ordered:
        name = each.commitment_id
        known = progress.get(name, Progress())
        ended = period if known.ended is None and period.start < each.end <= period.end else known.ended
        change = 0 if ended is None else shortfall(counted[name], amounts[name]) - known.true_up_booked
        if ended is not None and change:
            true_ups.append(_true_up(each, change, ended, is_late=known.ended is not None))
        ends[name] = Progress(counted[name], known.true_up_booked + change, ended)
    begun = [each for each in ordered if each.paid_up_front and each.commitment_id not in progress]
    purchases = tuple(_purchase(each, amounts[each.commitment_id], period) for each in begun)
    return CommitmentClose(purchases, beside, tuple(true_ups), ends)


def _beside_charges(
    entries: Sequence[Booked], ordered: Sequence[Commitment], amounts: Mapping[str, int], counted: dict[str, int]
) -> dict[int, tuple[Booked, ...]]:
    """OVERAGE and COVER entries by place, while the entries are counted in log order; `counted` is moved on."""
    extra: dict[tuple[object, ...], tuple[int, Booked]] = {}  # OVERAGE by its charge, with the place it stands at
    beside: dict[int, list[Booked]] = {}
    keys = charge_keys(entries)
    net = netted(keys, [entry.contracted_cost for entry in entries])
    for place, _ in by_charge(keys):
        entry, key, amount = entries[place], keys[place], net[place]
        fitting = [each for each in ordered if takes(each, entry)]
        if not fitting or amount == 0:
            continue
        moved = _moves(amount, fitting, amounts, counted)
        for each in (each for each in fitting if each.commitment_id in moved):
            name = each.commitment_id
            limit, old = amounts[name], counted[name]
            counted[name] = new = old + moved[name]
            factor = Fraction(each.overage_factor)
            _, known = extra.get((name, key), (0, None))
            over = overage(new, limit, factor) - overage(old, limit, factor)
            extra[name, key] = place, _overage(entry, name, over + (0 if known is None else known.billed_cost))
            paid = covered(new, limit) - covered(old, limit)
            if each.paid_up_front and paid:
                beside.setdefault(place, []).append(_cover(entry, name, paid))
    for place, booked in extra.values():
        if booked.billed_cost:
            beside.setdefault(place, []).append(booked)
    return {place: tuple(made) for place, made in sorted(beside.items())}


def _overage(entry: Booked, name: str, amount: int) -> Booked:
    made = _beside(entry, name, "OVERAGE", "ADJUSTMENT")
    return replace(made, sku_price_id=None, billed_cost=amount, effective_cost=amount)


def _cover(entry: Booked, name: str, paid: int) -> Booked:
    """The covered part of a charge is not billed again; its effective cost stays with the charge."""
    return replace(_beside(entry, name, "COVER", entry.charge_category), billed_cost=-paid)


def _beside(entry: Booked, name: str, kind: str, category: str) -> Booked:
    return Booked(
        kind,
        category,
        entry.event_time,
        0,
        0,
        0,
        event=entry.event,
        event_id=entry.event_id,
        corrects=entry.corrects,
        sku_id=entry.sku_id,
        sku_price_id=entry.sku_price_id,
        project=entry.project,
        charge_class=entry.charge_class,
        scope=Scope(commitment_id=name),
        usage=entry.usage,
    )


def _purchase(commitment: Commitment, amount: int, period: Period) -> Booked:
    """Bills C; its cost becomes that of the usage which it covers, and of the true-up."""
    return Booked(
        "STANDING_FEE",
        "PURCHASE",
        max(commitment.start, period.start),
        0,
        amount,
        0,
        scope=Scope(commitment_id=commitment.commitment_id),
    )


def _true_up(commitment: Commitment, change: int, ended: Period, *, is_late: bool) -> Booked:
    """Due at the close of the period in which the term ends; afterwards late events of the term change it."""
    return Booked(
        "TRUE_UP",
        "ADJUSTMENT",
        commitment.end - 1,
        0,
        0 if commitment.paid_up_front else change,
        change,
        charge_class=CORRECTION if is_late else None,
        scope=Scope(commitment_id=commitment.commitment_id),
        usage=ended,
    )
