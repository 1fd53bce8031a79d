"""Panes of one commit unit, as anomaly detection reads them: columns, whatever the topic."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.exact import Exact
from chargeline.domain.usage import Text

Ints = npt.NDArray[np.int64]

# The dimensions of a group, in the order of its codes; what a series is made of.
DIMENSIONS = (
    "billing_account_id",
    "sub_account_id",
    "team",
    "project",
    "environment",
    "feature",
    "experiment_id",
    "deployment",
    "request_model",
)
CURRENCY = "billing_currency"


@dataclass(frozen=True)
class Panes:
    """n panes of one commit unit and one topic.

    Attributes:
        texts: the dimensions by name; panes of cost also have the currency.
        window_start: int64 microseconds.
        pane_index: int64, number of each pane in its unit.
        cost: billed cost in picounits; zeros for panes of performance.
        measures: int64 (len(cells.MEASURES), n); zeros where the topic does not know.
    """

    texts: Mapping[str, Text]
    window_start: Ints
    pane_index: Ints
    cost: Exact
    measures: Ints

    def __len__(self) -> int:
        return len(self.window_start)


@dataclass(frozen=True)
class Unit:
    """The panes of one commit unit of a source partition, of both topics.

    Attributes:
        start, end: consumed offsets [start, end) of the source partition; `end` is the panes' unit_end_offset.
        watermark: microseconds, after the unit; None before the first accepted event.
        append_ms: append time of the newest record consumed, milliseconds.
        cost, performance: None: the unit has none, or they were counted before.
    """

    start: int
    end: int
    watermark: int | None
    append_ms: int
    cost: Panes | None
    performance: Panes | None
