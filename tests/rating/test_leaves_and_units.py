"""The rows of spec/rating.md 6: token leaves, conventions and other units."""

import pytest

from tests.support.rating import JUNE, card, costs, event, millionths, sku, token_sku

FIVE = {
    "input": "2",
    "cache_read_input": "0.2",
    "cache_write_input": "2.5",
    "input_audio": "8",
    "cache_read_audio": "0.8",
}
MIXED = {"input": 5000, "cache_read_input": 3200, "cache_write_input": 600, "input_audio": 900, "cache_read_audio": 400}


def tokens(convention, **counts):
    return event(token_convention=convention, **{f"{leaf}_tokens": count for leaf, count in counts.items()})


@pytest.mark.parametrize(
    ("prices", "convention", "counts", "leaves", "expected"),
    [
        (FIVE, "INCLUSIVE", MIXED, {"input": "700", "cache_read_input": "2800", "cache_write_input": "600",
                                    "input_audio": "500", "cache_read_audio": "400"}, "0.00778"),
        ({leaf: each for leaf, each in FIVE.items() if leaf != "cache_write_input"}, "INCLUSIVE", MIXED,
         {"input": "700", "cache_read_input": "2800", "cache_write_input": "600", "input_audio": "500",
          "cache_read_audio": "400"}, "0.00748"),
        ({"output": "10"}, "DISJOINT", {"output": 250, "reasoning_output": 650},
         {"output": "250", "reasoning_output": "650"}, "0.009"),
        ({"input": "2", "cache_read_input": "0.2"}, "INCLUSIVE",
         {"input": 500, "input_image": 400, "cache_read_input": 250},
         {"cache_read_input": "250", "input_image": "250"}, "0.00055"),
        ({"input": "2", "cache_write_input": "2.5"}, "DISJOINT", {"cache_write_1h_input": 1000},
         {"cache_write_1h_input": "1000"}, "0.0025"),
        ({"input": "2"}, "DISJOINT", {"cache_read_audio": 1000}, {"cache_read_audio": "1000"}, "0.002"),
    ],
)  # fmt: skip
def test_every_leaf_pays_its_own_price_or_its_parents(price, prices, convention, counts, leaves, expected):
    skus = [token_sku(leaf, each) for leaf, each in prices.items()]
    result = price([card(*skus)], None, None, [tokens(convention, **counts)], False)[0]
    millions = {leaf: f"0.{int(count):06d}".rstrip("0") for leaf, count in leaves.items()}
    assert {entry["leaf"]: entry["pricing_quantity"] for entry in result["entries"]} == millions
    assert result["contracted_cost"] == expected


def test_a_part_larger_than_the_whole_is_refused(price):
    bad = tokens("INCLUSIVE", input=100, cache_read_input=140)
    result = price([card(token_sku("input", "2"))], None, None, [bad], False)[0]
    assert (result["outcome"], result["reason"]) == ("DEAD_LETTER", "NEGATIVE_QUANTITY")


@pytest.mark.parametrize(
    ("quantity", "unit", "unit_price", "count", "time", "units", "expected"),
    [
        ("gpu_ms", "GPU-Hours", "2.20", 16_200_000, JUNE, "4.5", "9.9"),
        ("cpu_ms", "CPU-Hours", "1", 3_600_000, JUNE, "1", "1"),
        ("memory_mib_s", "GiB-Hours", "1", 3_686_400, JUNE, "1", "1"),
        ("storage_mib_s", "GB-Months", "0.09", 25_920_000_000, "2026-04-03T00:00:00Z", "10.48576", "0.9437184"),
        ("io_bytes", "GB", "1", 10**9, JUNE, "1", "1"),
        ("io_bytes", "GiB", "1", 2**30, JUNE, "1", "1"),
        ("requests", "Requests", "0.5", 3, JUNE, "3", "1.5"),
    ],
)
def test_a_counted_quantity_is_converted_to_its_unit(price, quantity, unit, unit_price, count, time, units, expected):
    rate = sku("per_unit", quantity, unit, unit_price=unit_price)
    result = price([card(rate)], None, None, [event(event_time=time, **{quantity: count})], False)[0]
    assert [entry["pricing_quantity"] for entry in result["entries"]] == [units]
    assert result["contracted_cost"] == expected


@pytest.mark.parametrize(
    ("quantity", "unit", "unit_price", "number", "expected"),
    [
        ("training_tokens", "1000000 Tokens", "8", "120000", "0.96"),
        ("web_searches", "1000 Searches", "10", "3", "0.03"),
        ("audio_s", "Minutes", "0.6", "90", "0.9"),
        ("provisioned_unit_s", "Unit-Hours", "2", "1800", "1"),
    ],
)
def test_an_extra_quantity_is_counted_in_millionths(price, quantity, unit, unit_price, number, expected):
    rate = sku("per_unit", quantity, unit, unit_price=unit_price)
    used = event(extra_quantities={quantity: millionths(number)})
    assert costs(price([card(rate)], None, None, [used], False)) == [expected]


@pytest.mark.parametrize(
    ("counts", "extras", "expected"),
    [
        ({"input_tokens": 1}, {}, ("UNRATED", "NO_PRICE")),
        ({"output_tokens": 1_000_000}, {}, ("CHARGED", None)),
        ({"output_tokens": 1}, {"unknown": 1}, ("CHARGED", None)),
        ({}, {"unknown": 1}, ("UNRATED", "NO_PRICE")),
        ({}, {"unknown": 1, "units": 1}, ("CHARGED", None)),
        ({}, {}, ("CHARGED", None)),
    ],
)
def test_an_event_without_a_price_is_unrated(price, counts, extras, expected):
    rates = [token_sku("output", "1"), sku("per_unit", unit_price="1")]
    result = price([card(*rates)], None, None, [event(extra_quantities=extras, **counts)], False)[0]
    assert (result["outcome"], result["reason"]) == expected
    if expected[0] == "UNRATED":
        assert result["contracted_cost"] is None
        assert result["entries"] == []
