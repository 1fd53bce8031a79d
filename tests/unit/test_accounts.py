"""Accounts: reading them with the place of every fault, and what holds when (spec/formats.md 4, spec/rating.md 1)."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from chargeline.domain.accounts import AccountFacts, Accounts, Commitment, Credit, FxPolicy, Group
from chargeline.domain.accounts_reader import (
    ACCOUNT_KEYS,
    COMMITMENT_KEYS,
    CONTRACT_KEYS,
    CREDIT_KEYS,
    GROUP_KEYS,
    LISTS,
    SUBSCRIPTION_KEYS,
    accounts_from_json,
    read_accounts,
)
from chargeline.domain.accounts_text import accounts_to_json
from chargeline.domain.documents import BadDocument, read_document

D = Decimal
ROOT = Path(__file__).parents[2]
SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "accounts.schema.json").read_text()))
TEXT = """\
groups:
  - {group: research, parent: lab}
  - {group: lab, parent: null}
accounts:
  - billing_account_id: acme
    valid_from: 2026-01-01T00:00:00Z
    valid_to: 2026-07-01T00:00:00Z
    group: research
    billing_currency: EUR
    billing_cycle_day: 5
    minimum: 12.50
    correction_months: 6
    bill_estimates: true
    fx: {policy: fixed, rates: {USD: 0.92}}
  - billing_account_id: acme
    valid_from: 2026-07-01T00:00:00Z
    valid_to: null
    fx: {policy: event_date}
contracts:
  - {contract: C-1, billing_account_id: acme, valid_from: 2026-02-01T00:00:00Z, valid_to: 2026-08-01T00:00:00Z}
subscriptions:
  - subscription_id: S-1
    billing_account_id: acme
    sku_id: seats
    changes:
      - {at: 2026-05-22T00:00:00Z, quantity: 6}
      - {at: 2026-05-01T00:00:00Z, quantity: 4}
      - {at: 2026-06-01T00:00:00Z, quantity: -10}
commitments:
  - {commitment_id: K-1, billing_account_id: acme, amount: 1000, currency: EUR, overage_factor: 1.25, paid_up_front: false,
     from: 2026-06-01T00:00:00Z, to: 2026-07-01T00:00:00Z, sku_ids: ["*"], priority: 1}
credits:
  - {grant_id: G-1, billing_account_id: acme, kind: granted, amount: 30, currency: EUR, priority: 1, sku_ids: [b, a],
     effective_at: 2026-01-01T00:00:00Z, expires_at: null, covers_minimum: true}
"""
ACCOUNTS = read_accounts(TEXT).accounts


def micros(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def problems(text):
    try:
        return [(each.code, each.line, each.column) for each in read_accounts(text).remarks]
    except BadDocument as error:
        return [(each.code, each.line, each.column) for each in error.problems]


def faults(text):
    return [each.message for each in SCHEMA.iter_errors(read_document(text))]


def changed(old, new):
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


@pytest.mark.parametrize(
    ("account", "time", "facts"),
    [
        ("acme", "2025-12-31", AccountFacts("acme")),
        ("acme", "2026-01-01", AccountFacts("acme", ("research", "lab"), None, "EUR", 5, D("12.5"), 6, True, FxPolicy("fixed", (("USD", D("0.92")),)), True)),
        ("acme", "2026-02-01", AccountFacts("acme", ("research", "lab"), "C-1", "EUR", 5, D("12.5"), 6, True, FxPolicy("fixed", (("USD", D("0.92")),)), True)),
        ("acme", "2026-07-01", AccountFacts("acme", (), "C-1", known=True)),
        ("acme", "2026-08-01", AccountFacts("acme", (), None, known=True)),
        ("other", "2026-02-01", AccountFacts("other", (), None, None, 1, None, 13, False, FxPolicy("event_date"), False)),
    ],
)  # fmt: skip
def test_what_holds_for_an_account_depends_on_the_time(account, time, facts):
    assert ACCOUNTS.at(account, micros(time)) == facts


def test_without_a_document_every_account_has_the_defaults():
    assert Accounts().at("acme", 0) == AccountFacts("acme")


def test_the_lists_are_read():
    assert ACCOUNTS.groups == (Group("research", "lab"), Group("lab"))
    assert [ACCOUNTS.subscriptions[0].quantity_at(micros(day)) for day in ("2026-04-30", "2026-05-01", "2026-05-22", "2026-06-01")] == [0, 4, 10, 0]  # fmt: skip
    june, july = micros("2026-06-01"), micros("2026-07-01")
    assert ACCOUNTS.commitments == (Commitment("K-1", "acme", D(1000), "EUR", june, july, D("1.25"), False, ("*",), 1),)
    assert ACCOUNTS.credits == (
        Credit("G-1", "acme", "granted", D(30), "EUR", micros("2026-01-01"), None, 1, ("a", "b"), True),
    )
    assert ACCOUNTS.boundaries("acme") == tuple(
        micros(f"2026-{month:02d}-01") for month in (1, 2, 7, 8)
    )  # fmt: skip


def test_accounts_are_written_and_read_without_loss():
    text = accounts_to_json(ACCOUNTS)
    assert accounts_from_json(text) == ACCOUNTS == read_accounts(text).accounts
    assert accounts_to_json(accounts_from_json(text)) == text


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "column"),
    [
        ("groups:", "teams: []\ngroups:", "UNKNOWN_KEY", 1, 1),
        ("    bill_estimates: true", "    bill_estimate: true", "UNKNOWN_KEY", 13, 5),
        ("    bill_estimates: true", "    bill_estimates: 1", "BAD_VALUE", 13, 5),
        ("    valid_from: 2026-07-01T00:00:00Z\n", "", "MISSING_KEY", 15, 5),
        ("    valid_from: 2026-07-01", "    valid_from: 2026-06-30", "OVERLAP", 16, 5),
        ("valid_to: 2026-07-01T00:00:00Z", "valid_to: 2025-07-01T00:00:00Z", "BAD_PERIOD", 7, 5),
        ("billing_cycle_day: 5", "billing_cycle_day: 29", "BAD_VALUE", 10, 5),
        ("billing_cycle_day: 5", "billing_cycle_day: 0", "BAD_VALUE", 10, 5),
        ("billing_currency: EUR", "billing_currency: EURO_", "", 0, 0),
        ("billing_currency: EUR", "billing_currency: EUX", "UNKNOWN_CURRENCY", 9, 5),
        ("minimum: 12.50", "minimum: -1", "NEGATIVE", 11, 5),
        ("minimum: 12.50", "minimum: 1e3", "BAD_NUMBER", 11, 5),
        ("correction_months: 6", "correction_months: 9999", "BAD_NUMBER", 12, 5),
        ("{policy: event_date}", "{policy: spot}", "BAD_VALUE", 18, 10),
        ("{policy: event_date}", "{policy: event_date, rates: {USD: 1}}", "BAD_VALUE", 18, 30),
        ("{policy: event_date}", "{policy: fixed}", "MISSING_KEY", 18, 9),
        ("rates: {USD: 0.92}", "rates: {USX: 0.92}", "UNKNOWN_CURRENCY", 14, 33),
        ("rates: {USD: 0.92}", "rates: {USD: 0}", "NOT_POSITIVE", 14, 33),
        ("rates: {USD: 0.92}", "rates: {}", "BAD_VALUE", 14, 25),
        ("{group: lab, parent: null}", "{group: research, parent: null}", "ID_TWICE", 3, 6),
        ("{group: lab, parent: null}", "{group: lab, parent: research}", "GROUP_CYCLE", 2, 23),
        ("group: research\n", "group: other\n", "UNKNOWN_GROUP", 8, 5),
        ("parent: null", "parent: other", "UNKNOWN_GROUP", 3, 18),
        ("2026-02-01T00:00:00Z", "2026-02-01", "BAD_TIME", 20, 47),
        ("subscriptions:", "  - {contract: C-2, billing_account_id: acme, valid_from: 2026-07-01T00:00:00Z}\nsubscriptions:", "OVERLAP", 21, 6),
        ("subscriptions:", "  - {contract: C-1, billing_account_id: two, valid_from: 2026-07-01T00:00:00Z}\nsubscriptions:", "OVERLAP", 21, 46),
        ("quantity: -10", "quantity: -11", "NEGATIVE", 28, 36),
        ("commitments:", "  - {subscription_id: S-1, billing_account_id: a, sku_id: s, changes: []}\ncommitments:", "ID_TWICE", 29, 6),
        ("credits:", "  - {commitment_id: K-1, billing_account_id: a, amount: 1, currency: EUR, from: 2026-06-30T00:00:00Z, to: 2026-08-01T00:00:00Z}\ncredits:", "OVERLAP", 32, 75),
        ("to: 2026-07-01T00:00:00Z, sku", "to: null, sku", "MISSING_KEY", 31, 34),
        ('["*"]', "[]", "BAD_VALUE", 31, 60),
        ('["*"]', "seats", "BAD_VALUE", 31, 60),
        ("kind: granted", "kind: gift", "BAD_VALUE", 33, 47),
        ("expires_at: null", "expires_at: 2026-01-01T00:00:00Z", "BAD_PERIOD", 34, 42),
        ("covers_minimum: true}", "covers_minimum: true}\n  - {grant_id: G-1, billing_account_id: a, kind: prepaid, amount: 1, currency: EUR, effective_at: 2026-01-01T00:00:00Z}", "ID_TWICE", 35, 6),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_code_line_and_column(old, new, code, line, column):
    found = problems(changed(old, new))
    assert (code, line, column) in found if code else found == []


def test_a_document_of_something_else_is_refused():
    assert problems("[]") == [("NOT_ACCOUNTS", 1, 1)]
    assert problems("accounts: 5") == [("BAD_VALUE", 1, 1)]


def test_the_document_is_in_the_published_schema_as_written_and_as_stored():
    Draft202012Validator.check_schema(SCHEMA.schema)
    assert faults(TEXT) == []
    assert faults(accounts_to_json(ACCOUNTS)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("groups:", "teams: []\ngroups:"),
        ("    bill_estimates: true", "    bill_estimate: true"),
        ("billing_cycle_day: 5", "billing_cycle_day: 29"),
        ("minimum: 12.50", "minimum: -1"),
        ("{policy: event_date}", "{policy: fixed}"),
        ("{policy: event_date}", "{policy: event_date, rates: {USD: 1}}"),
        ("rates: {USD: 0.92}", "rates: {USD: 0}"),
        ("to: 2026-07-01T00:00:00Z, sku", "to: null, sku"),
        ('["*"]', "[]"),
        ("kind: granted", "kind: gift"),
        ("quantity: -10", "quantity: x"),
        ("2026-02-01T00:00:00Z", "2026-02-01"),
    ],
)
def test_what_the_reader_refuses_is_not_in_the_schema(old, new):
    assert problems(changed(old, new))
    assert faults(changed(old, new))


def test_the_published_schema_names_the_same_keys_as_the_reader():
    lists = {name: set(each["anyOf"][0]["items"]["properties"]) for name, each in SCHEMA.schema["properties"].items()}
    keys = (GROUP_KEYS, ACCOUNT_KEYS, CONTRACT_KEYS, SUBSCRIPTION_KEYS, COMMITMENT_KEYS, CREDIT_KEYS)
    assert lists == dict(zip(LISTS, keys, strict=True))
