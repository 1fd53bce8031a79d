"""Entries of a close as charges: what commitments and credits look at is what a charge comes to.

Source: spec/rating.md, sections 8 and 9; docs/rating.md (Closes).
"""

from collections.abc import Sequence

from chargeline.domain.closing.entries import Booked

ChargeKey = tuple[object, ...]
_BESIDE = {"COVER", "OVERAGE"}


def charge_keys(entries: Sequence[Booked]) -> list[ChargeKey]:
    """Which charge each entry belongs to.

    A charge is what one record, or one scope or fee, costs for one SKU at one instant. What a record takes back is a
    charge of its own beside what it books anew; a minimum is one beside what it is a minimum of. COVER and OVERAGE
    belong to the entry that they follow.
    """
    keys: list[ChargeKey] = []
    for entry in entries:
        if entry.entry_kind in _BESIDE and keys and entry.event is None:
            keys.append(keys[-1])
            continue
        about: object = (entry.event, entry.corrects)
        if entry.event is None:
            about = (entry.scope, entry.project, entry.entry_kind == "TRUE_UP")
        keys.append((about, entry.sku_id, entry.event_time))
    return keys


def by_charge(keys: Sequence[ChargeKey]) -> list[tuple[int, int]]:
    """(place of an entry, place of the first entry of its charge), charge by charge in the order of the first ones."""
    first: dict[ChargeKey, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    return sorted(((place, first[key]) for place, key in enumerate(keys)), key=lambda each: (each[1], each[0]))


def netted(keys: Sequence[ChargeKey], amounts: Sequence[int]) -> list[int]:
    """The amounts of entries after those of their own charge are netted: sums stay, and none has the other sign.

    A discount, a cap, or the cover of a commitment lowers the positive entries of its charge, the nearest before it
    first: commitments and credits take what is left of a charge.
    """
    groups: dict[ChargeKey, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    left = [0] * len(amounts)
    for places in groups.values():
        for place, amount in zip(places, _of_one_sign([amounts[place] for place in places]), strict=True):
            left[place] = amount
    return left


def _of_one_sign(amounts: Sequence[int]) -> list[int]:
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
