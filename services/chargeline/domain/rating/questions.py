"""From usage to the prices that hold for it: each distinct question of a commit unit is put to the table once.

Source: spec/rating.md, sections 3 (version change), 5 and 7.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.codes import combine
from chargeline.domain.columns.exact import Int64Array
from chargeline.domain.periods import billing_periods
from chargeline.domain.rates.time_bands import band_at
from chargeline.domain.rating.payers import Payers
from chargeline.domain.rating.rate_table import Question, RateTable
from chargeline.domain.usage import Text, UsageColumns

_NoCodes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Circumstances:
    """What depends on account and time, of n events or parts of them. Times are int64 microseconds.

    Attributes:
        payer: number of the account's facts; None: all have number 0.
        period_start, period_end: the billing period.
    """

    time: Int64Array
    payer: Int64Array | None
    period_start: Int64Array
    period_end: Int64Array

    @classmethod
    def of(cls, account: Text, time: Int64Array, payers: Payers) -> "Circumstances":
        payer = payers.numbers(account, time)
        return cls(time, payer, *periods(time, payer, payers))

    def payers(self) -> Int64Array:
        return np.zeros(len(self.time), np.int64) if self.payer is None else self.payer


def periods(time: Int64Array, payer: Int64Array | None, payers: Payers) -> tuple[Int64Array, Int64Array]:
    """[start, end) of the billing period of each instant, by the cycle day of its payer."""
    days = np.array([each.billing_cycle_day for each in payers.payers], np.int64)
    if payer is None or (days == days[0]).all():
        return billing_periods(time, int(days[0]))
    day = days[payer]
    start, end = np.empty_like(time), np.empty_like(time)
    for each in np.unique(day).tolist():
        rows = np.flatnonzero(day == each)
        start[rows], end[rows] = billing_periods(time[rows], each)
    return start, end


class Asker:
    """Puts the questions of a unit; what does not depend on the time is made ready once."""

    def __init__(self, usage: UsageColumns, table: RateTable) -> None:
        book = table.book
        self._table = table
        self.account = usage.texts["billing_account_id"]
        self._provider, self._model = usage.texts["provider_name"], models(usage)
        self._named = {
            name: _kept(usage.texts[name], values) for name, values in book.attributes.items() if name in usage.texts
        }
        self._labels = {name: _kept(_label(usage, name), values) for name, values in book.labels.items()}
        self._boundaries = np.array(book.boundaries, np.int64)

    def ask(self, events: Int64Array | None, at: Circumstances, *, in_bands: bool = True) -> Int64Array:
        """The number of the answer of each event, or part of one.

        Args:
            events: which event each of `at` is of; None: n-th of n-th.
            in_bands: False: as if no time band held, so that answers differ only where rates do.
        """
        table, book = self._table, self._table.book
        length = len(at.time)
        segment = np.searchsorted(self._boundaries, at.time, "right")
        columns: list[tuple[npt.NDArray[Any], int]] = [
            _column(self._provider, events),
            _column(self._model, events),
            (segment, len(book.boundaries) + 1),
            *(_column(text, events) for text in (*self._named.values(), *self._labels.values())),
        ]
        none = np.full(length, -1, np.int64)
        bands = [band_at(each, at.time) if in_bands else none for each in book.time_bands]
        columns += [(band + 1, len(each.bands) + 1) for band, each in zip(bands, book.time_bands, strict=True)]
        start_payer, start_segment = None, segment
        if book.accumulates:
            start_payer = table.payers.numbers(self._accounts(events), at.period_start)
            start_segment = np.searchsorted(self._boundaries, at.period_start, "right")
            columns.append((start_segment, len(book.boundaries) + 1))
        payers = table.payers.payers
        columns += [(payer, len(payers)) for payer in (at.payer, start_payer) if payer is not None]
        codes, first = combine(columns, length)
        event = first if events is None else events[first]
        provider, model = _texts(self._provider, event), _texts(self._model, event)
        named = [(name, _texts(text, event)) for name, text in self._named.items()]
        labels = [(name, _texts(text, event)) for name, text in self._labels.items()]
        answers = []
        for place, row in enumerate(first.tolist()):  # the distinct questions, not the events
            owners = payers[0 if at.payer is None else int(at.payer[row])].owners
            before = payers[0 if start_payer is None else int(start_payer[row])].owners
            question = Question(
                owners,
                provider[place] or "",
                model[place] or "",
                tuple([(name, values[place]) for name, values in named]),
                tuple([(name, value) for name, values in labels if (value := values[place]) is not None]),
                tuple([int(band[row]) for band in bands]),
                int(segment[row]),
                before if book.accumulates else owners,
                int(start_segment[row]),
            )
            answers.append(table.answer(question, int(at.time[row]), int(at.period_start[row])))
        return np.array(answers, np.int64)[codes]

    def _accounts(self, events: Int64Array | None) -> Text:
        return self.account if events is None else self.account.take(events)


def models(usage: UsageColumns) -> Text:
    """response_model, or request_model where it is null."""
    asked, answered = usage.texts["request_model"], usage.texts.get("response_model")
    if answered is None:
        return asked
    values = pa.concat_arrays([answered.values, asked.values]).dictionary_encode()
    number = values.indices.to_numpy(zero_copy_only=False)
    codes = np.where(answered.codes >= 0, answered.codes, asked.codes + len(answered.values))
    return Text(number[codes], values.dictionary)


def _column(text: Text, events: Int64Array | None) -> tuple[_NoCodes, int]:
    return (text.codes if events is None else text.codes[events]) + 1, len(text.values) + 1


def _texts(text: Text, rows: Int64Array) -> list[str | None]:
    """The texts of some rows."""
    codes = text.codes[rows]
    found: list[str | None] = text.values.take(pa.array(codes, mask=codes < 0)).to_pylist()
    return found


def _kept(text: Text, values: frozenset[str]) -> Text:
    """Values that no rate names are all alike: one of them stands for the rest."""
    given = text.values.to_pylist()
    other = next((code for code, value in enumerate(given) if value not in values), -1)
    place = np.array([code if value in values else other for code, value in enumerate(given)] + [-1], np.int32)
    return Text(place[text.codes], text.values)


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
