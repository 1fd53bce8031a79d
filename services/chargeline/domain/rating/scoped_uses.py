"""Usage that pays accumulating rates: from quantities to entries, with the state of their scopes.

What needs no state is made ready in `ScopedUses`; `book` reads the state and changes nothing: it tells what the unit
moves. `moved` folds the same out of booked entries. Source: spec/rating.md, sections 3 to 5, 10 and 11.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.codes import combine, dense_codes
from chargeline.domain.columns.exact import Exact, Int64Array, scaled
from chargeline.domain.columns.exact_rows import exact_of, put
from chargeline.domain.rates.book import Rate
from chargeline.domain.rating.accumulate import ScopedUsage, accumulate_amounts
from chargeline.domain.rating.accumulated_entries import KINDS as ACCUMULATED
from chargeline.domain.rating.accumulated_entries import AccumulatedEntries
from chargeline.domain.rating.entries import Entries
from chargeline.domain.rating.interval_parts import Parts
from chargeline.domain.rating.period_function import Piece, q12
from chargeline.domain.rating.price_arrays import BILL_ZERO, WINDOWS, Arrays, Points
from chargeline.domain.rating.price_points import KINDS, ListedBy, Point
from chargeline.domain.rating.scope_keys import rate_name, scope_keys
from chargeline.domain.rating.scope_states import KEY_BYTES, ScopeColumns, ScopeStates
from chargeline.domain.usage import Text, UsageColumns

BoolArray = npt.NDArray[np.bool_]
_DAY, _HOUR = 86_400_000_000, 3_600_000_000
_KIND = np.array([KINDS.index(kind) for kind in ACCUMULATED], np.int64)


@dataclass(frozen=True)
class ScopedUses:
    """n quantities that accumulate, in log order, those of one event in the order of its entries.

    Attributes:
        row: which event, ascending. place, leaf, fx, policy, start …: as in `Entries`.
        number: of the price.
        quantity: base units, weight included but for a percentage rate, whose transactions are priced one by one.
        weight: None: 1 everywhere.
        scope: which scope of the unit.
        function: by scope. lasting: by scope: it outlives its event. keys: 16 bytes by scope, zeros where not lasting.
    """

    arrays: Arrays
    leaves: tuple[str, ...]
    row: Int64Array
    place: Int64Array
    leaf: Int64Array
    number: Int64Array
    quantity: Exact
    weight: Int64Array | None
    policy: Int64Array | None
    fx: Int64Array | None
    start: Int64Array | None
    period_start: Int64Array | None
    period_end: Int64Array | None
    scope: Int64Array
    function: Int64Array
    lasting: BoolArray
    keys: bytes

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Int64Array, length: int) -> "ScopedUses":
        """The uses of the given events (ascending) of `length`, which are numbered anew; so are their scopes."""
        position = np.full(length, -1, np.int64)
        position[rows] = np.arange(len(rows))
        at = position[self.row]
        kept = np.flatnonzero(at >= 0)
        scope, first = dense_codes(self.scope[kept])
        old = self.scope[kept][first]
        keys = np.frombuffer(self.keys, np.uint8).reshape(-1, KEY_BYTES)[old].tobytes()
        return replace(
            self,
            row=at[kept],
            place=self.place[kept],
            leaf=self.leaf[kept],
            number=self.number[kept],
            quantity=self.quantity.take(kept),
            weight=_taken(self.weight, kept),
            policy=_taken(self.policy, kept),
            fx=_taken(self.fx, kept),
            start=_taken(self.start, kept),
            period_start=_taken(self.period_start, kept),
            period_end=_taken(self.period_end, kept),
            scope=scope,
            function=self.function[old],
            lasting=self.lasting[old],
            keys=keys,
        )


@dataclass(frozen=True)
class Moves:
    """The scopes of n uses. `keys`: 16 bytes by scope."""

    scope: Int64Array
    function: Int64Array
    lasting: BoolArray
    keys: bytes


def scopes_of(usage: UsageColumns, arrays: Arrays, parts: Parts, part: Int64Array, number: Int64Array) -> Moves:
    """The scope of each use: of the account, rate and window, and where the rate says so of attributes of the event.

    Args:
        part, number: of each use, its part and price.
    """
    length = len(part)
    rates = [arrays.rows[each].rate for each in range(len(arrays.rows))]
    identity: dict[str, int] = {}
    scoped = set(np.unique(number).tolist())
    name_of = np.array([identity.setdefault(rate_name(rate), len(identity)) if at in scoped else -1
                        for at, rate in enumerate(rates)], np.int32)  # fmt: skip
    window_of = np.array([_window(rate) for rate in rates], np.int64)
    event = parts.events(part)
    time, period = parts.at.time[part], parts.at.period_start[part]
    window = window_of[number]
    start = np.where(window == 1, time - time % _DAY, np.where(window == 2, time - time % _HOUR, period))
    by = {at: rates[at].sku.scope_by for at in scoped if rates[at].sku.scope_by}
    account = usage.texts["billing_account_id"]
    columns: list[tuple[npt.NDArray[Any], int]] = [
        (account.codes[event], len(account.values)),
        (name_of[number], len(identity)),
        *_ranked(start),
    ]
    columns += _ranked(np.where(window == 3, event, -1))
    # A day or hour lies in two billing periods where the facts of an account change the cycle day inside it.
    is_short = (window == 1) | (window == 2)
    columns += _ranked(np.where(is_short, period, -1))
    split = {name: _attribute(usage, name, number, event, by) for name in sorted({n for ns in by.values() for n in ns})}
    columns += [(codes + 1, len(values) + 1) for codes, values in split.values()]
    scope, first = combine(columns, length)
    keys = np.zeros((len(first), KEY_BYTES), np.uint8)
    lasting = (window != 3)[first]
    for names, is_in_short in product(dict.fromkeys([(), *by.values()]), (False, True)):
        mine = np.array([by.get(at, ()) == names for at in range(len(rates))], bool)
        at = np.flatnonzero(mine[number[first]] & lasting & (is_short[first] == is_in_short))
        if not len(at):
            continue
        use = first[at]
        texts = [_texts(split[name][0][use], split[name][1]) for name in names]
        if is_in_short:
            texts = [pa.array(period[use]).cast(pa.string()), *texts]
        found = scope_keys(
            account.take(event[use]),
            Text(name_of[number[use]], pa.array(list(identity), pa.string())),
            start[use],
            texts,
        )
        keys[at] = np.frombuffer(found, np.uint8).reshape(-1, KEY_BYTES)
    return Moves(scope, arrays.function[number[first]], lasting, keys.tobytes())


def book(uses: ScopedUses, states: ScopeStates, before: ScopeStates | None) -> tuple[Entries, ScopeStates]:
    """The entries of the uses, and what they change of the scopes. The states are read, not changed.

    Args:
        states: the scopes as they are known.
        before: what a unit that is still being committed will change of them.
    """
    arrays = uses.arrays
    known = states.take(uses.keys)
    if before is not None and len(before):
        known = known.plus(before.take(uses.keys))
    if not uses.lasting.all():
        fresh = np.flatnonzero(~uses.lasting)
        known = known.put(fresh, ScopeColumns.empty(len(fresh)))
    fees = arrays.rate_functions.fee[uses.function[uses.scope]]
    usage = ScopedUsage(
        uses.scope,
        uses.quantity,
        arrays.factor[uses.number],
        np.ones(len(uses), bool) if uses.policy is None else uses.policy != BILL_ZERO,
        None,
        arrays.factors,
        None if uses.weight is None else np.where(fees, uses.weight, 1),
    )
    found, after, amounts = accumulate_amounts(arrays.rate_functions, uses.function, usage, known)
    is_moved = np.zeros(len(uses.lasting), bool)
    is_moved[uses.scope[usage.counts]] = True
    at = np.flatnonzero(uses.lasting & is_moved)
    changes = ScopeStates.of(_rows(uses.keys, at), after.less(known).take(at))
    return _entries(uses, found, usage.counts, amounts), changes


def _entries(uses: ScopedUses, found: AccumulatedEntries, counts: BoolArray, amounts: Exact) -> Entries:
    arrays, use = uses.arrays, found.row
    number = uses.number[use]
    point = arrays.scope_point(number, _KIND[found.kind], found.tier)
    points = arrays.points
    is_first = np.ones(len(use), bool)
    is_first[1:] = use[1:] != use[:-1]
    first = np.flatnonzero(is_first)
    stays = ~counts[use] | ~uses.lasting[uses.scope[use]]
    moves = first[~stays[first]]
    none = Exact(np.zeros(len(use), np.int64))
    count = np.zeros(len(use), np.int64)
    fees = arrays.rate_functions.fee[uses.function[uses.scope[use]]]
    weight = np.where(fees[moves], 1 if uses.weight is None else uses.weight[use[moves]], 0)
    count[moves] = weight
    return Entries(
        uses.row[use],
        uses.leaf[use],
        point,
        found.quantity,
        found.pricing,
        found.amount,
        _listed(found, point, points, None if uses.weight is None else np.where(fees, uses.weight[use], 1)),
        uses.leaves,
        points,
        place=uses.place[use],
        fx=_taken(uses.fx, use),
        policy=_taken(uses.policy, use),
        start=_taken(uses.start, use),
        period_start=_taken(uses.period_start, use),
        period_end=_taken(uses.period_end, use),
        scope=np.where(stays, -1, uses.scope[use]),
        moved=put(none, moves, uses.quantity.take(use[moves]).times(np.maximum(weight, 1))),
        moved_amount=put(none, moves, amounts.take(use[moves])),
        moved_count=count,
        price=None if (found.price.values < 0).all() else found.price,
        scope_keys=uses.keys,
    )


def _listed(found: AccumulatedEntries, point: Int64Array, points: Points, times: Int64Array | None) -> Exact:
    """The list cost of entries: of what is counted, of nothing, or what they cost.

    Args:
        times: so many transactions, each rounded by itself; None: 1.
    """
    listed, listed_by = found.amount, points.listed_by[point]
    at = np.flatnonzero(listed_by == ListedBy.QUANTITY)
    weight = np.ones(len(at), np.int64) if times is None else times[at]
    listed = put(listed, at, scaled(found.counted.take(at).over(weight), point[at], points.listed).times(weight))
    at = np.flatnonzero(listed_by == ListedBy.NOTHING)
    listed = put(listed, at, Exact(np.zeros(len(at), np.int64))) if len(at) else listed
    slow = [entry for entry in found.pieces if listed_by[entry] == ListedBy.QUANTITY]
    costs = [_list_cost(found.pieces[entry], points.points[point[entry]],
                        1 if times is None else int(times[entry])) for entry in slow]  # fmt: skip
    return put(listed, np.array(slow, np.int64), exact_of(costs)) if slow else listed


def _list_cost(piece: Piece, point: Point, times: int) -> int:
    return q12(Fraction(point.list_unit_price or 0) * piece.pricing_quantity / times) * times


def moved(scope: Int64Array, keys: bytes, quantity: Exact, amount: Exact, count: Int64Array) -> ScopeStates:
    """What booked entries changed of their scopes: the fold by which the state is found again.

    Args:
        scope: by entry, index into `keys` (16 bytes each, all different); -1: none.
        quantity, amount, count: by entry, as `Entries.moved`, `moved_amount`, `moved_count`; 0 on all but one of a use.
    """
    at = np.flatnonzero(scope >= 0)
    order = at[np.argsort(scope[at], kind="stable")]
    used, first = np.unique(scope[order], return_index=True)
    group = np.repeat(np.arange(len(used)), np.diff(np.append(first, len(order))))
    columns = ScopeColumns(
        quantity.take(order).sum_by(group, len(used)),
        amount.take(order).sum_by(group, len(used)),
        np.bincount(group, count[order], len(used)).astype(np.int64),
        np.ones(len(used), bool),
    )
    return ScopeStates.of(_rows(keys, used), columns)


def _window(rate: Rate) -> int:
    return WINDOWS.index(rate.sku.window)


def _attribute(
    usage: UsageColumns, name: str, number: Int64Array, event: Int64Array, by: dict[int, tuple[str, ...]]
) -> tuple[Int64Array, pa.StringArray]:
    """The values of an attribute by use; -1 where it is null or the rate does not look at it."""
    if name in usage.texts:
        text = usage.texts[name]
        codes, values = text.codes[event].astype(np.int64), text.values
    elif name in usage.plain:
        encoded = usage.plain[name].take(pa.array(event)).dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        values = encoded.dictionary
    else:
        return np.full(len(event), -1, np.int64), pa.array([], pa.string())
    looks = np.zeros(int(number.max(initial=0)) + 1, bool)
    looks[[at for at, names in by.items() if name in names]] = True
    return np.where(looks[number], codes, -1), values


def _texts(codes: Int64Array, values: pa.StringArray) -> pa.StringArray:
    return values.take(pa.array(codes, mask=codes < 0))


def _ranked(values: Int64Array) -> list[tuple[Int64Array, int]]:
    """Any numbers as a column of small codes."""
    codes, first = dense_codes(values)
    return [(codes, max(len(first), 1))]


def _rows(keys: bytes, at: Int64Array) -> bytes:
    return np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES)[at].tobytes()


def _taken(column: Int64Array | None, at: Int64Array) -> Int64Array | None:
    return None if column is None else column[at]
