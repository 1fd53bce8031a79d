"""Events that are columns already become the same usage as their bytes; what they say tells repeats from conflicts."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chargeline.domain.errors import Refused
from chargeline.domain.usage import UsageColumns
from chargeline.wire.usage_columns import arrow_type, content_of, usage_of
from chargeline.wire.usage_decoder import decode
from chargeline.wire.usage_encoder import FIELDS, encode
from tests.support.events import RandomEvents, schema_of

REQUIRED = {"event_id": "e", "source": "s", "billing_account_id": "a", "event_time": 1_781_078_400_000_000,
            "provider_name": "p", "request_model": "m", "operation_name": "chat"}  # fmt: skip


def columns_of(events):
    columns = {}
    for name, field in FIELDS.items():
        values = [each.get(name) for each in events]
        if any(value is not None for value in values):
            values = [sorted(value.items()) if isinstance(value, dict) else value for value in values]
            columns[name] = pa.array(values, arrow_type(field))
    return columns


def plain(usage: UsageColumns):
    """Every row by field, defaults left out."""
    rows: list[dict[str, Any]] = [{} for _ in range(usage.length)]
    for row in range(usage.length):
        found = rows[row]
        found |= {name: text.at(row) for name, text in usage.texts.items()}
        found |= {name: text[row].as_py() for name, text in usage.plain.items()}
        found |= {name: int(numbers[row]) for name, numbers in usage.longs.items()}
        found |= {name: values[row].item() for name, (values, valid) in usage.nullable.items() if valid[row]}
        for name, entries in usage.maps.items():
            values = entries.values.tolist() if isinstance(entries.values, np.ndarray) else entries.values.to_pylist()
            at = np.flatnonzero(entries.rows == row).tolist()
            if at:
                found[name] = {entries.keys.at(n): values[n] for n in at}
    defaults = {"event_kind": "USAGE", "token_convention": "DISJOINT", "quantity_source": "MEASURED", "status": "OK",
                "requests": 1, "sample_weight": 1}  # fmt: skip
    return [
        {name: value for name, value in row.items() if value != defaults.get(name, 0) and value is not None}
        for row in rows
    ]


@pytest.mark.parametrize("seed", range(5))
def test_columns_give_the_usage_of_their_bytes(seed):
    events = RandomEvents(seed)
    columns = columns_of([events.fields() for _ in range(200)])
    values = encode(columns, 200, 1)
    wanted = decode(values, np.array([len(value) for value in values]), schema_of)
    assert (wanted.refusals.codes == -1).all()
    assert plain(usage_of(columns, 200)) == plain(wanted.usage)
    assert plain(usage_of(columns, 200).take(np.arange(50, 60)).compact()) == plain(wanted.usage)[50:60]


def test_dictionaries_and_slices_are_read_like_plain_columns():
    columns = columns_of([REQUIRED | {"event_id": f"e{n}", "team": f"t{n % 3}" if n % 4 else None,
                                      "labels": {"k": str(n)} if n % 2 else {}} for n in range(20)])  # fmt: skip
    wanted = plain(usage_of(columns, 20))[5:15]
    coded = columns | {name: columns[name].dictionary_encode() for name in ("team", "source", "event_id")}
    assert plain(usage_of({name: column.slice(5, 10) for name, column in columns.items()}, 10)) == wanted
    assert plain(usage_of({name: column.slice(5, 10) for name, column in coded.items()}, 10)) == wanted


@pytest.mark.parametrize(
    "change",
    [{"team": "x"}, {"team": ""}, {"request_id": ""}, {"request_id": "x"}, {"customer_id": "x"}, {"event_time": 1},
     {"input_tokens": 1}, {"output_tokens": 1}, {"requests": 0}, {"sample_weight": 2}, {"status": "ERROR"},
     {"quality_score": 0.0}, {"quality_score": 0.5}, {"attempt": 0}, {"duration_ms": 0}, {"labels": {"k": "v"}},
     {"labels": {"v": "k"}}, {"labels": {"k": ""}}, {"tuning": {"k": "v"}}, {"extra_quantities": {"k": 0}},
     {"extra_quantities": {"k": 1}}, {"extra_quantities": {"k": 1, "l": 1}}, {"project": "x"}],
    ids=str,
)  # fmt: skip
def test_any_other_field_is_other_content(change):
    events = [REQUIRED, REQUIRED | change, REQUIRED | {"event_id": "f"}]
    first, second, third = content_of(usage_of(columns_of(events), 3)).tolist()
    assert first != second
    assert first == third  # the identity is no content


def test_what_is_said_twice_is_the_same_content():
    said = REQUIRED | {"requests": 1, "status": "OK", "input_tokens": 0, "labels": {}, "team": None}
    both = REQUIRED | {"labels": {"a": "1", "b": "2"}}
    other_way = pa.array([[("b", "2"), ("a", "1")]], arrow_type(FIELDS["labels"]))
    first, second = content_of(usage_of(columns_of([REQUIRED, said]), 2)).tolist()
    assert first == second
    turned = usage_of(columns_of([both]) | {"labels": other_way}, 1)
    assert content_of(usage_of(columns_of([both]), 1)).tolist() == content_of(turned).tolist()


def test_a_key_twice_has_its_last_value():
    labels = pa.array([[("a", "1"), ("b", "2"), ("a", "3")]], arrow_type(FIELDS["labels"]))
    assert plain(usage_of(columns_of([REQUIRED]) | {"labels": labels}, 1))[0]["labels"] == {"a": "3", "b": "2"}


@pytest.mark.parametrize(
    "wrong",
    [{"nonsense": pa.array(["x"])}, {"team": pa.array([1])}, {"input_tokens": pa.array([1.5])},
     {"input_tokens": pa.array(["1"])}, {"labels": pa.array(["x"])}, {"status": pa.array(["LOST"])},
     {"source": pa.array([None], pa.string())}, {"extra_quantities": pa.array([[("k", 1.5)]],
     pa.map_(pa.string(), pa.float64()))}, {"labels": pa.array([[("k", None)]], pa.map_(pa.string(), pa.string()))},
     {"team": pa.array([b"\xff"]).view(pa.string())}],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_a_column_of_another_kind_is_refused(wrong):
    with pytest.raises(Refused):
        usage_of(columns_of([REQUIRED]) | wrong, 1)
