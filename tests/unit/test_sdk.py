"""What producers import: strict encoding, disjoint quantities, stable ids."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from chargeline.sdk.encode import BadEvent, checked, encode, micros
from chargeline.sdk.jsonlines import BadLine, read_line
from tests.support.events import event


@pytest.mark.parametrize(
    ("change", "name"),
    [({"tokens": 1}, "tokens"), ({"team": None, "source": None}, "source"), ({"input_tokens": 1.5}, "input_tokens"),
     ({"event_time": datetime(2026, 1, 1)}, "event_time")],  # noqa: DTZ001 - a naive time is the fault
)  # fmt: skip
def test_an_event_that_is_not_exactly_one_is_refused_by_name(change, name):
    with pytest.raises(BadEvent, match=name):
        encode(event(**change), 1)


def test_times_become_microseconds_whatever_their_form():
    moment = datetime(2026, 6, 10, 8, 0, 0, 5, tzinfo=UTC)
    assert micros(moment) == micros("2026-06-10T08:00:00.000005Z") == micros(1_781_078_400_000_005)
    assert checked(event(event_time=moment))["event_time"] == micros(moment)


@pytest.mark.parametrize(
    ("change", "code"),
    [({}, None), ({"input_tokens": "7"}, None), ({"input_tokens": 1.5}, "BAD_NUMBER"), ({"source": ""}, "MISSING_FIELD"),
     ({"event_time": "2026-06-10"}, "BAD_TIME"), ({"bogus": 1}, "MALFORMED"), ({"requests": 2**63}, "BAD_NUMBER")],
)  # fmt: skip
def test_a_json_line_is_an_event_or_has_a_code(change, code):
    found = read_line(json.dumps(event(event_time="2026-06-10T08:00:00Z") | change))
    assert (found.code if isinstance(found, BadLine) else None) == code


def test_the_sdk_imports_no_heavy_library():
    code = "import sys, chargeline.sdk.client; print([m for m in ('polars','pyarrow','numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
