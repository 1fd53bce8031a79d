"""Ratios that should hold still: cost of a request, share of errors, of cached tokens, of retries, of unrated events.

Of every series the usual ratio and its usual deviation are kept, weighted by how much was seen, in columns. A window
is odd if its ratio lies far from the usual one by both measures: in units of the deviation, and as a part of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.cells import CACHE_READ, ERRORS, EVENTS, INPUT, MEASURED, OUTPUT, RETRIES, UNRATED

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_WEIGHT = 0.05  # of one window in the usual ratio
_SURPRISED_WEIGHT = 0.005  # of a window that is odd: it becomes the usual one after a day, not after an hour
_APART_LEAST = 8.0  # deviations from which a window is odd
_FLOOR = 0.02  # of the usual ratio: what varies less is constant


@dataclass(frozen=True)
class Ratio:
    """One ratio.

    Attributes:
        kind: of the anomaly that it tells of.
        is_down: a fall is the anomaly, not a rise.
        part: change, as a part of the usual ratio, from which it counts.
        least: change from which it counts, in the unit of the ratio.
        denominator_least: below it a window says nothing.
        is_count: the numerator counts some of the events: a few of a few are chance.
    """

    kind: str
    is_down: bool
    part: float
    least: float
    denominator_least: float
    is_count: bool = False


RATIOS = (
    Ratio("REQUEST_COST", is_down=False, part=0.3, least=0.0, denominator_least=20),
    Ratio("TOKEN_COST", is_down=False, part=0.3, least=0.0, denominator_least=20),
    Ratio("ERROR_COST", is_down=False, part=1.0, least=0.05, denominator_least=20, is_count=True),
    Ratio("CACHE_COLLAPSE", is_down=True, part=0.4, least=0.1, denominator_least=10_000),
    Ratio("RETRY_STORM", is_down=False, part=1.0, least=0.1, denominator_least=20, is_count=True),
    Ratio("UNRATED", is_down=False, part=1.0, least=0.02, denominator_least=20, is_count=True),
)
COUNT = len(RATIOS)
TOKENS = 1000.0  # the cost of output is that of so many tokens


def fractions(spend: Doubles, measures: Doubles) -> tuple[Doubles, Doubles]:
    """Numerator and denominator of every ratio.

    Args:
        spend: of m series, in units of their currencies.
        measures: (len(MEASURES), m).

    Returns:
        Two arrays (COUNT, m), in the order of `RATIOS`.
    """
    events = measures[EVENTS]
    fine = events - measures[ERRORS]
    numerators = np.stack([spend, spend, measures[ERRORS], measures[CACHE_READ], measures[RETRIES], measures[UNRATED]])
    denominators = np.stack([fine, measures[OUTPUT] / TOKENS, events, measures[INPUT], measures[MEASURED], events])
    return numerators, denominators


@dataclass(frozen=True)
class Odd:
    """Windows with an odd ratio: `ratio` its place in RATIOS, `row` the series' place in the call."""

    ratio: Ints
    row: Ints
    value: Doubles
    usual: Doubles
    apart: Doubles  # deviations


class RatioDetector:
    """Series are numbered from 0; state is one column a series and ratio.

    Args:
        learning_rows: windows that say something, of a series and ratio, before one can be odd.
    """

    def __init__(self, learning_rows: int) -> None:
        self.learning_rows = learning_rows
        self.state = {
            "mean": np.zeros((COUNT, 0), np.float32),
            "deviation": np.zeros((COUNT, 0), np.float32),
            "rows": np.zeros((COUNT, 0), np.int32),
        }

    def add_series(self, count: int) -> None:
        """Make room for `count` more series, with nothing learned."""
        for name, column in self.state.items():
            self.state[name] = np.concatenate([column, np.zeros((COUNT, count), column.dtype)], axis=1)

    def reset(self, series: Ints) -> None:
        """Forget what was learned of these."""
        for column in self.state.values():
            column[:, series] = 0

    def usual(self, ratio: int, series: Ints) -> Doubles:
        """The usual ratio of these series."""
        return self.state["mean"][ratio, series].astype(np.float64)

    def step(self, series: Ints, numerators: Doubles, denominators: Doubles) -> Odd:
        """Judge and learn one window of each of m series. What says nothing changes nothing."""
        least = np.array([each.denominator_least for each in RATIOS])[:, np.newaxis]
        says = denominators >= least
        value = np.divide(numerators, denominators, out=np.zeros_like(numerators), where=says)
        mean, deviation = self.state["mean"][:, series], self.state["deviation"][:, series]
        rows = self.state["rows"][:, series]
        down = np.array([[-1.0 if each.is_down else 1.0] for each in RATIOS])
        change = (value - mean) * down
        unit = np.maximum(deviation, np.abs(mean) * _FLOOR) + 1e-12
        # What the count of rare events scatters by, at the usual share and one more: its root, as Poisson's law says.
        counted = np.array([[float(each.is_count)] for each in RATIOS]) * says
        events = np.maximum(denominators, 1.0)
        unit = np.sqrt(unit * unit + counted * (np.abs(mean) + 1.0 / events) / events)
        part = np.array([[each.part] for each in RATIOS]) * np.abs(mean)
        floor = np.array([[each.least] for each in RATIOS])
        is_odd = says & (rows >= self.learning_rows) & (change >= _APART_LEAST * unit)
        is_odd &= (change >= part) & (change >= floor)
        self._learn(series, says, value, is_odd)
        ratio, row = np.nonzero(is_odd)
        return Odd(ratio, row, value[ratio, row], mean[ratio, row].astype(np.float64), (change / unit)[ratio, row])

    def _learn(self, series: Ints, says: Bools, value: Doubles, is_odd: Bools) -> None:
        mean, deviation = self.state["mean"][:, series], self.state["deviation"][:, series]
        rows = self.state["rows"][:, series]
        weight = np.where(is_odd, _SURPRISED_WEIGHT, np.maximum(_WEIGHT, 1.0 / (rows + 1.0)))
        apart = value - mean
        self.state["mean"][:, series] = np.where(says, mean + weight * apart, mean)
        # The first window has no usual ratio yet: its distance from nothing is no deviation.
        spread = np.where(rows > 0, np.abs(apart), 0.0)
        self.state["deviation"][:, series] = np.where(says, deviation + weight * (spread - deviation), deviation)
        self.state["rows"][:, series] = rows + says
