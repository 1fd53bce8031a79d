"""Panes: what a commit unit adds to each tumbling window of each group, in columns.

A pane is a delta (Beam's discarding mode): the sum over panes is right at every moment, whatever was late.
A window is [start, end) on event time. EARLY: it was open by the partition's watermark at the unit's start.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chargeline.domain.codes import combine, dense_codes
from chargeline.domain.pricing import RATED, Priced
from chargeline.domain.rate_table import FIXED_SLOTS
from chargeline.domain.usage import Text, UsageColumns, token_leaves

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

GROUP = (
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
LIVE_GROUP = ("billing_account_id", "team", "request_model")
_TOKENS_MAX = 10**15  # beyond it a count is absurd: sums of performance panes are capped there, money is not
_PICO = 12


@dataclass(frozen=True)
class Groups:
    """The groups of n accepted events.

    Attributes:
        code: int64 by event: number of its (group, window).
        first: int64 by group: an event of it.
        window_start: int64 microseconds by event.
        window_us: length of a window.
    """

    code: Int64Array
    first: Int64Array
    window_start: Int64Array
    window_us: int


def group(usage: UsageColumns, window_us: int) -> Groups:
    """Number the (group, window) combinations of n events."""
    event_time = usage.long("event_time")
    window = event_time // window_us
    lowest = int(window.min(initial=0)) if usage.length == 0 else int(window.min())
    span = int(window.max(initial=lowest)) - lowest + 1
    columns = [(window - lowest, span)]
    columns += [_coded(usage, name) for name in GROUP if name in usage.texts]
    code, first = combine(columns, usage.length)
    return Groups(code, first, window * window_us, window_us)


def cost_panes(usage: UsageColumns, priced: Priced, groups: Groups) -> pl.DataFrame:
    """One row for each (group, window, SKU, currency), in the order in which they first appear.

    Columns: `event` (row of an event of the group), `sku_id`, `billing_currency` (null: events without entries),
    `billed_cost`, `list_cost`, `consumed_quantity` Decimal(38, 12), `event_count`, `error_count`, `unrated_count`.
    Every event is counted once, in the pane of its first entry; so the counts add up as the costs do.
    """
    entries = priced.entries
    has_entries = np.zeros(usage.length, bool)
    has_entries[entries.row] = True
    bare = np.flatnonzero(~has_entries)
    skus = list(dict.fromkeys(point.leaf_price.sku_id for point in entries.points))
    number = {sku: at for at, sku in enumerate(skus)}
    sku_of_point = np.array([number[point.leaf_price.sku_id] for point in entries.points], np.int64)
    sku = np.concatenate([sku_of_point[entries.point] + 1, np.zeros(len(bare), np.int64)])
    row = np.concatenate([entries.row, bare])
    is_first = np.ones(len(row), bool)
    is_first[1 : len(entries.row)] = entries.row[1:] != entries.row[:-1]
    currency = priced.currency.codes[row].astype(np.int64) + 1
    code, first = combine(
        [
            (groups.code[row], max(len(groups.first), 1)),
            (sku, len(skus) + 1),
            (currency, len(priced.currency.values) + 1),
        ],
        len(row),
    )
    error = usage.is_symbol("status", "ERROR")
    unrated = priced.reason != RATED
    none = pa.array(np.zeros(len(bare), np.int64)).cast(pa.decimal128(38, _PICO))
    frame = pl.DataFrame(
        {
            "code": code,
            "billed_cost": _joined(entries.contracted.decimal(_PICO), none),
            "list_cost": _joined(entries.listed.decimal(_PICO), none),
            "consumed_quantity": _joined(consumed_quantity(priced), none),
            "event_count": is_first,
            "error_count": is_first & (error[row] if error is not None else False),
            "unrated_count": is_first & unrated[row],
        }
    )
    sums = frame.group_by("code").agg(pl.all().sum()).sort("code")
    return sums.with_columns(
        pl.Series("event", row[first]),
        pl.Series("sku_id", pa.array(skus, pa.string()).take(_or_null(sku[first] - 1)), dtype=pl.String),
        pl.Series(
            "billing_currency",
            priced.currency.values.take(_or_null(currency[first] - 1)),
            dtype=pl.String,
        ),
    )


def consumed_quantity(priced: Priced) -> pa.Array:
    """Consumed quantity of each entry in its consumed unit, Decimal(38, 12); extra quantities come in millionths."""
    entries = priced.entries
    fixed = len(FIXED_SLOTS)
    extra = entries.leaf >= fixed
    whole = entries.quantity.decimal(0)
    if not extra.any():
        return whole
    millionths = entries.quantity.decimal(6)
    return pa.concat_arrays([whole, millionths]).take(pa.array(np.arange(len(extra)) + np.where(extra, len(extra), 0)))


def performance_panes(usage: UsageColumns, groups: Groups) -> tuple[pl.DataFrame, dict[str, pa.ListArray]]:
    """One row for each (group, window) in the order of first appearance, and its histograms.

    Columns: the counts and sums of `PerformanceRollup`; `event` is a row of the group.
    """
    columns: dict[str, Int64Array | BoolArray] = {
        "code": groups.code,
        "event_count": np.ones(usage.length, np.int64),
        "request_count": np.minimum(usage.long("requests", 1), _TOKENS_MAX),
    }
    for name, symbol in (("error_count", "ERROR"), ("cancelled_count", "CANCELLED"), ("partial_count", "PARTIAL")):
        found = usage.is_symbol("status", symbol)
        columns[name] = np.zeros(usage.length, bool) if found is None else found
    attempt = usage.nullable.get("attempt")
    columns["retry_count"] = np.zeros(usage.length, bool) if attempt is None else attempt[1] & (attempt[0] > 1)
    leaves = token_leaves(usage)
    for name, part in (("input_tokens", "input"), ("cache_read_tokens", "cache_read"), ("output_tokens", "output")):
        columns[name] = _token_sum(usage, leaves, part)
    histograms = {}
    for name in ("duration_ms", "time_to_first_token_ms"):
        measured = usage.nullable.get(name)
        sums = np.zeros(usage.length, np.int64)
        rows = np.zeros(0, np.int64)
        if measured is not None:
            rows = np.flatnonzero(measured[1] & (measured[0] >= 0))
            sums[rows] = np.minimum(measured[0][rows], _TOKENS_MAX)
        columns[f"{name}_sum"] = sums
        histograms[f"{name}_histogram"] = _histogram(groups.code[rows], sums[rows], len(groups.first))
    sums_by_group = pl.DataFrame(columns).group_by("code").agg(pl.all().sum()).sort("code")
    return sums_by_group.with_columns(pl.Series("event", groups.first)), histograms


def is_late(window_start: Int64Array, window_us: int, watermark: int | None) -> BoolArray:
    """Whether each window was closed when the unit began: its end is not beyond the watermark."""
    if watermark is None:
        return np.zeros(len(window_start), bool)
    return window_start + window_us <= watermark


def _token_sum(usage: UsageColumns, leaves: dict[str, Int64Array], part: str) -> Int64Array:
    total = np.zeros(usage.length, np.int64)
    for leaf, tokens in leaves.items():
        is_output = "output" in leaf
        wanted = is_output if part == "output" else not is_output and (part == "input" or leaf.startswith("cache_read"))
        if wanted:
            total += np.minimum(tokens, _TOKENS_MAX)
    return total


def _histogram(code: Int64Array, values: Int64Array, groups: int) -> pa.ListArray:
    """Counts by quarter powers of two, sparse: (bucket, count) for each group, buckets ascending."""
    bucket = np.ceil(4 * np.log2(np.maximum(values, 1).astype(np.float64)) - 1e-9).astype(np.int64)
    pair, first = dense_codes(code * 256 + bucket)
    count = np.bincount(pair, minlength=len(first))
    keys = code[first] * 256 + bucket[first]
    order = np.argsort(keys, kind="stable")
    offsets = np.searchsorted(keys[order] // 256, np.arange(groups + 1))
    buckets = pa.StructArray.from_arrays(
        [pa.array((keys[order] % 256).astype(np.int32)), pa.array(count[order])],
        fields=[pa.field("bucket", pa.int32(), nullable=False), pa.field("count", pa.int64(), nullable=False)],
    )
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), buckets)


def _coded(usage: UsageColumns, name: str) -> tuple[Int64Array, int]:
    text: Text = usage.texts[name]
    return text.codes.astype(np.int64) + 1, len(text.values) + 1


def _joined(one: pa.Array, two: pa.Array) -> pl.Series:
    return pl.Series(pa.concat_arrays([one, two]) if len(two) else one)


def _or_null(codes: Int64Array) -> pa.Array:
    return pa.array(codes, mask=codes < 0)
