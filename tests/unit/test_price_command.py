"""The command as people call it: exit codes, unusable files, JSON lines and Parquet."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from chargeline.cli.main import build
from chargeline.domain.money import plain

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


@pytest.mark.parametrize(
    "field", [{"event_id": "?"}, {"team": "?"}, {"customer_id": "?"}, {"status": "?"}, {"labels": {"?": "x"}},
              {"labels": {"x": "?"}}, {"event_time": "?"}], ids=str,
)  # fmt: skip
def test_a_line_that_is_no_utf_8_is_malformed_wherever_it_is_not(tmp_path, field):
    events, output = tmp_path / "e.ndjson", tmp_path / "o.ndjson"
    events.write_bytes(json.dumps(EVENT | field).encode().replace(b"?", b"\xff") + b"\n" + json.dumps(EVENT).encode())
    assert call("--rates", CARD, "--events", events, "--output", output).exit_code == 0
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(each["event_id"], each["reason"]) for each in found[:2]] == [(None, "MALFORMED"), ("e1", None)]


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


GRADUATED = {
    "id": "c", "version": 1, "currency": "USD", "effective_from": "2026-01-01T00:00:00Z", "scope": {"account": "acme"},
    "skus": [{"sku_id": "calls", "match": {"provider_name": "house", "models": ["planner"]}, "quantity": "tool_calls",
              "charge_model": "graduated", "pricing_unit": "Calls", "minimum": 500, "tiers": [
                  {"up_to": 40, "unit_price": "0.7", "flat_fee": 9}, {"up_to": None, "unit_price": "0.1234567"}]},
             {"sku_id": "in", "match": {"provider_name": "openai", "models": ["gpt-4o"]}, "leaf": "input",
              "charge_model": "per_unit", "unit_price": "2.5", "pricing_unit": "1000000 Tokens",
              "status_policy": {"ERROR": "bill_zero"}}],
}  # fmt: skip
ACCOUNTS = {"accounts": [{"billing_account_id": "acme", "valid_from": "2026-01-01T00:00:00Z",
                          "billing_currency": "EUR", "bill_estimates": True}]}  # fmt: skip
FX = {"rates": [{"date": "2026-06-10", "from_currency": "USD", "to_currency": "EUR", "rate": "0.9137", "source": "X"}]}


def as_lines(path):
    """A Parquet output as the objects of the lines: what an object has not is null, amounts are plain texts."""
    table = pq.read_table(path)
    return [_plain(row) for row in table.to_pylist()] + [json.loads(table.schema.metadata[b"totals"])]


def _plain(value):
    if isinstance(value, dict):
        scope = value.get("scope")
        found = {name: _plain(each) for name, each in value.items() if each is not None}
        return found | {"scope": json.loads(scope)} if scope else found
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return plain(value) if isinstance(value, Decimal) else value


def test_parquet_output_has_the_objects_of_the_lines(tmp_path):
    planner = {"provider_name": "house", "request_model": "planner", "extra_quantities": {"tool_calls": 30_500_000}}
    events = [EVENT, EVENT, EVENT | {"input_tokens": 5}, {"event_id": "bad"}, None,
              *(EVENT | planner | {"event_id": f"p{n}"} for n in range(3)),
              EVENT | {"event_id": "e2", "request_model": "unheard"}, EVENT | {"event_id": "e3", "input_tokens": 0},
              EVENT | {"event_id": "e4", "status": "ERROR"}, EVENT | {"event_id": "e5", "sample_weight": 3},
              EVENT | {"event_id": "c", "event_kind": "CANCEL", "amends_event_id": "p1"},
              EVENT | {"event_id": "e6", "billing_account_id": "other"}]  # fmt: skip
    for name, document in (("card", GRADUATED), ("accounts", ACCOUNTS), ("fx", FX)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    outputs = [tmp_path / "o.ndjson", tmp_path / "o.parquet"]
    for output in outputs:
        done = call("--rates", tmp_path / "card.json", "--accounts", tmp_path / "accounts.json", "--fx",
                    tmp_path / "fx.json", "--events", written(tmp_path / "e.ndjson", events), "--close-period",
                    "--output", output)  # fmt: skip
        assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in outputs[0].read_text().splitlines()]
    assert {each["outcome"] for each in lines[:-1]} == {"CHARGED", "UNRATED", "DUPLICATE", "CONFLICT", "DEAD_LETTER"}
    assert sum("scope" in each for each in lines) > 1
    wanted = [_plain(each) if "totals" not in each else each for each in map(_with_scope_as_text, lines)]
    assert as_lines(outputs[1]) == wanted


def _with_scope_as_text(line):
    return line | {"scope": json.dumps(line["scope"])} if "scope" in line else line


def test_an_empty_file_gives_the_totals_alone(tmp_path):
    (tmp_path / "e.ndjson").write_text("\n")
    for name in ("o.ndjson", "o.parquet"):
        assert call("--rates", CARD, "--events", tmp_path / "e.ndjson", "--output", tmp_path / name).exit_code == 0
    totals: dict[str, Any] = {"totals": {}, "outcomes": {}}
    assert json.loads((tmp_path / "o.ndjson").read_text()) == totals
    assert as_lines(tmp_path / "o.parquet") == [totals]


@pytest.mark.parametrize("broken", ["bytes", "column", "type", "null", "none"])
def test_an_unusable_parquet_file_leaves_no_output(tmp_path, broken):
    events, output = tmp_path / "e.parquet", tmp_path / "o.parquet"
    columns = {name: pa.array([EVENT[name]]) for name in EVENT if name != "event_time"}
    columns["event_time"] = pa.array([1_781_078_400_000_000])
    columns |= {"column": {"nonsense": pa.array([1])}, "type": {"input_tokens": pa.array(["1"])},
                "null": {"source": pa.array([None], pa.string())}}.get(broken, {})  # fmt: skip
    if broken == "bytes":
        events.write_bytes(b"no Parquet")
    elif broken != "none":
        pq.write_table(pa.table(columns), events)
    done = call("--rates", CARD, "--events", events, "--output", output, "--json")
    assert (done.exit_code, json.loads(done.stderr)[0]["code"]) == (2, "UNUSABLE_FILE")
    assert sorted(each.name for each in tmp_path.iterdir()) == ([] if broken == "none" else ["e.parquet"])
