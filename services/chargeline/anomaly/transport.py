"""Faust's Kafka transport, reading committed records only, and all of them.

Faust reads uncommitted records unless it runs in transactions of its own. Panes of an aborted unit would then be
counted, and counted again when the unit is committed.

While its flow is suspended (a rebalance, the recovery of tables) Faust drops what the client has fetched, and goes
back to the committed place when the flow resumes. The client goes nowhere where nothing was committed yet: what was
dropped before the first commit would never come again. Then the place to go back to is the beginning of the log.
"""

from collections.abc import Mapping
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

    def _new_consumer_thread(self) -> Any:
        return CommittedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go back to what was committed; to the beginning of the log where nothing was."""
        offsets: Mapping[TP, int] = await super().seek_to_committed()
        never = [ensure_TP(each) for each, offset in offsets.items() if not offset]
        # The recovery of tables seeks in changelogs by itself.
        inputs = [each for each in never if not self._is_changelog_tp(each)]
        if inputs:
            first = await self.earliest_offsets(*inputs)
            await self.seek_wait({ensure_TP(each): offset for each, offset in first.items()})
        return offsets


class CommittedTransport(driver.Transport):  # type: ignore[misc]
    """Faust's transport, with that consumer."""

    Consumer: ClassVar[Any] = CommittedConsumer


class App(faust.App):  # type: ignore[misc]
    """A Faust app on that transport."""

    def _new_transport(self) -> Any:
        return CommittedTransport(self.conf.broker_consumer, self)
