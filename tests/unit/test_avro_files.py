"""Events cut out of Avro files are byte for byte those that the library reads and writes."""

import io
import random
from contextlib import suppress

import fastavro
import numpy as np
import pytest

from chargeline.domain.errors import Refused
from chargeline.sdk import avro_files
from chargeline.sdk.avro_files import _KIND, _NULLABLE, bounds, can_be_cut, cut
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.avro_schema import USAGE_EVENT, parsed
from tests.support.events import RandomEvents, encoded, event


def written(path, events, **options):
    with path.open("wb") as target:
        fastavro.writer(target, USAGE_EVENT, events, **options)
    return path


def values(path, **options):
    pairs = [p for b in cut(path, options, 1) for p in zip(b.accounts.to_pylist(), b.values, strict=True)]
    return [account for account, _ in pairs], [value for _, value in pairs]


@pytest.mark.parametrize(("interval", "codec"), [(1, "null"), (700, "deflate"), (16_000, "null"), (10**9, "null")])
def test_events_of_blocks_of_any_size_are_those_that_were_written(tmp_path, interval, codec):
    source = RandomEvents(interval)
    given = [source.fields() | {"labels": {f"k{n}": "v" * n for n in range(source.chance.randrange(4))}}
             for _ in range(1500)]  # fmt: skip
    path = written(tmp_path / "a", given, sync_interval=interval, codec=codec)
    assert can_be_cut(path)
    assert values(path) == ([row["billing_account_id"] for row in given], [encoded(row) for row in given])
    options = {"team": "t", "billing_account_id": "other", "operation_name": "x"}
    assert values(path, **options) == (["other"] * 1500, [encoded(row | options) for row in given])


def test_files_of_other_schemas_and_of_huge_blocks_are_left_to_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr(avro_files, "_EVENTS_MAX", 1000)
    few = written(tmp_path / "few", [event()] * 1000, sync_interval=10**9)
    many = written(tmp_path / "many", [event()] * 1001, sync_interval=10**9)
    assert (can_be_cut(few), can_be_cut(many)) == (True, False)
    with (tmp_path / "other").open("wb") as target:
        fastavro.writer(target, parsed(USAGE_EVENT_SCHEMA.replace('"run_id"', '"walk_id"')), [event()])
    assert not can_be_cut(tmp_path / "other")
    assert can_be_cut(written(tmp_path / "empty", []))
    assert values(tmp_path / "empty") == ([], [])


def test_maps_in_several_blocks_with_their_sizes_are_walked_over():
    entry = b"\x02k\x02v"
    plain = encoded(event(labels={"k": "v"}))[5:]
    assert plain.endswith(b"\x02" + entry + b"\0")
    several = plain[:-6] + b"\x02" + entry + b"\x01\x08" + entry + b"\x04" + entry + entry + b"\0"
    data = several + plain + plain
    ends = np.cumsum([len(several), len(plain), len(plain)])
    found = np.empty((3, len(_KIND) + 1), np.int64)
    given = np.frombuffer(data, np.uint8), np.array([0, ends[1]]), ends[1:], np.array([2, 1])
    assert bounds(*given, _KIND, _NULLABLE, found)
    assert found[:, -1].tolist() == ends.tolist()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_block_is_refused_or_its_events_are_as_long_as_the_library_says(tmp_path, seed):
    source, chance = RandomEvents(seed), random.Random(seed)
    path = written(tmp_path / "a", [source.fields() for _ in range(200)], sync_interval=4000)
    whole = bytearray(path.read_bytes())
    at = whole.index(b"e0") + chance.randrange(8000)
    whole[at] ^= chance.randrange(1, 256)
    path.write_bytes(whole)
    found = []
    with suppress(Refused):
        _, found = values(path)
    for value in found:
        rest = io.BytesIO(value[5:])
        try:
            fastavro.schemaless_reader(rest, USAGE_EVENT, None)
        except (UnicodeDecodeError, IndexError):
            continue  # its text or enum is wrong, which the pricer says
        assert rest.tell() == len(value) - 5


def test_a_length_that_leads_astray_is_refused(tmp_path):
    path = written(tmp_path / "a", [event(event_id="mine") for _ in range(5)])
    whole = path.read_bytes()
    for length in (b"\x07", b"\x7f"):
        path.write_bytes(whole.replace(b"\x08mine", length + b"mine", 1))
        with pytest.raises(Refused, match="damaged: a block does not end with its last event"):
            values(path)
    path.write_bytes(whole[:-20])
    with pytest.raises(Refused, match="damaged"):
        values(path)
