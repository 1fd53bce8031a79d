"""What every channel keeps, against HTTP servers that answer as the real ones do, and a real Alertmanager if there is
one on this machine."""

import json
import logging
import os
import re
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, ClassVar

import pytest
import urllib3

from chargeline.adapters.memory import FakeClock
from chargeline.adapters.notifiers.alertmanager import AlertmanagerNotifier
from chargeline.adapters.notifiers.channels import make_notifier
from chargeline.adapters.notifiers.chat import AppriseNotifier
from chargeline.adapters.notifiers.webhook import WebhookNotifier
from chargeline.domain.alerts.routes import ChannelConfig, SecretPlace
from chargeline.domain.alerts.text import notification
from chargeline.domain.errors import ChannelAway, Undeliverable
from chargeline.sdk.webhook import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from tests.conftest import leave_out
from tests.support.budgets import alert
from tests.support.peer import Peer

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
NOW_S = 1_780_300_000


@pytest.fixture
def peer():
    made = Peer()
    yield made
    made.close()


MAKERS: dict[str, Callable[[str], Any]] = {
    "alertmanager": AlertmanagerNotifier,
    "webhook": lambda url: WebhookNotifier(f"{url}/hook/secret-token", b"whsec", FakeClock(NOW_S * 1000)),
    "apprise": lambda url: AppriseNotifier(url.replace("http://", "json://") + "/secret-token"),
}


@pytest.fixture(params=list(MAKERS))
def kind(request):
    return request.param


def test_a_message_that_is_taken_was_sent_once(peer, kind):
    notifier = MAKERS[kind](peer.url)
    notifier.send(notification(alert()))
    notifier.close()
    assert len(peer.seen) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_channel_that_is_busy_is_away(peer, kind, status):
    peer.answers = [(status, {})]
    with pytest.raises(ChannelAway):
        MAKERS[kind](peer.url).send(notification(alert()))


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 422])
def test_a_refusal_is_final_where_the_channel_tells_so(peer, kind, status):
    peer.answers = [(status, {"Location": f"{peer.url}/elsewhere"})]
    with pytest.raises(ChannelAway if kind == "apprise" else Undeliverable):
        MAKERS[kind](peer.url).send(notification(alert()))
    assert all("elsewhere" not in path for path, _, _ in peer.seen) or kind == "apprise"


def test_a_channel_that_does_not_answer_is_away_and_its_url_is_not_told(kind):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ChannelAway) as caught:
        MAKERS[kind](url).send(notification(alert()))
    assert "secret" not in repr(caught.value)
    assert "127.0.0.1" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
def test_no_log_tells_a_secret_whatever_its_level(peer, kind, caplog):
    url = peer.url.replace("http://", "json://") if kind == "apprise" else peer.url
    secrets = {"url": f"{url}/hunter2", "secret": "swordfish"}
    places = tuple(
        (name, SecretPlace("env", name.upper())) for name in (("url", "secret") if kind == "webhook" else ("url",))
    )
    peer.answers = [(200, {}), (500, {})]
    with caplog.at_level(logging.DEBUG):
        environment = {name.upper(): value for name, value in secrets.items()}
        notifier = make_notifier(ChannelConfig("hook", kind, places), environment, FakeClock(0))
        notifier.send(notification(alert()))
        with pytest.raises(ChannelAway):
            notifier.send(notification(alert()))
    assert "hunter2" not in caplog.text
    assert "swordfish" not in caplog.text


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("999999", 3600.0), ("soon", 0.0)])
def test_a_channel_says_when_it_wants_to_be_asked_again(peer, value, seconds):
    peer.answers = [(429, {"Retry-After": value})]
    with pytest.raises(ChannelAway) as caught:
        MAKERS["webhook"](peer.url).send(notification(alert()))
    assert caught.value.retry_after_s == seconds


def test_a_receiver_can_check_a_webhook(peer):
    message = notification(alert(), "https://x.example/{anomaly_id}")
    MAKERS["webhook"](peer.url).send(message)
    path, headers, body = peer.seen[0]
    assert path == "/hook/secret-token"
    assert headers[KEY_HEADER] == "a1/1"
    assert verify(b"whsec", headers[TIMESTAMP_HEADER], body, headers[SIGNATURE_HEADER], now_s=NOW_S + 10)
    assert not verify(b"other", headers[TIMESTAMP_HEADER], body, headers[SIGNATURE_HEADER], now_s=NOW_S + 10)
    document = json.loads(body)
    assert (document["actual"], document["expected"], document["since"]) == ("412.5", "100", "2026-06-01T00:00:00Z")


def test_alertmanager_gets_what_its_api_takes(peer):
    MAKERS["alertmanager"](peer.url + "/").send(notification(alert(), "https://x.example/{anomaly_id}"))
    path, headers, body = peer.seen[0]
    assert (path, headers["Content-Type"]) == ("/api/v2/alerts", "application/json")
    for posted in json.loads(body):
        assert set(posted) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
        assert all(LABEL.fullmatch(name) and value for name, value in posted["labels"].items())
        assert INSTANT.fullmatch(posted["startsAt"])
        assert INSTANT.fullmatch(posted["endsAt"])
        assert posted["startsAt"] <= posted["endsAt"]


class Mails(socketserver.StreamRequestHandler):
    """Enough of SMTP to take a mail; `taken` has their lines."""

    taken: ClassVar[list[bytes]] = []

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.taken.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 yes\r\n")
            if verb == b"QUIT":
                return


def test_a_mail_keeps_its_lines_and_no_text_becomes_markup():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mails) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"mailto://127.0.0.1:{server.server_address[1]}?from=a@example.com&to=b@example.com"
        AppriseNotifier(url).send(notification(alert(what="<b>bold</b> & so on")))
        server.shutdown()
    mail = message_from_bytes(Mails.taken[-1], EmailMessage, policy=policy.default)
    lines = mail.get_content().splitlines()
    assert mail.get_content_type() == "text/plain"
    assert (lines[0], lines[-1]) == ("What: <b>bold</b> & so on (team=search)", "Key: a1/1")


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    """A real Alertmanager; the test is left out, and counted, where there is none."""
    names = (os.environ.get("CHARGELINE_ALERTMANAGER") or "prometheus-alertmanager", "alertmanager")
    binary = next(filter(None, map(shutil.which, names)), None)
    if binary is None:
        leave_out("no Alertmanager on PATH or in CHARGELINE_ALERTMANAGER (Debian: prometheus-alertmanager)")
    assert binary is not None
    data = tmp_path_factory.mktemp("alertmanager")
    (data / "config.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, f"--config.file={data}/config.yml", f"--storage.path={data}", "--cluster.listen-address=",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (data / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 20
            while not answers(url):
                said = (data / "log").read_text()[-1000:]
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def answers(url):
    try:
        return urllib3.request("GET", f"{url}/-/ready", retries=False, timeout=1.0).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def active(url):
    found = urllib3.request("GET", f"{url}/api/v2/alerts?active=true", timeout=5.0).json()
    return [(each["labels"]["severity"], each["annotations"]["key"]) for each in found]


def test_a_real_alertmanager_opens_updates_and_resolves_an_anomaly(alertmanager):
    now = time.time_ns() // 1000
    notifier = AlertmanagerNotifier(alertmanager)
    changed = {"since": now - 3_600_000_000, "at": now - 60_000_000}
    notifier.send(notification(alert(severity="MEDIUM", **changed)))
    assert active(alertmanager) == [("medium", "a1/1")]
    notifier.send(notification(alert(severity="CRITICAL", state="UPDATED", sequence=2, **changed)))
    notifier.send(notification(alert(severity="CRITICAL", state="UPDATED", sequence=2, **changed)))
    assert active(alertmanager) == [("critical", "a1/2")]
    notifier.send(notification(alert(severity="CRITICAL", state="RESOLVED", sequence=3, **changed)))
    assert active(alertmanager) == []
    notifier.close()
