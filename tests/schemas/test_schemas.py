"""The schemas are the one source: what was released stays readable, and nothing is a second copy by hand."""

import copy
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest
import yaml
from schemas.compatibility import violations

from chargeline.wire import _arrow
from chargeline.wire._generated import COLUMNS, SCHEMAS, TOPICS

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "schemas" / "events"
RECORDS = sorted(path.name for path in EVENTS.iterdir())
RELEASED = sorted(EVENTS.glob("*/v*.avsc"))


def plain(kind):
    if isinstance(kind, list):
        return [plain(branch) for branch in kind]
    if isinstance(kind, dict):
        return {key: plain(value) for key, value in kind.items() if key != "logicalType"}
    return kind


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_bytes_of_every_released_version_decode_to_the_same_values(path):
    golden = path.parent / "golden" / path.stem
    schema = fastavro.parse_schema(plain(json.loads(path.read_text())))
    newest = fastavro.parse_schema(plain(json.loads(SCHEMAS[path.parent.name])))
    found = fastavro.schemaless_reader(io.BytesIO(golden.with_suffix(".bin").read_bytes()), schema, newest)
    wanted = json.loads(golden.with_suffix(".json").read_text())
    assert known(as_text(found), wanted) == wanted


def known(found, wanted):
    """What is found under the names that were written: newer versions have more, in records within records too."""
    if isinstance(wanted, list):
        return [known(one, other) for one, other in zip(found, wanted, strict=True)]
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {name: known(found[name], value) for name, value in wanted.items()}
    return found


def as_text(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [as_text(each) for each in value]
    if isinstance(value, dict):
        return {key: as_text(each) for key, each in value.items()}
    return value


@pytest.mark.parametrize("record", RECORDS)
def test_every_version_reads_all_versions_before_it(record):
    versions = [json.loads(path.read_text()) for path in sorted((EVENTS / record).glob("v*.avsc"))]
    for number, new in enumerate(versions):
        for old in versions[:number]:
            assert violations(old, new) == []


CHARGE = json.loads(SCHEMAS["charge"])


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["fields"].pop(3),
        lambda s: s["fields"].append({"name": "fresh", "type": "string"}),
        lambda s: field(s, "billed_cost")["type"][1].update(scale=9),
        lambda s: field(s, "event_time")["type"].update(logicalType="timestamp-millis"),
        lambda s: field(s, "team").update(type="string"),
        lambda s: field(s, "input_tokens").update(type="int"),
        lambda s: field(s, "outcome")["type"]["symbols"].reverse(),
        lambda s: field(s, "identity_hash")["type"].update(size=16),
        lambda s: field(s, "entries")["type"]["items"]["fields"][6]["type"].update(precision=20),
    ],
)
def test_a_change_of_meaning_is_a_violation(change):
    new = copy.deepcopy(CHARGE)
    change(new)
    assert violations(CHARGE, new)


def test_a_field_with_a_default_and_a_symbol_at_the_end_are_no_violation():
    new = copy.deepcopy(CHARGE)
    new["fields"].append({"name": "fresh", "type": ["null", "string"], "default": None})
    field(new, "outcome")["type"]["symbols"].append("LATER")
    assert violations(CHARGE, new) == []


def field(schema, name):
    return next(each for each in schema["fields"] if each["name"] == name)


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_says_what_it_means(record):
    for each in json.loads(SCHEMAS[record])["fields"]:
        assert each.get("doc"), each["name"]


def test_generated_code_is_not_stale():
    done = subprocess.run([sys.executable, ROOT / "schemas" / "generate.py", "--check"], check=False)
    assert done.returncode == 0


def test_the_tables_have_the_schemas_columns():
    sql = "".join(path.read_text() for path in sorted((ROOT / "deploy" / "clickhouse").glob("*.sql")))
    names = {"charge": "charges", "cost_rollup": "cost_rollups", "performance_rollup": "performance_rollups",
             "dead_letter": "dead_letters", "cost_anomaly": "cost_anomalies"}  # fmt: skip
    for record, table in names.items():
        body = re.search(rf"CREATE TABLE IF NOT EXISTS {table}\n\((.*?)\n\)", sql, re.DOTALL)
        assert body is not None
        columns = re.findall(r"^\s+`([\w.]+)` (.*?),?$", body.group(1), re.MULTILINE)
        for name, kind, before in re.findall(
            rf"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS `([\w.]+)` (.*) AFTER `([\w.]+)`;", sql
        ):
            columns.insert([each for each, _ in columns].index(before) + 1, (name, kind))
        assert tuple(columns[: len(COLUMNS[record])]) == COLUMNS[record]
        assert [name for name, _ in columns[-5:]] == ["log_topic", "log_partition", "log_offset", "unit_end",
                                                      "unit_append_time"]  # fmt: skip


@pytest.mark.parametrize("record", ["charge", "cost_rollup", "performance_rollup", "cost_anomaly"])
def test_arrow_schemas_have_the_records_fields(record):
    arrow: pa.Schema = getattr(_arrow, record.upper())
    assert arrow.names == [each["name"] for each in json.loads(SCHEMAS[record])["fields"]]


def test_every_topic_names_its_record_and_who_uses_it():
    records = {json.loads(text)["name"] for text in SCHEMAS.values()}
    for path in (ROOT / "schemas" / "topics").glob("*.yaml"):
        topic = yaml.safe_load(path.read_text())
        assert TOPICS[path.stem] == topic
        assert topic["record"] in records
        assert topic["producers"]
        assert topic["consumers"]
        assert topic["config"]["message.timestamp.type"] == "LogAppendTime"
        assert topic["dead_letter_topic"] is None or topic["dead_letter_topic"] in TOPICS


def test_no_file_under_schemas_is_an_orphan():
    known = {"generate.py", "compatibility.py", "__init__.py", "rate_card.schema.json", "accounts.schema.json"}
    for path in (ROOT / "schemas").rglob("*"):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        inside = path.relative_to(ROOT / "schemas")
        assert (
            inside.name in known
            or (inside.parts[0] == "topics" and inside.suffix == ".yaml")
            or (inside.parts[0] == "events" and re.fullmatch(r"v\d+", inside.stem) is not None)
        ), inside
