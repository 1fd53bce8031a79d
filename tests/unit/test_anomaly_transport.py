"""Faust's consumer on a client that is a list of records: nothing is lost, whenever its flow is suspended."""

import asyncio
from typing import Any, cast

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from chargeline.anomaly.transport import App, CommittedConsumer
from chargeline.anomaly.worker import Worker

INPUT = TP("cost-rollups", 0)
RECORDS = 6


class Client:
    """As the thread around aiokafka: a position, and a place that was committed, or none."""

    def __init__(self, committed: int | None, begin: int, *, has_markers: bool = False) -> None:
        self.has_markers = has_markers  # every second offset is the end of a transaction
        self.committed, self.begin, self.at = committed, begin, begin if committed is None else committed
        self.while_fetching: Any = None

    async def getmany(self, _active: Any, _timeout: float) -> dict[TP, list[int]]:
        fetched = list(range(self.at, min(self.at + 2, self.begin + RECORDS)))
        self.at += len(fetched)
        fetched = fetched[:1] if self.has_markers else fetched
        await asyncio.sleep(0)
        if self.while_fetching:
            self.while_fetching()
            self.while_fetching = None
        return {INPUT: fetched} if fetched else {}

    async def seek_to_committed(self) -> dict[TP, int | None]:
        # aiokafka 0.14, consumer.py: "if offset and offset > 0: seek"
        if self.committed:
            self.at = self.committed
        return {INPUT: self.committed}

    async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
        return dict.fromkeys(partitions, self.begin)

    async def seek_wait(self, partitions: dict[TP, int]) -> None:
        self.at = partitions[INPUT]

    def assignment(self) -> set[TP]:
        return {INPUT}

    def highwater(self, _tp: TP) -> int:
        return self.begin + RECORDS


def new_app() -> Any:
    return App("test", broker="kafka://nowhere", store="memory://", web_enabled=False)


def consumer_on(client: Client, kind: Any, app: Any = None) -> Any:
    """A consumer of Faust's on that client; a record is its offset."""

    async def callback(_message: Any) -> None: ...

    app = app or new_app()
    found = kind(app.transport, callback, on_partitions_revoked=None, on_partitions_assigned=None)
    found._thread = client
    found._set_active_tps({INPUT})
    found._to_message = lambda tp, offset: ConsumerMessage(tp.topic, 0, offset, 0.0, 0, [], None, None, 0, 0, 0, tp)
    return found


async def read(client: Client, kind: Any, suspended_at: int) -> list[int]:
    """Offsets handed over when the flow is suspended while the `suspended_at`-th fetch is under way."""
    consumer, seen = consumer_on(client, kind), []
    for fetch in range(RECORDS + 2):
        if fetch == suspended_at:
            client.while_fetching = consumer.stop_flow
        async for _, message in consumer.getmany(1.0):
            seen.append(message.offset)
        if not consumer.flow_active:
            consumer.resume_flow()
    return seen


@pytest.mark.parametrize("begin", [0, 40])
@pytest.mark.parametrize("committed", [None, 2])
@pytest.mark.parametrize("suspended_at", range(4))
def test_what_a_suspended_flow_drops_comes_again(begin, committed, suspended_at):
    first = begin if committed is None else begin + committed
    client = Client(None if committed is None else first, begin)
    seen = asyncio.run(read(client, CommittedConsumer, suspended_at))
    assert set(seen) == set(range(first, begin + RECORDS))


def test_faust_alone_loses_what_it_dropped_before_the_first_commit():
    """If this fails Faust or aiokafka has mended it, and `seek_to_committed` of ours may go."""
    seen = asyncio.run(read(Client(None, 40), driver.Consumer, 0))
    assert seen == [42, 43, 44, 45]


class Fetcher:
    """Stops when the client has nothing more."""

    def __init__(self, client: Client) -> None:
        self.client, self._stopped = client, self

    def is_set(self) -> bool:
        return self.client.at >= self.client.begin + RECORDS


async def gaps(app: Any, channel: Any) -> int:
    """What Faust remembers of the transaction markers of a log, once it was read."""
    client = Client(None, 40, has_markers=True)
    app.topics.add(channel)
    await app.topics._update_indices()
    consumer = consumer_on(client, CommittedConsumer, app)
    await consumer._drain_messages(Fetcher(client))
    assert consumer._read_offset[INPUT] == 40 + RECORDS - 2
    return sum(map(len, consumer._gap.values()))


def test_a_transaction_marker_leaves_nothing_behind_in_the_worker():
    """Each would be a range for ever, and all of them sorted anew for the next one."""

    async def of_worker() -> int:
        app, unused = new_app(), cast("Any", None)
        Worker(app, 1, unused, unused, unused, clock=unused, notes=unused, metrics=unused, schema_id=1, failed=unused)
        (panes,) = app.agents.values()
        return await gaps(app, panes.channel)

    async def of_usual_topic() -> int:
        app = new_app()
        return await gaps(app, app.topic(INPUT.topic))

    assert asyncio.run(of_worker()) == 0
    assert asyncio.run(of_usual_topic()) == RECORDS // 2 - 1
