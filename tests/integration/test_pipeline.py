"""The whole path on real servers: what went in is charged exactly once, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from chargeline.runtime.stack import load_stack
from tests.support.stack import chargeline, rows, running_stack, verified, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.long]
CARD = "examples/rates/openai.yaml"


def test_generated_traffic_is_billed_to_the_last_picodollar(stack, tmp_path):
    expect = tmp_path / "expected.json"
    out = chargeline(stack, "generate", "--seed", 11, "--events", 20_000, "--duplicates", 0.05, "--malformed", 0.01,
                     "--disorder", 0.1, "--rates", CARD, "--expect", expect, "--wait", "--json")  # fmt: skip
    sent = json.loads(out)
    expected = json.loads(expect.read_text())
    assert sent["charged"] == expected["unique"]
    assert sent["duplicates"] == expected["duplicates"]
    assert sent["dead_letters"] == expected["malformed"]
    found = rows(stack, "SELECT sum(billed_cost) AS b, sum(input_tokens) AS i, count() AS n FROM charges "
                        "WHERE source = 'generate' AND startsWith(event_id, 'gb-')")  # fmt: skip
    assert found == [{"b": expected["billed_cost"]["USD"], "i": expected["quantities"]["input_tokens"],
                      "n": expected["unique"]}]  # fmt: skip
    verified(stack)


def test_a_file_replayed_twice_is_billed_once(stack, tmp_path):
    file = tmp_path / "events.ndjson"
    line = {"event_time": "2026-06-10T08:00:00Z", "billing_account_id": "twice", "provider_name": "openai",
            "request_model": "gpt-4o", "operation_name": "chat", "input_tokens": 1000, "output_tokens": 200}  # fmt: skip
    file.write_text("".join(json.dumps(line | {"input_tokens": n}) + "\n" for n in range(1, 101)))
    first = json.loads(chargeline(stack, "replay", file, "--format", "ndjson", "--wait", "--json"))
    again = json.loads(chargeline(stack, "replay", file, "--format", "ndjson", "--wait", "--json"))
    assert (first["charged"], first["duplicates"]) == (100, 0)
    assert (again["charged"], again["duplicates"]) == (0, 100)
    found = rows(stack, "SELECT sum(billed_cost) AS b FROM cost_rollups WHERE billing_account_id = 'twice'")
    assert found == [{"b": "0.212625"}]  # (5050 * 2.50 + 100 * 200 * 10.00) / 1e6


def test_the_azure_trace_costs_what_it_must_however_often_it_is_replayed(stack, shared_data, tmp_path):
    accounts = tmp_path / "accounts.yaml"  # the trace is of 2023, and without a word nobody is billed for so long ago
    accounts.write_text("accounts:\n  - billing_account_id: azure\n    valid_from: 2023-01-01T00:00:00Z\n"
                        "    correction_months: 240\n")  # fmt: skip
    chargeline(stack, "accounts", "publish", accounts)
    file = shared_data / "traces" / "AzureLLMInferenceTrace_conv_2023.csv"
    for _ in range(2):
        chargeline(stack, "replay", file, "--format", "azure-llm", "--billing-account", "azure", "--team", "search",
                   "--provider", "openai", "--model", "gpt-4o", "--speed", "max", "--wait")  # fmt: skip
    found = rows(stack, "SELECT count() AS n, sum(input_tokens) AS i, sum(output_tokens) AS o, sum(billed_cost) AS b "
                        "FROM charges WHERE billing_account_id = 'azure'")  # fmt: skip
    assert found == [{"n": 19_366, "i": 22_361_870, "o": 4_088_665, "b": "96.791325"}]


def test_the_published_example_is_charged_with_disjoint_quantities(stack):
    subprocess.run([sys.executable, "examples/publish.py"], check=True, capture_output=True,
                   env=os.environ | {"CHARGELINE_DATA_DIR": str(stack)})  # fmt: skip
    sql = ("SELECT input_tokens AS i, cache_read_input_tokens AS c, output_tokens AS o, billed_cost AS b FROM charges "
           "WHERE source = 'example'")  # fmt: skip
    wait_until(lambda: rows(stack, sql), "the example is stored")
    # 300 * 2.50 + 512 * 1.25 + 96 * 10.00, in millionths
    assert rows(stack, sql)[0] == {"i": 300, "c": 512, "o": 96, "b": "0.00235"}


def test_status_names_every_process_and_doctor_finds_nothing_wrong(stack):
    chargeline(stack, "generate", "--seed", 12, "--events", 2_000, "--wait")
    found = json.loads(chargeline(stack, "status", "--json", "--interval", "0.2"))
    status = {each["name"]: each for each in found["processes"]}
    assert {"supervisor", "kafka", "registry", "redis", "clickhouse", "pricer-0", "sink"} <= set(status)
    assert {each["state"] for each in status.values()} == {"running"}
    assert all(each["committed"] > 0 for each in found["partitions"])
    assert sum(each["events"] for each in found["stored"]) > 0
    assert found["problems"] == []
    checks = json.loads(chargeline(stack, "doctor", "--json"))
    assert [check for check in checks if check["result"] == "FAIL"] == []


def test_the_bi_user_can_read_and_cannot_write(stack):
    assert json.loads(chargeline(stack, "query", "SELECT 1 AS one", "--format", "json")) == [{"one": 1}]
    refused = chargeline(stack, "query", "DROP TABLE charges", check=False)
    assert refused.returncode == 1
    assert "READONLY" in refused.stderr
    for outside in ("file('/etc/passwd', 'LineAsString')", "url('http://127.0.0.1/', 'LineAsString')"):
        refused = chargeline(stack, "query", f"SELECT * FROM {outside}", check=False)
        assert "ACCESS_DENIED" in refused.stderr


def test_an_identical_card_is_a_no_op_and_a_changed_price_in_the_past_is_refused(stack, tmp_path):
    again = chargeline(stack, "rates", "publish", CARD, check=False)
    assert again.returncode == 0
    changed = tmp_path / "changed.yaml"
    changed.write_text(Path(CARD).read_text().replace("version: 1", "version: 2\nsupersedes: 1"))
    refused = chargeline(stack, "rates", "publish", changed, check=False)
    assert refused.returncode == 2
    assert "OVERLAP" in refused.stderr


PUBLISHED = [
    (("rates", "publish"), "told.yaml",
     ("{id: told, version: 1, currency: USD, effective_from: 2026-01-01T00:00:00Z, scope: default, skus: [{sku_id: told, "
      "leaf: input, charge_model: per_unit, unit_price: 1, pricing_unit: 1000 Tokens, "
      "match: {provider_name: told, models: [told]}}]}"),
     {"rate_card_id": "told", "version": 1}),
    (("accounts", "publish"), "a.yaml",
     "accounts:\n  - {billing_account_id: told, valid_from: 2026-01-01T00:00:00Z}\n", {}),
    (("fx", "publish"), "f.csv", "date,from_currency,to_currency,rate,source\n2026-01-02,ISK,NOK,0.08,told\n", {}),
    (("budgets", "set"), None, ("told", "10", "--currency", "USD"), {"budget_id": "told@monthly"}),
]  # fmt: skip


@pytest.mark.parametrize(("command", "name", "given", "named"), PUBLISHED, ids=["card", "accounts", "fx", "budget"])
def test_what_is_recorded_is_told_to_machines_and_its_repetition_as_not_published(
    stack, tmp_path, command, name, given, named
):
    if name is not None:
        (tmp_path / name).write_text(given)
        given = (tmp_path / name,)
    first, again = (json.loads(chargeline(stack, *command, *given, "--json")) for _ in range(2))
    recorded, visible = (datetime.fromisoformat(first[name]) for name in ("recorded_time", "visible_from"))
    assert visible - recorded == timedelta(milliseconds=load_stack(str(stack)).governance_margin_ms)
    assert (first["published"], first["sequence"] > 0) == (True, True)
    assert again == {**(named or {"file": str(given[0])}), "published": False}
    assert first.items() >= (again | {"published": True}).items()


def test_data_survives_kill_9_of_everything_and_down_leaves_no_process(tmp_path):
    data = tmp_path / "data"
    with running_stack(data):
        chargeline(data, "rates", "publish", CARD)
        chargeline(data, "generate", "--seed", 3, "--events", 2000, "--wait")
        before = rows(data, "SELECT count() AS n, sum(billed_cost) AS b FROM charges")
        pids = [each.pid for each in load_stack(str(data)).processes]
        for pid in pids:
            psutil.Process(pid).send_signal(signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in pids), "all are dead")
        chargeline(data, "up", "--detach")
        assert rows(data, "SELECT count() AS n, sum(billed_cost) AS b FROM charges") == before
        chargeline(data, "generate", "--seed", 4, "--events", 2000, "--wait")
        verified(data)
        pids = [each.pid for each in load_stack(str(data)).processes]
    assert not any(alive(pid) for pid in pids)


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
