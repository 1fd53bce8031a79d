"""Usage events as columns, and the rules that refuse one. One row an event; the rules never look at two rows."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# In order of precedence (spec/rating.md 14): a row keeps the first that holds. Stored and shown: never renumbered.
CODES = (
    "TOO_LARGE",
    "MALFORMED",
    "UNKNOWN_SCHEMA",
    "MISSING_FIELD",
    "BAD_NUMBER",
    "BAD_TIME",
    "FUTURE_EVENT",
    "MISPLACED",
    "UNSUPPORTED",
    "NEGATIVE_QUANTITY",
    "INTERVAL_REVERSED",
    "BAD_SAMPLE_WEIGHT",
    "PRICE_NOT_ALLOWED",
    "AMOUNT_OVERFLOW",
)
GOOD = -1

REQUIRED = ("event_id", "source", "billing_account_id", "provider_name", "request_model", "operation_name")
INPUT_LEAVES = (
    "input",
    "cache_read_input",
    "cache_write_input",
    "cache_write_1h_input",
    "input_audio",
    "input_image",
    "cache_read_audio",
)
OUTPUT_LEAVES = ("output", "reasoning_output", "output_audio", "output_image")
LEAVES = INPUT_LEAVES + OUTPUT_LEAVES
COUNTED = ("requests", "gpu_ms", "cpu_ms", "memory_mib_s", "storage_mib_s", "io_bytes")
KNOWN_ENUMS = {
    "event_kind": ("USAGE",),
    "token_convention": ("DISJOINT", "INCLUSIVE"),
    "quantity_source": ("MEASURED", "ESTIMATED"),
    "status": ("OK", "ERROR", "CANCELLED", "PARTIAL"),
}
EVENT_KINDS = ("USAGE", "AMEND", "CANCEL", "RERATE", "PERIOD_CLOSE")
NAMING_KINDS = ("AMEND", "CANCEL", "RERATE")  # they name another event in `amends_event_id`
TEXT_BYTES_MAX = 1024
MESSAGE_BYTES_MAX = 8_388_608

_MICROS = 1_000_000
YEAR_2000 = 946_684_800 * _MICROS
YEAR_2101 = 4_133_980_800 * _MICROS


@dataclass(frozen=True)
class Text:
    """A column of texts as codes into its distinct values; -1: null. `values[codes[i]]` is row i."""

    codes: npt.NDArray[np.int32]
    values: pa.StringArray

    def take(self, rows: Int64Array) -> "Text":
        return Text(self.codes[rows], self.values)

    def compact(self) -> "Text":
        """The same with only the values that occur."""
        used = np.unique(self.codes)
        used = used[used >= 0]
        place = np.full(len(self.values) + 1, -1, np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        return Text(place[self.codes], self.values.take(pa.array(used)))

    def at(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code < 0 else str(self.values[code].as_py())


@dataclass(frozen=True)
class MapEntries:
    """The entries of a map column, flat, sorted by row: key texts and values (texts or int64) of each row."""

    rows: Int64Array
    keys: Text
    values: Int64Array | pa.StringArray

    def take(self, rows: Int64Array, length: int) -> "MapEntries":
        """Keep `rows` (ascending) of a column of `length` rows and number them anew."""
        position = np.full(length, -1, np.int64)
        position[rows] = np.arange(len(rows))
        at = position[self.rows]
        kept = np.flatnonzero(at >= 0)
        values = self.values[kept] if isinstance(self.values, np.ndarray) else self.values.take(pa.array(kept))
        return MapEntries(at[kept], self.keys.take(kept), values)


@dataclass(frozen=True)
class UsageColumns:
    """n usage events under the names of schemas/events/usage_event.

    A column whose rows all hold the default is left out, whatever the default is.

    Attributes:
        texts: repeating strings and enums, as codes.
        plain: strings that hardly repeat (event_id, request_id, trace_id …), as Arrow strings.
        longs: int64; times in microseconds.
        nullable: int64 or float64 and which rows have a value.
        maps: labels and tuning (texts), extra_quantities (int64).
    """

    length: int
    texts: dict[str, Text]
    plain: dict[str, pa.StringArray]
    longs: dict[str, Int64Array]
    nullable: dict[str, tuple[npt.NDArray[np.float64] | Int64Array, BoolArray]]
    maps: dict[str, MapEntries]

    def long(self, name: str, default: int = 0) -> Int64Array:
        column = self.longs.get(name)
        return np.full(self.length, default, np.int64) if column is None else column

    def is_symbol(self, name: str, symbol: str) -> BoolArray | None:
        """Which rows hold the enum symbol; None: the column holds its default everywhere."""
        column = self.texts.get(name)
        if column is None:
            return None
        wanted = np.array([value == symbol for value in column.values.to_pylist()] + [False])
        return wanted[column.codes]

    def take(self, rows: Int64Array) -> "UsageColumns":
        """The given rows (ascending), in this order."""
        if len(rows) == self.length:
            return self
        arrow_rows = pa.array(rows)
        return UsageColumns(
            len(rows),
            {name: column.take(rows) for name, column in self.texts.items()},
            {name: column.take(arrow_rows) for name, column in self.plain.items()},
            {name: column[rows] for name, column in self.longs.items()},
            {name: (values[rows], valid[rows]) for name, (values, valid) in self.nullable.items()},
            {name: column.take(rows, self.length) for name, column in self.maps.items()},
        )

    def compact(self) -> "UsageColumns":
        """The same with only the texts that occur: a few rows of many must not pay for the texts of all."""
        texts = {name: column.compact() for name, column in self.texts.items()}
        maps = {name: replace(column, keys=column.keys.compact()) for name, column in self.maps.items()}
        return replace(self, texts=texts, maps=maps)


class Refusals:
    """The dead letter code of each row; `mark` keeps the code that a row already has."""

    def __init__(self, length: int) -> None:
        self.codes = np.full(length, GOOD, np.int64)

    def mark(self, code: str, rows: BoolArray) -> None:
        self.codes[rows & (self.codes == GOOD)] = CODES.index(code)

    def good(self) -> BoolArray:
        return self.codes == GOOD


def no_usage(usage: UsageColumns) -> Int64Array:
    """The rows that are another kind of record than usage: corrections and control records."""
    is_usage = usage.is_symbol("event_kind", "USAGE")
    return np.zeros(0, np.int64) if is_usage is None else np.flatnonzero(~is_usage)


def refuse(
    usage: UsageColumns,
    refusals: Refusals,
    *,
    append_times: Int64Array,
    future_bound_ms: int,
    misplaced: BoolArray,
    control_sources: frozenset[str] | None = None,
) -> None:
    """Mark the decoded rows that cannot be billed, in the order of spec/rating.md 14 from MISSING_FIELD on.

    Args:
        usage: n decoded rows; rows marked before may hold anything.
        append_times: int64 milliseconds, when Kafka appended each record.
        future_bound_ms: how far event_time may lie beyond the append time.
        misplaced: rows on another partition than their account's.
        control_sources: who may write PERIOD_CLOSE; None: usage alone is taken, no correction and no control record.
    """
    refusals.mark("MISSING_FIELD", _missing(usage))
    refusals.mark("MISSING_FIELD", _names_nothing(usage))
    score = usage.nullable.get("quality_score")
    if score is not None:
        refusals.mark("BAD_NUMBER", score[1] & ~np.isfinite(score[0]))
    event_time = usage.long("event_time")
    end = usage.nullable.get("charge_period_end")
    bad_time = (event_time < YEAR_2000) | (event_time >= YEAR_2101)
    if end is not None:
        bad_time |= end[1] & ((end[0] < YEAR_2000) | (end[0] >= YEAR_2101))
    refusals.mark("BAD_TIME", bad_time)
    refusals.mark("FUTURE_EVENT", event_time > (append_times + future_bound_ms) * 1000)
    refusals.mark("MISPLACED", misplaced)
    enums = KNOWN_ENUMS if control_sources is None else KNOWN_ENUMS | {"event_kind": EVENT_KINDS}
    for name, known in enums.items():
        column = usage.texts.get(name)
        if column is not None:
            unknown = np.array([value not in known for value in column.values.to_pylist()] + [False])
            refusals.mark("UNSUPPORTED", unknown[column.codes])
    closes = usage.is_symbol("event_kind", "PERIOD_CLOSE")
    if closes is not None and control_sources is not None:
        source = usage.texts["source"]
        is_allowed = np.array([value in control_sources for value in source.values.to_pylist()] + [False])
        refusals.mark("UNSUPPORTED", closes & ~is_allowed[source.codes])
    refusals.mark("NEGATIVE_QUANTITY", _negative(usage))
    if end is not None:
        refusals.mark("INTERVAL_REVERSED", end[1] & (end[0] <= event_time))
    refusals.mark("BAD_SAMPLE_WEIGHT", usage.long("sample_weight", 1) < 1)


def _missing(usage: UsageColumns) -> BoolArray:
    missing = np.zeros(usage.length, bool)
    for name in REQUIRED:
        if name in usage.texts:
            column = usage.texts[name]
            empty = np.array([value == "" for value in column.values.to_pylist()] + [True])
            missing |= empty[column.codes]
        else:
            offsets = np.frombuffer(usage.plain[name].buffers()[1], np.int32)[: usage.length + 1]
            missing |= offsets[1:] == offsets[:-1]
    return missing


def _names_nothing(usage: UsageColumns) -> BoolArray:
    """Records that must name another event and do not."""
    nameless = np.zeros(usage.length, bool)
    for kind in NAMING_KINDS:
        is_kind = usage.is_symbol("event_kind", kind)
        if is_kind is not None:
            nameless |= is_kind
    if nameless.any():
        named = usage.texts.get("amends_event_id")
        if named is not None:
            filled = np.array([value != "" for value in named.values.to_pylist()] + [False])
            nameless &= ~filled[named.codes]
        elif "amends_event_id" in usage.plain:
            lengths = pc.binary_length(usage.plain["amends_event_id"]).fill_null(0)
            nameless &= lengths.to_numpy(zero_copy_only=False) == 0
    return nameless


def _negative(usage: UsageColumns) -> BoolArray:
    negative = np.zeros(usage.length, bool)
    for name in (*(f"{leaf}_tokens" for leaf in LEAVES), *COUNTED):
        if name in usage.longs:
            negative |= usage.longs[name] < 0
    cost = usage.nullable.get("reported_cost_picos")
    if cost is not None:
        negative |= cost[1] & (cost[0] < 0)
    extra = usage.maps.get("extra_quantities")
    if extra is not None:
        negative[extra.rows[np.asarray(extra.values) < 0]] = True
    leaves = token_leaves(usage)
    for column in leaves.values():
        negative |= column < 0
    return negative


def token_leaves(usage: UsageColumns) -> dict[str, Int64Array]:
    """Disjoint token leaves of n events, int64; a leaf that is zero everywhere is left out.

    INCLUSIVE counts are made disjoint; a leaf below zero tells that the counts contradict each other.

    Source: spec/rating.md, section 6.
    """
    given = {leaf: usage.longs[f"{leaf}_tokens"] for leaf in LEAVES if f"{leaf}_tokens" in usage.longs}
    inclusive = usage.is_symbol("token_convention", "INCLUSIVE")
    if inclusive is None or not inclusive.any():
        return given
    rows = np.flatnonzero(inclusive)
    counts = {leaf: given[leaf][rows] if leaf in given else np.zeros(len(rows), np.int64) for leaf in LEAVES}
    converted = _disjoint(counts)
    leaves = {}
    for leaf, part in converted.items():
        if leaf in given or part.any():
            column = given[leaf].copy() if leaf in given else np.zeros(usage.length, np.int64)
            column[rows] = part
            leaves[leaf] = column
    return leaves


def _disjoint(counts: dict[str, Int64Array]) -> dict[str, Int64Array]:
    part = dict(counts)
    part["input_audio"] = part["input_audio"] - part["cache_read_audio"]
    part["cache_read_input"] = part["cache_read_input"] - part["cache_read_audio"]
    part["cache_write_input"] = part["cache_write_input"] - part["cache_write_1h_input"]
    for leaf in INPUT_LEAVES[1:]:
        part["input"] = part["input"] - part[leaf]
    for leaf in OUTPUT_LEAVES[1:]:
        part["output"] = part["output"] - part[leaf]
    # Image and cache counts may overlap: the tokens missing from the input are cached images.
    overlap = np.clip(-part["input"], 0, np.maximum(part["input_image"], 0))
    part["input_image"] = part["input_image"] - overlap
    part["input"] = part["input"] + overlap
    return part
