"""From usage to priced entries, for all events of a commit unit at once. Pure: the same columns give the same result.

Source: spec/rating.md, sections 2, 4.1, 4.8, 6, 7.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.codes import combine
from chargeline.domain.exact import Exact, product, scale
from chargeline.domain.periods import billing_periods
from chargeline.domain.rate_table import FIXED_SLOTS, MATCH_KINDS, Arrays, Point, RateTable
from chargeline.domain.usage import COUNTED, INPUT_LEAVES, LEAVES, Text, UsageColumns, token_leaves

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

REASONS = ("UNKNOWN_MODEL", "NO_PRICE", "CURRENCY_MISMATCH")
RATED = -1
_MICROS_A_DAY = 86_400 * 1_000_000


@dataclass(frozen=True)
class Entries:
    """The components of the charges of a unit, ordered by event and within it by spec/rating.md 6.

    Attributes:
        row: int64, which event, ascending.
        leaf: int64, index into `leaves`.
        point: int64, index into `points`.
        quantity: consumed base units, weight included; millionths for an extra quantity.
        pricing, contracted, listed: picounits of the pricing quantity, the contracted and the list cost.
    """

    row: Int64Array
    leaf: Int64Array
    point: Int64Array
    quantity: Exact
    pricing: Exact
    contracted: Exact
    listed: Exact
    leaves: tuple[str, ...]
    points: "list[Point]"

    def take(self, rows: Int64Array, length: int) -> "Entries":
        """The entries of the given events (ascending) of `length`, which are numbered anew."""
        position = np.full(length, -1, np.int64)
        position[rows] = np.arange(len(rows))
        at = position[self.row]
        kept = np.flatnonzero(at >= 0)
        return Entries(
            at[kept],
            self.leaf[kept],
            self.point[kept],
            self.quantity.take(kept),
            self.pricing.take(kept),
            self.contracted.take(kept),
            self.listed.take(kept),
            self.leaves,
            self.points,
        )


@dataclass(frozen=True)
class Priced:
    """What n events cost.

    Attributes:
        reason: int64 by event: index into REASONS, or RATED.
        match: int64 by event: index into rate_table.MATCH_KINDS.
        currency: the billing currency; null where nothing was priced.
        period_start, period_end: int64 microseconds, the billing period.
        overflow: events with an amount that no stored decimal can hold; their entries are to be dropped with them.
    """

    entries: Entries
    reason: Int64Array
    match: Int64Array
    currency: Text
    period_start: Int64Array
    period_end: Int64Array
    overflow: BoolArray


def price(usage: UsageColumns, table: RateTable) -> Priced:
    """Price n events, any order, all of them valid.

    An event without a price for a token leaf is UNRATED with a reason and has no entries: nothing is ever priced
    at zero in silence.
    """
    leaves = token_leaves(usage)
    event_time = usage.long("event_time")
    period_start, period_end = billing_periods(event_time)
    answers = _answers(usage, table, event_time)
    arrays = table.arrays()
    parts = _Parts(usage, arrays, answers, (period_end - period_start) // _MICROS_A_DAY)
    parts.add_leaves(leaves)
    parts.add_others()
    row, leaf, number, quantity = parts.joined()
    point = _points(arrays, number, row, leaves)
    reason, currency = _reasons(arrays, answers, parts, row, point)
    kept = np.flatnonzero(reason[row] == RATED)
    if len(kept) < len(row):
        row, leaf, point, quantity = row[kept], leaf[kept], point[kept], quantity[kept]
    weight = usage.longs.get("sample_weight")
    times = None if weight is None else weight[row]
    contracted = scale(quantity, point, arrays.contracted, times)
    same = table.points_agree()
    entries = Entries(
        row,
        leaf,
        point,
        Exact(quantity) if times is None else product(quantity, times),
        scale(quantity, point, arrays.pricing, times),
        contracted,
        contracted if same else scale(quantity, point, arrays.listed, times),
        parts.names,
        list(table.points),  # the table may grow while this unit is still booked
    )
    return Priced(
        entries, reason, arrays.match[answers], currency, period_start, period_end, _overflow(entries, usage.length)
    )


def _answers(usage: UsageColumns, table: RateTable, event_time: Int64Array) -> Int64Array:
    """The number of the answer that each event gets; each distinct question is asked once."""
    book = table.book
    account = usage.texts["billing_account_id"]
    owners = np.array([value in book.owners for value in account.values.to_pylist()] + [False])
    owner = np.where(owners[account.codes], account.codes + 1, 0)
    provider, model = usage.texts["provider_name"], _models(usage)
    segment = np.searchsorted(np.array(book.boundaries, np.int64), event_time, "right")
    named = {name: usage.texts[name] for name in book.named_attributes if name in usage.texts}
    labels = {name: _label(usage, name) for name in book.named_labels}
    columns = [
        (owner, len(account.values) + 1),
        (provider.codes, len(provider.values)),
        (model.codes, len(model.values)),
        (segment, len(book.boundaries) + 1),
        *((text.codes + 1, len(text.values) + 1) for text in (*named.values(), *labels.values())),
    ]
    codes, first = combine(columns, usage.length)
    answers = [
        table.answer(
            account.at(row) if owner[row] else None,
            provider.at(row) or "",
            model.at(row) or "",
            {name: text.at(row) for name, text in named.items()},
            {name: value for name, text in labels.items() if (value := text.at(row)) is not None},
            int(event_time[row]),
            int(segment[row]),
        )
        for row in first.tolist()  # the distinct questions, not the events
    ]
    return np.array(answers, np.int64)[codes]


def _models(usage: UsageColumns) -> Text:
    """response_model, or request_model where it is null."""
    asked, answered = usage.texts["request_model"], usage.texts.get("response_model")
    if answered is None:
        return asked
    values = pa.concat_arrays([answered.values, asked.values]).dictionary_encode()
    number = values.indices.to_numpy(zero_copy_only=False)
    codes = np.where(answered.codes >= 0, answered.codes, asked.codes + len(answered.values))
    return Text(number[codes], values.dictionary)


def _label(usage: UsageColumns, name: str) -> Text:
    """One label as a column."""
    column = usage.maps.get("labels")
    codes = np.full(usage.length, -1, np.int32)
    if column is None or isinstance(column.values, np.ndarray):
        return Text(codes, pa.array([], pa.string()))
    is_name = np.array([value == name for value in column.keys.values.to_pylist()] + [False])
    at = np.flatnonzero(is_name[column.keys.codes])
    encoded = column.values.take(pa.array(at)).dictionary_encode()
    codes[column.rows[at]] = encoded.indices.to_numpy(zero_copy_only=False)
    return Text(codes, encoded.dictionary)


class _Parts:
    """Collects (event, leaf, price number, quantity) of every quantity that has a price, and what lacks one."""

    def __init__(self, usage: UsageColumns, arrays: Arrays, answers: Int64Array, days: Int64Array) -> None:
        self._usage = usage
        self._arrays = arrays
        self._answers = answers
        self._days = days
        self._found: list[tuple[Int64Array, int, Int64Array, Int64Array]] = []
        extra = usage.maps.get("extra_quantities")
        extras = sorted(extra.keys.values.to_pylist(), key=str.encode) if extra is not None else []
        self.names: tuple[str, ...] = (*FIXED_SLOTS, *extras)
        self.token_leaf = np.zeros(usage.length, bool)  # has a token leaf above zero
        self.token_missing = np.zeros(usage.length, bool)  # … and one of them has no price
        self.other = np.zeros(usage.length, bool)  # has another quantity above zero, requests aside

    def add_leaves(self, leaves: dict[str, Int64Array]) -> None:
        for name in LEAVES:
            if name in leaves:
                rows = np.flatnonzero(leaves[name] > 0)
                self.token_leaf[rows] = True
                unpriced = self._add(name, rows, leaves[name][rows])
                self.token_missing[unpriced] = True

    def add_others(self) -> None:
        for name in COUNTED:
            default = 1 if name == "requests" else 0
            if name in self._usage.longs or default:
                quantity = self._usage.long(name, default)
                rows = np.flatnonzero(quantity > 0)
                if name != "requests":
                    self.other[rows] = True
                self._add(name, rows, quantity[rows])
        extra = self._usage.maps.get("extra_quantities")
        if extra is not None:
            values = np.asarray(extra.values)
            for code, name in enumerate(extra.keys.values.to_pylist()):
                at = np.flatnonzero((extra.keys.codes == code) & (values > 0))
                self.other[extra.rows[at]] = True
                self._add(name, extra.rows[at], values[at])

    def _add(self, name: str, rows: Int64Array, quantity: Int64Array) -> Int64Array:
        """Returns the events that have no price for it."""
        arrays = self._arrays
        column = arrays.columns.get(name)
        if column is None:
            return rows
        number = arrays.slots[self._answers[rows], column].astype(np.int64)
        priced = number >= 0
        at, number = rows[priced], number[priced]
        if len(at):
            monthly = arrays.monthly[number]
            number = number + np.where(monthly, self._days[at] - 28, 0)
            self._found.append((at, self.names.index(name), number, quantity[priced]))
        return rows[~priced]

    def joined(self) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
        if not self._found:
            none = np.zeros(0, np.int64)
            return none, none, none, none
        row = np.concatenate([at for at, _, _, _ in self._found])
        leaf = np.concatenate([np.full(len(at), name, np.int64) for at, name, _, _ in self._found])
        number = np.concatenate([number for _, _, number, _ in self._found])
        quantity = np.concatenate([quantity for _, _, _, quantity in self._found])
        order = np.argsort(row * len(self.names) + leaf, kind="stable")
        return row[order], leaf[order], number[order], quantity[order]


def _points(arrays: Arrays, number: Int64Array, row: Int64Array, leaves: dict[str, Int64Array]) -> Int64Array:
    """The price point of each entry: the base, or the threshold that the request's input tokens lie above."""
    point = arrays.first_point[number]
    if arrays.above.shape[1]:
        columns = [leaves[name] for name in INPUT_LEAVES if name in leaves]
        total = np.sum(np.minimum(columns, 1 << 58), axis=0) if columns else None
        if total is not None:
            point = point + (arrays.above[number] < total[row][:, None]).sum(axis=1)
    return point


def _reasons(
    arrays: Arrays, answers: Int64Array, parts: _Parts, row: Int64Array, point: Int64Array
) -> tuple[Int64Array, Text]:
    length = len(answers)
    priced = np.zeros(length, bool)
    priced[row] = True
    missing = parts.token_missing | (~parts.token_leaf & parts.other & ~_other_priced(parts, length))
    unknown = arrays.match[answers] == MATCH_KINDS.index("NONE")
    reason = np.full(length, RATED, np.int64)
    currency = np.full(length, -1, np.int32)
    of_entry = arrays.currency[point].astype(np.int32)
    currency[row[::-1]] = of_entry[::-1]
    differs = np.zeros(length, bool)
    differs[row[of_entry != currency[row]]] = True
    reason[differs] = REASONS.index("CURRENCY_MISMATCH")
    reason[missing] = REASONS.index("NO_PRICE")
    reason[missing & unknown] = REASONS.index("UNKNOWN_MODEL")
    currency[reason != RATED] = -1
    return reason, Text(currency, pa.array(arrays.currencies, pa.string()))


def _other_priced(parts: _Parts, length: int) -> BoolArray:
    """Events with a priced quantity that is neither a token leaf nor `requests`."""
    found = np.zeros(length, bool)
    first = len(LEAVES) + 1
    for at, name, _, _ in parts._found:
        if name >= first:
            found[at] = True
    return found


def _overflow(entries: Entries, length: int) -> BoolArray:
    overflow = np.zeros(length, bool)
    for amounts in (entries.quantity, entries.pricing, entries.contracted, entries.listed):
        if amounts.large:
            overflow[entries.row[amounts.beyond_limit()]] = True
            sums = amounts.sum_by(entries.row, length)
            overflow[sums.beyond_limit()] = True
    return overflow
