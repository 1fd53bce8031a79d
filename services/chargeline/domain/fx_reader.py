"""Reading exchange rates from CSV or from a document, and their canonical text.

Source: spec/formats.md, section 3; spec/rating.md, section 5.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from chargeline.domain.currencies import is_currency
from chargeline.domain.documents import BadDocument, Place, Problem, read_document, read_json
from chargeline.domain.fields import PRICE, Fields
from chargeline.domain.fx import FxRate, FxTable
from chargeline.domain.money import plain

FX_KEYS = ("date", "from_currency", "to_currency", "rate", "source")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_fx_csv(text: str) -> FxTable:
    """The rates of a CSV text with the header of `FX_KEYS`. Raises BadDocument with every fault found."""
    rows = list(_csv_rows(text.removeprefix("\ufeff")))
    return _table(rows, Fields())


def read_fx_document(text: str) -> FxTable:
    """The rates of a YAML or JSON document. Raises BadDocument with every fault found."""
    return _read(read_document(text))


def fx_from_json(text: str) -> FxTable:
    """The rates of a canonical text. Raises BadDocument."""
    return _read(read_json(text))


def fx_to_json(table: FxTable) -> str:
    """The canonical text: keys sorted, numbers as plain text, rates in their order."""
    rates = [
        {
            "date": each.date.isoformat(),
            "from_currency": each.from_currency,
            "to_currency": each.to_currency,
            "rate": plain(each.rate),
            "source": each.source,
        }
        for each in table.rates
    ]
    return json.dumps({"rates": rates}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def changed_rates(table: FxTable, published: FxTable) -> list[Problem]:
    """Rates that say otherwise what is published already: a rate of a pair, date and source never changes."""
    known = {each.fx_rate_id: each for each in published.rates}
    return [
        Problem("RATE_CHANGED", f"{each.fx_rate_id} is published as {plain(known[each.fx_rate_id].rate)}")
        for each in table.rates
        if each.fx_rate_id in known and known[each.fx_rate_id].rate != each.rate
    ]


def _read(document: Any) -> FxTable:
    fields = Fields()
    if not isinstance(document, Place):
        raise BadDocument([Problem("NOT_FX", "exchange rates are a mapping with the key rates")])
    fields.keys(document, frozenset({"rates"}), ("rates",))
    return _table(fields.places(document, "rates"), fields)


def _table(rows: Sequence[Place], fields: Fields) -> FxTable:
    rates = []
    seen: set[str] = set()
    for row in rows:
        rate = _rate(fields, row)
        if rate is None:
            continue
        if rate.fx_rate_id in seen:
            fields.fault(row, "date", "RATE_TWICE", f"{rate.fx_rate_id} stands twice")
        seen.add(rate.fx_rate_id)
        rates.append(rate)
    if fields.problems:
        raise BadDocument(sorted(fields.problems, key=lambda each: (each.line, each.column)))
    return FxTable(tuple(rates))


def _rate(fields: Fields, row: Place) -> FxRate | None:
    fields.keys(row, frozenset(FX_KEYS), FX_KEYS)
    day = _date(fields, row)
    pair = [_currency(fields, row, key) for key in ("from_currency", "to_currency")]
    if pair[0] is not None and pair[0] == pair[1]:
        fields.fault(row, "to_currency", "BAD_VALUE", "a currency has no rate to itself")
    rate, source = fields.positive(row, "rate", PRICE), fields.text(row, "source")
    if day is None or pair[0] is None or pair[1] is None or rate is None or source is None:
        return None
    return FxRate(day, pair[0], pair[1], rate, source)


def _date(fields: Fields, row: Place) -> date | None:
    value = row.get("date")
    if value is None:
        return None
    try:
        # The other ISO formats (no hyphens, weeks) are none of ours.
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise ValueError(value)
        return date.fromisoformat(value)
    except ValueError:
        fields.fault(row, "date", "BAD_TIME", "date must be a day such as 2026-06-01")
        return None


def _currency(fields: Fields, row: Place, key: str) -> str | None:
    currency = fields.text(row, key)
    if currency is not None and not is_currency(currency):
        fields.fault(row, key, "UNKNOWN_CURRENCY", f"{currency} is neither ISO 4217 nor a credit unit")
        return None
    return currency


def _csv_rows(text: str) -> Iterator[Place]:
    """Each row as a mapping that knows where its fields stand. Raises BadDocument for what is not such a table."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != FX_KEYS:
            raise BadDocument([Problem("BAD_HEADER", f"the first line is {','.join(FX_KEYS)}")])
        for values in reader:
            if not values:
                continue
            if len(values) != len(FX_KEYS):
                text = f"a row has {len(FX_KEYS)} fields; this one has {len(values)}"
                raise BadDocument([Problem("BAD_ROW", text, reader.line_num)])
            yield _csv_place(values, reader.line_num)
    except csv.Error as error:
        raise BadDocument([Problem("NOT_CSV", str(error), reader.line_num)]) from error


def _csv_place(values: Sequence[str], line: int) -> Place:
    place = Place({key: value or None for key, value in zip(FX_KEYS, values, strict=True)})
    place.line = line
    starts = [sum(len(each) + 1 for each in values[:number]) + 1 for number in range(len(values))]
    place.at = {key: (line, start) for key, start in zip(FX_KEYS, starts, strict=True)}
    return place
