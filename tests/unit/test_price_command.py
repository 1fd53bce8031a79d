"""The command as people call it: exit codes, unusable files, JSON lines and Parquet."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from chargeline.cli.main import build

RUNNER = CliRunner()
CARD = "examples/rates/openai.yaml"
EVENT: dict[str, Any] = {"event_id": "e1", "source": "gw", "event_time": "2026-06-10T08:00:00Z", "billing_account_id": "acme",
         "provider_name": "openai", "request_model": "gpt-4o", "operation_name": "chat", "input_tokens": 1000}  # fmt: skip


def call(*arguments):
    return RUNNER.invoke(build(["price"]), ["price", *map(str, arguments)])


def written(path, events):
    path.write_text("".join(json.dumps(each) + "\n" for each in events))
    return path


@pytest.mark.parametrize(
    "broken", [["--rates", "bad"], ["--rates", "none"], ["--rates", CARD, "--accounts", "bad"],
               ["--rates", CARD, "--fx", "bad"], ["--rates", CARD, "--events", "none"]]
)  # fmt: skip
def test_an_unusable_file_is_told_as_json_and_nothing_is_written(tmp_path, broken):
    (tmp_path / "bad").write_text("id: [")
    events, output = written(tmp_path / "e.ndjson", [EVENT]), tmp_path / "o.ndjson"
    output.write_text("before")
    named = [str(tmp_path / each) if each in ("bad", "none") else each for each in broken]
    done = call("--events", events, "--output", output, "--json", *named)
    assert done.exit_code == 2
    assert {"file", "code", "message", "line", "column"} <= json.loads(done.stderr)[0].keys()
    assert output.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []


def test_faults_of_single_lines_are_answers(tmp_path):
    events, output = tmp_path / "e.ndjson", tmp_path / "o.ndjson"
    lines = [json.dumps(EVENT), "", "no json", '{"a":1}{"b":2}', json.dumps(EVENT | {"event_id": 'q"\\'})]
    events.write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    assert call("--rates", CARD, "--events", events, "--output", output).exit_code == 0
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [each.get("outcome") for each in found] == ["CHARGED", "DEAD_LETTER", "DEAD_LETTER", "CHARGED",
                                                       "DEAD_LETTER", None]  # fmt: skip
    assert found[3]["event_id"] == 'q"\\'


def test_parquet_gives_what_json_lines_give(tmp_path):
    many = [EVENT | {"event_id": f"e{at}", "input_tokens": at, "labels": {"a": str(at)}} for at in range(50)]
    events, table = written(tmp_path / "e.ndjson", many), tmp_path / "e.parquet"
    columns = {name: pa.array([each[name] for each in many]) for name in EVENT if name != "event_time"}
    columns["event_time"] = pa.array([1_781_078_400_000_000] * 50).cast(pa.timestamp("us", "UTC"))
    columns["labels"] = pa.array([list(each["labels"].items()) for each in many], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table(columns), table)
    outputs = []
    for source in (events, table):
        output = tmp_path / f"{source.name}.out"
        assert call("--rates", CARD, "--events", source, "--output", output).exit_code == 0
        outputs.append(output.read_text())
    assert outputs[0] == outputs[1]


def test_accounts_may_be_required(tmp_path):
    events = tmp_path / "events.ndjson"
    events.write_text(json.dumps(EVENT) + "\n")
    for options, outcome in (([], "CHARGED"), (["--accounts-required"], "UNRATED")):
        done = call("--rates", CARD, "--events", events, *options)
        assert (done.exit_code, json.loads(done.stdout.splitlines()[0])["outcome"]) == (0, outcome)
