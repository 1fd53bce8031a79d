"""What `focus_cost_and_usage` exports is FOCUS 1.4: an outside checker reads the CSV, and so do the rules it misses."""

import csv
import io
import json
import re
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import pytest
import urllib3
from focus_data_toolkit import lint_focus_1_4_structure

from chargeline.runtime.stack import load_stack
from tests.support.stack import chargeline, rows, send

pytestmark = pytest.mark.stack
MONTH = "2026-03-01T00:00:00Z"  # no other test uses it
CARD = """
id: focus-test
version: 1
currency: USD
effective_from: 2023-01-01T00:00:00Z
scope: default
aliases:
  - {provider_name: focus-test, alias: new-2026-02-01, model: new}
skus:
  - {sku_id: new/input, match: {provider_name: focus-test, models: [new]}, leaf: input,
     charge_model: per_unit, unit_price: 2.5, pricing_unit: 1000000 Tokens}
  - {sku_id: fine/input, match: {provider_name: focus-test, models: [fine]}, leaf: input,
     charge_model: per_unit, unit_price: "0.123456789123456789", pricing_unit: 1000000 Tokens}
  - {sku_id: job/gpu, match: {provider_name: focus-test, models: [job]}, quantity: gpu_ms,
     charge_model: per_unit, unit_price: 2.20, pricing_unit: GPU-Hours}
  - {sku_id: search, match: {provider_name: focus-test, models: [new]}, quantity: web_searches,
     charge_model: per_unit, unit_price: 10, pricing_unit: 1000 Searches}
"""
CREDITS = """
id: focus-credits
version: 1
currency: CREDITS
effective_from: 2023-01-01T00:00:00Z
scope: {account: focus-credits}
skus:
  - {sku_id: credits/input, match: {provider_name: focus-credits, models: [new]}, leaf: input,
     charge_model: per_unit, unit_price: 2.5, pricing_unit: 1000000 Tokens}
"""
# What the checker is right about and what cannot be mended yet: (account, column, rule) and the reason.
EXCEPTIONS = {
    ("focus-credits", "BillingCurrency", "bad_currency"): "no FX rates yet: a card in credits is billed in credits",
    ("focus-credits", "PricingCurrency", "bad_currency"): "a virtual currency may stand here; the checker knows none",
}
DIMENSIONS = ("sub_account_id", "team", "project", "environment", "region", "resource_id", "service_tier")
TINY = 5000  # so many roundings of a thousandth of a GPU second add up to more than the checker's tolerance

TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
UNIT = re.compile(r"([1-9][0-9]* )?([A-Z][A-Za-z]*-)*([A-Z][A-Za-z]*s|[KMGTPE]i?B)")
CUSTOM = re.compile(r"x_[A-Z][A-Za-z0-9]{0,47}")


def own_events():
    """Every kind of price, every dimension filled, null and empty, an alias, and one event without a price."""
    common: dict[str, Any] = {
        "event_time": "2026-03-10T08:15:30.250001Z",
        "billing_account_id": "focus",
        "provider_name": "focus-test",
        "request_model": "new",
        "operation_name": "chat",
    }
    changes: list[dict[str, Any]] = [
        {"input_tokens": 3},
        {"input_tokens": 3, **dict.fromkeys(DIMENSIONS, "")},
        {"input_tokens": 3, **dict.fromkeys(DIMENSIONS, "some"), "labels": {"tier": 'say "gold", ünï'}},
        {"input_tokens": 3, "request_model": "new-2026-02-01"},
        {"input_tokens": 7, "request_model": "fine"},
        {"input_tokens": 10**13 + 1, "request_model": "fine"},
        {"extra_quantities": {"web_searches": 2_000_000}},
        {"gpu_ms": 16_200_001, "request_model": "job", "resource_id": "h100"},
        {"input_tokens": 3, "request_model": "without-price"},
        {"input_tokens": 3, "provider_name": "focus-credits", "billing_account_id": "focus-credits"},
        *({"gpu_ms": 1, "request_model": "job"} for _ in range(TINY)),
    ]
    return [common | {"event_id": f"focus-{number}"} | change for number, change in enumerate(changes)]


@pytest.fixture(scope="module")
def export(stack, tmp_path_factory):
    """The month as CSV text, as a FinOps tool receives it; every value stays its text, and null is empty."""
    folder = tmp_path_factory.mktemp("focus")
    for name, card in (("card", CARD), ("credits", CREDITS)):
        (folder / f"{name}.yaml").write_text(card)
        chargeline(stack, "rates", "publish", folder / f"{name}.yaml")
    chargeline(stack, "generate", "--seed", 5, "--events", 400, "--start", "2026-03-05T00:00:00Z", "--wait")
    assert send(stack, folder, "events", own_events())["unrated"] == 1
    return list(csv.DictReader(io.StringIO(exported(stack), newline="")))


def exported(stack):
    where = load_stack(str(stack))
    sql = (f"SELECT * FROM focus_cost_and_usage WHERE BillingPeriodStart = '{MONTH}' FORMAT CSVWithNames "
           "SETTINGS format_csv_null_representation = ''")  # fmt: skip
    headers = {"X-ClickHouse-User": where.clickhouse_user, "X-ClickHouse-Key": where.clickhouse_password}
    answer = urllib3.request("POST", where.clickhouse_url, body=sql.encode(), headers=headers)
    text = answer.data.decode()
    assert answer.status == 200, text
    assert re.findall(r'(?m)(?:^|,)""(?:,|$)', text) == []  # an empty text is quoted, a null is not
    return text


def found_by_checker(lines):
    report = lint_focus_1_4_structure("Cost and Usage", lines, supported_conditions=["SupportsUnitPricing"])
    return {(lines[each.row_index]["BillingAccountId"], each.column, each.rule) for each in report.violations}


def test_the_checker_finds_nothing_but_what_is_named(export):
    assert found_by_checker(export) == set(EXCEPTIONS)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("ChargePeriodStart", "2026-03-10 08:00:00", "bad_datetime"),
        ("ListCost", "1", "cost_not_unit_price_times_quantity"),
        ("ServiceSubcategory", "Virtual Machines", "wrong_parent_category"),
        ("SkuPriceId", "", "required_for_usage_or_purchase"),
    ],
)
def test_the_checker_sees_a_fault_that_is_put_into_the_export(export, column, value, rule):
    line = next(each for each in export if each["BillingAccountId"] == "focus")
    assert ("focus", column, rule) in found_by_checker([line | {column: value}])


def test_times_are_whole_seconds_of_utc(export):
    times = [name for name in export[0] if re.search("Period(Start|End)$", name)]
    assert len(times) == 4
    assert [line[name] for line in export for name in times if not TIME.fullmatch(line[name])] == []
    assert {line["BillingPeriodEnd"] for line in export} == {"2026-04-01T00:00:00Z"}
    own = [line for line in export if line["BillingAccountId"] == "focus"]
    assert {(line["ChargePeriodStart"], line["ChargePeriodEnd"]) for line in own} == {
        ("2026-03-10T08:00:00Z", "2026-03-10T09:00:00Z")
    }


def test_numbers_are_plain_decimals_of_12_and_prices_of_18_places(export):
    for name, places in {"Cost": 12, "Quantity": 12, "UnitPrice": 18}.items():
        values = [line[column] for line in export for column in line if column.endswith(name) and line[column]]
        assert values
        assert [each for each in values if not NUMBER.fullmatch(each) or len(each.partition(".")[2]) > places] == []
    assert "0.123456789123456789" in {line["ListUnitPrice"] for line in export}


def test_units_are_written_as_focus_writes_them(export):
    units = {line[name] for line in export for name in ("ConsumedUnit", "PricingUnit")}
    assert {"1000000 Tokens", "1000 Searches", "GPU-Hours", "Tokens"} <= units
    assert [unit for unit in units if not UNIT.fullmatch(unit)] == []
    assert not UNIT.fullmatch("per 1M tokens")


def test_cost_is_price_times_quantity_in_every_row_however_many_roundings_it_sums(export):
    for kind in ("List", "Contracted"):
        for line in export:
            cost = Decimal(line[f"{kind}Cost"])
            exact = Decimal(line[f"{kind}UnitPrice"]) * Decimal(line["PricingQuantity"])
            assert abs(exact - cost) <= Decimal("1E-9") * max(abs(cost), Decimal(1)), line
    tiny = [line for line in export if line["SkuId"] == "job/gpu" and line["x_EventCount"] == "1"]
    assert len(tiny) > TINY  # summed, they would miss by 1.7E-9


def test_columns_are_sorted_and_ours_are_marked(export):
    ours = [name for name in export[0] if name.startswith("x_")]
    theirs = [name for name in export[0] if not name.startswith("x_")]
    assert list(export[0]) == sorted(theirs) + sorted(ours)
    assert [name for name in ours if not CUSTOM.fullmatch(name)] == []


def test_an_empty_dimension_is_exported_as_one_that_is_not_there(export):
    new = [line for line in export if line["SkuId"] == "new/input" and line["x_MatchKind"] == "EXACT"]
    assert sorted((line["RegionId"], line["x_EventCount"], line["Tags"] == "{}") for line in new) == [
        ("", "2", True),
        ("some", "1", False),
    ]


def test_tags_are_flat_objects_and_ours_carry_our_prefix(export):
    tags = [json.loads(line["Tags"]) for line in export]
    assert {type(value) for each in tags for value in each.values()} == {str}
    assert {key for each in tags for key in each if not key.startswith("chargeline/")} == {"tier"}
    assert {"tier": 'say "gold", ünï', "chargeline/team": "some", "chargeline/project": "some",
            "chargeline/environment": "some"} in tags  # fmt: skip


def test_a_price_point_has_one_sku_one_price_and_one_set_of_details(export):
    points = {
        (line["SkuPriceId"], line["SkuId"], line["ListUnitPrice"], line["PricingUnit"], line["SkuPriceDetails"])
        for line in export
    }
    assert len(points) == len({point[0] for point in points})
    alias = {line["x_RequestModel"] for line in export if line["SkuPriceId"] == "new/input/1"}
    assert alias == {"new", "new-2026-02-01"}


def test_every_charge_is_exported_once_and_an_unrated_one_is_not(stack, export):
    assert "without-price" not in {line["x_RequestModel"] for line in export}
    counted = Counter[str]()
    for line in export:
        if line["BillingAccountId"].startswith("focus"):
            counted[line["BillingAccountId"]] += int(line["x_EventCount"])
    assert counted == {"focus": len(own_events()) - 2, "focus-credits": 1}
    billed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for line in export:
        billed[line["BillingAccountId"], line["BillingCurrency"]] += Decimal(line["BilledCost"])
    stored = rows(stack, "SELECT billing_account_id AS a, billing_currency AS c, sum(billed_cost) AS b FROM charges "
                         "WHERE billing_period_start = '2026-03-01' AND outcome = 'CHARGED' GROUP BY ALL")  # fmt: skip
    assert billed == {(each["a"], each["c"]): Decimal(each["b"]) for each in stored}


def test_the_whole_view_bills_what_all_charges_bill(stack, export):
    view, charges = (
        rows(stack, f"SELECT {currency} AS c, sum({cost}) AS b FROM {table} WHERE c IS NOT NULL GROUP BY c ORDER BY c")
        for currency, cost, table in (
            ("BillingCurrency", "BilledCost", "focus_cost_and_usage"),
            ("billing_currency", "billed_cost", "charges"),
        )
    )
    assert view == charges
    assert {each["c"] for each in view} == {"USD", "CREDITS"}
