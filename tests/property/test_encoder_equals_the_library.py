"""The columnar encoder writes byte for byte what the Avro library writes for the same events."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.errors import Refused
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.usage_encoder import encode, framed
from tests.support.events import RandomEvents, encoded, event

FIELDS = {field["name"]: field for field in json.loads(USAGE_EVENT_SCHEMA)["fields"]}
LONGS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-70, 70), st.sampled_from([2**k for k in range(63)]))
TEXTS = st.one_of(st.sampled_from(["a", "b"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=80))


def kind_of(field):
    kind = field["type"]
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    return kind if isinstance(kind, dict) else {"type": kind}


def strategy_of(field):
    kind = kind_of(field)
    if kind["type"] == "enum":
        return st.sampled_from(kind["symbols"])
    if kind["type"] == "map":
        return st.dictionaries(TEXTS, TEXTS if kind["values"] == "string" else LONGS, max_size=4)
    return {"string": TEXTS, "long": LONGS, "double": st.floats()}[kind["type"]]


def arrow_of(field):
    kind = kind_of(field)
    if kind["type"] == "map":
        return pa.map_(pa.string(), pa.string() if kind["values"] == "string" else pa.int64())
    return {"string": pa.string(), "enum": pa.string(), "long": pa.int64(), "double": pa.float64()}[kind["type"]]


@st.composite
def rows(draw):
    """Some events that have a few fields beyond the required ones; not every row has every one of them."""
    names = draw(st.lists(st.sampled_from([n for n in FIELDS if "default" in FIELDS[n]]), max_size=6, unique=True))
    required = {name: strategy_of(field) for name, field in FIELDS.items() if "default" not in field}
    return draw(
        st.lists(
            st.fixed_dictionaries(required, optional={name: strategy_of(FIELDS[name]) for name in names}),
            min_size=1,
            max_size=12,
        )
    )


def columns_of(events, *, coded=False):
    columns = {}
    for name in sorted({name for each in events for name in each}):
        values = [list(v.items()) if isinstance(v := each.get(name), dict) else v for each in events]
        column = pa.array(values, arrow_of(FIELDS[name]))
        columns[name] = column.dictionary_encode() if coded and pa.types.is_string(column.type) else column
    return columns


@settings(max_examples=300)
@given(rows(), st.booleans(), st.integers(0, 2**32 - 1))
def test_every_event_has_the_bytes_that_the_library_writes(events, coded, schema_id):
    columns = columns_of(events, coded=coded)
    assert encode(columns, len(events), schema_id) == [encoded(each, schema_id) for each in events]


def test_random_usage_is_encoded_alike_whole_and_in_slices():
    events = RandomEvents(3)
    given = [events.fields() for _ in range(2000)]
    wanted = [encoded(each) for each in given]
    columns = columns_of(given)
    assert encode(columns, len(given), 1) == wanted
    part = {name: column.slice(700, 300) for name, column in columns.items()}
    assert encode(part, 300, 1) == wanted[700:1000]
    assert encode({name: column.slice(0, 0) for name, column in columns.items()}, 0, 1) == []


def test_one_value_stands_for_all_rows():
    columns = event(event_id=pa.array(["a", "b"]), team="t", input_tokens=300)
    wanted = [encoded(event(event_id=name, team="t", input_tokens=300)) for name in "ab"]
    assert encode(columns, 2, 1) == wanted
    assert encode(event(), 2, 1) == [encoded(event())] * 2


def test_instants_of_any_precision_become_microseconds():
    times = pa.array([1_700_000_000_123_456_789, -1], pa.timestamp("ns", "Europe/Paris"))
    wanted = [encoded(event(event_time=micros)) for micros in (1_700_000_000_123_456, -1)]
    assert encode(event(event_time=times), 2, 1) == wanted


@pytest.mark.parametrize(
    ("change", "name"),
    [({"tokens": pa.array([1])}, "unknown field tokens"), ({"source": pa.nulls(1)}, "missing field source"),
     ({"source": pa.array([None], pa.string())}, "missing field source"),
     ({"input_tokens": pa.array([1.0])}, "input_tokens is double"), ({"input_tokens": pa.array([True])}, "input_tokens"),
     ({"input_tokens": pa.array([2**63], pa.uint64())}, "input_tokens"), ({"team": pa.array([1])}, "team is int64"),
     ({"event_time": pa.array([0], pa.timestamp("us"))}, "without a time zone"),
     ({"requests": pa.array([0], pa.timestamp("us", "UTC"))}, "requests is timestamp"),
     ({"status": pa.array(["FINE"])}, "status cannot be FINE"), ({"labels": pa.array(["x"])}, "labels is string"),
     ({"labels": pa.array([[("k", None)]], pa.map_(pa.string(), pa.string()))}, "labels has an entry without a value"),
     ({"quality_score": pa.array(["1"])}, "quality_score is string")],
)  # fmt: skip
def test_a_column_that_is_none_of_usage_event_is_refused_by_name(change, name):
    with pytest.raises(Refused, match=name):
        encode(event() | change, 1, 1)


def test_framed_events_know_their_accounts():
    accounts = pa.array(["a", "b", "a"])
    found = framed(event(billing_account_id=accounts), 3, 1)
    assert found.accounts.to_pylist() == ["a", "b", "a"]
    assert found.values == [encoded(event(billing_account_id=name)) for name in "aba"]
    shared = framed(event(event_id=pa.array(["x", "y"])), 2, 1)
    assert shared.accounts.to_pylist() == ["acme", "acme"]


def test_codes_of_a_dictionary_that_holds_more_than_is_used():
    texts = pa.DictionaryArray.from_arrays(np.array([2, 0], np.int32), ["x", "never", "y"])
    assert encode(event(team=texts), 2, 1) == [encoded(event(team=team)) for team in ("y", "x")]
