"""Spend commitments: what charges count for them, overage, cover of what was paid up front, true-up at the term's end.

With R = sum of `contracted_cost` in the term, a commitment of C with overage factor g bills B(R) = R up to C and
C + g * (R - C) above; its end adds max(0, C - R). Source: spec/rating.md, section 8.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from chargeline.domain.accounts import Commitment
from chargeline.domain.closing.entries import CORRECTION, Booked, Coordinate, Period, Scope, covers_sku, q12
from chargeline.domain.closing.proration import days_between
from chargeline.domain.money import PICOS

PeriodOf = Callable[[int], Period]  # the account's billing period of an instant


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
        is_purchased: its purchase, if paid up front, is booked.
    """

    counted: int = 0
    true_up_booked: int = 0
    is_purchased: bool = False


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
        purchases: one PURCHASE for each commitment paid up front whose term begins.
        beside: OVERAGE and COVER entries, by the place (0-based) of the entry that they stand beside.
        true_ups: at the end of a term, or their change by late events after it.
    """

    purchases: tuple[Booked, ...]
    beside: Mapping[int, tuple[Booked, ...]]
    true_ups: tuple[Booked, ...]
    progress: Mapping[str, Progress]


@dataclass
class _Counts:
    """R of each commitment, and which charge counted for which, so that a reversal finds its way back."""

    counted: dict[str, int]
    by_charge: dict[tuple[Coordinate, str | None], dict[str, int]] = field(default_factory=dict)

    def move(self, entry: Booked, fitting: Sequence[Commitment], amounts: Mapping[str, int]) -> dict[str, int]:
        """Count an entry: signed picounits by commitment, which sum to its contracted cost."""
        moved = self._up(entry, fitting, amounts) if entry.contracted_cost > 0 else self._down(entry, fitting)
        event = entry.corrects or entry.event
        charge = {} if event is None else self.by_charge.setdefault((event, entry.sku_id), {})
        for name, change in moved.items():
            self.counted[name] += change
            charge[name] = charge.get(name, 0) + change
        return moved

    def _up(self, entry: Booked, fitting: Sequence[Commitment], amounts: Mapping[str, int]) -> dict[str, int]:
        """Each takes what fits below its C; the last one takes what is left, at its overage factor."""
        rest = entry.contracted_cost
        moved: dict[str, int] = {}
        for each in fitting[:-1]:
            part = min(rest, max(0, amounts[each.commitment_id] - self.counted[each.commitment_id]))
            moved[each.commitment_id] = part
            rest -= part
        moved[fitting[-1].commitment_id] = rest
        return {name: part for name, part in moved.items() if part}

    def _down(self, entry: Booked, fitting: Sequence[Commitment]) -> dict[str, int]:
        """Taken off where the entry's charge counted, last one first; then, likewise, where anything counted."""
        rest = -entry.contracted_cost
        event = entry.corrects or entry.event
        charge = {} if event is None else self.by_charge.get((event, entry.sku_id), {})
        moved: dict[str, int] = {}
        for held in (charge, self.counted):
            for each in reversed(fitting):
                name = each.commitment_id
                part = min(rest, max(0, held.get(name, 0) + moved.get(name, 0)))
                moved[name] = moved.get(name, 0) - part
                rest -= part
        first = fitting[0].commitment_id
        moved[first] = moved.get(first, 0) - rest
        return {name: part for name, part in moved.items() if part}


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

    Source: spec/rating.md, sections 8 and 12.
    """
    # A term that ended in a period which was never closed has no true-up; one that is closed goes on for late events.
    ordered = sorted(
        (
            each
            for each in commitments
            if each.start < period.end and (each.end > period.start or each.commitment_id in progress)
        ),
        key=commitment_order,
    )
    amounts = {each.commitment_id: committed(each, period_of) for each in ordered}
    counts = _Counts({name: progress.get(name, Progress()).counted for name in amounts})
    beside = _beside_charges(entries, ordered, amounts, counts)
    true_ups = tuple(
        entry for each in ordered if (entry := _true_up(each, amounts, counts.counted, progress, period)) is not None
    )
    begun = [each for each in ordered if each.paid_up_front and not _known(progress, each).is_purchased]
    purchases = tuple(_purchase(each, amounts[each.commitment_id], period) for each in begun)
    ends: dict[str, Progress] = {}
    for each in ordered:
        name, known = each.commitment_id, _known(progress, each)
        changed = sum(entry.effective_cost for entry in true_ups if entry.scope == Scope(commitment_id=name))
        ends[name] = Progress(
            counts.counted[name], known.true_up_booked + changed, known.is_purchased or each.paid_up_front
        )
    return CommitmentClose(purchases, beside, true_ups, ends)


def _known(progress: Mapping[str, Progress], commitment: Commitment) -> Progress:
    return progress.get(commitment.commitment_id, Progress())


def _beside_charges(
    entries: Sequence[Booked], ordered: Sequence[Commitment], amounts: Mapping[str, int], counts: _Counts
) -> dict[int, tuple[Booked, ...]]:
    """OVERAGE and COVER entries by place, while the entries are counted in log order."""
    extra: dict[tuple[object, ...], tuple[int, Booked]] = {}  # OVERAGE by its charge, with the place it stands at
    beside: dict[int, list[Booked]] = {}
    for place, entry in enumerate(entries):
        fitting = [each for each in ordered if takes(each, entry)]
        if not fitting or entry.contracted_cost == 0:
            continue
        before = dict(counts.counted)
        moved = counts.move(entry, fitting, amounts)
        for each in (each for each in fitting if each.commitment_id in moved):
            name = each.commitment_id
            limit, old, new = amounts[name], before[name], counts.counted[name]
            factor = Fraction(each.overage_factor)
            _add_overage(extra, place, entry, name, overage(new, limit, factor) - overage(old, limit, factor))
            paid = covered(new, limit) - covered(old, limit)
            if each.paid_up_front and paid:
                beside.setdefault(place, []).append(_cover(entry, name, paid))
    for place, booked in extra.values():
        if booked.billed_cost:
            beside.setdefault(place, []).append(booked)
    return {place: tuple(made) for place, made in sorted(beside.items())}


def _add_overage(
    extra: dict[tuple[object, ...], tuple[int, Booked]], place: int, entry: Booked, name: str, amount: int
) -> None:
    charge: object = place if entry.event is None else (entry.event, entry.corrects, entry.sku_id)
    _, known = extra.get((name, charge), (0, None))
    total = amount + (0 if known is None else known.billed_cost)
    extra[name, charge] = (
        place,
        replace(
            _beside(entry, name, "OVERAGE", "ADJUSTMENT"), sku_price_id=None, billed_cost=total, effective_cost=total
        ),
    )


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


def _true_up(
    commitment: Commitment,
    amounts: Mapping[str, int],
    counted: Mapping[str, int],
    progress: Mapping[str, Progress],
    period: Period,
) -> Booked | None:
    """Due in the period in which the term ends; afterwards late events of the term change it."""
    name = commitment.commitment_id
    if commitment.end > period.end:
        return None
    amount = shortfall(counted[name], amounts[name]) - _known(progress, commitment).true_up_booked
    if amount == 0:
        return None
    return Booked(
        "TRUE_UP",
        "ADJUSTMENT",
        commitment.end - 1,
        0,
        0 if commitment.paid_up_front else amount,
        amount,
        charge_class=CORRECTION if commitment.end <= period.start else None,
        scope=Scope(commitment_id=name),
    )
