"""From usage to priced entries, for all events of a commit unit at once. Pure: the same columns give the same result.

Source: spec/rating.md, sections 2 to 7, 10, 11 and 14.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.codes import combine
from chargeline.domain.columns.exact import AMOUNT_LIMIT, Exact, Int64Array, product, scale, scaled
from chargeline.domain.rating.entries import Entries, converted, waived
from chargeline.domain.rating.interval_parts import Parts, parts_of
from chargeline.domain.rating.payers import Payers
from chargeline.domain.rating.price_arrays import BILL_FULL, STATUSES, Arrays
from chargeline.domain.rating.quantities import Found, Quantities, Uses
from chargeline.domain.rating.questions import Asker
from chargeline.domain.rating.rate_table import FIXED_SLOTS, MATCH_KINDS, REPORTED, RateTable
from chargeline.domain.rating.scoped_uses import ScopedUses, scopes_of
from chargeline.domain.usage import INPUT_LEAVES, Text, UsageColumns, token_leaves

BoolArray = npt.NDArray[np.bool_]

REASONS = (
    "TOO_LATE",
    "UNKNOWN_ACCOUNT",
    "UNKNOWN_MODEL",
    "NO_PRICE",
    "UNKNOWN_MODIFIER_VALUE",
    "CURRENCY_MISMATCH",
    "NO_FX_RATE",
)  # in order of precedence (spec/rating.md 14)
RATED = -1
_DAY = 86_400_000_000
_SHORTEST_MONTH_MS = 28 * 86_400_000
_PICOS, _MILLION = 10**12, 10**6


@dataclass(frozen=True)
class Priced:
    """What n events cost.

    Attributes:
        entries: of the rates that do not accumulate.
        uses: what accumulates, to be priced with the state of its scopes; None: nothing.
        reason: int64 by event: index into REASONS, or RATED.
        match: int64 by event: index into rate_table.MATCH_KINDS.
        currency: the billing currency; null where nothing was priced and the account does not name one.
        period_start, period_end: int64 microseconds, the billing period.
        overflow: events with an amount that no stored decimal can hold; their entries are to be dropped with them.
        not_allowed: likewise events with a price of their own from a source without the right; None: none.
        table: with the exchange rates.
    """

    entries: Entries
    uses: ScopedUses | None
    reason: Int64Array
    match: Int64Array
    currency: Text
    period_start: Int64Array
    period_end: Int64Array
    overflow: BoolArray
    not_allowed: BoolArray | None
    table: RateTable

    @property
    def refused(self) -> BoolArray:
        """Events that become dead letters."""
        return self.overflow if self.not_allowed is None else self.overflow | self.not_allowed

    def take(self, rows: Int64Array, length: int) -> "Priced":
        """The given events (ascending) of `length`, numbered anew."""
        if len(rows) == length:
            return self
        return Priced(
            self.entries.take(rows, length),
            None if self.uses is None else self.uses.take(rows, length),
            self.reason[rows],
            self.match[rows],
            self.currency.take(rows),
            self.period_start[rows],
            self.period_end[rows],
            self.overflow[rows],
            None if self.not_allowed is None else self.not_allowed[rows],
            self.table,
        )


def price(
    usage: UsageColumns, table: RateTable, append_times: Int64Array | None = None, *, accounts_required: bool = False
) -> Priced:
    """Price n events, any order, all of them valid.

    An event that cannot be rated is UNRATED with a reason and has no entries: nothing is ever priced at zero in
    silence.

    Args:
        append_times: int64 milliseconds; None: no event is too late.
        accounts_required: an account without facts is UNRATED.
    """
    leaves = token_leaves(usage)
    asker = Asker(usage, table)
    parts = parts_of(usage, table, asker)
    arrays = table.arrays()
    found = Quantities(usage, arrays, parts, leaves).found()
    reasons = _Reasons(usage.length)
    reasons.add_account(usage, table, append_times, accounts_required=accounts_required)
    reasons.add_missing(found, parts, arrays)
    uses, currency, fx = _currencies(usage, found.uses, parts, table, arrays, reasons)
    if found.foreign is not None:
        reasons.add("CURRENCY_MISMATCH", found.foreign)
    reason = reasons.first()
    if (reason != RATED).any():
        kept = np.flatnonzero(reason[parts.events(uses.part)] == RATED)
        uses, fx = uses.at(kept), None if fx is None else fx[kept]
        currency = np.where(reason == RATED, currency, -1)
    work = _Work(usage, parts, arrays, found.names, leaves, uses, fx)
    entries, scoped, overflow = work.entries(table)
    first = np.arange(usage.length) if parts.event is None else np.searchsorted(parts.event, np.arange(usage.length))
    at = parts.at
    return Priced(
        entries,
        scoped,
        reason,
        arrays.match[parts.answers if parts.event is None else parts.answers[first]],
        Text(currency.astype(np.int32), pa.array(table.currencies, pa.string())),
        at.period_start if parts.event is None else at.period_start[first],
        at.period_end if parts.event is None else at.period_end[first],
        overflow,
        found.not_allowed,
        table,
    )


class _Reasons:
    """Why events cannot be rated."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._found: dict[str, BoolArray] = {}

    def add(self, reason: str, events: BoolArray) -> None:
        if events.any():
            self._found[reason] = self._found.get(reason, np.zeros(self._length, bool)) | events

    def add_at(self, reason: str, events: Int64Array) -> None:
        if len(events):
            flags = np.zeros(self._length, bool)
            flags[events] = True
            self.add(reason, flags)

    def first(self) -> Int64Array:
        """By event, the first reason that holds."""
        reason = np.full(self._length, RATED, np.int64)
        for number in range(len(REASONS) - 1, -1, -1):
            if REASONS[number] in self._found:
                reason[self._found[REASONS[number]]] = number
        return reason

    def add_account(
        self, usage: UsageColumns, table: RateTable, append_times: Int64Array | None, *, accounts_required: bool
    ) -> None:
        payer = table.payers.numbers(usage.texts["billing_account_id"], usage.long("event_time"))
        if append_times is not None:
            self.add_at("TOO_LATE", _too_late(usage.long("event_time"), append_times, payer, table.payers))
        if accounts_required:
            known = np.array([each.known for each in table.payers.payers])
            self.add("UNKNOWN_ACCOUNT", ~(known[payer] if payer is not None else np.zeros(self._length, bool)))

    def add_missing(self, found: Found, parts: Parts, arrays: Arrays) -> None:
        if found.lacks.any():
            unknown = arrays.match[parts.answers] == MATCH_KINDS.index("NONE")
            self.add("UNKNOWN_MODEL", parts.any_of(found.lacks & unknown, self._length))
            self.add("NO_PRICE", parts.any_of(found.lacks & ~unknown, self._length))
        if arrays.any_unknown:
            self.add_at("UNKNOWN_MODIFIER_VALUE", parts.events(found.uses.part[arrays.unknown[found.uses.number]]))


def _too_late(time: Int64Array, append_times: Int64Array, payer: Int64Array | None, payers: Payers) -> Int64Array:
    """Events that lie further back than corrections of their account reach."""
    months_of = np.array([each.correction_months for each in payers.payers], np.int64)
    least = int(months_of.min())
    suspects = np.flatnonzero(time // 1000 < append_times - least * _SHORTEST_MONTH_MS)
    if not len(suspects):
        return suspects
    months = months_of[np.zeros(len(suspects), np.int64) if payer is None else payer[suspects]]
    return suspects[time[suspects] < months_before(append_times[suspects] * 1000, months)]


def months_before(time: Int64Array, months: Int64Array) -> Int64Array:
    """The same time of day so many months earlier (microseconds); a day that the month lacks is its last day."""
    day = time // _DAY
    month = day.astype("datetime64[D]").astype("datetime64[M]")
    number = day - month.astype("datetime64[D]").astype(np.int64)
    first = (month - months).astype("datetime64[D]").astype(np.int64)
    last = (month - months + 1).astype("datetime64[D]").astype(np.int64) - 1
    return np.minimum(first + number, last) * _DAY + time % _DAY


def _currencies(
    usage: UsageColumns, uses: Uses, parts: Parts, table: RateTable, arrays: Arrays, reasons: _Reasons
) -> tuple[Uses, Int64Array, Int64Array | None]:
    """(uses, billing currency by event, exchange rate by use; None: nothing is converted)."""
    length = usage.length
    pricing = arrays.currency[uses.number]
    event = parts.events(uses.part)
    billing_of = table.payer_currencies()
    if parts.at.payer is None or not (billing_of >= 0).any():
        currency = np.full(length, -1, np.int64)
        if len(arrays.currencies) == 1:
            currency[event] = 0
            return uses, currency, None
        currency[event[::-1]] = pricing[::-1]
        reasons.add_at("CURRENCY_MISMATCH", event[pricing != currency[event]])
        return uses, currency, None
    first = np.arange(length) if parts.event is None else np.searchsorted(parts.event, np.arange(length))
    currency = billing_of[parts.at.payer[first]]
    named = currency >= 0
    own = np.full(length, -1, np.int64)
    own[event[::-1]] = pricing[::-1]
    currency = np.where(named, currency, own)
    reasons.add_at("CURRENCY_MISMATCH", event[~named[event] & (pricing != currency[event])])
    fx = np.full(len(uses), -1, np.int64)
    at = np.flatnonzero(named[event] & (pricing != currency[event]))
    if not len(at):
        return uses, currency, None
    payer = parts.at.payer[first][event[at]]
    day = parts.at.time[uses.part[at]] // _DAY
    lowest = int(day.min())
    codes, firsts = combine(
        [
            (pricing[at], len(table.currencies)),
            (payer, len(table.payers.payers)),
            (day - lowest, int(day.max()) - lowest + 1),
        ],
        len(at),
    )
    rates = [table.conversion(int(pricing[at[each]]), int(payer[each]), int(day[each])) for each in firsts.tolist()]
    fx[at] = np.array(rates, np.int64)[codes]
    reasons.add_at("NO_FX_RATE", event[at[fx[at] < 0]])
    return uses, currency, fx


class _Work:
    """The uses of rated events, on their way to entries."""

    def __init__(
        self,
        usage: UsageColumns,
        parts: Parts,
        arrays: Arrays,
        names: tuple[str, ...],
        leaves: dict[str, Int64Array],
        uses: Uses,
        fx: Int64Array | None,
    ) -> None:
        self._usage = usage
        self._parts = parts
        self._arrays = arrays
        self._names = names
        self._leaves = leaves
        self._uses = uses
        self._fx = fx
        self._event = parts.events(uses.part)
        weight = usage.longs.get("sample_weight")
        self._weight = None if weight is None else weight[self._event]
        self._policy = self._policies()

    def entries(self, table: RateTable) -> tuple[Entries, ScopedUses | None, BoolArray]:
        """(entries of plain rates in the billing currency, what accumulates, events with too large an amount)."""
        function = self._arrays.function[self._uses.number]
        scoped = np.flatnonzero(function >= 0) if len(self._arrays.functions) else function[:0]
        if not len(scoped):
            entries = self._plain(None)
            overflow = np.zeros(self._usage.length, bool)
        else:
            entries = self._plain(np.flatnonzero(function < 0))
            overflow = self._too_large(scoped)
        if entries.fx is not None:
            entries = converted(entries, table.fx_ratios())
        entries = waived(entries)
        overflow |= _overflow(entries, self._usage.length)
        return entries, self._scoped(scoped) if len(scoped) else None, overflow

    def _plain(self, at: Int64Array | None) -> Entries:
        """Entries of the uses that do not accumulate; None: all. Amounts are in the pricing currency."""
        uses = self._uses if at is None else self._uses.at(at)
        event, times = (self._event, self._weight) if at is None else (self._event[at], _taken(self._weight, at))
        points = self._arrays.points
        point = self._points(uses, event)
        contracted = scale(uses.quantity, point, points.contracted, times)
        quantity = Exact(uses.quantity) if times is None else product(uses.quantity, times)
        single, span = at is None, self._span(uses.part)
        return Entries(
            event,
            uses.leaf,
            point,
            quantity,
            scaled(quantity, point, points.pricing),
            contracted,
            contracted if points.agrees[point].all() else scale(uses.quantity, point, points.listed, times),
            self._names,
            points,
            place=None if single else uses.part * len(self._names) + uses.leaf,
            fx=self._fx if single else _taken(self._fx, at),
            policy=self._policy if single else _taken(self._policy, at),
            start=span[0],
            period_start=span[1],
            period_end=span[2],
        )

    def _points(self, uses: Uses, event: Int64Array) -> Int64Array:
        """The price point of each use: the base, or the threshold that the request's input tokens lie above."""
        arrays = self._arrays
        point = arrays.first_point[uses.number]
        if arrays.above.shape[1]:
            columns = [self._leaves[name] for name in INPUT_LEAVES if name in self._leaves]
            if columns:
                total = np.sum(np.minimum(columns, 1 << 58), axis=0)
                at = np.flatnonzero(arrays.has_above[uses.number])
                above = arrays.above[uses.number[at]] < total[event[at]][:, None]
                point[at] += above.sum(axis=1)
        return point

    def _policies(self) -> Int64Array | None:
        """The status policy of each use; None: all bill_full."""
        status = self._usage.texts.get("status")
        if status is None or not self._arrays.any_policy:
            return None
        known = [STATUSES.index(value) if value in STATUSES else 0 for value in status.values.to_pylist()]
        code = np.array([*known, 0], np.int64)[status.codes[self._event]]
        policy = self._arrays.policy[self._uses.number, code]
        return policy if (policy != BILL_FULL).any() else None

    def _span(self, part: Int64Array) -> tuple[Int64Array | None, Int64Array | None, Int64Array | None]:
        """Start, and start and end of the billing period, of parts; -1 for events that are whole. None: all are."""
        if self._parts.event is None:
            return None, None, None
        at, is_cut = self._parts.at, self._parts.is_cut[part]
        start, first, last = (np.where(is_cut, each[part], -1) for each in (at.time, at.period_start, at.period_end))
        return start, first, last

    def _scoped(self, at: Int64Array) -> ScopedUses:
        uses, weight = self._uses.at(at), _taken(self._weight, at)
        fees = self._arrays.is_fee[uses.number]
        moves = scopes_of(self._usage, self._arrays, self._parts, uses.part, uses.number)
        return ScopedUses(
            self._arrays,
            self._names,
            self._event[at],
            uses.part * len(self._names) + uses.leaf,
            uses.leaf,
            uses.number,
            Exact(uses.quantity) if weight is None else product(uses.quantity, np.where(fees, 1, weight)),
            weight,
            _taken(self._policy, at),
            _taken(self._fx, at),
            *self._span(uses.part),
            moves.scope,
            moves.function,
            moves.lasting,
            moves.keys,
        )

    def _too_large(self, at: Int64Array) -> BoolArray:
        """Events with a quantity of an accumulating rate that might pass the limit; its highest price decides."""
        uses = self._uses.at(at)
        unit = np.where(uses.leaf < len(FIXED_SLOTS), _PICOS, np.where(uses.leaf == len(self._names) - 1, 1, _MILLION))
        size = uses.quantity.astype(np.float64) * (1.0 if self._weight is None else self._weight[at])
        large = (size * unit >= AMOUNT_LIMIT) | (size * self._arrays.highest[uses.number] >= AMOUNT_LIMIT)
        found = np.zeros(self._usage.length, bool)
        found[self._event[at[large]]] = True
        return found


def _overflow(entries: Entries, length: int) -> BoolArray:
    overflow = np.zeros(length, bool)
    amounts = [entries.pricing, entries.contracted, entries.listed, entries.pricing_cost, entries.waived]
    for each in amounts:
        if each is not None and each.large:
            overflow[entries.row[each.beyond_limit()]] = True
            overflow[each.sum_by(entries.row, length).beyond_limit()] = True
    if entries.quantity.large:
        reported = len(entries.leaves) - 1
        for row, number in entries.quantity.large.items():
            leaf = int(entries.leaf[row])
            unit = _PICOS if leaf < len(FIXED_SLOTS) else 1 if leaf == reported else _MILLION
            overflow[entries.row[row]] |= number * unit >= AMOUNT_LIMIT
    return overflow


def _taken(column: Int64Array | None, at: Int64Array | None) -> Int64Array | None:
    return column if column is None or at is None else column[at]


__all__ = ["RATED", "REASONS", "REPORTED", "Priced", "months_before", "price"]
