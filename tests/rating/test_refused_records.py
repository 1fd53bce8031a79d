"""Dead letters of spec/rating.md 14 that a file of events can have, in their precedence."""

import pytest

from tests.support.rating import card, event, sku, token_sku

CARDS = [card(token_sku("input", "1"), sku("per_unit", unit_price="1"))]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (None, "MALFORMED"),
        ([], "MALFORMED"),
        (event(unknown_key=1), "MALFORMED"),
        (event(team=5), "MALFORMED"),
        (event(source=""), "MISSING_FIELD"),
        (event(provider_name=None), "MISSING_FIELD"),
        (event(event_kind="CANCEL"), "MISSING_FIELD"),
        (event(source="", input_tokens="x", event_time="?"), "MISSING_FIELD"),
        (event(input_tokens="x", event_time="?"), "BAD_NUMBER"),
        (event(input_tokens="1.5"), "BAD_NUMBER"),
        (event(input_tokens=str(1 << 63)), "BAD_NUMBER"),
        (event(quality_score="NaN"), "BAD_NUMBER"),
        (event(event_time="1999-12-31T23:59:59Z"), "BAD_TIME"),
        (event(event_time="2101-01-01T00:00:00Z"), "BAD_TIME"),
        (event(event_time="2026-06-10T08:00:00"), "BAD_TIME"),
        (event(event_time="2026-06-10T08:00:00+00:00"), "BAD_TIME"),
        (event(event_time="2026-06-10T10:00:00+02:00"), "BAD_TIME"),
        (event(event_time="2026-06-10T08:00:00.0000001Z"), "BAD_TIME"),
        (event(event_time="2026-06-10 08:00:00Z"), "BAD_TIME"),
        (event(event_time="2026-06-10"), "BAD_TIME"),
        (event(event_time=1_781_078_400_000_000), "BAD_TIME"),
        (event(charge_period_end="2026-06-10T09:00:00"), "BAD_TIME"),
        (event(status="LOST"), "UNSUPPORTED"),
        (event(event_kind="PERIOD_CLOSE"), "UNSUPPORTED"),
        (event(status="LOST", input_tokens=-1), "UNSUPPORTED"),
        (event(input_tokens=-1), "NEGATIVE_QUANTITY"),
        (event(reported_cost_picos=-1), "NEGATIVE_QUANTITY"),
        (event(extra_quantities={"units": -1}), "NEGATIVE_QUANTITY"),
        (event(input_tokens=-1, charge_period_end="2026-06-10T08:00:00Z"), "NEGATIVE_QUANTITY"),
        (event(charge_period_end="2026-06-10T08:00:00Z"), "INTERVAL_REVERSED"),
        (event(sample_weight=0, charge_period_end="2026-06-10T08:00:00Z"), "INTERVAL_REVERSED"),
        (event(sample_weight=0), "BAD_SAMPLE_WEIGHT"),
        (event(gpu_ms=1, extra_quantities={"units": (1 << 63) - 1}, sample_weight=(1 << 63) - 1), "AMOUNT_OVERFLOW"),
    ],
)
def test_a_record_that_cannot_be_billed_gets_the_first_code_that_holds(price, record, code):
    good = event("good", input_tokens=1_000_000)
    results = price(CARDS, None, None, [record, good], False)
    assert (results[0]["outcome"], results[0]["reason"]) == ("DEAD_LETTER", code)
    assert results[0]["contracted_cost"] is None
    assert results[1]["contracted_cost"] == "1"
    assert results[-1]["outcomes"] == {"CHARGED": 1, "DEAD_LETTER": 1}


def test_a_refused_record_leaves_its_identity_free(price):
    results = price(CARDS, None, None, [event(sample_weight=0), event()], False)
    assert [result["outcome"] for result in results[:2]] == ["DEAD_LETTER", "CHARGED"]


@pytest.mark.parametrize(
    "large",
    [{"team": "x" * 1025}, {"customer_id": "ü" * 100_000}, {"labels": {f"k{n}": "v" for n in range(100)}},
     {"labels": {"k": "x" * 5000}}, {"event_id": "e" * 2000}, {"input_tokens": 1, "extra_quantities": {f"q{n}": 1 for n in range(70)}}],
    ids=["team", "customer_id", "many labels", "label", "event_id", "many quantities"],
)  # fmt: skip
def test_a_file_knows_no_size_limits(price, large):
    # spec/formats.md 6: TOO_LARGE does not occur
    results = price(CARDS, None, None, [event("good", input_tokens=1_000_000), event(**large)], False)
    assert results[-1]["outcomes"] == {"CHARGED": 2}


def test_a_long_text_that_differs_at_its_end_is_a_conflict(price):
    events = [event(team="x" * 3000 + end) for end in "aab"]
    results = price(CARDS, None, None, events, False)
    assert [each["outcome"] for each in results[:3]] == ["CHARGED", "DUPLICATE", "CONFLICT"]


def test_an_event_with_a_long_text_can_be_rated_anew_and_amended(price):
    long = event("first", input_tokens=1_000_000, team="x" * 3000)
    changed = event("second", event_kind="AMEND", amends_event_id="first", input_tokens=2_000_000, team="y" * 3000)
    again = event("run", event_kind="RERATE", amends_event_id="first", source=long["source"])
    results = price(CARDS, None, None, [long, again, changed], False)
    assert [each["outcome"] for each in results[:3]] == ["CHARGED", "CONTROL", "CHARGED"]
    assert results[2]["contracted_cost"] == "1"
