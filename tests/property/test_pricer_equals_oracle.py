"""The vectorised pricer and the slow oracle agree on every record, however the log is cut into units."""

import json
import random
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from chargeline.domain.identities import Identities
from chargeline.domain.rates.book import PublishedCard, RateBook
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.pricer.aggregate import compute
from chargeline.pricer.compute import Rules
from chargeline.pricer.intake import fitting
from chargeline.verify.events import Rules as OracleRules
from chargeline.verify.oracle import Governance, Oracle, money
from chargeline.verify.rating.numbers import quantity, rounded
from chargeline.wire.left_out import completed
from chargeline.wire.usage_decoder import decode
from tests.support.cards import ACCOUNT_CARD, CARD
from tests.support.events import APPEND, RandomEvents, batch, encoded, event, schema_of

MARGIN, BOUND = 2000, 300_000


def picos(amount):
    return int(Context(prec=60).scaleb(amount, 12))


def table():
    cards = [PublishedCard(read_rate_card(text), 0, n) for n, text in enumerate((CARD, ACCOUNT_CARD))]
    return RateTable(RateBook(cards, margin_ms=MARGIN, future_bound_ms=BOUND))


def oracle(partition=0, partitions=1):
    governance = Governance(MARGIN, BOUND)
    governance.facts = [(0, {"card": read_rate_card(text).text}) for text in (CARD, ACCOUNT_CARD)]
    return Oracle(partition, OracleRules(partitions, MARGIN, BOUND, 60_000_000), governance, schema_of)


def run(values, cuts, partitions=1, partition=0):
    """Charges by offset, panes and outcomes of the pricer over units cut at the given places."""
    known, scopes, watermark, rates = Identities(), ScopeStates.empty(), None, table()
    rows: dict[int, dict[str, Any]] = {}
    panes: list[Any] = []
    outcomes: dict[str, int] = {}
    dead: dict[int, str] = {}
    for start, stop in zip([0, *cuts], [*cuts, len(values)], strict=True):
        if start == stop:
            continue
        unit = compute(
            batch(values[start:stop], start=start, partition=partition),
            known=known,
            scopes=scopes,
            watermark=watermark,
            table=rates,
            governance_sequence=1,
            rules=Rules(partitions, 60_000_000, 60_000_000, BOUND),
            schema_of=schema_of,
        )
        known.add(unit.booked.keys)
        scopes = scopes.apply(unit.booked.scopes)
        watermark = unit.booked.watermark
        assert sum(unit.booked.outcomes.values()) == stop - start
        for name, count in unit.booked.outcomes.items():
            outcomes[name] = outcomes.get(name, 0) + count
        booked = completed(unit.charges.to_pylist(maps_as_pydicts="strict"), "Charge")
        rows |= {row["source_offset"]: row for row in booked}
        dead |= {start + letter.row: letter.code for letter in unit.dead_letters}
        if unit.cost_rollups is not None:
            panes.append(unit.cost_rollups)
    return rows, panes, outcomes, dead


@pytest.mark.parametrize("seed", range(12))
def test_every_record_gets_the_oracles_outcome_and_cost(seed):
    events = RandomEvents(seed, partition=seed % 2, partitions=1 + seed % 2 * 2)
    values = events.values(400)
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, 400), seed % 5))
    rows, panes, outcomes, dead = run(values, cuts, events.partitions, events.partition)
    judge = oracle(events.partition, events.partitions)
    expected: dict[str, int] = {}
    total = variance = 0
    for offset, value in enumerate(values):
        judged = judge.judge(value, APPEND)
        expected[judged.outcome] = expected.get(judged.outcome, 0) + 1
        if judged.outcome in {"DEAD_LETTER", "CONFLICT"}:
            assert dead[offset] == (judged.reason or "CONFLICT"), (offset, value)
        if judged.outcome not in {"CHARGED", "UNRATED"}:
            assert offset not in rows, (offset, judged.outcome)
            continue
        row = rows[offset]
        assert (row["outcome"], row["reason"], row["match_kind"]) == (judged.outcome, judged.reason, judged.match_kind)
        found = [(e["leaf"], e["sku_price_id"], picos(e["contracted_cost"]),
                  picos(e["list_cost"]), e["pricing_quantity"] is not None and e["pricing_quantity"]) for e in row["entries"]]  # fmt: skip
        assert found == [(e.leaf, e.sku_price_id, e.contracted, e.listed, e.pricing_quantity is not None and Decimal(quantity(e.pricing_quantity)))
                         for e in judged.entries]  # fmt: skip
        if judged.outcome == "CHARGED":
            assert row["billed_cost"] == money(judged.contracted)
            total += judged.contracted
            exact = judged.rows[-1].variance
            wanted = None if exact is None else min(rounded(exact * 10**24), 10**38 - 1)
            assert row["cost_variance"] == (None if wanted is None else Context(prec=60).scaleb(Decimal(wanted), -24))
            variance += wanted or 0
    assert {name: count for name, count in outcomes.items() if count} == expected
    assert sum(picos(pc.sum(pane["billed_cost"]).as_py()) for pane in panes) == total
    assert sum(pc.sum(pane["event_count"]).as_py() for pane in panes) == len(rows)
    sampled = [pane["cost_variance"].to_pylist() for pane in panes if "cost_variance" in pane.column_names]
    assert variance
    # What a pane cannot hold is the most of its type.
    assert (
        variance >= 10**38
        or sum(int(Context(prec=60).scaleb(each, 24)) for column in sampled for each in column if each) == variance
    )


def test_a_unit_cut_anywhere_gives_the_same_charges():
    values = RandomEvents(77).values(120)
    whole = run(values, [])
    for cut in range(0, 121, 7):
        rows, _, outcomes, dead = run(values, [cut])
        assert (rows, outcomes, dead) == (whole[0], whole[2], whole[3])


def test_a_writer_with_another_field_order_is_resolved_to_the_same_event():
    from chargeline.wire.avro_schema import USAGE_EVENT

    text = json.loads(json.dumps(USAGE_EVENT, default=dict))
    text = {key: value for key, value in text.items() if not key.startswith("__")}
    text["fields"] = [*text["fields"][3:], *text["fields"][:3]]
    import io

    import fastavro

    sink = io.BytesIO()
    sink.write(b"\0\0\0\0\x05")
    fields = event(input_tokens=5, labels={"a": "b"})
    fastavro.schemaless_writer(sink, fastavro.parse_schema(text), fields)
    other = decode([sink.getvalue()], np.array([len(sink.getvalue())]), lambda number: json.dumps(text))
    ours = decode([encoded(fields)], np.array([len(encoded(fields))]), schema_of)
    assert other.refusals.codes.tolist() == [-1]
    assert other.content.tolist() == ours.content.tolist()
    assert other.usage.long("input_tokens").tolist() == [5]


def test_a_unit_holds_no_more_bytes_than_it_may_and_always_one_record():
    values = [b"x" * size for size in (10, 10, 10, 100)]
    assert [fitting(batch(values), most) for most in (1, 10, 25, 30, 129, 130)] == [1, 1, 2, 3, 3, 4]
    assert fitting(batch([None, b"x"]), 5) == 2
