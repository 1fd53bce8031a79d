"""Alerts: what they say, where they go, and that each channel gets them at least once (docs/alerts.md)."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chargeline.adapters.memory import FakeClock
from chargeline.adapters.notifiers.alertmanager import alerts
from chargeline.adapters.notifiers.channels import make_notifier
from chargeline.domain.alerts.alert import Contributor
from chargeline.domain.alerts.routes import SecretPlace, channels_of, read_alerts
from chargeline.domain.alerts.text import notification
from chargeline.domain.documents import BadDocument
from chargeline.domain.errors import InvalidEvent, Refused
from chargeline.notifier.__main__ import main
from chargeline.sdk.webhook import sign, verify
from tests.support.budgets import alert, read, record_of

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
link: https://finops.example.com/anomalies/{anomaly_id}
channels:
  - channel: ops
    kind: alertmanager
    url: http://127.0.0.1:9093
  - channel: search-chat
    kind: apprise
    url_env: SEARCH_CHAT_URL
  - channel: hook
    kind: webhook
    url_file: /run/secrets/hook-url
    secret_env: HOOK_SECRET
  - channel: journal
    kind: log
routes:
  - team: search
    channels: [search-chat, journal]
  - account: acme
    team: search
    severity_min: HIGH
    channels: hook
  - account: beta
    channels: [ops]
default: [journal]
"""


# What an alert says


def test_a_message_says_what_how_much_since_when_why_what_to_do_and_where():
    found = alert(
        kind="SPEND",
        what="more is spent than expected",
        contributors=(
            Contributor("feature=chat", Decimal("300.123")),
            Contributor("feature=rank", Decimal("0.0001234")),
        ),
    )
    message = notification(found, "https://x.example/{anomaly_id}?team={team}")
    assert message.key == "a1/1"
    assert message.title == "[HIGH] acme/search: more is spent than expected"
    assert message.text.splitlines() == [
        "What: more is spent than expected (team=search)",
        "How much: 412.5 USD, 312.5 (313 %) above the expected 100 USD",
        "Since: 2026-06-01T00:00:00Z",
        "Why: because",
        "Contributors:",
        "- feature=chat: 300.12 USD",
        "- feature=rank: 0.000123 USD",
        "What to do: Look at the contributors. Stop what is not wanted; if it is wanted, tell the owner of the budget.",
        "Why in full: chargeline anomalies explain a1",
        "More: https://x.example/a1?team=search",
        "Key: a1/1",
    ]


@pytest.mark.parametrize(
    ("actual", "expected", "words"),
    [
        ("10", "10", "10 USD, 0 (0 %) above the threshold of 10 USD"),
        ("5", "10", "5 USD, 5 (50 %) below the threshold of 10 USD"),
        ("5", "0", "5 USD, 5 above the threshold of 0 USD"),
        ("5", None, "5 USD"),
    ],
)
def test_a_difference_is_told_in_words(actual, expected, words):
    found = alert(actual=Decimal(actual), expected=None if expected is None else Decimal(expected))
    assert f"How much: {words}\n" in notification(found).text


def test_an_alert_of_a_budget_survives_the_log():
    found = alert(dimensions=(("budget", "acme@monthly"), ("team", "search")), state="RESOLVED", sequence=2)
    back = read(record_of(found))
    assert back == found


def test_an_anomaly_of_the_detector_is_read_as_it_was_written():
    found = read(b"\0\0\0\0\7" + (ROOT / "schemas/events/cost_anomaly/golden/v1.bin").read_bytes())
    wanted = json.loads((ROOT / "schemas/events/cost_anomaly/golden/v1.json").read_text())
    assert (found.key, found.state, found.kind) == (f"{wanted['anomaly_id']}/2", "UPDATED", wanted["kind"])
    assert (found.team, found.what, found.since) == ("search", "spend runs away", wanted["window_start"])
    assert found.actual == Decimal(int(wanted["actual_cost"], 16)).scaleb(-12)
    assert found.contributors[0].name == "request_model=gpt-5"


def test_bytes_that_are_no_anomaly_are_told_as_such():
    for value in (b"", b"\1\0\0\0\7", b"\0\0\0\0\7\xff", b"\0\0\0\0\x08" + record_of(alert())[5:]):
        with pytest.raises(InvalidEvent):
            read(value)


# Where it goes


@pytest.mark.parametrize(
    ("account", "team", "severity", "channels"),
    [
        ("acme", "search", "HIGH", ("hook",)),  # account and team before team
        ("acme", "search", "MEDIUM", ()),  # too little for them, and nobody else is told
        ("beta", "search", "LOW", ("journal", "search-chat")),  # team before account
        ("beta", "ads", "LOW", ("ops",)),
        ("beta", None, "LOW", ("ops",)),
        ("gamma", "ads", "LOW", ("journal",)),  # the default
        ("acme", "search", "UNKNOWN", ("hook",)),  # rather one too many
    ],
)
def test_the_most_specific_route_of_the_owner_decides(account, team, severity, channels):
    dimensions = () if team is None else (("team", team),)
    found = alert(billing_account_id=account, dimensions=dimensions, severity=severity)
    assert channels_of(found, read_alerts(CONFIG)) == channels


@pytest.mark.parametrize(
    ("state", "channels"), [("OPEN", ()), ("UPDATED", ()), ("RESOLVED", ("hook",))]
)  # the end goes to what keeps incidents open, for it may have been told before the mute; never to people
def test_a_muted_alert_goes_nowhere_but_its_end_to_who_keeps_it_open(state, channels):
    config = read_alerts(CONFIG.replace("channels: hook", "channels: [hook, search-chat, journal]"))
    assert channels_of(alert(is_muted=True, state=state), config) == channels


def test_the_example_is_valid_and_names_every_kind():
    found = read_alerts((ROOT / "examples" / "alerts.yaml").read_text())
    assert {each.kind for each in found.channels} == {"alertmanager", "webhook", "apprise", "log"}


@pytest.mark.parametrize(
    ("old", "new", "line", "code"),
    [
        ("url_env: SEARCH_CHAT_URL", "url: slack://secret-token", 9, "SECRET_IN_FILE"),
        ("secret_env: HOOK_SECRET", "secret: s3cret", 13, "SECRET_IN_FILE"),
        ("secret_env: HOOK_SECRET", "secret_env: not-a-name", 13, "BAD_VALUE"),
        ("    secret_env: HOOK_SECRET\n", "", 10, "MISSING_KEY"),
        ("kind: log", "kind: pager", 15, "BAD_VALUE"),
        ("kind: log", "kind: log\n    speed: 3", 16, "UNKNOWN_KEY"),
        ("channel: journal\n", "channel: ops\n", 14, "DUPLICATE_KEY"),
        ("channel: journal\n", "channel: Jour nal\n", 14, "BAD_VALUE"),
        ("channels: hook", "channels: hooks", 22, "UNKNOWN_CHANNEL"),
        ("  - account: beta\n    channels", "  - severity_min: LOW\n    channels", 24, "MISSING_KEY"),
        ("severity_min: HIGH", "severity_min: LOUD", 21, "BAD_VALUE"),
        ("default: [journal]", "default: [nobody]", 25, "UNKNOWN_CHANNEL"),
        ("{anomaly_id}", "{anomaly_id.__class__}", 2, "BAD_VALUE"),
        ("url_file: /run", "url_env: A\n    url_file: /run", 13, "BAD_VALUE"),
    ],
)  # fmt: skip
def test_every_fault_of_the_file_is_told_with_its_line(old, new, line, code):
    assert old in CONFIG
    with pytest.raises(BadDocument) as caught:
        read_alerts(CONFIG.replace(old, new))
    assert (line, code) in [(each.line, each.code) for each in caught.value.problems]
    assert "secret-token" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (CONFIG, 0, ""),
        (CONFIG.replace("channels: hook", "channels: hok"), 2, "UNKNOWN_CHANNEL"),
        (None, 2, "No such file"),
    ],
)
def test_the_notifier_checks_its_file_before_it_starts(tmp_path, monkeypatch, capsys, text, code, said):
    file = tmp_path / "alerts.yaml"
    if text is not None:
        file.write_text(text)
    for name in ("KAFKA", "REGISTRY", "REDIS_URL", "CLICKHOUSE_URL"):
        monkeypatch.setenv(f"CHARGELINE_{name}", "x")
    monkeypatch.setenv("CHARGELINE_NOTIFIER_CONFIG", str(file))
    assert main(["--check-config"]) == code
    assert said in capsys.readouterr().err


def test_a_secret_comes_from_the_environment_or_a_file_and_its_absence_is_told_without_it(tmp_path):
    chat, hook = read_alerts(CONFIG).channels[1:3]
    with pytest.raises(Refused, match="SEARCH_CHAT_URL is not set"):
        make_notifier(chat, {}, FakeClock(0))
    with pytest.raises(Refused, match="hook-url cannot be read"):
        make_notifier(hook, {"HOOK_SECRET": "s"}, FakeClock(0))
    with pytest.raises(Refused) as caught:
        make_notifier(chat, {"SEARCH_CHAT_URL": "no-such-service://hunter2"}, FakeClock(0))
    assert "hunter2" not in str(caught.value)
    (tmp_path / "url").write_text("http://127.0.0.1:1/\n")
    place = SecretPlace("file", str(tmp_path / "url"))
    hook = type(hook)(hook.channel, hook.kind, (("url", place), ("secret", SecretPlace("env", "HOOK_SECRET"))))
    make_notifier(hook, {"HOOK_SECRET": "s"}, FakeClock(0)).close()


# Signatures


def test_the_signature_is_hmac_sha256_of_version_timestamp_and_body():
    # printf 'v1:1780272000.{"key":"a1/1"}' | openssl dgst -sha256 -hmac whsec-example
    golden = "v1=6f14e00c0d451f77aa3e2bf20a5684fc512a1c606db9661e8365b6b2346ebad0"
    assert sign(b"whsec-example", "1780272000", b'{"key":"a1/1"}') == golden


@pytest.mark.parametrize(
    ("changed", "genuine"),
    [
        ({}, True),
        ({"now_s": 1780272300}, True),
        ({"now_s": 1780272301}, False),
        ({"now_s": 1780271699}, False),
        ({"secret": b"other"}, False),
        ({"body": b'{"key":"a1/2"}'}, False),
        ({"timestamp": "1780272001"}, False),
        ({"signature": "v1=00"}, False),
        ({"signature": "ünsigned"}, False),
    ],
)
def test_only_the_same_message_in_time_is_genuine(changed, genuine):
    given: dict[str, Any] = {
        "secret": b"whsec-example",
        "timestamp": "1780272000",
        "body": b'{"key":"a1/1"}',
        "now_s": 1780272000,
    }
    given["signature"] = sign(given["secret"], given["timestamp"], given["body"])
    assert verify(**(given | changed)) is genuine


def test_a_timestamp_that_is_no_number_is_not_genuine():
    assert not verify(b"s", "soon", b"", sign(b"s", "soon", b""), now_s=0)


# Alertmanager


def test_an_open_alert_ends_far_ahead_and_a_resolved_one_when_it_was_over():
    first = alerts(notification(alert()))
    assert [(each["labels"]["severity"], each["endsAt"]) for each in first] == [("high", "2026-06-08T01:00:00Z")]
    over = alerts(notification(alert(state="RESOLVED", sequence=3, severity="CRITICAL")))
    assert {each["endsAt"] for each in over} == {"2026-06-01T01:00:00Z"}
    # Whatever its severity was before, that alert is over too.
    assert [each["labels"]["severity"] for each in over] == ["critical", "low", "medium", "high"]
