"""Exchange rates: reading them, and which one holds on a day (spec/formats.md 3, spec/rating.md 5)."""

from datetime import date
from decimal import Decimal

import pytest

from chargeline.domain.accounts import FxPolicy
from chargeline.domain.documents import BadDocument
from chargeline.domain.fx import Conversion, FxRate, FxTable, conversion
from chargeline.domain.fx_reader import changed_rates, fx_from_json, fx_to_json, read_fx_csv, read_fx_document

D = Decimal
HEADER = "date,from_currency,to_currency,rate,source\n"
CSV = HEADER + "2026-06-01,USD,EUR,0.9137,ECB\n2026-06-05,USD,EUR,0.92,ECB\n2026-06-05,USD,EUR,0.93,own\n"
YAML = """\
rates:
  - {date: 2026-06-01, from_currency: USD, to_currency: EUR, rate: 0.9137, source: ECB}
  - {date: "2026-06-05", from_currency: USD, to_currency: EUR, rate: "0.92", source: ECB}
  - {date: 2026-06-05, from_currency: USD, to_currency: EUR, rate: 0.93, source: own}
"""
TABLE = read_fx_csv(CSV)


def problems(read, text):
    with pytest.raises(BadDocument) as caught:
        read(text)
    return [(each.code, each.line, each.column) for each in caught.value.problems]


def test_csv_yaml_and_the_canonical_text_say_the_same():
    assert TABLE == read_fx_document(YAML) == fx_from_json(fx_to_json(TABLE))
    assert read_fx_csv("\ufeff" + CSV.replace("\n", "\r\n")) == TABLE
    assert TABLE.rates[0] == FxRate(date(2026, 6, 1), "USD", "EUR", D("0.9137"), "ECB")


@pytest.mark.parametrize(
    ("pair", "day", "rate"),
    [
        ("USD EUR", "2026-05-31", None),
        ("USD EUR", "2026-06-01", "0.9137"),
        ("USD EUR", "2026-06-04", "0.9137"),
        ("USD EUR", "2026-06-05", "0.92"),
        ("USD EUR", "2026-06-12", "0.92"),
        ("USD EUR", "2026-06-13", None),
        ("EUR USD", "2026-06-01", None),
        ("USD USD", "1999-01-01", "1"),
    ],
)
def test_the_rate_of_a_day_is_that_days_or_at_most_seven_days_old(pair, day, rate):
    from_currency, to_currency = pair.split()
    assert TABLE.rate(from_currency, to_currency, date.fromisoformat(day)) == (None if rate is None else D(rate))


@pytest.mark.parametrize(
    ("policy", "currency", "found"),
    [
        (FxPolicy(), "USD", Conversion(D("0.92"), "USD/EUR/2026-06-05/ECB")),
        (FxPolicy(), "JPY", None),
        (FxPolicy("fixed", (("USD", D("0.9")),)), "USD", Conversion(D("0.9"), "USD/EUR/fixed")),
        (FxPolicy("fixed", (("USD", D("0.9")),)), "JPY", None),
    ],
)
def test_an_account_converts_by_its_policy(policy, currency, found):
    assert conversion(policy, TABLE, currency, "EUR", date(2026, 6, 6)) == found


def test_eighteen_decimals_are_kept():
    table = read_fx_csv(HEADER + "2026-06-01,USD,EUR,0.123456789012345678,x\n")
    assert fx_to_json(table).count("0.123456789012345678") == 1


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ("2026-06-31,USD,EUR,1,x", "BAD_TIME", 1),
        ("20260601,USD,EUR,1,x", "BAD_TIME", 1),
        ("2026-W23-1,USD,EUR,1,x", "BAD_TIME", 1),
        ("2026-06-01,USX,EUR,1,x", "UNKNOWN_CURRENCY", 12),
        ("2026-06-01,USD,eur,1,x", "UNKNOWN_CURRENCY", 16),
        ("2026-06-01,USD,USD,1,x", "BAD_VALUE", 16),
        ("2026-06-01,USD,EUR,0,x", "NOT_POSITIVE", 20),
        ("2026-06-01,USD,EUR,-1,x", "NEGATIVE", 20),
        ("2026-06-01,USD,EUR,1e-3,x", "BAD_NUMBER", 20),
        ("2026-06-01,USD,EUR,0.1234567890123456789,x", "BAD_NUMBER", 20),
        ("2026-06-01,USD,EUR,,x", "MISSING_KEY", 20),
        ("2026-06-01,USD,EUR,1,", "MISSING_KEY", 22),
        ("2026-06-01,USD,EUR,1", "BAD_ROW", 1),
        ('2026-06-01,USD,EUR,1,"x', "NOT_CSV", 1),
    ],
)
def test_a_fault_of_a_row_is_told_with_its_place(row, code, column):
    line = 4 if code != "NOT_CSV" else 3
    text = HEADER + "2026-06-02,USD,EUR,1,x\n\n" + row + ("\n" if code != "NOT_CSV" else "")
    assert problems(read_fx_csv, text)[0][0::2] == (code, column)
    assert problems(read_fx_csv, text)[0][1] in {line, 4}


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("[]", "NOT_FX", 1, 1),
        ("{}", "MISSING_KEY", 1, 1),
        (YAML.replace("source: own", "source: ECB"), "RATE_TWICE", 4, 6),
        (YAML.replace("source: own", "origin: own"), "UNKNOWN_KEY", 4, 74),
        (YAML + "owner: me\n", "UNKNOWN_KEY", 5, 1),
    ],
)
def test_a_fault_of_a_document_is_told_with_its_place(text, code, line, column):
    assert (code, line, column) in problems(read_fx_document, text)


def test_a_header_of_something_else_is_refused():
    assert problems(read_fx_csv, "a,b\n1,2\n") == [("BAD_HEADER", 1, 1)]
    assert problems(read_fx_csv, "") == [("BAD_HEADER", 1, 1)]


def test_a_published_rate_never_changes():
    assert changed_rates(TABLE, TABLE) == []
    other = FxTable((FxRate(date(2026, 6, 1), "USD", "EUR", D("0.91"), "ECB"),))
    assert [each.code for each in changed_rates(other, TABLE)] == ["RATE_CHANGED"]
