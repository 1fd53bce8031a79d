"""What a close reads of accounts and rate cards (spec/formats.md 2 and 4, spec/rating.md 7.2)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from chargeline.domain.accounts import Account, Accounts, SubscriptionChange
from chargeline.domain.closing.close import Carried, close_period
from chargeline.domain.closing.entries import Rate, Scope, Span
from chargeline.domain.closing.facts import (
    RECURRING,
    Candidate,
    account_terms,
    fee_versions,
    in_force,
    is_fee,
    recurring_units,
)
from chargeline.domain.closing.recurring import recurring_entries
from chargeline.domain.closing.standing import StandingFee, standing_entries, without_subscription
from chargeline.domain.rates.card import (
    DEFAULT,
    NO_EVENT,
    Discount,
    Package,
    PerUnit,
    RateCard,
    Sku,
    Standing,
    Tier,
    Tiered,
)
from tests.support.closing import JUNE, at, commitment, grant, picos, span, texts


def candidate(rank, used, model, *percents):
    sku = Sku(
        "seats",
        None,
        NO_EVENT,
        "",
        model,
        "Seats",
        Decimal(1),
        discounts=tuple(Discount("percent", Decimal(p)) for p in percents),
    )
    card = RateCard(f"card-{rank}", 3, None, False, "USD", 0, None, DEFAULT, (), (sku,))
    return Candidate(rank, used, card, sku)


FEE = Standing(Decimal(60))


@pytest.mark.parametrize(
    ("rows", "spans"),
    [
        ([(0, "01-01", None)], [("06-01", "07-01", 0)]),
        (
            [(9, "01-01", None), (0, "06-11", "06-21")],
            [("06-01", "06-11", 9), ("06-11", "06-21", 0), ("06-21", "07-01", 9)],
        ),
        ([(9, "01-01", "06-11"), (0, "06-21", None)], [("06-01", "06-11", 9), ("06-21", "07-01", 0)]),
        ([(0, "01-01", None), (9, "06-11", "06-21")], [("06-01", "07-01", 0)]),
        ([(0, "07-01", None)], []),
    ],
)
def test_the_nearest_level_with_a_valid_rate_holds_at_each_instant(rows, spans):
    candidates = [candidate(rank, span(start, end), FEE) for rank, start, end in rows]
    found = [(used.start, used.end, each.rank) for used, each in in_force(candidates, JUNE)]
    assert found == [(at(start), at(end), rank) for start, end, rank in spans]


def test_a_fee_of_two_levels_is_prorated_by_the_days_of_each():
    candidates = [candidate(9, span("01-01"), FEE, 10), candidate(0, span("06-16"), Standing(Decimal(90)), 10, 50)]
    fee = StandingFee(Scope("seats"), without_subscription(0), fee_versions(in_force(candidates, JUNE)))
    entries = standing_entries(fee, JUNE)
    assert texts(each.contracted_cost for each in entries) == ["27", "20.25"]
    assert [each.rate for each in entries] == [
        Rate("seats", None, f"card-{rank}", 3, "Seats", "USD") for rank in (9, 0)
    ]


@pytest.mark.parametrize(
    ("model", "percents", "amounts"),
    [
        (
            Tiered("graduated", (Tier(Decimal(4), Decimal(10), Decimal(20)), Tier(None, Decimal(6)))),
            (),
            ["20", "40", "12"],
        ),
        (
            Tiered("graduated", (Tier(Decimal(4), Decimal(10), Decimal(20)), Tier(None, Decimal(6)))),
            (50,),
            ["10", "20", "6"],
        ),
        (Tiered("volume", (Tier(Decimal(4), Decimal(10)), Tier(None, Decimal(6)))), (), ["36"]),
    ],
)
def test_subscribed_units_are_priced_by_the_card(model, percents, amounts):
    changes = (SubscriptionChange(at("05-01"), Decimal(6)),)
    each = candidate(0, span("01-01"), model, *percents)
    units = recurring_units(each, Scope(subscription_id="S"), changes, (each.used,))
    assert texts(entry.contracted_cost for entry in recurring_entries(units, JUNE)) == amounts


@pytest.mark.parametrize(("percents", "amount"), [((), "72"), ((10,), "64.8")])
def test_subscribed_units_with_one_price_are_a_fee(percents, amount):
    changes = (SubscriptionChange(at("05-01"), Decimal(6)),)
    each = candidate(0, span("01-01"), PerUnit(Decimal(12)), *percents)
    fee = StandingFee(Scope(subscription_id="S"), changes, fee_versions([(each.used, each)]))
    assert [(made.entry_kind, *texts([made.contracted_cost])) for made in standing_entries(fee, JUNE)] == [
        ("UNIT", amount)]  # fmt: skip


def test_packages_of_units_have_no_prorated_price():
    units = replace(candidate(0, span("01-01"), Package(Decimal(7), Decimal(48))).sku, measures=RECURRING)
    assert not is_fee(units)


def test_only_the_accounts_own_terms_in_its_currency_are_used():
    rows = (
        Account("acme", at("01-01"), at("06-16"), billing_currency="EUR", minimum=Decimal(100)),
        Account("acme", at("06-16"), billing_currency="EUR"),
        Account("other", at("01-01"), minimum=Decimal(7)),
    )
    mine, dollars = commitment(), commitment(name="D")
    credit = grant("G", 1)
    accounts = Accounts(
        accounts=rows,
        commitments=(mine, replace(dollars, currency="USD"), replace(mine, billing_account_id="other")),
        credits=(credit, replace(credit, currency="USD"), replace(credit, billing_account_id="other")),
    )
    facts = account_terms(accounts, "acme", "EUR")
    assert facts.minimums == ((picos(100), Span(at("01-01"), at("06-16"))),)
    assert (facts.commitments, facts.grants) == ((mine,), (credit,))
    made, _ = close_period([], [], replace(facts, commitments=()), JUNE, Carried())
    assert texts(each.billed_cost for each in made) == ["50"]
