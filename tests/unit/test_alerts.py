"""Alerts: what they say, where they go, and that each channel gets them at least once (docs/alerts.md)."""

import itertools
import json
from decimal import Decimal
from pathlib import Path

import pytest

from chargeline.adapters.memory import FakeClock, MemoryLog, MemoryLogConsumer
from chargeline.adapters.memory_budgets import MemoryLogWriter, MemoryNotifier
from chargeline.adapters.notifiers.alertmanager import alerts
from chargeline.adapters.notifiers.channels import make_notifier
from chargeline.domain.alert_routes import SecretPlace, channels_of, read_alerts
from chargeline.domain.alert_text import notification
from chargeline.domain.alerts import Contributor
from chargeline.domain.documents import BadDocument
from chargeline.domain.errors import ChannelAway, InvalidEvent, Refused, Undeliverable
from chargeline.domain.retrying import delay_ms
from chargeline.notifier.processor import DEAD_LETTERS, TOPIC, Delivery
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
        "More: https://x.example/a1?team=search",
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


def test_a_muted_alert_goes_nowhere():
    assert channels_of(alert(is_muted=True), read_alerts(CONFIG)) == ()


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
    given = {"secret": b"whsec-example", "timestamp": "1780272000", "body": b'{"key":"a1/1"}', "now_s": 1780272000}
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


# Delivery


@pytest.mark.parametrize(
    ("failures", "jitter", "wanted"),
    [
        (1, 0, 500),
        (1, 999, 999),
        (2, 0, 1000),
        (5, 500, 12_000),
        (9, 0, 128_000),
        (10, 0, 150_000),
        (500, 999, 299_850),
    ],
)
def test_pauses_double_up_to_a_cap_and_half_of_each_is_chance(failures, jitter, wanted):
    assert delay_ms(failures, jitter) == wanted


class Channels:
    """A log and deliveries on it."""

    def __init__(self, park_after_ms=3_600_000):
        self.clock = FakeClock(1_780_272_000_000)
        self.log = MemoryLog(self.clock, {TOPIC: 1, DEAD_LETTERS: 1})
        self.park_after_ms = park_after_ms

    def delivery(self, name, notifier, is_ours=lambda _: True):
        made = Delivery(
            channel=name, consumer=MemoryLogConsumer(self.log, f"notifier-{name}"), notifier=notifier,
            dead_letters=MemoryLogWriter(self.log), read=read, is_ours=is_ours, say=notification, clock=self.clock,
            chance=lambda: 0, park_after_ms=self.park_after_ms,
        )  # fmt: skip
        made.step()  # assigned
        made.step()  # the place is known
        return made

    def put(self, value):
        self.log.append(TOPIC, 0, b"acme", value)

    def parked(self):
        return [
            ({name.removeprefix("x-chargeline-"): text.decode() for name, text in each.headers}, each.value)
            for each in self.log.readable(DEAD_LETTERS, 0, 0, 100)
        ]


def keys(notifier):
    return [each.key for each in notifier.taken]


def steps(delivery, count=10):
    for _ in range(count):
        delivery.step()


def test_alerts_are_delivered_in_order_and_once_when_nothing_goes_wrong():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    for sequence in (1, 2, 3):
        channels.put(record_of(alert(sequence=sequence)))
    steps(delivery)
    assert keys(notifier) == ["a1/1", "a1/2", "a1/3"]


def test_a_channel_that_is_new_gets_what_comes_after_it():
    channels, notifier = Channels(), MemoryNotifier()
    channels.put(record_of(alert(sequence=1)))
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    assert keys(notifier) == ["a1/2"]


def test_a_channel_that_is_away_is_asked_again_after_growing_pauses():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert()))
    notifier.fails_with = ChannelAway("status 503")
    attempts = []
    for _ in range(80):
        before = notifier.attempts
        delivery.step()
        if notifier.attempts > before:
            attempts.append(channels.clock.now)
        channels.clock.now += 100
    assert [later - earlier for earlier, later in itertools.pairwise(attempts)] == [500, 1000, 2000, 4000]
    notifier.fails_with = None
    channels.clock.now += 300_000
    steps(delivery, 2)
    assert keys(notifier) == ["a1/1"]


def test_a_channel_that_says_when_is_not_asked_before():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert()))
    notifier.fails_with = ChannelAway("status 429", retry_after_s=60.0)
    steps(delivery, 1)
    channels.clock.now += 59_999
    steps(delivery, 1)
    assert notifier.attempts == 1
    channels.clock.now += 1
    steps(delivery, 1)
    assert notifier.attempts == 2


def test_a_dead_channel_holds_up_nobody_else():
    channels, dead, alive = Channels(), MemoryNotifier(), MemoryNotifier()
    dead.fails_with = ChannelAway("no answer")
    first, second = channels.delivery("dead", dead), channels.delivery("alive", alive)
    for sequence in range(1, 6):
        channels.put(record_of(alert(sequence=sequence)))
    for _ in range(10):
        first.step()
        second.step()
    assert keys(alive) == ["a1/1", "a1/2", "a1/3", "a1/4", "a1/5"]
    assert channels.log.groups["notifier-dead"].committed == {0: 0}
    assert channels.log.groups["notifier-alive"].committed == {0: 5}


def test_what_was_not_taken_is_delivered_after_a_restart():
    channels, notifier = Channels(), MemoryNotifier()
    notifier.fails_with = ChannelAway("no answer")
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert(sequence=1)))
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    delivery.close()
    notifier.fails_with = None
    steps(channels.delivery("ops", notifier))
    assert keys(notifier) == ["a1/1", "a1/2"]


def test_a_crash_after_the_delivery_repeats_it_under_the_same_key():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert()))

    def crash(next_offsets):
        raise RuntimeError

    delivery.consumer.commit = crash
    with pytest.raises(RuntimeError):
        delivery.step()
    channels.log.leave("notifier-ops", TOPIC, delivery.consumer.member)
    steps(channels.delivery("ops", notifier))
    assert keys(notifier) == ["a1/1", "a1/1"]


def test_an_alert_that_is_never_taken_is_parked_when_it_is_old_and_the_next_one_goes_on():
    channels, notifier = Channels(park_after_ms=60_000), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(record_of(alert(sequence=1)))
    notifier.fails_with = ChannelAway("status 500")
    for _ in range(100):
        delivery.step()
        channels.clock.now += 1_000
    ((headers, value),) = channels.parked()
    assert (headers["code"], headers["channel"], headers["offset"]) == ("EXPIRED", "ops", "0")
    assert read(value) == alert(sequence=1)
    notifier.fails_with = None
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    assert keys(notifier) == ["a1/2"]


@pytest.mark.parametrize(
    ("value", "error", "code"),
    [(None, Undeliverable("status 400"), "REFUSED"), (b"rubbish", None, "UNREADABLE")],
)
def test_what_can_never_be_delivered_is_parked_at_once(value, error, code):
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier)
    channels.put(value or record_of(alert()))
    notifier.fails_with = error
    steps(delivery, 2)
    assert [headers["code"] for headers, _ in channels.parked()] == [code]
    assert channels.log.groups["notifier-ops"].committed == {0: 1}


def test_an_alert_of_somebody_else_is_passed_over():
    channels, notifier = Channels(), MemoryNotifier()
    delivery = channels.delivery("ops", notifier, is_ours=lambda each: each.sequence == 2)
    channels.put(record_of(alert(sequence=1)))
    channels.put(record_of(alert(sequence=2)))
    steps(delivery)
    assert keys(notifier) == ["a1/2"]


def test_memory_is_bounded_while_a_channel_is_away():
    channels, notifier = Channels(), MemoryNotifier()
    notifier.fails_with = ChannelAway("no answer")
    delivery = channels.delivery("ops", notifier)
    for sequence in range(300):
        channels.put(record_of(alert(sequence=sequence + 1)))
    steps(delivery, 50)
    assert len(delivery._waiting) <= 101
    notifier.fails_with = None
    channels.clock.now += 300_000
    steps(delivery, 320)
    assert keys(notifier) == [f"a1/{number + 1}" for number in range(300)]
