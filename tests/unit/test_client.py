"""The producers' client on librdkafka's own mock of a cluster, and where there is none at all."""

import json
import threading
from typing import Any

import pytest

from chargeline.sdk.client import BufferFullError, UsageClient
from chargeline.sdk.spill import SpillFile
from tests.support.stack import wait_until

AWAY: dict[str, Any] = {"bootstrap": "127.0.0.1:1", "schema_id": 1, "source": "test"}
MOCK: dict[str, Any] = {"test.mock.num.brokers": 1, "allow.auto.create.topics": True}
QUIET: dict[str, Any] = {"log_level": 0}


def fields(**more):
    return {"billing_account_id": "acme", "provider_name": "p", "request_model": "m", "operation_name": "chat"} | more


def kept(path):
    return {json.loads(line)["event_id"] for line in path.read_text().splitlines() if line}


def test_what_is_emitted_without_kafka_is_in_the_file_once_the_client_is_closed(tmp_path):
    spill = tmp_path / "spill.jsonl"
    with UsageClient(**AWAY, spill=spill, delivery_timeout_s=0.3, config=QUIET) as client:
        ids = {client.emit(fields()) for _ in range(20)}
    assert kept(spill) == ids


def test_what_an_earlier_client_kept_is_sent_by_the_next_one_while_it_runs(tmp_path):
    spill = tmp_path / "spill.jsonl"
    with UsageClient(**AWAY, spill=spill, delivery_timeout_s=0.3, config=QUIET) as client:
        ids = {client.emit(fields()) for _ in range(20)}
    sent: dict[str, Any] = {}
    with UsageClient(**AWAY, spill=spill, on_delivery=sent.__setitem__, config=QUIET | MOCK):
        wait_until(lambda: not list(tmp_path.glob("spill.[js]*")), "the file is empty")
        assert sent == dict.fromkeys(ids)


def test_a_file_that_a_crash_left_half_sent_or_half_written_is_sent_whole(tmp_path):
    spill = tmp_path / "spill.jsonl"
    file = SpillFile(spill)
    file.keep("acme", "first", b"1")
    next(file.taken())
    spill.write_text('{"account": "acme", "event_')
    file.keep("acme", "second", b"2")
    file.close()
    sent: dict[str, Any] = {}
    with UsageClient(**AWAY, spill=spill, on_delivery=sent.__setitem__, config=QUIET | MOCK):
        wait_until(lambda: not list(tmp_path.glob("spill.[js]*")), "the files are empty")
    assert sent == {"first": None, "second": None}


def test_more_is_kept_than_the_buffer_holds_and_all_of_it_is_sent(tmp_path):
    spill = tmp_path / "spill.jsonl"
    with UsageClient(**AWAY, spill=spill, buffer_events=10, delivery_timeout_s=0.3, config=QUIET) as client:
        ids = {client.emit(fields()) for _ in range(200)}
    assert kept(spill) == ids
    sent: dict[str, Any] = {}
    with UsageClient(**AWAY, spill=spill, buffer_events=10, on_delivery=sent.__setitem__, config=QUIET | MOCK):
        wait_until(lambda: not list(tmp_path.glob("spill.[js]*")), "the file is empty")
    assert sent == dict.fromkeys(ids)


def test_a_full_buffer_is_an_error_where_the_policy_says_so(tmp_path):
    options: dict[str, Any] = {
        "spill": tmp_path / "s",
        "buffer_events": 2,
        "when_full": "raise",
        "delivery_timeout_s": 0.3,
    }
    with UsageClient(**AWAY, **options, config=QUIET) as client:
        client.emit(fields())
        client.emit(fields())
        with pytest.raises(BufferFullError):
            client.emit(fields())


def test_two_clients_of_one_name_keep_files_of_their_own(tmp_path):
    one, two = SpillFile(tmp_path / "spill.jsonl"), SpillFile(tmp_path / "spill.jsonl")
    assert [file.path.name for file in (one, two)] == ["spill.jsonl", "spill-1.jsonl"]
    one.close()
    assert SpillFile(tmp_path / "spill.jsonl").path == one.path


def test_what_threads_keep_at_the_same_time_is_whole(tmp_path):
    file = SpillFile(tmp_path / "spill.jsonl")
    found = []

    def keep(name):
        for number in range(100):
            file.keep("acme", f"{name}-{number}", b"\0value")

    threads = [threading.Thread(target=keep, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or file:
        if file.path.exists():
            found += list(file.taken())
            file.forget_taken()
    assert sorted(event_id for _, event_id, _ in found) == sorted(f"{a}-{b}" for a in range(4) for b in range(100))
    assert {(account, value) for account, _, value in found} == {("acme", b"\0value")}
