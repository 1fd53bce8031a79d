"""Units of panes for tests of the anomaly detection: plain rows in, columns out."""

import numpy as np
import pyarrow as pa

from chargeline.domain.anomaly.cells import MEASURES
from chargeline.domain.anomaly.panes import CURRENCY, DIMENSIONS, Panes, Unit
from chargeline.domain.columns.exact import Exact
from chargeline.domain.usage import Text

MINUTE = 60_000_000
START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
PICO = 10**12


def text(values):
    encoded = pa.array(values, pa.string()).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Text(codes, encoded.dictionary)


def panes(rows):
    """Panes of rows (dicts): dimensions, `window` (microseconds), `picos` and measures by name."""
    if not rows:
        return None
    usual = {"billing_account_id": "a", "request_model": "m", CURRENCY: "USD"}
    full = [usual | row for row in rows]
    small = np.array([row.get("picos", 0) if abs(row.get("picos", 0)) < 1 << 62 else 0 for row in full], np.int64)
    large = {at: row["picos"] for at, row in enumerate(full) if abs(row.get("picos", 0)) >= 1 << 62}
    return Panes(
        texts={name: text([row.get(name) for row in full]) for name in (*DIMENSIONS, CURRENCY)},
        window_start=np.array([row["window"] for row in full], np.int64),
        pane_index=np.arange(len(full)),
        cost=Exact(small, large),
        measures=np.array([[row.get(name, 0) for row in full] for name in MEASURES], np.int64),
    )


def unit(number, rows, watermark, size=100):
    """Commit unit `number` of so many records each, all panes on the cost side."""
    return Unit(number * size, (number + 1) * size, watermark, watermark // 1000, panes(rows), None)


def history(windows, rows_of, width=MINUTE, start=START, first=0):
    """A unit for each window: `rows_of(window number)` gives its rows; every event has come, the watermark trails by a minute."""
    units = []
    for number in range(windows):
        at = start + (first + number) * width
        rows = [{"window": at} | row for row in rows_of(first + number)]
        units.append(unit(first + number, rows, at + width - MINUTE))
    return units
