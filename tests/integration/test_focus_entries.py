"""The FOCUS view over every kind of entry: rows of `charges` written by hand, as corrections and closes write them."""

import csv
import io
import json
from decimal import Decimal

import pytest
import urllib3
from focus_data_toolkit import lint_focus_1_4_structure

from chargeline.adapters.clickhouse_migrations import FOLDER, _statements
from chargeline.runtime.stack import load_stack

pytestmark = pytest.mark.stack
DATABASE = "focus_by_hand"  # beside the tables of the stack, so that no other test counts these rows
MONTH = {"billing_period_start": "2026-02-01 00:00:00", "billing_period_end": "2026-03-01 00:00:00"}


def entry(cost, kind="UNIT", listed=None, **fields):
    return {
        "entry_kind": kind,
        "sku_id": "m/input",
        "rate_card_id": "hand",
        "rate_card_version": 1,
        "leaf": "input",
        "consumed_quantity": "0",
        "consumed_unit": "Tokens",
        "contracted_cost": cost,
        "list_cost": cost if listed is None else listed,
    } | fields


def unit(cost, millions, price, point="m/input/1", list_price=None, **fields):
    """Usage of whole millions of tokens."""
    priced = {"sku_price_id": point, "pricing_quantity": millions, "pricing_unit": "1000000 Tokens",
              "consumed_quantity": str(int(Decimal(millions) * 10**6)),
              "contracted_unit_price": price, "list_unit_price": list_price or price}  # fmt: skip
    return entry(cost, **(priced | fields))


IN_DOLLARS = {"pricing_currency": "USD", "fx_rate": "0.92", "fx_rate_id": "USD/EUR/fixed"}
# The example of spec/rating.md 13 in one event, then what the close of its period books.
WHOLE = [
    unit("0", "1", "0", point="m/input/0", list_price="4", kind="FREE_UNITS", listed="3.68", pricing_cost="0", **IN_DOLLARS),
    unit("165.6", "50", "3.6", list_price="4", listed="184", pricing_cost="180", **IN_DOLLARS),
    unit("24.84", "10", "2.7", point="m/input/2", list_price="4", listed="36.8", pricing_cost="27", **IN_DOLLARS),
    entry("-4.6", "DISCOUNT", "0", charge_category="ADJUSTMENT", pricing_cost="-5", **IN_DOLLARS),
    entry("-1.84", "CAP", "0", charge_category="ADJUSTMENT", pricing_cost="-2", **IN_DOLLARS),
]  # fmt: skip
CLOSE = [
    entry("7.5", "TRUE_UP", charge_category="ADJUSTMENT"),
    entry("-3.25", "TIER_SETTLEMENT", charge_category="ADJUSTMENT"),
    entry("100", "STANDING_FEE", charge_category="PURCHASE", sku_price_id="m/input/fee", pricing_quantity="1",
          pricing_unit="Fees", contracted_unit_price="100", list_unit_price="100"),
]  # fmt: skip


def beside(billed, kind, category, effective=None, **fields):
    """An entry of a close that is of no rate: its contracted cost is 0."""
    costs = {"billed_cost": billed, "effective_cost": billed if effective is None else effective}
    without = {"rate_card_id": "", "rate_card_version": 0, "leaf": "", "consumed_unit": ""}
    return entry("0", kind, charge_category=category, **(without | costs | fields))


OF_THE_EVENT = {"charge_period_start": "2026-02-10 08:15:30.25", "event_id": "e0"}
PROMISED = [
    beside("100", "STANDING_FEE", "PURCHASE", "0", sku_id=""),
    beside("-100", "COVER", "USAGE", "0", **OF_THE_EVENT),
    beside("8.4", "OVERAGE", "ADJUSTMENT", **OF_THE_EVENT),
]
GRANTED = [beside("-30", "CREDIT", "CREDIT")]
LEAST = [beside("12", "TRUE_UP", "ADJUSTMENT", sku_id="")]
OF_JANUARY = {"charge_class": "CORRECTION", "charge_period_start": "2026-01-20 10:30:00"}
CANCELLED = [
    unit("-21", "-30", "0.7", kind="REVERSAL", **OF_JANUARY),
    entry("1.5", "TIER_SHIFT", charge_category="ADJUSTMENT", **OF_JANUARY),
]
WAIVED = [unit("0", "0.2", "2.5", listed="0.5", waived_cost="0.5")]
PARTS = [
    unit("1", "1", "1", charge_period_start="2026-01-31 23:00:00", billing_period_start="2026-01-01 00:00:00",
         billing_period_end="2026-02-01 00:00:00"),
    unit("1", "1", "1", charge_period_start="2026-02-01 00:00:00"),
]  # fmt: skip
SAMPLED = [unit("0.01", "0.01", "1"), unit("0.005", "0.005", "1", sku_id="m/output", leaf="output",
                                           point="m/output/1")]  # fmt: skip


def row(offset, account, entries, **fields):
    names = list(dict.fromkeys(name for each in entries for name in each))
    lists = {f"entries.{name}": [each.get(name, DEFAULTS.get(name)) for each in entries] for name in names}
    common = {"source_offset": offset, "billing_account_id": account, "outcome": "CHARGED", "billing_currency": "EUR",
              "event_time": "2026-02-10 08:15:30.25", "provider_name": "house", "request_model": "m",
              "operation_name": "chat", "event_id": f"e{offset}", "source": "hand"}  # fmt: skip
    return common | MONTH | lists | fields


DEFAULTS = {"charge_category": "USAGE"}
CLOSED = {"event_kind": "PERIOD_CLOSE", "event_time": "2026-03-04 00:00:00"}
ROWS = [
    row(0, "whole", WHOLE),
    row(1, "whole", CLOSE, **CLOSED),
    row(1, "whole", GRANTED, source_index=1, rule_id="grant:G", **CLOSED),
    row(1, "promised", PROMISED, source_index=2, rule_id="commitment:K", **CLOSED),
    row(1, "promised", LEAST, source_index=3, rule_id="minimum", **CLOSED),
    row(2, "cancelled", CANCELLED, event_kind="CANCEL", sample_weight=5, estimated=True),
    row(3, "waived", WAIVED),
    row(4, "parts", PARTS, event_time="2026-01-31 23:00:00"),
    row(5, "sampled", SAMPLED, sample_weight=5, estimated=True, cost_variance="0.00018"),
    row(6, "unrated", [], outcome="UNRATED", billing_currency=None),
]


def asked(stack, statement):
    where = load_stack(str(stack))
    headers = {"X-ClickHouse-User": where.clickhouse_user, "X-ClickHouse-Key": where.clickhouse_password}
    answer = urllib3.request("POST", where.clickhouse_url, body=statement.encode(), headers=headers)
    assert answer.status == 200, answer.data.decode()
    return answer.data.decode()


@pytest.fixture(scope="module")
def export(stack):
    """The view over the rows, by account."""
    asked(stack, f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    for path in sorted(FOLDER.glob("[0-9]*.sql")):
        for statement in _statements(path.read_text(), replicated=False):
            is_column = statement.startswith("ALTER TABLE charges ADD COLUMN")
            if is_column or "EXISTS charges\n" in statement or "VIEW focus_cost_and_usage" in statement:
                here = statement.replace("EXISTS charges\n", f"EXISTS {DATABASE}.charges\n")
                here = here.replace("TABLE charges ADD", f"TABLE {DATABASE}.charges ADD")
                here = here.replace("VIEW focus_", f"VIEW {DATABASE}.focus_")
                asked(stack, here.replace("FROM charges\n", f"FROM {DATABASE}.charges\n"))
    asked(stack, f"TRUNCATE TABLE {DATABASE}.charges")
    lines = "\n".join(json.dumps(each) for each in ROWS)
    asked(stack, f"INSERT INTO {DATABASE}.charges FORMAT JSONEachRow\n{lines}")
    text = asked(stack, f"SELECT * FROM {DATABASE}.focus_cost_and_usage ORDER BY ALL FORMAT CSVWithNames "
                        "SETTINGS format_csv_null_representation = ''")  # fmt: skip
    yield list(csv.DictReader(io.StringIO(text, newline="")))
    asked(stack, f"DROP DATABASE {DATABASE}")


def of(export, account, *columns):
    """The rows of an account: kind, billed cost and the named columns."""
    found = [[line["x_EntryKind"], Decimal(line["BilledCost"]), *(line[name] for name in columns)]
             for line in export if line["BillingAccountId"] == account]  # fmt: skip
    return sorted(found, key=str)


def test_the_checker_finds_nothing(export):
    report = lint_focus_1_4_structure("Cost and Usage", export, supported_conditions=["SupportsUnitPricing"])
    assert [(each.column, each.rule, export[each.row_index]["x_EntryKind"]) for each in report.violations] == []


def test_every_entry_is_billed_once_and_an_unrated_row_is_not_there(export):
    billed: dict[str, Decimal] = {}
    for line in export:
        account = line["BillingAccountId"]
        billed[account] = billed.get(account, Decimal(0)) + Decimal(line["BilledCost"])
    assert billed == {"whole": Decimal("258.25"), "promised": Decimal("20.4"), "cancelled": Decimal("-19.5"), "waived": 0, "parts": 2,
                      "sampled": Decimal("0.015")}  # fmt: skip


def test_category_and_frequency_are_those_of_the_kind(export):
    found = of(export, "whole", "ChargeCategory", "ChargeFrequency")
    assert {(kind, category, frequency) for kind, _, category, frequency in found} == {
        ("FREE_UNITS", "Usage", "Usage-Based"),
        ("UNIT", "Usage", "Usage-Based"),
        ("DISCOUNT", "Adjustment", "Usage-Based"),
        ("CAP", "Adjustment", "Usage-Based"),
        ("TRUE_UP", "Adjustment", "Usage-Based"),
        ("TIER_SETTLEMENT", "Adjustment", "Usage-Based"),
        ("CREDIT", "Credit", "One-Time"),
        ("STANDING_FEE", "Purchase", "Recurring"),
    }


def test_prices_are_in_the_billing_currency_beside_those_of_the_card(export):
    tier = next(line for line in export if line["SkuPriceId"] == "m/input/1" and line["BillingAccountId"] == "whole")
    names = ("ContractedUnitPrice", "ListUnitPrice", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
             "PricingCurrencyEffectiveCost")  # fmt: skip
    assert [tier[name] for name in names] == ["3.312", "3.68", "USD", "3.6", "180"]


def test_cost_is_price_times_quantity_wherever_there_is_a_price(export):
    priced = [line for line in export if line["SkuPriceId"]]
    assert len(priced) == 11
    for line in priced:
        for kind in ("List", "Contracted"):
            assert Decimal(line[f"{kind}UnitPrice"]) * Decimal(line["PricingQuantity"]) == Decimal(line[f"{kind}Cost"])


def test_an_entry_without_a_price_point_has_neither_price_nor_quantity(export):
    names = ("PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit", "ListUnitPrice",
             "ContractedUnitPrice", "PricingCategory")  # fmt: skip
    bare = [line for line in export if not line["SkuPriceId"]]
    assert len(bare) == 9
    assert {line[name] for line in bare for name in names} == {""}


def test_a_credit_has_four_equal_costs(export):
    credit = next(line for line in export if line["ChargeCategory"] == "Credit")
    assert {credit[f"{name}Cost"] for name in ("Billed", "Effective", "List", "Contracted")} == {"-30"}


def test_what_is_promised_has_a_billed_and_an_effective_cost_and_the_hour_of_the_usage(export):
    columns = ("EffectiveCost", "ContractedCost", "ListCost", "SkuId", "x_RateCardId", "ChargePeriodStart")
    month, hour = "2026-02-01T00:00:00Z", "2026-02-10T08:00:00Z"
    assert of(export, "promised", *columns) == [
        ["COVER", -100, "0", "0", "0", "m/input", "", hour],
        ["OVERAGE", Decimal("8.4"), "8.4", "0", "0", "m/input", "", hour],
        ["STANDING_FEE", 100, "0", "100", "100", "commitment:K", "", month],
        ["TRUE_UP", 12, "12", "0", "0", "", "", month],
    ]


def test_what_a_close_books_lies_in_its_billing_period(export):
    found = {line["x_EntryKind"]: (line["ChargePeriodStart"], line["ChargePeriodEnd"]) for line in export
             if line["BillingAccountId"] == "whole"}  # fmt: skip
    whole = ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
    assert [found[kind] for kind in ("CREDIT", "TRUE_UP", "STANDING_FEE", "TIER_SETTLEMENT")] == [whole] * 4
    assert found["DISCOUNT"] == found["UNIT"] == ("2026-02-10T08:00:00Z", "2026-02-10T09:00:00Z")


def test_a_correction_keeps_the_hour_of_the_original_and_is_billed_now(export):
    assert of(export, "cancelled", "ChargeClass", "ChargePeriodStart", "BillingPeriodStart", "PricingQuantity") == [
        ["REVERSAL", -21, "Correction", "2026-01-20T10:00:00Z", "2026-02-01T00:00:00Z", "-30"],
        ["TIER_SHIFT", Decimal("1.5"), "Correction", "2026-01-20T10:00:00Z", "2026-02-01T00:00:00Z", ""],
    ]


def test_what_is_waived_has_the_price_0_and_keeps_its_list_cost(export):
    assert of(export, "waived", "ContractedUnitPrice", "ListCost", "PricingQuantity", "x_WaivedCost") == [
        ["UNIT", 0, "0", "0.5", "0.2", "0.5"]
    ]


def test_parts_of_an_interval_lie_in_their_own_hours_and_periods(export):
    assert of(export, "parts", "ChargePeriodStart", "BillingPeriodStart") == [
        ["UNIT", 1, "2026-01-31T23:00:00Z", "2026-01-01T00:00:00Z"],
        ["UNIT", 1, "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"],
    ]


def test_the_variance_of_a_sampled_event_stands_once(export):
    assert of(export, "sampled", "x_Estimated", "x_CostVariance") == [
        ["UNIT", Decimal("0.005"), "true", ""],
        ["UNIT", Decimal("0.01"), "true", "0.00018"],
    ]


def test_what_other_events_owe_after_a_cancel_is_no_estimate(export):
    assert of(export, "cancelled", "x_Estimated") == [
        ["REVERSAL", -21, "true"],
        ["TIER_SHIFT", Decimal("1.5"), "false"],
    ]
