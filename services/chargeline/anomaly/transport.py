"""Faust's Kafka transport, reading committed records only.

Faust reads uncommitted ones unless it runs in transactions of its own. Panes of an aborted unit would then be counted,
and counted again when the unit is committed.
"""

from typing import Any, ClassVar

import faust
from faust.transport.drivers import aiokafka as driver

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


class CommittedTransport(driver.Transport):  # type: ignore[misc]
    """Faust's transport, with that consumer."""

    Consumer: ClassVar[Any] = CommittedConsumer


class App(faust.App):  # type: ignore[misc]
    """A Faust app on that transport."""

    def _new_transport(self) -> Any:
        return CommittedTransport(self.conf.broker_consumer, self)
