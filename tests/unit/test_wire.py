"""Columnar messages stay below the broker's limit and come back whole."""

import pyarrow as pa

from chargeline.wire.arrow_messages import MESSAGE_BYTES_MAX, decode, decode_columns, encode, schema_of
from chargeline.wire.units import UnitHeader


def test_messages_stay_below_the_limit_and_hold_every_row():
    import random

    chance = random.Random(1)
    texts = [chance.randbytes(chance.randrange(200)).hex() for _ in range(20_000)]
    table = pa.table({"n": pa.array(range(20_000)), "t": pa.array(texts).dictionary_encode()})
    messages = encode(table)
    assert len(messages) > 1
    assert max(map(len, messages)) <= MESSAGE_BYTES_MAX
    rows = [row for message in messages for row in decode(message).to_pylist()]
    assert rows == table.to_pylist()


def test_some_columns_of_a_message_are_those_of_the_whole_one():
    texts = pa.array(["a", None, "b"]).dictionary_encode()
    entries = pa.array([[{"t": "x", "n": 1}], [], [{"t": "y", "n": 2}, {"t": "x", "n": None}]])
    message = encode(pa.table({"n": [1, 2, 3], "t": texts, "e": entries, "m": [b"1", b"2", b"3"]}))[0]
    schema, whole = schema_of(message), decode(message)
    assert schema == whole.schema
    for names in (["m"], ["m", "n"], ["e", "left_out"], ["t", "m"], schema.names):
        found = decode_columns(message, schema, names)
        assert found.equals(whole.select([name for name in schema.names if name in names]))


def test_a_table_without_rows_is_one_message():
    assert decode(encode(pa.table({"n": pa.array([], pa.int64())}))[0]).num_rows == 0


def test_a_unit_header_reads_back():
    header = UnitHeader(3, 10, 20, 1, 2, {"CHARGED": 7, "DEAD_LETTER": 3}, None, 5, -1)
    again = UnitHeader.decode(header.encode())
    assert (again.start, again.end, again.watermark, again.outcomes["DEAD_LETTER"]) == (10, 20, None, 3)
    assert sum(again.outcomes.values()) == again.end - again.start
