"""Recorded usage becomes the events that its rows say, with ids that never change."""

import io
import json
import random
from collections import Counter
from datetime import datetime
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from chargeline.cli import replay
from chargeline.cli.main import build
from chargeline.cli.replay import Format, _batches
from chargeline.domain.errors import Refused
from chargeline.sdk import traces
from chargeline.sdk.traces import BATCH, azure_llm, event_ids, file_digest, mooncake
from chargeline.wire.avro_schema import USAGE_EVENT
from tests.support.events import START, RandomEvents, event


def sent(file, form, limit=None, **options):
    """What a replay sends, decoded by the library; (account, event) in order."""
    found = []
    for batch in _batches(file, Format(form), options, 1, limit):
        for account, value in zip(batch.accounts.to_pylist(), batch.values, strict=True):
            assert value[:5] == b"\0\0\0\0\1"
            decoded = fastavro.schemaless_reader(io.BytesIO(value[5:]), USAGE_EVENT, None)
            assert decoded["billing_account_id"] == account
            found.append(decoded)
    return found


def whole(fields):
    """An event with every default that its bytes have."""
    source = io.BytesIO()
    fastavro.schemaless_writer(source, USAGE_EVENT, fields)
    source.seek(0)
    return fastavro.schemaless_reader(source, USAGE_EVENT, None)


OWNER = {"billing_account_id": "acme", "provider_name": "openai", "request_model": "gpt-4o", "operation_name": "chat"}


def test_a_replayed_row_keeps_its_id_and_another_option_gives_another(tmp_path):
    file = tmp_path / "a"
    file.write_text("x")
    digest = file_digest(file)
    rows = np.array([0, 3, 300])
    mine = event_ids(digest, {"team": "a"})(rows).to_pylist()
    # sha256 of '["<sha256 of x>", {"team": "a"}]': bills of the past depend on it.
    assert mine == [f"2f2a6b15c227405cf233153c-{row}" for row in ("0", "3", "12c")]
    assert event_ids(digest, {"team": "b"})(rows)[1].as_py() not in mine


def test_the_azure_trace_has_the_published_totals(shared_data):
    batches = list(azure_llm(shared_data / "traces" / "AzureLLMInferenceTrace_conv_2023.csv"))
    assert sum(batch.num_rows for batch in batches) == 19_366
    assert sum(batch["input_tokens"].to_numpy().sum() for batch in batches) == 22_361_870
    assert sum(batch["output_tokens"].to_numpy().sum() for batch in batches) == 4_088_665


def test_an_azure_row_is_an_event_at_its_microsecond(tmp_path):
    file = tmp_path / "azure.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805909,374,44\n")
    (found,) = sent(file, "azure-llm", **OWNER)
    row = {"event_time": 1_700_158_546_680_590, "input_tokens": 374, "output_tokens": 44, "source": "replay"}
    assert found == whole(OWNER | row | {"event_id": found["event_id"]})


def test_two_thirds_of_the_mooncake_prompts_are_cache_reads(shared_data):
    batches = list(mooncake(shared_data / "traces" / "mooncake_synthetic_trace.jsonl"))
    read = sum(batch["cache_read_input_tokens"].to_numpy().sum() for batch in batches)
    total = read + sum(batch["input_tokens"].to_numpy().sum() for batch in batches)
    assert total == 61_194_628
    assert 0.63 < read / total < 0.67


@pytest.mark.parametrize("seed", range(20))
def test_mooncake_prompts_read_the_leading_blocks_of_earlier_rows_from_the_cache(tmp_path, seed):
    chance = random.Random(seed)
    # Rows of more than one block of the reader, so that what was seen must be carried over.
    rows: list[Any] = [{"timestamp": n * 10, "input_length": chance.randrange(1, 4000), "output_length": chance.randrange(9),
             "hash_ids": [chance.randrange(40) for _ in range(chance.randrange(6))],
             "padding": "x" * chance.choice([0, 400_000])} for n in range(30)]  # fmt: skip
    file = tmp_path / "trace.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen: set[int] = set()
    wanted = []
    for row in rows:
        blocks = row["hash_ids"]
        shared = next((n for n, block in enumerate(blocks) if block not in seen), len(blocks))
        seen.update(blocks)
        cached = min(shared * 512, row["input_length"])
        wanted.append((cached, row["input_length"] - cached, row["output_length"], row["timestamp"] * 1000))
    found = sent(file, "mooncake", **OWNER)
    start = 1_717_200_000_000_000  # 2024-06-01T00:00:00Z
    assert [(each["cache_read_input_tokens"], each["input_tokens"], each["output_tokens"], each["event_time"] - start)
            for each in found] == wanted  # fmt: skip


def test_json_lines_parquet_and_avro_files_are_replayed_as_they_are(tmp_path):
    events = RandomEvents(8)
    given = [events.fields() | {"source": "gw"} for _ in range(BATCH + 50)]
    maps = {"labels": pa.string(), "tuning": pa.string(), "extra_quantities": pa.int64()}
    names = {name for row in given for name in row}
    columns = {
        name: pa.array([v and list(v.items()) for v in (row.get(name) for row in given)], pa.map_(pa.string(), kind))
        for name, kind in maps.items() if name in names
    }  # fmt: skip
    columns |= {name: pa.array([row.get(name) for row in given]) for name in names - maps.keys()}
    pq.write_table(pa.table(columns), tmp_path / "parquet")
    lines = [json.dumps(row) for row in given]
    (tmp_path / "ndjson").write_text("\n\n".join(lines))
    with (tmp_path / "avro").open("wb") as target:
        fastavro.writer(target, USAGE_EVENT, given)
    wanted = [whole(row) for row in given]
    for form in ("ndjson", "parquet", "avro"):
        assert sent(tmp_path / form, form) == wanted, form
        options = {"billing_account_id": "other", "team": "t"}
        assert sent(tmp_path / form, form, 5, **options) == [row | options for row in wanted[:5]], form


class Noted:
    """Stands for the sender: what is replayed is kept."""

    schema_id = 1
    values: list[bytes]

    def __init__(self, _stack):
        Noted.values = []

    def send_all(self, batches, *_):
        for batch in batches:
            Noted.values += batch.values

    def outcomes(self, **_):
        pass


def test_what_no_row_of_a_file_says_is_filled_in(tmp_path):
    file = tmp_path / "events.ndjson"
    file.write_text(json.dumps(event() | dict.fromkeys(("event_id", "source", "operation_name"))) + "\n")
    (found,) = sent(file, "ndjson")
    assert (found["source"], found["operation_name"]) == ("replay", "chat")


@pytest.mark.parametrize("form", ["ndjson", "parquet", "avro"])
def test_the_operation_is_what_the_option_says_or_the_file_or_chat(tmp_path, monkeypatch, form):
    given = [event(event_id="a", operation_name="embeddings"), event(event_id="b", operation_name="chat")]
    file = tmp_path / form
    if form == "ndjson":
        given.append({name: value for name, value in event(event_id="c").items() if name != "operation_name"})
        file.write_text("".join(json.dumps(row) + "\n" for row in given))
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(given), file)
    else:
        with file.open("wb") as target:
            fastavro.writer(target, USAGE_EVENT, given)
    monkeypatch.setattr(replay, "Sender", Noted)
    monkeypatch.setattr(replay, "load_stack", lambda _: None)
    operations = []
    for options in ([], ["--operation", "rerank"]):
        done = CliRunner().invoke(build(["replay"]), ["replay", str(file), "--format", form, *options])
        assert done.exit_code == 0, done.output
        rows = [fastavro.schemaless_reader(io.BytesIO(each[5:]), USAGE_EVENT, None) for each in Noted.values]
        operations.append([row["operation_name"] for row in rows])
    assert operations == [["embeddings", "chat", "chat"][: len(given)], ["rerank"] * len(given)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
                         ids=str)  # fmt: skip
def test_times_and_numbers_of_a_parquet_file_may_be_texts_of_every_kind(tmp_path, kind):
    given = event(event_time="2023-11-14T22:13:20.5Z", input_tokens="7")
    pq.write_table(pa.table({name: pa.array([value]).cast(kind) for name, value in given.items()
                             if isinstance(value, str)}), tmp_path / "a")  # fmt: skip
    assert sent(tmp_path / "a", "parquet") == [whole(event(event_time=START + 500_000, input_tokens=7))]


def test_rows_without_an_id_or_source_of_their_own_get_one(tmp_path):
    file = tmp_path / "events.ndjson"
    bare = {name: value for name, value in event(event_time="2023-11-14T22:13:20Z").items() if name[:5] != "event"}
    rows = [bare | {"event_id": "mine", "source": "gw"}, bare, bare | {"event_id": None, "source": None}]
    file.write_text("".join(json.dumps(row | {"event_time": "2023-11-14T22:13:20Z"}) + "\n" for row in rows))
    found = sent(file, "ndjson")
    base = event_ids(file_digest(file), {"operation_name": "chat"})(np.array([1, 2])).to_pylist()
    assert [each["event_id"] for each in found] == ["mine", *base]
    assert [each["source"] for each in found] == ["gw", "gw", "replay"]
    assert {each["event_time"] for each in found} == {START}


@pytest.mark.parametrize(
    ("change", "text"),
    [({"tokens": 1}, "unknown field tokens"), ({"input_tokens": 1.5}, "input_tokens is double"),
     ({"input_tokens": "7.0"}, "7.0"), ({"input_tokens": 2**63}, "input_tokens"), ({"team": 3}, "team is int64"),
     ({"event_time": "2026-06-10T08:00:00"}, "UTC with Z"), ({"event_time": "yesterdayZ"}, "yesterday"),
     ({"labels": "x"}, "labels"), ({"labels": {"a": 1}}, "labels"), ({"provider_name": None}, "missing field provider"),
     ({"event_time": None}, "missing field event_time"), ({"source": 3}, "source is int64"),
     ({"operation_name": {}}, "operation_name is struct")],
)  # fmt: skip
def test_a_line_that_is_no_event_stops_the_replay_by_name(tmp_path, change, text):
    file = tmp_path / "events.ndjson"
    file.write_text(json.dumps(event() | change) + "\n")
    with pytest.raises(Refused, match=text):
        sent(file, "ndjson")


def test_lines_are_read_alike_in_columns_and_one_by_one(tmp_path, monkeypatch):
    events = RandomEvents(6)
    times = [f"2026-06-10T08:00:{second:02d}{fraction}Z" for second in range(60) for fraction in ("", ".25", ".123456")]
    given = [
        {name: value for name, value in events.fields().items() if not isinstance(value, dict)}
        | {"event_time": events.chance.choice(times), "source": "gw"}
        for _ in range(600)
    ]
    given[500] |= {"cost_center": "a name that comes late", "requests": "3"}
    given[550] |= {"labels": {"a": "b"}}
    file = tmp_path / "events.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in given))
    monkeypatch.setattr(traces, "_BYTES", 10_000)
    parsed: Counter[bool] = Counter()
    real = traces._parsed

    def counted(block, names):
        batch = real(block, names)
        parsed[batch is not None] += 1
        return batch

    monkeypatch.setattr(traces, "_parsed", counted)
    in_columns = sent(file, "ndjson")
    assert min(parsed[True], parsed[False]) > 2
    monkeypatch.setattr(traces, "_parsed", lambda _block, _names: None)
    assert sent(file, "ndjson") == in_columns
    instants = [round(datetime.fromisoformat(row["event_time"]).timestamp() * 1e6) for row in given]
    assert in_columns == [
        whole(row | {"event_time": at, "requests": int(row.get("requests", 1))})
        for row, at in zip(given, instants, strict=True)
    ]


@pytest.mark.parametrize("line", ["not json", "[]", '{"a": 1}, {"a": 2}', "3"])
def test_what_is_no_object_is_named_by_its_place(tmp_path, line):
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join([json.dumps(event()), line, json.dumps(event())]))
    with pytest.raises(Refused, match="event 2 is no JSON object"):
        sent(file, "ndjson")


@pytest.mark.parametrize("form", ["azure-llm", "mooncake", "parquet", "avro"])
def test_a_file_of_another_kind_is_refused(tmp_path, form):
    file = tmp_path / "file"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(Refused, match="cannot be read as"):
        sent(file, form, **OWNER)
