"""Faust's Kafka transport, reading committed records only, and all of them.

Faust reads uncommitted records unless it runs in transactions of its own. Panes of an aborted unit would then be
counted, and counted again when the unit is committed.

While its flow is suspended (a rebalance, the recovery of tables) Faust drops what the client has fetched, and goes
back to the committed place when the flow resumes. The client goes nowhere where nothing was committed yet: what was
dropped before the first commit would never come again. Then the place to go back to is the beginning of the log.

After a recovery Faust resumes partitions, goes back to the committed places, and then resumes its flow, which empties
the queues. Three times something would be lost, because the client does not go back for it once more:

    1. handed over between the second and the third step: so inputs are resumed with the flow, last
    2. fetched before a pause and handed over after it, behind what was dropped: so it is dropped, too
    3. taken by a fetch that was under way when the client went back, also by one that had no active partition left,
       which the client takes for all of them: so it goes back between two fetches
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar

import faust
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

READ_COMMITTED = "read_committed"


class CommittedConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that owns the client."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # The client makes its fetcher from this when it starts, which is after this call.
        if not hasattr(consumer, "_isolation_level"):
            raise RuntimeError("this aiokafka names its isolation level differently: it would read uncommitted records")
        consumer._isolation_level = READ_COMMITTED
        return consumer


class CommittedConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, with that thread."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._held: set[TP] = set()  # inputs to resume with the flow
        self._stale: set[TP] = set()  # paused or moved since the last fetch began
        self._fetching = asyncio.Lock()
        self.log_begins: Mapping[TP, int] = {}  # by input: first offset that the log has

    def _new_consumer_thread(self) -> Any:
        return CommittedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Pause fetching from partitions."""
        paused = set(tps)
        super().pause_partitions(paused)
        self._held -= paused
        self._stale |= paused

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Resume fetching from changelogs now, from inputs with the flow."""
        resumed = set(tps)
        inputs = {each for each in resumed if not self._is_changelog_tp(each)}
        self._held |= inputs
        super().resume_partitions(resumed - inputs)

    def resume_flow(self) -> None:
        """Hand over what is fetched, from now on."""
        super().resume_flow()
        super().resume_partitions(self._held & self.assignment())
        self._held.clear()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's
        """Hand over what the client fetches; nothing of a partition that was paused or moved meanwhile."""
        async for tp, message in super().getmany(timeout):
            if tp not in self._stale:
                yield tp, message

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        async with self._fetching:
            self._stale.clear()
            return await super()._getmany(active_partitions, timeout)

    def on_buffer_drop(self, tp: TP) -> None:
        """Fetch again from a partition whose queue has room; not from one that is paused, as Faust would."""
        if tp in self._paused_partitions:
            self._buffered_partitions.discard(tp)
        else:
            super().on_buffer_drop(tp)

    async def seek(self, partition: TP, offset: int) -> None:
        """Go back, or on, in one partition."""
        async with self._fetching:
            await super().seek(partition, offset)
            self._stale.add(partition)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go back to what was committed; to the beginning of the log where nothing was."""
        async with self._fetching:
            offsets: Mapping[TP, int] = await super().seek_to_committed()
            # The recovery of tables seeks in changelogs by itself.
            inputs = {ensure_TP(each): offset for each, offset in offsets.items() if not self._is_changelog_tp(each)}
            found = await self.earliest_offsets(*inputs) if inputs else {}
            self.log_begins = {ensure_TP(each): offset for each, offset in found.items()}
            never = {each: self.log_begins[each] for each, offset in inputs.items() if not offset}
            if never:
                await self.seek_wait(never)
        return offsets


class CommittedTransport(driver.Transport):  # type: ignore[misc]
    """Faust's transport, with that consumer."""

    Consumer: ClassVar[Any] = CommittedConsumer


class App(faust.App):  # type: ignore[misc]
    """A Faust app on that transport."""

    def _new_transport(self) -> Any:
        return CommittedTransport(self.conf.broker_consumer, self)
