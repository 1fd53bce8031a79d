"""The columnar decoder accepts exactly what the slow one accepts, and reads the same values."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.wire import avro_rows
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.avro_columns import PADDING, walk
from chargeline.wire.usage_decoder import decode
from tests.support.events import RandomEvents, encoded, event, schema_of


def walked(datums):
    lengths = np.array([len(datum) for datum in datums], np.int64)
    ends = np.cumsum(lengths)
    return walk(np.frombuffer(b"".join(datums) + bytes(PADDING), np.uint8), ends - lengths, ends)


def decoded(values):
    return decode(values, np.array([len(value) for value in values]), schema_of)


def test_values_are_those_of_the_slow_decoder():
    events = RandomEvents(4)
    datums = [encoded(events.fields())[5:] for _ in range(500)]
    found = walked(datums)
    assert not found.irregular.any()
    usage = found.usage
    for row, datum in enumerate(datums):
        wanted = avro_rows.event_of(datum, USAGE_EVENT_SCHEMA)
        assert wanted is not None
        for name, text in usage.texts.items():
            assert text.at(row) == wanted[name]
        for name, plain in usage.plain.items():
            assert plain[row].as_py() == wanted[name]
        for name, numbers in usage.longs.items():
            assert numbers[row] == wanted[name]
        for name, (values, valid) in usage.nullable.items():
            assert (values[row].item() if valid[row] else None) == wanted[name]
        for name, entries in usage.maps.items():
            at = np.flatnonzero(entries.rows == row)
            values = entries.values if isinstance(entries.values, np.ndarray) else entries.values.to_pylist()
            assert {entries.keys.at(n): values[n] for n in at.tolist()} == wanted[name]


@settings(max_examples=300)
@given(st.integers(0, 10**9), st.data())
def test_mutated_bytes_are_accepted_by_both_decoders_or_by_none(seed, data):
    datum = bytearray(encoded(RandomEvents(seed % 50).fields())[5:])
    kind = data.draw(st.sampled_from(["cut", "longer", "flip", "random"]))
    if kind == "cut":
        datum = datum[: data.draw(st.integers(0, len(datum) - 1))]
    elif kind == "longer":
        datum += data.draw(st.binary(min_size=1, max_size=4))
    elif kind == "flip":
        at = data.draw(st.integers(0, len(datum) - 1))
        datum[at] ^= data.draw(st.integers(1, 255))
    else:
        datum = bytearray(data.draw(st.binary(max_size=80)))
    found = walked([bytes(datum)])
    slow = avro_rows.canonical(bytes(datum), USAGE_EVENT_SCHEMA)
    if not found.irregular[0]:
        assert slow is not None
    result = decoded([b"\0\0\0\0\x01" + bytes(datum)])
    assert (result.refusals.codes[0] == -1 or result.refusals.codes[0] == 0) == (slow is not None)


def test_one_bad_record_costs_itself_and_not_its_batch():
    chance = random.Random(2)
    values = [encoded(event(event_id=f"e{n}", input_tokens=n)) for n in range(2000)]
    bad = set(chance.sample(range(2000), 100))
    for row in bad:
        values[row] = values[row][: chance.randrange(len(values[row]))]
    codes = decoded(values).refusals.codes
    assert {row for row in range(2000) if codes[row] != -1} == bad
