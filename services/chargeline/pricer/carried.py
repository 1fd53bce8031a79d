"""What a close hands to the next close of the account, as the column `carried` of its rows has it (docs/state.md).

Each close writes what it changed; what all of them wrote, in the order of the log, is what the next one begins with.
Amounts are whole picounits as text, instants microseconds, scopes their key in hexadecimal digits.
Source: spec/rating.md, sections 3 (Opening), 8, 9 and 12.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chargeline.domain.closing.close import Carried
from chargeline.domain.closing.commitments import Progress
from chargeline.domain.closing.credits import Drawn
from chargeline.domain.closing.entries import Period
from chargeline.domain.closing.minimum import SettledMinimum

_DRAWS = 2_000  # in one row: about 300 kB, a third of a message


@dataclass
class AccountCarried:
    """What the closes of one account have carried so far.

    Attributes:
        currencies: by billing currency.
        unpriced: by scope, what its minimum would have booked with an exchange rate: it is named once.
    """

    currencies: dict[str, Carried] = field(default_factory=dict)
    unpriced: dict[bytes, int] = field(default_factory=dict)


def carried_of(texts: Iterable[str]) -> AccountCarried:
    """What the rows of an account's closes carry, in the order of the log."""
    found = AccountCarried()
    for text in texts:
        said = json.loads(text)
        for key, amount in said.get("unpriced", {}).items():
            name = bytes.fromhex(key)
            found.unpriced[name] = found.unpriced.get(name, 0) + int(amount)
        for currency, changes in said.get("currencies", {}).items():
            found.currencies[currency] = _after(found.currencies.get(currency, Carried()), changes)
    return found


def held_of(text: str) -> dict[bytes, int]:
    """Scopes that owe T(0) from this close on, and the running amount that they begin with."""
    return {bytes.fromhex(key): int(amount) for key, amount in json.loads(text).get("held", {}).items()}


def has_terms(text: str) -> bool:
    """Whether it says anything of commitments, minimums or grants."""
    return bool(json.loads(text).get("currencies"))


def written(
    before: AccountCarried, after: Mapping[str, Carried], held: Mapping[bytes, int], unpriced: Mapping[bytes, int]
) -> list[str]:
    """What a close changed, a text for each of its last rows; none where it changed nothing.

    Args:
        unpriced: what this close could not convert.
    """
    texts, whole = [], dict[str, Any]()
    for currency, carried in after.items():
        known = before.currencies.get(currency, Carried())
        changes = _changes(known, carried)
        fresh = [_draw(each) for each in carried.drawn[len(known.drawn) :]]
        parts = [fresh[at : at + _DRAWS] for at in range(0, len(fresh), _DRAWS)]
        texts += [_text({"currencies": {currency: {"drawn": part}}}) for part in parts[:-1]]
        if parts:
            changes["drawn"] = parts[-1]
        if changes:
            whole.setdefault("currencies", {})[currency] = changes
    for name, amounts in (("held", held), ("unpriced", unpriced)):
        if amounts:
            whole[name] = {key.hex(): str(amount) for key, amount in amounts.items()}
    return [*texts, _text(whole)] if whole else texts


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _changes(before: Carried, after: Carried) -> dict[str, Any]:
    promised = {
        name: [str(each.counted), str(each.true_up_booked), *_ends(each.ended)]
        for name, each in after.commitments.items()
        if before.commitments.get(name) != each
    }
    minimums = [
        [*_ends(each.period), str(each.minimum), str(each.total), str(each.booked)]
        for each in after.minimums
        if each not in before.minimums
    ]
    used = {name: str(amount) for name, amount in after.used.items() if before.used.get(name) != amount}
    old = zip(before.drawn, after.drawn, strict=False)
    returned = {str(at): str(now.amount) for at, (was, now) in enumerate(old) if was.amount != now.amount}
    forfeited = sorted(after.forfeited - before.forfeited)
    found = {"commitments": promised, "minimums": minimums, "used": used, "returned": returned, "forfeited": forfeited}
    return {name: value for name, value in found.items() if value}


def _after(before: Carried, changes: Mapping[str, Any]) -> Carried:
    drawn = list(before.drawn)
    for at, amount in changes.get("returned", {}).items():
        each = drawn[int(at)]
        drawn[int(at)] = Drawn(each.grant_id, int(amount), each.event, each.sku_id, each.place)
    drawn += [_drawn(each) for each in changes.get("drawn", ())]
    minimums = {each.period: each for each in before.minimums}
    for start, end, *amounts in changes.get("minimums", ()):
        minimums[Period(start, end)] = SettledMinimum(Period(start, end), *map(int, amounts))
    promised = {
        name: Progress(int(counted), int(true_up), _period(start, end))
        for name, (counted, true_up, start, end) in changes.get("commitments", {}).items()
    }
    return Carried(
        {**before.commitments, **promised},
        {**before.used, **{name: int(amount) for name, amount in changes.get("used", {}).items()}},
        tuple(drawn),
        tuple(sorted(minimums.values(), key=lambda each: each.period.start)),
        before.forfeited | frozenset(changes.get("forfeited", ())),
    )


def _draw(each: Drawn) -> list[Any]:
    sku_id, project, period, of_minimum, commitment = each.place
    assert isinstance(period, Period)
    return [each.grant_id, str(each.amount), each.event, sku_id, project, *_ends(period), of_minimum, commitment]


def _drawn(stored: list[Any]) -> Drawn:
    grant_id, amount, event, sku_id, project, start, end, of_minimum, commitment = stored
    return Drawn(grant_id, int(amount), event, sku_id, (sku_id, project, Period(start, end), of_minimum, commitment))


def _ends(period: Period | None) -> list[int | None]:
    return [None, None] if period is None else [period.start, period.end]


def _period(start: int | None, end: int | None) -> Period | None:
    return None if start is None or end is None else Period(start, end)
