"""`chargeline dlq replay`: what can be decoded is sent once, the rest is counted."""

import json

from typer.testing import CliRunner

from chargeline.cli import dlq
from chargeline.cli.main import build
from chargeline.ports import Record
from chargeline.runtime.stack import Stack
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from tests.support.events import encoded, event

NOWHERE = Stack("", "", "", None, None, "", "u", "p", "b", "p", 0)


class Sent(list[tuple[str, bytes]]):
    """Stands for the sender."""

    @property
    def sent(self):
        return len(self)

    def send(self, account, value):
        self.append((account, value))

    def flush(self):
        pass


class Registry:
    """Knows the schema of usage events under every id."""

    def schema_of(self, _):
        return USAGE_EVENT_SCHEMA


def letter(value, code="MISPLACED", *, truncated=False):
    record = Record("usage-events-dlq", 0, 0, 0, None, value)
    return record, {"coordinate": "0/0", "code": code, "truncated": truncated}


def test_what_was_sent_and_what_was_left_is_told_to_machines(monkeypatch):
    good, other = encoded(event()), encoded(event(event_id="e2", billing_account_id="beta"))
    letters = [letter(good), letter(good), letter(other), letter(b"no event"), letter(good[:-1], truncated=True),
               letter(encoded(event(event_id="e3")), "CONFLICT")]  # fmt: skip
    sender = Sent()
    monkeypatch.setattr(dlq, "load_stack", lambda _: NOWHERE)
    monkeypatch.setattr(dlq, "SchemaRegistry", lambda _: Registry())
    monkeypatch.setattr(dlq, "Sender", lambda _: sender)
    monkeypatch.setattr(dlq, "_records", lambda _: letters)
    done = CliRunner().invoke(build(["dlq"]), ["dlq", "replay", "--code", "MISPLACED", "--json"])
    assert json.loads(done.stdout) == {"sent": 2, "left": 2}
    assert sender == [("acme", good), ("beta", other)]
