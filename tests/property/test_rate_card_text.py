"""A card is written and read without loss, whatever it says: reader(text(card)) == card."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.rates.card import (
    NO_EVENT,
    Alias,
    CostPlus,
    Discount,
    Dynamic,
    FactorTable,
    Match,
    Modifier,
    Package,
    Percentage,
    PerUnit,
    PriceAbove,
    RateCard,
    Scope,
    Sku,
    Standing,
    StatusRule,
    Threshold,
    Tier,
    Tiered,
    TimeBand,
    TimeBands,
)
from chargeline.domain.rates.card_format import MATCH_ATTRIBUTES, MODIFIER_ATTRIBUTES, SCOPE_ATTRIBUTES, WINDOWS
from chargeline.domain.rates.card_reader import from_json, read_rate_card
from chargeline.domain.rates.card_text import to_json
from chargeline.domain.usage import LEAVES

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1, max_size=6)


def numbers(decimals, most, least=0):
    return st.decimals(least, most, places=decimals, allow_nan=False, allow_infinity=False)


PRICES, AMOUNTS, FACTORS = numbers(18, 999), numbers(12, 10**9), numbers(9, 999)
SIZES = numbers(3, 500, "0.001")


def sorted_set(values, least=0, most=3):
    return st.lists(values, min_size=least, max_size=most, unique=True).map(sorted).map(tuple)


def pairs(keys, values, least=0):
    return st.dictionaries(keys, values, min_size=least, max_size=3).map(lambda each: tuple(sorted(each.items())))


@st.composite
def tiers(draw, kind):
    bounds = sorted(draw(st.sets(SIZES, max_size=3)))
    share = kind == "graduated_percentage"
    price = FACTORS.map(lambda each: each.scaleb(-2)) if share else PRICES
    blocks = st.none() if share else st.none() | SIZES
    return Tiered(kind, tuple(Tier(up_to, draw(price), draw(AMOUNTS), draw(blocks)) for up_to in [*bounds, None]))


@st.composite
def thresholds(draw):
    limits = sorted(draw(st.sets(st.integers(1, 10**18), min_size=1, max_size=3)))
    return Threshold(tuple(PriceAbove(above, draw(PRICES)) for above in [0, *limits]))


PERCENTAGES = st.builds(
    Percentage, FACTORS, AMOUNTS, st.none() | st.integers(1, 99), st.none() | SIZES, st.none() | numbers(2, 5),
    st.none() | numbers(2, 9, 5),
)  # fmt: skip
MEASURED = st.one_of(
    st.tuples(st.sampled_from(LEAVES), st.just("1000000 Tokens"), st.just(Decimal(1000000)),
              st.builds(PerUnit, PRICES) | thresholds() | tiers("graduated")),
    st.tuples(st.just("tool_calls"), st.just("Calls"), SIZES,
              st.builds(PerUnit, PRICES) | st.builds(Package, PRICES, SIZES, st.booleans()) | tiers("volume")),
    st.tuples(st.just("storage_mib_s"), st.just("GB-Months"), st.none(), st.builds(PerUnit, PRICES)),
    st.tuples(st.just("transaction_amount"), st.just("USD"), st.just(Decimal(1)),
              PERCENTAGES | tiers("graduated_percentage")),
    st.tuples(st.just("reported_cost"), st.just("USD"), st.just(Decimal(1)),
              st.builds(Dynamic, sorted_set(NAMES, 1)) | st.builds(CostPlus, FACTORS)),
    st.tuples(st.just("recurring_units"), st.just("Seats"), st.just(Decimal(1)), st.builds(PerUnit, PRICES)),
    st.tuples(st.just(""), st.just("Seats"), st.just(Decimal(1)), st.builds(Standing, AMOUNTS, st.booleans())),
)  # fmt: skip
MATCHES = st.one_of(
    st.builds(Match, NAMES, sorted_set(NAMES, 1), st.none()), st.builds(Match, NAMES, st.just(()), NAMES)
)


@st.composite
def matches(draw):
    match = draw(MATCHES)
    named = draw(st.sets(st.sampled_from(MATCH_ATTRIBUTES), max_size=3))
    attributes = tuple((name, draw(sorted_set(NAMES, 1))) for name in MATCH_ATTRIBUTES if name in named)
    return Match(match.provider_name, match.models, match.model_prefix, attributes, draw(pairs(NAMES, NAMES)))


@st.composite
def modifiers(draw):
    found: list[Modifier] = [
        FactorTable(name, draw(pairs(NAMES, FACTORS, 1)))
        for name in sorted(draw(st.sets(st.sampled_from(MODIFIER_ATTRIBUTES), max_size=2)))
    ]
    if draw(st.booleans()):
        days = draw(sorted_set(st.integers(0, 6), 1, 7))
        start, end = draw(st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda each: each[0] != each[1]))
        found.append(TimeBands("Asia/Tokyo", (TimeBand(days, start, end, draw(FACTORS)),)))
    return tuple(sorted(found, key=lambda each: each.attribute))


@st.composite
def policies(draw, policy=("bill_full", "bill_zero", "amortise")):
    statuses = sorted(draw(st.sets(st.sampled_from(["ERROR", "CANCELLED", "PARTIAL"]))))
    kinds = [draw(st.sampled_from(policy)) for _ in statuses]
    return tuple(
        StatusRule(status, kind, draw(NAMES) if kind == "amortise" else None)
        for status, kind in zip(statuses, kinds, strict=True)
    )


@st.composite
def skus(draw):
    measures, unit, size, model = draw(MEASURED)
    plain = isinstance(model, Threshold)
    least, most = sorted([draw(AMOUNTS), draw(AMOUNTS)])
    return Sku(
        draw(NAMES),
        draw(st.none() | NAMES),
        NO_EVENT if measures in {"", "recurring_units"} else draw(matches()),
        measures,
        model,
        unit,
        size,
        False if plain else draw(st.booleans()),
        Decimal(0) if plain else draw(AMOUNTS),
        draw(
            st.lists(st.builds(Discount, st.sampled_from(["percent", "fixed"]), numbers(2, 100)), max_size=2).map(tuple)
        ),
        None if plain else draw(st.none() | st.just(least)),
        None if plain else draw(st.none() | st.just(most)),
        draw(st.sampled_from(WINDOWS)),
        draw(sorted_set(st.sampled_from(SCOPE_ATTRIBUTES))),
        () if isinstance(model, Tiered) and model.kind == "volume" else draw(modifiers()),
        draw(policies()),
        draw(pairs(st.sampled_from(["service_name", "host_provider_name"]), NAMES)),
        draw(pairs(st.sampled_from(["url", "date"]), NAMES)),
    )


SCOPES = st.just(Scope()) | st.builds(Scope, st.sampled_from(["group", "account", "contract"]), NAMES)
CARDS = st.builds(
    RateCard,
    NAMES,
    st.integers(2, 9),
    st.none() | st.just(1),
    st.booleans(),
    st.just("USD"),
    st.integers(0, 10**15),
    st.none() | st.integers(10**15 + 1, 2 * 10**15),
    SCOPES,
    st.lists(st.builds(Alias, NAMES, NAMES, NAMES), max_size=2).map(tuple),
    st.lists(skus(), min_size=1, max_size=3).map(tuple),
    st.none() | NAMES,
    policies(policy=("bill_zero", "amortise")),
    pairs(st.sampled_from(["service_name", "service_category"]), NAMES),
)


@settings(max_examples=60)
@given(CARDS)
def test_what_is_written_is_read(card):
    text = to_json(card)
    assert from_json(text) == card
    assert to_json(from_json(text)) == text


@settings(max_examples=15)
@given(CARDS)
def test_the_reader_of_documents_reads_the_same(card):
    assert read_rate_card(to_json(card)) == card
