"""The chain of governance facts: who counts, who sees what (spec/rating.md 1, design: governance-log)."""

import hashlib
import struct
from datetime import date
from decimal import Decimal
from functools import cache

import numpy as np
import pytest

from chargeline.adapters.governance import GovernanceReader, encode
from chargeline.domain.errors import Fault
from chargeline.domain.governance import GENESIS, GovernanceChain, InputTopic, UnreadableCard, UnreadableDocument
from chargeline.ports import Record
from tests.support.rates import card, sku

TOPIC = {"topic": "usage-events", "partitions": 4, "partitioner": "MURMUR2"}


def datum(sequence, previous_hash, fact, name):
    return encode(
        {
            "sequence": sequence,
            "previous_hash": previous_hash,
            "author": "me",
            "fact": (f"chargeline.events.{name}", fact),
        }
    )


def framed(body):
    return struct.pack(">bI", 0, 7) + body


def published(text, sequence, previous_hash):
    fact = {"rate_card_id": "list", "rate_card_version": 1, "card": text}
    return datum(sequence, previous_hash, fact, "RateCardPublished")


def digest(body):
    return hashlib.sha256(body).hexdigest()


class Log:
    """A governance log in memory: `ports.LogReader`."""

    def __init__(self, *values):
        self.values = list(values)

    def bounds(self, topic, partition):
        return 0, len(self.values)

    def read(self, topic, partition, start, end):
        for offset in range(start, end):
            yield Record(topic, partition, offset, 1000 + offset, None, self.values[offset])

    def partitions(self, topic):
        return 1

    def close(self):
        pass


class Clock:
    now = 5000

    def now_ms(self):
        return self.now

    def sleep(self, seconds):
        self.now += int(seconds * 1000)


def reader(*values, reading=cache):
    found = GovernanceReader(Log(*values), Clock(), max_clock_skew_ms=2000, reading=reading)
    found.refresh()
    return found


FIRST = datum(0, GENESIS, TOPIC, "InputTopicCreated")
SECOND = published(card().text, 1, digest(FIRST))


def test_facts_that_continue_the_chain_count():
    chain = reader(framed(FIRST), framed(SECOND)).chain
    assert chain.input_topic() == InputTopic("usage-events", 4, "MURMUR2")
    assert [(each.card, each.recorded_time, each.sequence) for each in chain.cards()] == [(card(), 1001, 1)]
    assert (chain.next_sequence, chain.last_hash) == (2, digest(SECOND))


@pytest.mark.parametrize(
    "stranger",
    [
        framed(published(card().text, 1, GENESIS)),
        framed(published(card().text, 2, digest(FIRST))),
        framed(FIRST),
        b"",
        b"\x00\x00",
        b"\x01" + framed(SECOND)[1:],
        framed(b""),
        framed(b"\xff" * 40),
    ],
)
def test_a_record_that_does_not_continue_the_chain_is_ignored_by_all(stranger):
    chain = reader(framed(FIRST), stranger, framed(SECOND)).chain
    assert chain.next_sequence == 2
    assert chain.hash_of(1) == digest(SECOND)


def test_of_two_writers_of_one_number_the_first_wins():
    other = published(card(version=2).text, 1, digest(FIRST))
    chain = reader(framed(FIRST), framed(other), framed(SECOND)).chain
    assert [each.card.version for each in chain.cards()] == [2]
    assert chain.hash_of(1) != digest(SECOND)


def test_a_fact_of_an_unknown_kind_stops_the_reader():
    head = FIRST[: FIRST.index(b"\x04me")] + b"\x04me"
    unknown = head + b"\x08"  # branch 4 of the union
    with pytest.raises(Fault, match="cannot read"):
        reader(framed(unknown))
    assert reader(framed(FIRST), framed(unknown)).chain.next_sequence == 1


def test_an_unreadable_card_keeps_its_place_and_prices_nothing():
    body = published('{"id":"list"}', 1, digest(FIRST))
    after = published(card().text, 2, digest(body))
    chain = reader(framed(FIRST), framed(body), framed(after)).chain
    assert isinstance(chain.facts[1].body, UnreadableCard)
    assert [each.sequence for each in chain.cards()] == [2]


ACCOUNTS = '{"accounts":[{"billing_account_id":"acme","group":"lab","valid_from":"2026-01-01T00:00:00Z"}]}'
FX = '{"rates":[{"date":"2026-06-0%d","from_currency":"USD","rate":"0.9%d","source":"ECB","to_currency":"EUR"}]}'


def chained(*facts, reading=cache):
    """A chain of the topic fact and these (name, fields)."""
    values, last = [FIRST], digest(FIRST)
    for number, (name, fact) in enumerate(facts, start=1):
        values.append(datum(number, last, fact, name))
        last = digest(values[-1])
    return reader(*map(framed, values), reading=reading).chain


def accounts_fact(text):
    return "AccountsPublished", {"accounts": text, "file_hash": "a" * 64}


def fx_fact(text):
    return "FxPublished", {"fx_rates": text, "file_hash": "b" * 64}


def test_the_newest_accounts_that_are_visible_hold():
    chain = chained(accounts_fact(ACCOUNTS), accounts_fact(ACCOUNTS.replace("lab", "home")))
    assert [chain.accounts(count).at("acme", 2 * 10**15).groups for count in (1, 2, 3)] == [(), ("lab",), ("home",)]
    assert chain.accounts() == chain.accounts(3)
    assert chain.facts[1].body.file_hash == "a" * 64


def test_exchange_rates_add_up_and_the_first_recorded_holds():
    chain = chained(fx_fact(FX % (1, 1)), fx_fact(FX % (2, 2)), fx_fact(FX % (1, 9)))
    days = [date(2026, 6, 1), date(2026, 6, 2)]
    assert [[chain.fx(count).rate("USD", "EUR", day) for day in days] for count in (1, 2, 4)] == [
        [None, None], [Decimal("0.91"), Decimal("0.91")], [Decimal("0.91"), Decimal("0.92")]
    ]  # fmt: skip


def test_an_unreadable_document_keeps_its_place_and_says_nothing():
    chain = chained(accounts_fact(ACCOUNTS), accounts_fact("{}}"), fx_fact("[]"))
    assert [type(fact.body) for fact in chain.facts[2:]] == [UnreadableDocument, UnreadableDocument]
    assert chain.accounts().at("acme", 2 * 10**15).groups == ("lab",)
    assert chain.fx().rates == ()


@pytest.mark.parametrize(
    ("name", "fact", "after_author"),
    [
        ("AccountsPublished", {"accounts": "{}", "file_hash": "f"}, b"\x04\x04{}\x02f"),
        ("FxPublished", {"fx_rates": "{}", "file_hash": "f"}, b"\x06\x04{}\x02f"),
    ],
)
def test_the_bytes_of_a_fact_stay_what_they_are(name, fact, after_author):
    assert datum(0, "x", fact, name) == b"\x00\x02x\x04me" + after_author


def test_a_card_that_a_later_version_wrote_stops_whoever_asks_for_cards():
    long = card(sku(base="1", thresholds="[{above: 5, price: 2}]"))
    text = long.text.replace('"leaf":', '"discounts":[{"fixed":"1"}],"leaf":')
    chain = reader(framed(FIRST), framed(published(text, 1, digest(FIRST)))).chain
    for _ in range(2):
        with pytest.raises(Fault, match="needs a newer version"):
            chain.cards()
    # Those who never price by it, such as the budgets service, go on.
    assert chain.budgets() == []
    assert chain.input_topic().partitions == 4


def test_a_fact_is_read_once_and_only_if_it_is_asked_for():
    asked = []

    def reading(read):
        def counted():
            asked.append(read)
            return read()

        return cache(counted)

    chain = chained(accounts_fact(ACCOUNTS), fx_fact(FX % (1, 1)), reading=reading)
    assert chain.input_topic().partitions == 4
    assert len(asked) == 1
    assert [chain.accounts() == chain.accounts(2), chain.cards()] == [True, []]
    assert len(asked) == 2


def test_a_fact_is_visible_from_its_time_plus_the_margin_on():
    chain = reader(framed(FIRST), framed(SECOND)).chain
    times = np.array([1099, 1100, 1101, 5000], np.int64)
    assert chain.visible_count(times, 100).tolist() == [0, 1, 2, 2]


def test_a_clock_that_steps_back_never_hides_a_fact_again():
    chain = GovernanceChain()
    assert chain.add({"sequence": 0, "previous_hash": GENESIS, "fact": TOPIC}, b"a", 2000)
    assert chain.add({"sequence": 1, "previous_hash": digest(b"a"), "fact": TOPIC}, b"b", 1000)
    assert chain.visible_count(np.array([1500, 2000], np.int64), 0).tolist() == [0, 2]


def test_a_refresh_reads_only_what_is_new_and_tells_up_to_when_it_is_complete():
    found = reader(framed(FIRST))
    assert found.view_ms == 3000
    found._reader.values.append(framed(SECOND))
    found._clock.now = 9000
    found.refresh()
    assert (found.chain.next_sequence, found.view_ms) == (2, 7000)


def test_a_log_without_the_partition_fact_is_a_fault():
    with pytest.raises(Fault, match="partitioned"):
        GovernanceChain().input_topic()
