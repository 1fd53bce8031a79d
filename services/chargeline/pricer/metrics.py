"""The observer of a running pricer: metrics, health, and the progress of a recovery."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pyarrow.compute as pc
import structlog

from chargeline.ports import Clock
from chargeline.pricer.aggregate import Computed
from chargeline.pricer.intake import INPUT
from chargeline.pricer.observer import Observer, Phase, Step
from chargeline.pricer.recovery import PartitionState
from chargeline.runtime.metrics import Metric
from chargeline.runtime.progress import Progress
from chargeline.runtime.telemetry import Telemetry
from chargeline.wire.units import UnitHeader

_STATE = (Metric.WATERMARK, Metric.IDENTITIES, Metric.IDENTITIES_BYTES, Metric.LIVE_WINDOWS, Metric.UNSAVED_UNITS)
log = structlog.get_logger()


class PricerMetrics(Observer):
    """Counts what it is told of."""

    def __init__(self, telemetry: Telemetry, clock: Clock, now: Callable[[], float] = time.monotonic) -> None:
        self._telemetry = telemetry
        self._metrics, self._health, self._lag = telemetry.metrics, telemetry.health, telemetry.lag
        self._clock = clock
        self._now = now
        self._mark = threading.local()
        self._progress: dict[tuple[int, Phase], Progress] = {}
        self._health.wait_for("assignment", "no partition was assigned yet")

    def began(self) -> None:
        self._mark.at = self._now()

    def did(self, step: Step) -> None:
        before, self._mark.at = self._mark.at, self._now()
        self._metrics.observe(Metric.STEP_SECONDS, self._mark.at - before, step=step)

    def idle(self) -> None:
        self._lag.caught_up(INPUT, self._clock.now_ms())

    def committed(self, header: UnitHeader, computed: Computed, state: PartitionState, unsaved: int) -> None:
        self._metrics.add(Metric.UNITS)
        for outcome, count in header.outcomes.items():
            self._metrics.add(Metric.EVENTS, count, outcome=outcome)
        for code, count in Counter(letter.code for letter in computed.dead_letters).items():
            self._metrics.add(Metric.DEAD_LETTERS, count, code=code)
        if computed.cost_rollups is not None:
            for pane in pc.value_counts(computed.cost_rollups["pane"].cast("string")).to_pylist():
                self._metrics.add(Metric.PANES, pane["counts"], pane=pane["values"])
        self._metrics.put(Metric.UNSAVED_UNITS, unsaved, partition=header.partition)
        self._holds(state)

    def aborted(self) -> None:
        self._metrics.add(Metric.ABORTED)

    def failed(self, error: Exception) -> None:
        self._telemetry.failed(error)

    def assigned(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._health.wait_for(f"partition {partition}", "assigned; its state is not recovered yet")
        self._health.go("assignment")

    def revoked(self, partitions: list[int]) -> None:
        self._health.wait_for("assignment", "partitions are being assigned anew")
        for partition in partitions:
            self._health.go(f"partition {partition}")
            self._lag.drop(INPUT, partition)
            for metric in _STATE:
                self._metrics.forget(metric, partition=partition)

    def recovering(self, partition: int, phase: Phase, done: int, total: int) -> None:
        self._health.beat()
        progress = self._progress.setdefault((partition, phase), Progress(total, self._now))
        if progress.is_due(done):
            self._health.wait_for(f"partition {partition}", f"{phase}: {progress}")
            log.info(
                "recovery_progress", partition=partition, phase=phase, done=done, total=total, eta_s=progress.eta_s
            )

    def ready(self, state: PartitionState) -> None:
        self._progress = {key: each for key, each in self._progress.items() if key[0] != state.partition}
        self._health.go(f"partition {state.partition}")
        self._holds(state)
        log.info("partition_ready", partition=state.partition, next_offset=state.next_offset,
                 identities=len(state.identities))  # fmt: skip

    def _holds(self, state: PartitionState) -> None:
        partition = state.partition
        if state.watermark is not None:
            self._metrics.put(Metric.WATERMARK, state.watermark / 1e6, partition=partition)
        self._metrics.put(Metric.IDENTITIES, len(state.identities), partition=partition)
        self._metrics.put(Metric.IDENTITIES_BYTES, state.identities.nbytes, partition=partition)
        self._metrics.put(Metric.LIVE_WINDOWS, len(state.live.blobs), partition=partition)
        self._lag.at(INPUT, partition, state.next_offset, state.last_append_time or None)
