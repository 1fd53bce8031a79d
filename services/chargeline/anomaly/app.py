"""Builds the anomaly service from its settings; the only place of this service that makes adapters."""

import asyncio
import logging
import tempfile
import threading
from dataclasses import replace

import structlog

from chargeline.adapters.anomaly_notes import NotesReader
from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.anomaly.changelog import ChangelogTable
from chargeline.anomaly.metrics import AnomalyMetrics
from chargeline.anomaly.processor import COST
from chargeline.anomaly.settings import AnomalySettings
from chargeline.anomaly.transport import App
from chargeline.anomaly.worker import Pace, Worker
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.errors import Fault
from chargeline.runtime.telemetry import Telemetry
from chargeline.wire._generated import COST_ANOMALY_SCHEMA

log = structlog.get_logger()
_SHIPPED_WINDOW_S = 300  # the shipped parameters count rows of windows of this length
_STOP_S = 10.0


class Anomaly:
    """The event loop in a thread of its own; `step` is the main thread's."""

    def __init__(self, settings: AnomalySettings, telemetry: Telemetry) -> None:
        for library in ("faust", "aiokafka", "mode", "httpx"):
            logging.getLogger(library).setLevel(logging.WARNING)
        self._settings, self._telemetry = settings, telemetry
        self._clock = SystemClock()
        self._asker = KafkaLogReader(settings.kafka)
        self._notes = NotesReader(KafkaLogReader(settings.kafka))
        self._schema_id = SchemaRegistry(settings.registry).register("cost-anomalies-value", COST_ANOMALY_SCHEMA)
        self._metrics = AnomalyMetrics(telemetry)
        self._failed: list[BaseException] = []
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._notes.refresh()
        telemetry.watch({"kafka": self._look, "notes": self._notes.refresh})
        self._thread = threading.Thread(target=self._run, name="faust")
        self._thread.start()
        self._wake = threading.Event()

    def step(self) -> bool:
        """Wait a little; raise what the event loop raised."""
        self._wake.wait(0.2)
        if self._failed:
            raise self._failed[0]
        if not self._thread.is_alive():
            raise Fault("the event loop has ended")
        return True

    def close(self) -> None:
        """Store the state and leave the group."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(_STOP_S)

    def _look(self) -> None:
        self._asker.partitions(COST)
        self._telemetry.lag.measure(lambda topic, each: self._asker.bounds(topic, each)[1], self._clock.now_ms)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self._failed.append(error)

    async def _main(self) -> None:
        settings = self._settings
        with tempfile.TemporaryDirectory(prefix="chargeline-anomaly-") as folder:
            app = faust_app(settings, folder)
            worker = Worker(
                app,
                self._asker.partitions(COST),
                rules_of(settings),
                parameters_of(settings),
                Pace(settings.anomaly_idle_s, settings.anomaly_snapshot_s, settings.anomaly_bases),
                clock=self._clock,
                notes=self._notes.notes,
                metrics=self._metrics,
                schema_id=self._schema_id,
                failed=self._failed.append,
            )
            app.finalize()
            await app.start()
            await self._ending.wait()
            if not self._failed:
                await worker.store_all()
            await app.stop()


def faust_app(settings: AnomalySettings, folder: str) -> App:
    """The Faust app; `folder` is for its files, of which it writes none that matter."""
    session_s = settings.anomaly_session_timeout_ms / 1000
    return App(
        settings.anomaly_group,
        broker=[f"kafka://{address.strip()}" for address in settings.kafka.split(",")],
        store="memory://",
        Table=ChangelogTable,
        # Faust would keep the states of other workers' partitions in memory, to have them at hand.
        table_standby_replicas=0,
        datadir=folder,
        web_enabled=False,
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_replication_factor=settings.anomaly_replication,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=session_s,
        broker_heartbeat_interval=max(0.5, session_s / 5),
        # A slice of panes may be nearly as large as a default broker's limit.
        consumer_max_fetch_size=4 * 1024 * 1024,
        stream_buffer_maxsize=64,
        stream_recovery_delay=0.0,
        # Offsets are committed with the state, every few minutes; that is no livelock.
        broker_commit_livelock_soft_timeout=settings.anomaly_snapshot_s * 10 + 3600,
        stream_processing_timeout=3600,
    )


def rules_of(settings: AnomalySettings) -> Rules:
    """The rules that the settings name."""
    return Rules(
        window_us=settings.anomaly_window_s * 1_000_000,
        bound_us=settings.watermark_bound_s * 1_000_000,
        sets=settings.sets(),
        series_max=settings.anomaly_series_max,
        full_max=settings.anomaly_full_max,
        minimum_impact=settings.anomaly_minimum_impact,
        minimum_impact_by_team=settings.anomaly_minimum_impact_by_team,
        runaway_factor=settings.anomaly_runaway_factor,
        young_factor=settings.anomaly_young_factor,
    )


def parameters_of(settings: AnomalySettings) -> Parameters:
    """The shipped parameters; rows that stand for a time (to learn, to be quiet) are those of our windows."""
    shipped = shipped_parameters("cost")
    times = _SHIPPED_WINDOW_S / settings.anomaly_window_s
    return replace(
        shipped,
        learning_rows=max(1, min(100_000, round(shipped.learning_rows * times))),
        cool_down_rows=max(1, min(100_000, round(shipped.cool_down_rows * times))),
    )


def build(settings: AnomalySettings, telemetry: Telemetry) -> Anomaly:
    """The service, connected and running."""
    if settings.anomaly_window_s % settings.window_s:
        raise Fault(
            f"CHARGELINE_ANOMALY_WINDOW_S {settings.anomaly_window_s} is no multiple of CHARGELINE_WINDOW_S "
            f"{settings.window_s}: a pane would belong to two windows"
        )
    return Anomaly(settings, telemetry)
