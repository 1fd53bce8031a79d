"""The rows of spec/rating.md 10 and 11."""

import pytest

from tests.support.rating import (
    booked,
    card,
    close_record,
    costs,
    event,
    kinds,
    scopes,
    sku,
    tiers,
    token_sku,
    total,
    used,
    uses,
)

SAMPLE = event(input_tokens=1200, sample_weight=5)
FEE = sku("per_unit", "requests", "Requests", unit_price="0.1")


@pytest.mark.parametrize(
    ("policy", "status", "mine", "platform"),
    [
        ("bill_full", "ERROR", "2", None),
        ("bill_zero", "ERROR", "0", "2"),
        ("bill_zero", "OK", "2", None),
        ("bill_zero", "CANCELLED", "2", None),
        ({"amortise": "failures"}, "ERROR", "2", None),
    ],
)
def test_the_policy_says_who_pays_a_failed_request(price, policy, status, mine, platform):
    failed = used("2", status=status)
    results = price(
        [card(sku("per_unit", unit_price="1"), status_policy={"ERROR": policy})], None, None, [failed], False
    )
    assert total(results) == mine
    assert results[-1]["totals"].get("platform") == (
        None if platform is None else {"USD": {"contracted_cost": platform, "billed_cost": platform}}
    )
    entry = results[0]["entries"][0]
    assert entry.get("waived_cost") == platform
    assert entry.get("pool") == ("failures" if isinstance(policy, dict) else None)


def test_the_policy_of_a_sku_comes_before_that_of_its_card(price):
    rate = sku("per_unit", unit_price="1", status_policy={"ERROR": "bill_full"})
    assert costs(
        price([card(rate, status_policy={"ERROR": "bill_zero"})], None, None, uses("2", status="ERROR"), False)
    ) == ["2"]


def test_what_was_waived_does_not_count_for_tiers(price):
    rate = sku("graduated", tiers=tiers(("1", "1", "5"), (None, "2", "0")), status_policy={"ERROR": "bill_zero"})
    events = [used("1", "e1", status="ERROR"), used("1", "e2"), used("1", "e3", status="ERROR"), used("1", "e4")]
    results = price([card(rate)], None, None, events, False)
    assert costs(results) == ["0", "6", "0", "2"]
    assert booked(results) == [("UNIT", "1"), ("UNIT", "2")]
    assert [entry["event_id"] for entry in scopes(results)[0]["entries"]] == ["e1", "e3"]


@pytest.mark.parametrize("is_late", [False, True])
def test_what_was_waived_of_a_volume_rate_has_nothing_to_settle(price, is_late):
    rate = sku("volume", tiers=tiers(("40", "0.7", "0"), (None, "0.55", "0")), status_policy={"ERROR": "bill_zero"})
    failed = used("4", "late", status="ERROR")
    events = [*uses("38"), *([close_record()] if is_late else []), failed]
    result = next(each for each in price([card(rate)], None, None, events, True) if each.get("event_id") == "late")
    assert [(each["entry_kind"], each["waived_cost"]) for each in result["entries"]] == [("UNIT", "2.2")]
    assert total(price([card(rate)], None, None, events, True)) == "26.6"


@pytest.mark.parametrize(
    ("policy", "status", "expected"),
    [
        ("bill_full", "ERROR", [("UNIT", "0.1")]),
        ("bill_zero", "ERROR", []),
        ({"amortise": "failures"}, "ERROR", []),
        ("bill_zero", "OK", [("UNIT", "0.1")]),
    ],
)
def test_an_error_without_usage_pays_a_fee_per_request_at_most(price, policy, status, expected):
    rates = card(FEE, token_sku("input", "1"), status_policy={"ERROR": policy})
    result = price([rates], None, None, [event(status=status)], False)[0]
    assert (result["outcome"], kinds(result)) == ("CHARGED", expected)


def test_a_sampled_event_stands_for_its_kind(price):
    result = price([card(token_sku("input", "2.5"))], None, None, [SAMPLE], False)[0]
    assert (result["contracted_cost"], result["cost_variance"]) == ("0.015", "0.00018")
    assert result["entries"][0]["estimated"] is True


def test_a_sampled_event_moves_the_tiers_by_its_weight(price):
    rate = sku("graduated", tiers=tiers(("10", "1", "0"), (None, "2", "0")))
    results = price([card(rate)], None, None, [used("3", "e1", sample_weight=3), used("2", "e2")], False)
    assert costs(results) == ["9", "3"]


def test_the_length_limit_is_that_of_one_request(price):
    rate = token_sku("input", "0") | {
        "charge_model": "threshold",
        "base": "1",
        "thresholds": [{"above": 1500, "price": "9"}],
    }
    assert costs(price([card(rate)], None, None, [SAMPLE], False)) == ["0.006"]
