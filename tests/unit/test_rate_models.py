"""Every charge model and term of a rate: what is read, and what is refused with which code (spec/rating.md 14)."""

import re
from decimal import Decimal

import pytest

from chargeline.domain.documents import BadDocument
from chargeline.domain.rates.card import (
    NO_EVENT,
    CostPlus,
    Discount,
    Dynamic,
    FactorTable,
    Package,
    Percentage,
    PerUnit,
    PriceAbove,
    Scope,
    Standing,
    StatusRule,
    Threshold,
    Tier,
    Tiered,
    TimeBand,
    TimeBands,
    status_rule,
)
from chargeline.domain.rates.card_reader import from_json, read_rate_card
from chargeline.domain.rates.card_text import to_json
from chargeline.domain.rates.checks import check_card
from tests.support.full_card import FULL_CARD, sku_card

D = Decimal
CARD = read_rate_card(FULL_CARD)
SKUS = {sku.key: sku for sku in CARD.skus}
HOUSE = "sku_id: s, match: {provider_name: house, models: [m]}"
CALLS = f"{HOUSE}, quantity: tool_calls, pricing_unit: Calls"
PAID = f"{HOUSE}, quantity: transaction_amount, pricing_unit: USD"
COST = f"{HOUSE}, quantity: reported_cost, pricing_unit: USD"
UNIT = f"{CALLS}, charge_model: per_unit, unit_price: 2"


def problems(text):
    with pytest.raises(BadDocument) as caught:
        read_rate_card(text)
    return [(each.code, each.line, each.column) for each in caught.value.problems if not each.warning]


@pytest.mark.parametrize(
    ("key", "model"),
    [
        (("gpt-4o/input", None), PerUnit(D("2.50"))),
        (("long/input", None), Threshold((PriceAbove(0, D("1.2")), PriceAbove(128000, D("2.4"))))),
        (("seats", None), Standing(D(60))),
        (("pages", None), Package(D(7), D(48))),
        (("calls", None), Tiered("graduated", (Tier(D(40), D("0.7"), D(9)), Tier(D(90), D("0.55"), D(4)), Tier(None, D("0.3"), D("1.5"))))),
        (("images", None), Tiered("volume", (Tier(D(300), D(2), block_size=D(25)), Tier(None, D(6), block_size=D(100))))),
        (("payments", None), Percentage(D("2.4"), D("0.3"), 2, D(120))),
        (("marketplace", None), Tiered("graduated_percentage", (Tier(D(500), D("0.015"), D(3)), Tier(None, D("0.008"), D(2))))),
        (("gateway", None), Dynamic(("gateway-1",))),
        (("resale", None), CostPlus(D("1.15"))),
    ],
)  # fmt: skip
def test_a_charge_model_is_read(key, model):
    assert SKUS[key].model == model


def test_the_terms_of_a_rate_are_read():
    assert CARD.scope == Scope("account", "acme")
    assert SKUS["seats", None].match == NO_EVENT
    assert SKUS["pages", None].free_units == 12
    assert SKUS["gpt-4o/output", None].discounts == (Discount("percent", D(10)),)
    assert (SKUS["calls", None].minimum, SKUS["calls", None].maximum) == (D(20), D(100))
    assert SKUS["calls", None].scope_by == ("project",)
    assert SKUS["gpt-4o/input", None].modifiers == (
        FactorTable("service_tier", (("*", D(1)), ("priority", D("1.5")), ("standard", D(1)))),
        TimeBands("Europe/Berlin", (TimeBand((0, 1, 2, 3, 4), 1320, 360, D("0.8")),)),
    )


def test_a_failed_request_pays_by_the_sku_then_the_card_then_in_full():
    text = FULL_CARD.replace("{ERROR: bill_full, CANCELLED", "{ERROR: {amortise: POOL}, CANCELLED")
    card = read_rate_card(text)
    by_key = {sku.key: sku for sku in card.skus}
    assert status_rule(card, by_key["gpt-4o/output", None], "ERROR") == StatusRule("ERROR", "bill_zero")
    assert status_rule(card, by_key["gpt-4o/input", None], "ERROR") == StatusRule("ERROR", "amortise", "POOL")
    assert status_rule(card, by_key["gpt-4o/input", None], "PARTIAL") == StatusRule("PARTIAL", "bill_full")


def test_the_full_card_is_written_and_read_without_loss():
    assert CARD == read_rate_card(to_json(CARD)) == from_json(to_json(CARD))
    assert not [each for each in check_card(CARD) if not each.warning]


@pytest.mark.parametrize(
    ("sku", "accumulates"),
    [
        (UNIT, False),
        (f"{UNIT}, window: day", False),
        (f"{UNIT}, discounts: [{{percent: 5}}]", False),
        (f"{UNIT}, discounts: [{{fixed: 5}}]", True),
        (f"{UNIT}, round: up", True),
        (f"{UNIT}, free_units: 1", True),
        (f"{UNIT}, minimum: 1", True),
        (f"{UNIT}, maximum: 1", True),
        (f"{CALLS}, charge_model: package, package_price: 1, package_size: 2", True),
        (f"{CALLS}, charge_model: graduated, tiers: [{{up_to: null, unit_price: 1}}]", True),
        (f"{PAID}, charge_model: percentage, rate_percent: 1, free_events: 0", False),
        (f"{PAID}, charge_model: percentage, rate_percent: 1, free_events: 1", True),
        (f"{PAID}, charge_model: percentage, rate_percent: 1, free_amount: 9", True),
        (f"{COST}, charge_model: cost_plus, multiplier: 1", False),
    ],
)
def test_a_rate_accumulates_when_what_came_before_matters(sku, accumulates):
    assert read_rate_card(sku_card(sku)).skus[0].accumulates == accumulates


@pytest.mark.parametrize(
    ("sku", "code", "at"),
    [
        # keys and values
        (f"{UNIT}, tiers: []", "UNKNOWN_KEY", "tiers"),
        (f"{CALLS}, charge_model: per_unit", "MISSING_KEY", "{sku_id"),
        (f"{CALLS}, charge_model: package, package_price: 1", "MISSING_KEY", "{sku_id"),
        (f"{CALLS}, charge_model: package, package_price: 1, package_size: 0", "NOT_POSITIVE", "package_size"),
        (f"{CALLS}, charge_model: package, package_price: 1, package_size: 2, package_round: near", "BAD_VALUE", "package_round"),
        ("sku_id: s, pricing_unit: Seats, charge_model: flat, amount: 1, bill_in: never", "BAD_VALUE", "bill_in"),
        ("sku_id: s, pricing_unit: Seats, charge_model: flat, amount: 1, quantity: pages", "BAD_VALUE", "quantity"),
        (f"{HOUSE}, pricing_unit: Seats, charge_model: flat, amount: 1", "BAD_VALUE", "match"),
        (f"{HOUSE}, pricing_unit: Seats, quantity: recurring_units, charge_model: per_unit, unit_price: 1", "BAD_VALUE", "match"),
        ("sku_id: s, quantity: pages, pricing_unit: Pages, charge_model: per_unit, unit_price: 1", "MISSING_KEY", "{sku_id"),
        (f"{COST}, charge_model: dynamic, dynamic: true", "MISSING_KEY", "{sku_id"),
        (f"{COST}, charge_model: dynamic, dynamic: false, price_sources: [a]", "BAD_VALUE", "dynamic: f"),
        (f"{COST}, charge_model: dynamic, dynamic: true, price_sources: []", "BAD_VALUE", "price_sources"),
        (f"{COST}, charge_model: dynamic, dynamic: true, price_sources: a", "BAD_VALUE", "price_sources"),
        (f"{COST}, charge_model: per_unit, unit_price: 1", "BAD_VALUE", "quantity"),
        (f"{PAID}, charge_model: cost_plus, multiplier: 1", "BAD_VALUE", "quantity"),
        (f"{CALLS}, charge_model: percentage, rate_percent: 1", "BAD_VALUE", "quantity"),
        (f"{UNIT}, window: week", "BAD_VALUE", "window"),
        (f"{UNIT}, round: down", "BAD_VALUE", "round"),
        (f"{UNIT}, scope_by: [colour]", "BAD_VALUE", "scope_by"),
        (f"{UNIT}, scope_by: [project, project]", "BAD_VALUE", "scope_by"),
        (f"{UNIT}, discounts: [{{percent: 1, fixed: 1}}]", "BAD_VALUE", "percent"),
        (f"{UNIT}, discounts: [{{}}]", "BAD_VALUE", "{}"),
        (f"{UNIT}, status_policy: {{OK: bill_zero}}", "BAD_VALUE", "OK"),
        (f"{UNIT}, status_policy: {{ERROR: free}}", "BAD_VALUE", "ERROR"),
        (f"{UNIT}, status_policy: {{ERROR: {{amortise: null}}}}", "BAD_VALUE", "ERROR"),
        (f"{UNIT}, modifiers: [{{attribute: colour, factors: {{a: 1}}}}]", "BAD_VALUE", "attribute"),
        (f"{UNIT}, modifiers: [{{attribute: region, factors: {{}}}}]", "BAD_VALUE", "factors"),
        (f"{UNIT}, modifiers: [{{attribute: region}}]", "MISSING_KEY", "{attribute"),
        (f"{UNIT}, modifiers: [{{attribute: region, factors: {{a: 1}}}}, {{attribute: region, factors: {{b: 1}}}}]", "BAD_VALUE", "attribute: region, factors: {b"),
        (f"{HOUSE}, leaf: input, pricing_unit: Tokens, charge_model: threshold, base: 1, thresholds: [{{above: 1, price: 2}}], maximum: 2", "BAD_VALUE", "maximum"),
        (f"{HOUSE}, leaf: input, pricing_unit: Tokens, charge_model: threshold, base: 1, thresholds: [{{above: 1, price: 2}}], free_units: 2", "BAD_VALUE", "free_units"),
        # bounds not ascending
        (f"{CALLS}, charge_model: graduated, tiers: []", "MISSING_KEY", "tiers"),
        (f"{CALLS}, charge_model: graduated, tiers: [{{unit_price: 1}}]", "MISSING_KEY", "{unit_price"),
        (f"{CALLS}, charge_model: graduated, tiers: [{{up_to: 4}}, {{up_to: 4}}, {{up_to: null}}]", "NOT_ASCENDING", "up_to: 4}, {up_to: null"),
        (f"{CALLS}, charge_model: graduated, tiers: [{{up_to: 0}}, {{up_to: null}}]", "NOT_ASCENDING", "up_to"),
        (f"{CALLS}, charge_model: graduated, tiers: [{{up_to: null}}, {{up_to: null}}]", "NOT_ASCENDING", "up_to"),
        (f"{CALLS}, charge_model: graduated, tiers: [{{up_to: -1}}, {{up_to: null}}]", "NEGATIVE", "up_to"),
        (f"{CALLS}, charge_model: volume, tiers: [{{up_to: null, block_size: 0}}]", "NOT_POSITIVE", "block_size"),
        (f"{CALLS}, charge_model: volume, tiers: [{{up_to: null, rate_percent: 1}}]", "UNKNOWN_KEY", "rate_percent"),
        (f"{PAID}, charge_model: graduated_percentage, tiers: [{{up_to: null, rate_percent: 1, unit_price: 1}}]", "UNKNOWN_KEY", "unit_price"),
        # negative price, fee, factor or percentage; too many digits
        (f"{CALLS}, charge_model: graduated, tiers: [{{up_to: null, flat_fee: -1}}]", "NEGATIVE", "flat_fee"),
        (f"{UNIT}, free_units: -1", "NEGATIVE", "free_units"),
        (f"{UNIT}, discounts: [{{percent: -1}}]", "NEGATIVE", "percent"),
        (f"{UNIT}, modifiers: [{{attribute: region, factors: {{a: -1}}}}]", "NEGATIVE", "a: -1"),
        (f"{PAID}, charge_model: percentage, rate_percent: -1", "NEGATIVE", "rate_percent"),
        (f"{COST}, charge_model: cost_plus, multiplier: 1.0000000001", "BAD_NUMBER", "multiplier"),
        (f"{UNIT}, minimum: 0.0000000000001", "BAD_NUMBER", "minimum"),
        (f"{PAID}, charge_model: percentage, rate_percent: 1, free_events: 1.5", "BAD_NUMBER", "free_events"),
        # the rest of the refusals
        (f"{UNIT}, minimum: 2, maximum: 1", "MINIMUM_ABOVE_MAXIMUM", "minimum"),
        (f"{PAID}, charge_model: percentage, rate_percent: 1, per_event_min: 2, per_event_max: 1", "MINIMUM_ABOVE_MAXIMUM", "per_event_min"),
        (f"{UNIT}, discounts: [{{percent: 100.1}}]", "DISCOUNT_ABOVE_100", "percent"),
        (f"{CALLS}, charge_model: volume, tiers: [{{up_to: null}}], modifiers: [{{attribute: region, factors: {{a: 1}}}}]", "VOLUME_WITH_MODIFIERS", "modifiers"),
        (f"{PAID.replace('USD', 'EUR')}, charge_model: percentage, rate_percent: 1", "UNKNOWN_UNIT", "pricing_unit"),
        (f"{HOUSE}, quantity: gpu_ms, pricing_unit: Calls, charge_model: per_unit, unit_price: 1", "UNKNOWN_UNIT", "pricing_unit"),
        (f"{PAID}, charge_model: percentage, rate_percent: 1, divide_by: 2", "BAD_VALUE", "divide_by"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_code_line_and_column(sku, code, at):
    text = sku_card(sku)
    line = text.splitlines()[6]
    assert line.count(at) >= 1
    place = line.index(at) + 1
    assert problems(text) == [(code, 7, place)]


@pytest.mark.parametrize(
    ("bands", "code", "at"),
    [
        ("{weekdays: [MON], from: '08:00', to: '12:00', factor: 1}, {weekdays: [MON], from: '11:59', to: '13:00', factor: 1}", "BANDS_OVERLAP", "from: '11"),
        ("{weekdays: [SUN], from: '22:00', to: '06:00', factor: 1}, {weekdays: [MON], from: '05:00', to: '07:00', factor: 1}", "BANDS_OVERLAP", "from: '05"),
        ("{weekdays: [MON], from: '05:00', to: '07:00', factor: 1}, {weekdays: [SUN], from: '22:00', to: '06:00', factor: 1}", "BANDS_OVERLAP", "from: '22"),
        ("{weekdays: [MON], from: '00:00', to: '24:00', factor: 1}, {weekdays: [MON], from: '03:00', to: '04:00', factor: 1}", "BANDS_OVERLAP", "from: '03"),
        ("{weekdays: [MON], from: '08:00', to: '08:00', factor: 1}", "BAD_VALUE", "to: '08"),
        ("{weekdays: [MON], from: '8:00', to: '09:00', factor: 1}", "BAD_TIME", "from: '8"),
        ("{weekdays: [MON], from: '24:00', to: '09:00', factor: 1}", "BAD_VALUE", "to: '09"),
        ("{weekdays: [MON], from: '08:00', to: '09:60', factor: 1}", "BAD_TIME", "to: '09"),
        ("{weekdays: [LUN], from: '08:00', to: '09:00', factor: 1}", "BAD_VALUE", "weekdays"),
        ("{from: '08:00', to: '09:00', factor: 1}", "MISSING_KEY", "{from"),
        ("", "BAD_VALUE", "bands"),
    ],
)  # fmt: skip
def test_time_bands_must_not_overlap(bands, code, at):
    text = sku_card(f"{UNIT}, modifiers: [{{attribute: time_band, time_zone: Europe/Berlin, bands: [{bands}]}}]")
    assert problems(text) == [(code, 7, text.splitlines()[6].index(at) + 1)]


@pytest.mark.parametrize(
    "bands",
    [
        "{weekdays: [MON], from: '08:00', to: '12:00', factor: 1}, {weekdays: [MON], from: '12:00', to: '13:00', factor: 1}",
        "{weekdays: [SUN], from: '22:00', to: '06:00', factor: 1}, {weekdays: [MON], from: '06:00', to: '07:00', factor: 1}",
        "{weekdays: [SAT, SUN], from: '00:00', to: '24:00', factor: 1}, {weekdays: [FRI], from: '20:00', to: '00:00', factor: 1}",
        "{weekdays: SAT, from: 20:00, to: 21:00, factor: 0.5}",
    ],
)
def test_time_bands_may_meet(bands):
    card = read_rate_card(
        sku_card(f"{UNIT}, modifiers: [{{attribute: time_band, time_zone: Europe/Berlin, bands: [{bands}]}}]")
    )
    assert card == from_json(to_json(card))


@pytest.mark.parametrize("zone", ["Berlin", "../../etc/passwd", "europe/berlin", "CEST"])
def test_a_time_zone_is_one_of_the_pinned_data(zone):
    text = sku_card(
        f"{UNIT}, modifiers: [{{attribute: time_band, time_zone: {zone}, "
        "bands: [{weekdays: [MON], from: '08:00', to: '12:00', factor: 1}]}]"
    )
    assert [code for code, _, _ in problems(text)] == ["UNKNOWN_TIME_ZONE"]


@pytest.mark.parametrize(
    ("scope", "read"),
    [
        ("default", Scope()),
        ("{group: g}", Scope("group", "g")),
        ("{account: a}", Scope("account", "a")),
        ("{contract: c}", Scope("contract", "c")),
    ],
)
def test_a_card_is_for_one_level(scope, read):
    card = read_rate_card(sku_card(UNIT, scope=scope))
    assert card.scope == read
    assert card == from_json(to_json(card))


def test_the_bound_of_the_last_tier_is_taken_off_with_a_warning():
    text = sku_card(
        f"{CALLS}, charge_model: graduated, tiers: [{{up_to: 4, unit_price: 1}}, {{up_to: 9, unit_price: 2}}]"
    )
    card = read_rate_card(text)
    assert card.skus[0].model == Tiered("graduated", (Tier(D(4), D(1)), Tier(None, D(2))))
    found = check_card(card)
    assert [(each.code, each.warning, each.line) for each in found] == [("BOUND_REMOVED", True, 7)]
    assert check_card(from_json(to_json(card))) == []


def test_faults_in_several_skus_are_told_together_in_the_order_of_the_document():
    text = (
        re.sub("amount: 60", "amount: -60", FULL_CARD)
        .replace("above: 128000", "above: 0")
        .replace("rate_percent: 2.4", "rate_percent: x")
    )
    assert [code for code, _, _ in problems(text)] == ["NOT_ASCENDING", "NEGATIVE", "BAD_NUMBER"]


def test_money_is_counted_in_the_currency_also_when_it_is_a_credit_unit():
    text = sku_card(f"{PAID.replace('USD', 'CREDITS')}, charge_model: percentage, rate_percent: 1", currency="CREDITS")
    assert read_rate_card(text).skus[0].divide_by == 1
