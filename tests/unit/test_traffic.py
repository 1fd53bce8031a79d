"""Made-up traffic: a function of its seed whose totals equal a recount of what is sent, one event at a time."""

import io
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

import fastavro
import pytest

from chargeline.sdk.partitioner import partition_of
from chargeline.sdk.traffic import BATCH, Expected, PriceList, Spike, Traffic, generate
from chargeline.wire.avro_schema import USAGE_EVENT
from tests.support.events import SCHEMA_ID

START = 1_700_000_000_000_000
CARD = """
id: c
version: 1
currency: USD
effective_from: 2023-01-01T00:00:00Z
scope: default
skus:
  - {sku_id: a/in, match: {provider_name: openai, models: [gpt-4o]}, leaf: input, charge_model: per_unit,
     unit_price: "2.50", pricing_unit: 1000000 Tokens}
  - {sku_id: a/cached, match: {provider_name: openai, models: [gpt-4o]}, leaf: cache_read_input,
     charge_model: per_unit, unit_price: "0.1234567891", pricing_unit: 1000000 Tokens}
  - {sku_id: a/out, match: {provider_name: openai, models: [gpt-4o]}, leaf: output, charge_model: per_unit,
     unit_price: "1.00", pricing_unit: 3 Tokens}
  - {sku_id: b/in, match: {provider_name: openai, models: [o3]}, leaf: input, charge_model: per_unit,
     unit_price: "4.00", pricing_unit: 1000000 Tokens}
"""
PRICES = {"gpt-4o": ((Decimal("2.50"), 10**6), (Decimal("0.1234567891"), 10**6), (Decimal(1), 3)),
          "o3": ((Decimal(4), 10**6), (Decimal(4), 10**6), None)}  # fmt: skip


def made(expected=None, prices=None, **options):
    traffic = Traffic(**{"seed": 5, "events": 3000, "start": START, "malformed": 0.0, "duplicates": 0.0} | options)
    batches = list(generate(traffic, SCHEMA_ID, expected or Expected(), prices))
    return [pair for batch in batches for pair in zip(batch.accounts.to_pylist(), batch.values, strict=True)]


def decoded(value):
    """The event, or None: no decoder may take what is broken."""
    source = io.BytesIO(value[5:])
    try:
        event = fastavro.schemaless_reader(source, USAGE_EVENT, None)
    except (EOFError, ValueError, IndexError):
        return None
    return event if value[:1] == b"\0" and source.tell() == len(value) - 5 else None


def cost(event):
    prices = PRICES.get(event["request_model"])
    if prices is None or (prices[2] is None and event["output_tokens"]):
        return Decimal(0)
    tokens = (event["input_tokens"], event["cache_read_input_tokens"], event["output_tokens"])
    return sum(
        (price[0] * count / price[1]).quantize(Decimal("1E-12"), ROUND_HALF_UP)
        for count, price in zip(tokens, prices, strict=True)
        if price is not None
    )


def test_the_same_seed_makes_the_same_records_and_another_one_others():
    options = {"events": BATCH + 100, "duplicates": 0.1, "malformed": 0.05, "disorder": 0.2}
    assert made(**options) == made(**options)
    assert made(**options) != made(**options, seed=6)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_expected_totals_are_those_of_a_recount(tmp_path, share):
    card = tmp_path / "card.yaml"
    card.write_text(CARD)
    expected = Expected()
    records = made(expected, PriceList([card]), events=BATCH + 3000, duplicates=share, malformed=0.05, disorder=share)
    seen, again, broken, bill = set(), 0, 0, Decimal(0)
    quantities: Counter[str] = Counter()
    for account, value in records:
        event = decoded(value)
        if event is None:
            broken += 1
        elif event["event_id"] in seen:
            again += 1
        else:
            seen.add(event["event_id"])
            assert event["billing_account_id"] == account
            quantities.update({name: count for name, count in event.items() if name.endswith("input_tokens")})
            quantities["output_tokens"] += event["output_tokens"]
            bill += cost(event)
    counted = {"events": len(records), "unique": len(seen), "duplicates": again, "malformed": broken}
    totals = expected.as_dict()
    assert {name: totals[name] for name in counted} == counted
    assert len(records) == BATCH + 3000
    assert totals["quantities"] == {name: count for name, count in quantities.items() if count}
    assert totals["billed_cost"] == {"USD": format(bill.normalize(), "f")}
    assert (again > 0) == (share > 0)


def test_records_come_in_order_unless_disorder_is_asked_for():
    def times(**options):
        return [decoded(value)["event_time"] for _, value in made(**options)]

    for even in (True, False):
        found = times(even=even)
        assert found == sorted(found)
        assert START <= found[0] < found[-1] < START + 600_000_000
    late = times(disorder=0.1)
    assert late != sorted(late)
    assert sorted(late) == times()


def test_live_events_are_evenly_spaced_and_others_come_in_bursts():
    def fullest(**options):
        seconds = Counter((decoded(value)["event_time"] - START) // 1_000_000 for _, value in made(**options))
        return max(seconds.values())

    assert fullest(even=True) == 5
    assert fullest() > 15


def test_traffic_has_the_marks_of_real_traffic():
    events = [decoded(value) for _, value in made(events=BATCH)]
    accounts = Counter(event["billing_account_id"] for event in events)
    assert accounts["account-0000"] > 5 * accounts["account-0049"] > 0
    assert 0.01 < sum(event["status"] == "ERROR" for event in events) / BATCH < 0.03
    assert {event["error_type"] for event in events if event["status"] == "ERROR"} == {"timeout"}
    assert {event["output_tokens"] for event in events if event["status"] == "ERROR"} == {0}
    assert 0.02 < sum(event["attempt"] == 2 for event in events) / BATCH < 0.04
    assert {event["cache_read_input_tokens"] % 512 for event in events} == {0}
    assert [int(event["event_id"].removeprefix("g5-"), 16) for event in events] == list(range(BATCH))


def test_a_spike_multiplies_the_prompts_of_its_team_from_its_moment_on():
    plain, spiked = made(), made(spikes=(Spike("team-1-0", 20, 0.5),))
    for number, ((_, before), (_, after)) in enumerate(zip(plain, spiked, strict=True)):
        one, other = decoded(before), decoded(after)
        factor = 20 if one["team"] == "team-1-0" and number >= 1500 else 1
        prompts = [event["input_tokens"] + event["cache_read_input_tokens"] for event in (one, other)]
        assert prompts[1] == factor * prompts[0]


def test_sent_events_lie_on_their_accounts_partitions():
    from chargeline.cli.sending import placed

    batch = next(generate(Traffic(seed=1, events=500, start=START), SCHEMA_ID, Expected()))
    keys, places = placed(batch.accounts, 7)
    assert keys == [account.encode() for account in batch.accounts.to_pylist()]
    assert places == [partition_of(account, 7) for account in batch.accounts.to_pylist()]
    assert len(set(places)) > 3
