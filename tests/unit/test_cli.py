"""The front door: help with examples, and the offline commands whole."""

import json
import socket
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from chargeline.adapters import installation, kafka
from chargeline.cli.main import COMMANDS, build
from chargeline.cli.publishing import instant_argument
from chargeline.domain.errors import TransientError
from chargeline.runtime.stack import Stack
from tests.support.full_card import FULL_CARD

RUNNER = CliRunner()
CARD = "examples/rates/openai.yaml"


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = sorted(commands(typer.main.get_command(build([]))))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(path):
    done = RUNNER.invoke(build([]), [*path, "--help"], env={"COLUMNS": "120"})
    assert done.exit_code == 0
    assert f"Example: chargeline {path[0]}" in done.output


def shown(path, columns):
    """The help of a command in a terminal of that width."""
    return RUNNER.invoke(build([]), [*path, "--help"], env={"COLUMNS": str(columns)}).output


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_says_of_every_parameter_what_it_is_and_leaves_no_word_out(path):
    command: Any = typer.main.get_command(build([]))
    for name in path:
        command = command.commands[name]
    told = " ".join(shown(path, 80).replace("│", " ").split())
    assert all(word in told for word in command.help.replace("\\[", "[").split())
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        assert text, parameter.name
        assert all(word in told for word in text.split()), parameter.name


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_lines_of_help_end_where_the_terminal_does(path):
    head = shown(path, 400).partition("╭")[0].splitlines()
    assert not [pair for pair in pairwise(head) if all(line.strip() for line in pair)]


@pytest.mark.parametrize("path", sorted({path[:length] for path in ALL for length in range(len(path))}), ids=" ".join)
def test_every_command_is_summed_up_in_a_line_of_80_columns(path):
    panels = shown(path, 80).partition("╭─ Options")[2].partition("╭")[2]
    rows = [line for line in panels.splitlines() if line.startswith("│")]
    assert rows
    assert not [line for line in rows if line.startswith("│  ")]


def test_every_file_of_commands_is_in_the_front_door():
    assert {"up", "down", "status", "doctor", "verify", "top"} <= {path[0] for path in ALL}
    assert len(COMMANDS) == len(set(COMMANDS))


def line(**fields):
    base = {"event_id": "e1", "source": "gw", "event_time": "2026-06-10T08:00:00Z", "billing_account_id": "acme",
            "provider_name": "openai", "request_model": "gpt-4o", "operation_name": "chat"}  # fmt: skip
    return json.dumps(base | fields)


def price(tmp_path, lines):
    events, output = tmp_path / "e.ndjson", tmp_path / "o.ndjson"
    events.write_text("\n".join(lines) + "\n")
    done = RUNNER.invoke(build(["price"]), ["price", "--rates", CARD, "--events", str(events), "--output", str(output)])
    assert done.exit_code == 0, done.output
    return [json.loads(text) for text in output.read_text().splitlines()]


def test_price_answers_every_line_in_order_with_plain_decimals_and_totals(tmp_path):
    given = [line(token_convention="INCLUSIVE", input_tokens=1000, cache_read_input_tokens=400, output_tokens=200),
             line(token_convention="INCLUSIVE", input_tokens=1000, cache_read_input_tokens=400, output_tokens=200),
             line(event_id="e2", request_model="nobody", input_tokens=1), "not json",
             line(input_tokens=9), line(event_id="e3", input_tokens=-1), line(event_id="e4")]  # fmt: skip
    *found, last = price(tmp_path, given)
    assert [(each["event_id"], each["outcome"], each["reason"]) for each in found] == [
        ("e1", "CHARGED", None), ("e1", "DUPLICATE", None), ("e2", "UNRATED", "UNKNOWN_MODEL"),
        (None, "DEAD_LETTER", "MALFORMED"), ("e1", "CONFLICT", None), ("e3", "DEAD_LETTER", "NEGATIVE_QUANTITY"),
        ("e4", "CHARGED", None),
    ]  # fmt: skip
    assert found[0]["contracted_cost"] == "0.004"  # 600 * 2.50 + 400 * 1.25 + 200 * 10.00, in millionths
    assert [entry["leaf"] for entry in found[0]["entries"]] == ["input", "cache_read_input", "output"]
    assert found[0]["billing_period"] == "2026-06-01T00:00:00Z"
    assert (found[6]["contracted_cost"], found[6]["entries"]) == ("0", [])
    assert last == {"totals": {"acme": {"USD": {"contracted_cost": "0.004", "billed_cost": "0.004"}}},
                    "outcomes": {"CHARGED": 2, "CONFLICT": 1, "DEAD_LETTER": 2, "DUPLICATE": 1, "UNRATED": 1}}  # fmt: skip


def test_validate_names_problems_as_json_and_exits_2(tmp_path):
    card = tmp_path / "bad.yaml"
    card.write_text("id: x\nversion: 1\nprize: 3\n")
    done = RUNNER.invoke(build(["rates"]), ["rates", "validate", str(card), "--json"])
    assert done.exit_code == 2
    problems = json.loads(done.stdout)
    assert {"UNKNOWN_KEY", "MISSING_KEY"} <= {each["code"] for each in problems}
    assert next(each["line"] for each in problems if each["code"] == "UNKNOWN_KEY") == 3


def run(*arguments):
    return RUNNER.invoke(build([arguments[0]]), list(map(str, arguments)))


FAULTY = pytest.mark.parametrize(
    ("command", "name", "text", "code", "place"),
    [
        ("accounts", "a.yaml", "accounts:\n  - {billing_account_id: a}\n", "MISSING_KEY", (2, 5)),
        ("accounts", "a.json", '{"accounts": [{"billing_account_id": "a"}]}', "MISSING_KEY", (1, 15)),
        ("fx", "f.csv", "date,from_currency,to_currency,rate,source\n2026-06-01,USD,EUR,x,ECB\n", "BAD_NUMBER", (2, 20)),
        ("fx", "f.yaml", "rates: [{date: x, from_currency: USD, to_currency: EUR, rate: 1, source: ECB}]\n", "BAD_TIME", (1, 10)),
        ("rates", "r.yaml", "id: {}\n", "BAD_VALUE", (1, 1)),
    ],
)  # fmt: skip


@FAULTY
def test_validate_of_every_kind_of_file_gives_file_place_and_code(tmp_path, command, name, text, code, place):
    path = tmp_path / name
    path.write_text(text)
    done = run(command, "validate", path, "--json")
    assert done.exit_code == 2
    problem = next(each for each in json.loads(done.stdout) if each["code"] == code)
    assert set(problem) == {"file", "line", "column", "code", "message", "warning"}
    assert (problem["file"], problem["line"], problem["column"]) == (str(path), *place)


@FAULTY
@pytest.mark.parametrize("form", [["--json"], []], ids=["json", "text"])
def test_publishing_a_faulty_file_tells_what_validate_tells(tmp_path, command, name, text, code, place, form):
    path = tmp_path / name
    path.write_text(text)
    published, validated = (run(command, verb, path, *form) for verb in ("publish", "validate"))
    assert (published.exit_code, published.stdout, published.stderr) == (2, validated.stdout, validated.stderr)
    assert code in published.output
    assert str(place[0]) in published.output


def test_a_test_message_that_was_taken_is_told_to_machines(tmp_path):
    config = tmp_path / "alerts.yaml"
    config.write_text("channels:\n  - {channel: journal, kind: log}\ndefault: [journal]\n")
    command = [sys.executable, "-m", "chargeline.cli.main", "notify", "test", "journal", "--config", config, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"channel": "journal", "delivered": True}
    assert "this is a test message" in done.stderr


def test_a_file_with_warnings_only_is_valid(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("accounts:\n  - {billing_account_id: a, valid_from: 2026-01-01T00:00:00Z, group: g}\n")
    done = run("accounts", "validate", path, "--json")
    assert done.exit_code == 0
    assert [(each["code"], each["warning"]) for each in json.loads(done.stdout)] == [("UNKNOWN_GROUP", True)]


def test_diff_tells_added_removed_and_changed_skus_with_old_and_new_price(tmp_path):
    before, after = tmp_path / "a.yaml", tmp_path / "b.yaml"
    before.write_text(FULL_CARD)
    text = FULL_CARD.replace("unit_price: 1.25", "unit_price: 1.5").replace("{percent: 10}", "{percent: 20}")
    after.write_text(text.replace("sku_id: resale", "sku_id: resold"))
    rows = json.loads(run("rates", "diff", before, after, "--json").stdout)
    assert [(each["change"], each["sku_id"], each["variant"], each["differing"]) for each in rows] == [
        ("changed", "gpt-4o/input", "batch", ["model"]),
        ("changed", "gpt-4o/output", None, ["discounts"]),
        ("removed", "resale", None, []),
        ("added", "resold", None, []),
    ]
    assert (rows[0]["old_price"], rows[0]["new_price"]) == ({"unit_price": "1.25"}, {"unit_price": "1.5"})
    assert (rows[3]["old_price"], rows[3]["new_price"]) == (None, {"multiplier": "1.15"})
    table = run("rates", "diff", before, after)
    assert table.exit_code == 0
    assert json.loads(run("rates", "diff", before, before, "--json").stdout) == []


@pytest.mark.timeout(60)  # ClickHouse accepts the connection and is silent: a service would wait twice as long
def test_doctor_says_what_to_do_about_everything_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(installation, "REQUEST_TIMEOUT_S", 1.0)
    monkeypatch.setattr(kafka, "REQUEST_TIMEOUT_S", 1.0)
    nowhere = "127.0.0.1:1"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clickhouse = f"http://127.0.0.1:{silent.getsockname()[1]}"
        stack = Stack(
            nowhere, f"http://{nowhere}", f"redis://{nowhere}/0", None, None, clickhouse, "u", "p", "b", "p", 0
        )
        findings = list(installation.inspect(stack))
    assert [each.name for each in findings] == [
        "kafka",
        "topics",
        "registry",
        "schemas",
        "redis",
        "clickhouse",
        "tables",
    ]
    assert all(each.fault and each.advice for each in findings)


def test_doctor_without_a_stack_names_every_need_and_is_content(tmp_path):
    done = RUNNER.invoke(build(["doctor"]), ["doctor", "--data-dir", str(tmp_path), "--json"])
    assert done.exit_code == 0
    checks = {each["check"]: each for each in json.loads(done.output)}
    assert {"disk", "memory", "open files", "ports", "python", "versions", "java", "redis server", "clickhouse engine",
            "downloads", "stack"} == set(checks)  # fmt: skip
    assert "chargeline up" in checks["stack"]["what to do"]


def test_doctor_tells_a_port_of_the_stack_that_another_program_took(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "settings.json").write_text(json.dumps({"ports": {"kafka": port}}))
        done = RUNNER.invoke(build(["doctor"]), ["doctor", "--data-dir", str(tmp_path), "--json"])
    found = next(each for each in json.loads(done.output) if each["check"] == "ports")
    assert (found["result"], found["found"]) == ("WARN", f"taken by others: kafka {port}")


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00", None),
        ("yesterday", None),
    ],
)
def test_an_instant_on_the_command_line_names_its_zone_or_is_a_date(text, micros):
    if micros is None:
        with pytest.raises(typer.BadParameter):
            instant_argument(text)
    else:
        assert instant_argument(text) == micros


class HalfAPipeline:
    """One whose ClickHouse is silent."""

    def __init__(self, _stack: Stack, *, answer_s: int) -> None:
        assert answer_s < 10

    def partitions(self) -> list[dict[str, Any]]:
        return [{"partition": 0, "lag": 7}]

    def totals(self) -> list[dict[str, Any]]:
        raise TransientError("clickhouse does not answer")

    def close(self) -> None: ...


@pytest.fixture
def half_a_pipeline(monkeypatch):
    monkeypatch.setattr("chargeline.adapters.pipeline.Pipeline", HalfAPipeline)
    monkeypatch.setattr("chargeline.cli.status.load_stack", lambda _data: SimpleNamespace(processes=(), services=()))


def test_status_tells_machines_what_it_found_and_what_could_not_be_asked(half_a_pipeline):
    done = RUNNER.invoke(build([]), ["status", "--json", "--interval", "0.2"])
    assert done.exit_code == 0
    assert json.loads(done.output) == {
        "processes": [], "partitions": [{"partition": 0, "lag": 7}], "stored": [],
        "problems": [{"unknown": "stored", "reason": "clickhouse does not answer"}]}  # fmt: skip


def test_status_shows_people_the_place_of_every_partition_while_clickhouse_is_silent(half_a_pipeline):
    done = RUNNER.invoke(build([]), ["status", "--interval", "0.2"])
    assert "│         0 │   7 │" in done.output
    assert "stored so far: clickhouse does not answer" in done.output
