"""A service that stops itself (SIGSTOP) once, at a named point: python stopping.py pricer|sink POINT.

The process stands still in the middle of a unit, as after a long pause of its machine, until somebody wakes it.
"""

import os
import signal
import sys
from typing import Any

import chargeline.pricer.app as pricer_app
import chargeline.pricer.processor as processor
import chargeline.sink.app as sink_app
from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka_producer import KafkaTransactionalProducer
from chargeline.pricer.__main__ import main as pricer
from chargeline.sink.__main__ import main as sink

_done: list[str] = []


def stop_at(point):
    if sys.argv[2] == point and not _done:
        _done.append(point)
        os.kill(os.getpid(), signal.SIGSTOP)


class Producer(KafkaTransactionalProducer):
    def send_offsets(self, *arguments):
        super().send_offsets(*arguments)
        stop_at("send_offsets")

    def commit(self):
        written = super().commit()
        stop_at("committed")
        return written


class Warehouse(ClickHouse):
    def insert(self, table, rows, token):
        if table == "charges":
            stop_at("insert")
        super().insert(table, rows, token)
        if table == "charges":
            stop_at("inserted")


def book(*arguments, **named):
    stop_at("book")
    return _book(*arguments, **named)


def patch(module: Any, name: str, value: Any) -> None:
    setattr(module, name, value)


_book = getattr(processor, "book")  # noqa: B009 - the name as that module uses it
patch(processor, "book", book)
patch(pricer_app, "KafkaTransactionalProducer", Producer)
patch(sink_app, "ClickHouse", Warehouse)

if __name__ == "__main__":
    raise SystemExit({"pricer": pricer, "sink": sink}[sys.argv[1]]([]))
