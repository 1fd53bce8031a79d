"""The state of one source partition as bytes, and back.

It has two kinds of parts: the core (series, groups, open windows, incidents, the light detectors), and one base for
each full detector, which is large and seldom written. The core holds the rows that were put into a full detector since
its base, so core and bases together are the state, whenever a base was written.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly import stored
from chargeline.domain.anomaly.cells import Cells
from chargeline.domain.anomaly.contribution import Amount
from chargeline.domain.anomaly.groups import Texts
from chargeline.domain.anomaly.incidents import Incident
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.scoring import full_from
from chargeline.domain.anomaly.series import SeriesName
from chargeline.domain.anomaly.state import packing, unpacked
from chargeline.domain.anomaly.watch import Counts, Watch
from chargeline.domain.columns.exact import Exact
from chargeline.domain.errors import StateIncomplete

Columns = dict[str, npt.NDArray[Any]]
BaseKey = tuple[int, int]  # number of the series, which of its two places


def due_bases(watch: Watch, count: int) -> Iterator[tuple[BaseKey, bytes]]:
    """Write the bases of the full detectors with the most rows since their last one, and of all that must be.

    A base never overwrites the one that the stored core knows: it takes the other place of its series.
    """
    full = watch.scorer.full
    stale = [number for number, each in full.items() if each.is_stale]
    longest = sorted((each for each in full if full[each].rows), key=lambda each: (-len(full[each].rows), each))
    for number in dict.fromkeys([*stale, *longest[:count]]):
        each = full[number]
        each.version += 1
        each.rows, each.is_stale = [], False
        state = stored.to_bytes(each.detector)
        yield (number, each.version % 2), each.version.to_bytes(8, "little") + state


def core_bytes(watch: Watch) -> bytes:
    """Everything but the bases."""
    return b"".join(core_pieces(watch))


def core_pieces(watch: Watch) -> Iterator[bytes]:
    """The same piece by piece; the watch must not change between two of them."""
    watch.reference.settle()
    columns: Columns = dict(watch.scorer.columns())
    size = watch.groups.size
    columns |= {"groups/codes": watch.groups.codes[:, :size], "groups/unit": watch.groups.unit[:, :size]}
    columns["groups/last_window"] = watch.groups.last_window[:size]
    for name in ("activity", "seen", "parent", "place"):
        columns[f"series/{name}"] = getattr(watch.table, name)
    columns["series/of_group"] = watch.table.of_group[:, :size]
    full = watch.scorer.full
    columns["full/number"] = np.array(list(full), np.int64)
    columns["full/version"] = np.array([each.version for each in full.values()], np.int64)
    columns["full/rows"] = np.array([len(each.rows) for each in full.values()], np.int64)
    columns["full/values"] = np.array([row for each in full.values() for row in each.rows], np.float64).reshape(-1, 2)
    document: dict[str, Any] = {"large": {}, "windows": watch.windows.starts()}
    for start in document["windows"]:
        _put(f"window/{start}", watch.windows.of(start), columns, document)
        columns[f"window/{start}/early"] = watch.early.sums[start]
    _put("reference/full", watch.reference.full, columns, document)
    _put("reference/part", watch.reference.part, columns, document)
    document |= {
        "reference": [watch.reference.full_windows, watch.reference.part_windows],
        "texts": {name: texts.values for name, texts in watch.groups.texts.items()},
        "series": watch.table.stored(),
        "scored": watch.scorer.windows,
        "times": watch.scorer.times,
        "window_us": watch.rules.window_us,
        "incidents": [asdict(each) for each in watch.incidents],
        "counts": asdict(watch.counts),
        "values": {name: getattr(watch, name) for name in _VALUES},
    }
    yield from packing(document, columns)


_VALUES = (
    "counted",
    "watermark",
    "complete",
    "dead",
    "dead_counted",
    "dead_usual",
    "arrived",
    "arrived_before",
    "last_cells",
)


def restored(
    core: bytes, base: Callable[[BaseKey], bytes | None], partition: int, rules: Rules, parameters: Parameters
) -> Watch:
    """The watch whose state this is.

    Args:
        base: finds a base by its key; None: there is none.

    Raises:
        StateIncomplete: damaged, of another layout, or of other windows or sets of dimensions.
    """
    document, columns = unpacked(core)
    try:
        return _restored(document, columns, base, Watch(partition, rules, parameters))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StateIncomplete(
            f"state of the anomaly detection: of another version ({type(error).__name__}: {error}); "
            "what is usual has to be learned again"
        ) from error


def _restored(
    document: dict[str, Any], columns: Columns, base: Callable[[BaseKey], bytes | None], watch: Watch
) -> Watch:
    rules = watch.rules
    sets = [tuple(each) for each in document["series"]["sets"]]
    if document["window_us"] != rules.window_us or sets != list(watch.table.sets):
        raise StateIncomplete("state of the anomaly detection: of other windows or other sets of dimensions")
    for name, value in _values(document["values"]).items():
        setattr(watch, name, value)
    watch.counts = Counts(**document["counts"])
    groups = watch.groups
    groups.size = columns["groups/codes"].shape[1]
    groups.codes, groups.unit = columns["groups/codes"], columns["groups/unit"]
    groups.last_window = columns["groups/last_window"]
    groups.texts = {name: Texts(values) for name, values in document["texts"].items()}
    groups.index()
    watch.table.restore(document["series"], {name: columns[f"series/{name}"] for name in _SERIES})
    watch.scorer.restore(columns, document["scored"], document.get("times", []))
    for start in document["windows"]:
        cells = _cells(f"window/{start}", columns, document)
        watch.windows.add(start, cells)
        early = columns.get(f"window/{start}/early")  # states of before it was stored have none
        watch.early.sums[start] = watch.table.totals(cells.group, cells.spend()) if early is None else early
    reference = watch.reference
    reference.full, reference.part = (_cells(f"reference/{part}", columns, document) for part in ("full", "part"))
    reference.full_windows, reference.part_windows = document["reference"]
    watch.incidents = [_incident(each) for each in document["incidents"]]
    _restore_full(watch, columns, base)
    return watch


def _values(found: dict[str, Any]) -> dict[str, Any]:
    """The values of `_VALUES`, of this layout or of an older one."""
    if "arrived" not in found:
        # Before it was stored what came beside the dead letters: without it their share is not known.
        found = {**found, "arrived": 0, "arrived_before": 0, "dead": 0}
    return {name: found[name] for name in _VALUES}


_SERIES = ("activity", "seen", "parent", "place", "of_group")


def _restore_full(watch: Watch, columns: Columns, base: Callable[[BaseKey], bytes | None]) -> None:
    at = 0
    numbers, versions = columns["full/number"].tolist(), columns["full/version"].tolist()
    for number, version, count in zip(numbers, versions, columns["full/rows"].tolist(), strict=True):
        rows = [(float(time_s), float(value)) for time_s, value in columns["full/values"][at : at + count]]
        at += count
        state = b""
        if version:
            found = base((number, version % 2)) or b""
            if int.from_bytes(found[:8], "little") != version:
                raise StateIncomplete(f"state of the anomaly detection: base {version} of series {number} is missing")
            state = found[8:]
        watch.scorer.full[number] = full_from(state, rows, watch.parameters)
        watch.scorer.full[number].version = version


def _put(name: str, cells: Cells, columns: Columns, document: dict[str, Any]) -> None:
    columns |= {f"{name}/group": cells.group, f"{name}/cost": cells.cost.values, f"{name}/measures": cells.measures}
    if cells.cost.large:
        document["large"][name] = list(cells.cost.large.items())


def _cells(name: str, columns: Columns, document: dict[str, Any]) -> Cells:
    large = {int(row): int(number) for row, number in document["large"].get(name, ())}
    return Cells(columns[f"{name}/group"], Exact(columns[f"{name}/cost"], large), columns[f"{name}/measures"])


def _incident(values: dict[str, Any]) -> Incident:
    scope = values["scope"]
    pairs = tuple((name, value) for name, value in scope["dimensions"])
    known = dict(values)
    known["scope"] = SeriesName(scope["billing_account_id"], scope["billing_currency"], pairs)
    for side in ("causes", "reference"):
        known[side] = {dimension: _amounts(amounts.items()) for dimension, amounts in values[side].items()}
    known["samples"] = [(start, end) for start, end in values["samples"]]
    return Incident(**known)


def _amounts(pairs: Iterable[tuple[str, dict[str, int]]]) -> dict[str, Amount]:
    return {value: Amount(**amount) for value, amount in pairs}
