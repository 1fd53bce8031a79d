"""Rate cards: the examples of the written rules, and every refusal with its place."""

from decimal import Decimal

import pytest

from chargeline.domain.documents import BadDocument
from chargeline.domain.money import NotANumber, parse_decimal, plain, plain_picos, round_half_away
from chargeline.domain.rate_book import PublishedCard, RateBook
from chargeline.domain.rate_card import read_rate_card
from chargeline.domain.rate_checks import check
from tests.support.cards import CARD

DAY = 86_400_000_000
JAN, FEB, MAR, APR = (20454 * DAY, 20485 * DAY, 20513 * DAY, 20544 * DAY)  # 2026


def one(price, start, end="null", scope="default", version=1, supersedes="null", name="list"):
    return read_rate_card(f"""
id: {name}
version: {version}
supersedes: {supersedes}
currency: USD
effective_from: {start}
effective_to: {end}
scope: {scope}
skus:
  - {{sku_id: s, match: {{provider_name: p, models: [m]}}, leaf: input, charge_model: per_unit,
     unit_price: {price}, pricing_unit: 1000000 Tokens}}
""")


def price_at(book, time, account=None):
    found = book.resolve(account, "p", "m", {}, {}, time).prices.get("input")
    return None if found is None else found.tiers[0].contracted_unit_price


@pytest.mark.parametrize(
    ("account", "time", "expected"),
    [
        (None, JAN + 14 * DAY, "3"),
        (None, MAR, "2.5"),
        ("acme", FEB, "2.6"),
        ("acme", APR - 1000, "2.6"),
        ("acme", APR, "2.5"),
        ("other", FEB, "3"),
    ],
)
def test_the_first_level_with_a_valid_rate_prices_an_event(account, time, expected):
    cards = [
        one(3, "2026-01-01T00:00:00Z"),
        one("2.5", "2026-03-01T00:00:00Z", version=2, supersedes=1),
        one("2.6", "2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z", "{account: acme}", name="contract"),
    ]
    book = RateBook([PublishedCard(card, 0, n) for n, card in enumerate(cards)], margin_ms=0, future_bound_ms=0)
    asked = account if account in book.owners else None
    assert price_at(book, time, asked) == Decimal(expected)


def test_a_version_that_would_change_a_visible_price_in_the_past_is_ignored_by_readers():
    now = JAN // 1000
    cards = [PublishedCard(one(3, "2023-01-01T00:00:00Z"), 0, 0),
             PublishedCard(one(1, "2025-06-01T00:00:00Z", version=2, supersedes=1), now, 1)]  # fmt: skip
    book = RateBook(cards, margin_ms=10_000, future_bound_ms=300_000)
    assert price_at(book, JAN) == Decimal(3)
    assert [each.code for each in check(cards[1].card, cards[:1], recorded_time=now, margin_ms=10_000,
                                        future_bound_ms=300_000)] == ["OVERLAP"]  # fmt: skip


def test_a_leaf_without_a_price_pays_its_parents_and_nothing_is_free_by_omission():
    book = RateBook([PublishedCard(read_rate_card(CARD), 0, 0)], margin_ms=0, future_bound_ms=0)
    prices = book.resolve(None, "openai", "gpt-4o", {}, {}, JAN).prices
    assert prices["reasoning_output"].sku_id == "gpt-4o/output"
    assert prices["cache_write_1h_input"].sku_id == "gpt-4o/input"
    assert prices["cache_read_audio"].sku_id == "gpt-4o/cached"


@pytest.mark.parametrize(
    ("provider", "model", "kind"),
    [("openai", "gpt-4o", "EXACT"), ("openai", "b", "ALIAS"), ("openai", "long-q", "PREFIX"),
     ("openai", "gpt", "NONE"), ("other", "gpt-4o", "NONE")],
)  # fmt: skip
def test_a_model_is_found_by_name_then_alias_then_longest_prefix(provider, model, kind):
    book = RateBook([PublishedCard(read_rate_card(CARD), 0, 0)], margin_ms=0, future_bound_ms=0)
    assert book.resolve(None, provider, model, {}, {}, JAN).match_kind == kind


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("currency: USD", "currency: usd", "UNKNOWN_CURRENCY"),
        ("version: 1", "version: one", "BAD_NUMBER"),
        ("version: 1", "version: 1\nversion: 2", "DUPLICATE_KEY"),
        ("scope: default", "scope: default\nprize: 3", "UNKNOWN_KEY"),
        ("scope: default", "scope: {group: g}", "NOT_SUPPORTED_YET"),
        ('unit_price: "2.50"', 'unit_price: "-2.50"', "NEGATIVE"),
        ('unit_price: "2.50"', "unit_price: 2.5e3", "BAD_NUMBER"),
        ("pricing_unit: GPU-Hours", "pricing_unit: Tokens", "UNKNOWN_UNIT"),
        ("above: 128000, price: 9", "above: 0, price: 9", "NOT_ASCENDING"),
        ("charge_model: per_unit, unit_price: 10", "charge_model: package, unit_price: 10", "NOT_SUPPORTED_YET"),
        ("id: test-list", "id: &a test-list", "NOT_ALLOWED"),
        ("effective_from: 2023-01-01T00:00:00Z", "effective_from: 2023-01-01", "BAD_TIME"),
    ],
)
def test_a_bad_card_is_refused_with_its_code_and_line(old, new, code):
    text = CARD.replace(old, new, 1)
    with pytest.raises(BadDocument) as caught:
        read_rate_card(text)
    problem = caught.value.problems[0]
    assert problem.code == code
    assert 1 <= problem.line <= text.count("\n") + 1


def test_a_priced_leaf_without_a_priced_parent_is_refused():
    text = CARD.replace('leaf: input,\n     charge_model: per_unit, unit_price: "0.15"',
                        'leaf: input_audio,\n     charge_model: per_unit, unit_price: "0.15"')  # fmt: skip
    codes = [each.code for each in check(read_rate_card(text), [], recorded_time=None, margin_ms=0, future_bound_ms=0)]
    assert codes == ["NO_PARENT"]


def test_the_canonical_text_reads_back_as_the_same_card():
    card = read_rate_card(CARD)
    assert read_rate_card(card.text) == card
    assert read_rate_card(card.text).text == card.text


@pytest.mark.parametrize("text", ["1e3", "+1", "NaN", "", ".5", "1.", "0x1", "9" * 39, "1_0"])
def test_only_plain_decimals_are_numbers(text):
    with pytest.raises(NotANumber):
        parse_decimal(text)


@pytest.mark.parametrize(("value", "text"), [("1.50", "1.5"), ("0.000", "0"), ("-0", "0"), ("100", "100"),
                                             ("0.000000000001", "0.000000000001")])  # fmt: skip
def test_numbers_are_written_plainly(value, text):
    assert plain(Decimal(value)) == text
    assert plain_picos(int(Decimal(value) * 10**12)) == text


@pytest.mark.parametrize(("n", "d", "expected"), [(1, 2, 1), (-1, 2, -1), (3, 2, 2), (1, 3, 0), (-5, 3, -2)])
def test_halves_round_away_from_zero(n, d, expected):
    assert round_half_away(n, d) == expected
