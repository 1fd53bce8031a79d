"""Faust's consumer on a client that is a list of records: nothing is lost, whenever its flow is suspended."""

import asyncio
from typing import Any, cast

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from chargeline.anomaly.transport import App, CommittedConsumer
from chargeline.anomaly.worker import Worker

INPUT, CHANGELOG = TP("cost-rollups", 0), TP("changelog", 0)
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

    def seek(self, _partition: TP, offset: int) -> None:
        self.at = offset

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


async def read_again(fetch: int) -> list[int]:
    """Offsets handed over when the client is sent back to 0 while the first record of a fetch is taken."""
    client = Client(2, 0)
    consumer, seen = consumer_on(client, CommittedConsumer), []
    for number in range(RECORDS + 2):
        async for _, message in consumer.getmany(1.0):
            if number == fetch:
                await consumer.seek(INPUT, 0)
            seen.append(message.offset)
    return seen


@pytest.mark.parametrize("fetch", [0, 1])
def test_what_is_read_again_is_handed_over_before_what_comes_after_it(fetch):
    seen = asyncio.run(read_again(fetch))
    taken = 2 + 2 * fetch
    assert seen == [*range(2, taken + 1), *range(RECORDS)]


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


async def turns(count: int) -> None:
    """Let others have so many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


class Recovering(Client):
    """The client of a worker that has read its changelog: what is asked of it takes a while, and fetches go on."""

    turns_of_fetch = 0

    async def getmany(self, active: Any, _timeout: float) -> dict[TP, list[int]]:
        await turns(self.turns_of_fetch)
        # aiokafka 0.14, fetcher.py: "if partitions and tp not in partitions: continue"
        return await super().getmany(active, _timeout) if INPUT in active or not active else {}

    async def seek_to_committed(self) -> dict[TP, int | None]:
        await turns(3)
        found = await super().seek_to_committed()
        await turns(30)
        return found

    def assignment(self) -> set[TP]:
        return {INPUT, CHANGELOG}


async def recovered(kind: Any, committed: int | None, before: str = "", fetch: int = 0, after: int = 0) -> list[int]:
    """What a stream's queue has after Faust's own recovery, while the client goes on fetching.

    Args:
        before: "full": the queue was full when the partitions were paused, and has room again before they are resumed;
            "fetched": two records were fetched before the pause, of which the second would be handed over after all;
            "fetching": that fetch is under way.
        fetch: turns of the event loop that a fetch takes.
        after: turns of the event loop until the changelog has been read.
    """
    app, client = new_app(), Recovering(committed, 0)
    app.tables.recovery._is_changelog_tp = lambda tp: tp == CHANGELOG
    app.tables.on_actives_ready = app.tables.on_standbys_ready = lambda: None
    ended = asyncio.Event()
    app.on_rebalance_end = ended.set
    app._fetcher.maybe_start = lambda: asyncio.sleep(0)
    consumer = app._consumer = consumer_on(client, kind, app)
    consumer._is_changelog_tp = lambda tp: tp == CHANGELOG
    consumer._set_active_tps({INPUT, CHANGELOG})
    consumer.sleep = lambda _seconds: asyncio.sleep(0)
    wait = app.tables.recovery._wait

    async def wait_long(*of: Any, **options: Any) -> None:
        await wait(*of, **options)
        await turns(30)

    app.tables.recovery._wait = wait_long
    queue: Any = app.FlowControlQueue(maxsize=100, clear_on_resume=True)
    paused = asyncio.Event()

    async def put(message: Any) -> None:
        queue.force_put_nowait(message.offset)
        if not paused.is_set():
            pause()
            await ended.wait()

    def pause() -> None:
        paused.set()
        app.flow_control.resume()  # the changelog is read meanwhile
        consumer.pause_partitions({INPUT})
        if before == "full":
            consumer.on_buffer_drop(INPUT)

    consumer.callback = put
    if before == "full":
        consumer.on_buffer_full(INPUT)
    client.turns_of_fetch = fetch
    if before in ("", "full"):
        pause()
    drain = asyncio.ensure_future(consumer._drain_messages(Fetcher(client)))
    if before == "fetching":
        await turns(min(fetch, 3))
        pause()
    await paused.wait()
    await turns(after)
    consumer.pause_partitions({CHANGELOG})
    await app.tables.recovery.on_recovery_completed(0)
    await drain
    return [queue.get_nowait() for _ in range(queue.qsize())]


@pytest.mark.parametrize("committed", [None, 2])
@pytest.mark.parametrize("before", ["", "full", "fetched", "fetching"])
@pytest.mark.parametrize("fetch", [0, 1, 4, 12, 40])
def test_all_that_comes_while_a_recovery_ends_is_handed_over_in_order(committed, before, fetch):
    for after in range(0, 60, 5):
        seen = asyncio.run(recovered(CommittedConsumer, committed, before, fetch, after))
        assert seen == list(range(committed or 0, RECORDS)), after


@pytest.mark.parametrize("before", ["", "full"])
def test_faust_alone_loses_what_it_fetches_before_it_empties_its_queues(before):
    """If this fails Faust has mended it, and holding inputs back until its flow resumes is not needed any more."""
    assert asyncio.run(recovered(driver.Consumer, 2, before)) != list(range(2, RECORDS))
