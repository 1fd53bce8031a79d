"""Panes: what a commit unit adds to each tumbling window of each group, in columns.

A pane is a delta (Beam's discarding mode): the sum over panes is right at every moment, whatever was late.
A window is [start, end) on event time. EARLY: it was open by the partition's watermark at the unit's start.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.codes import combine, stable_order
from chargeline.domain.columns.exact import Exact
from chargeline.domain.rating.entries import Entries
from chargeline.domain.rating.pricing import RATED, Priced
from chargeline.domain.rating.rate_table import FIXED_SLOTS
from chargeline.domain.rating.variances import of_events, sum_by
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
_TOKENS_MAX = 10**15  # beyond it a count is absurd: sums of performance panes are capped there, money is not
_PICO = 12
_MILLIONTHS = 6


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


@dataclass(frozen=True)
class Panes:
    """n panes, numbered as their codes in the order of first appearance.

    Attributes:
        event: int64: an event of each pane.
        columns: the sums, under the names of the rollup's schema.
    """

    event: Int64Array
    columns: dict[str, Int64Array | Text | pa.Array]


def cost_panes(usage: UsageColumns, priced: Priced, groups: Groups) -> Panes:
    """One pane for each (group, window, SKU, currency).

    Columns: `sku_id`, `billing_currency` (null: events without entries), `billed_cost`, `list_cost`,
    `consumed_quantity` Decimal(38, 12), `event_count`, `error_count`, `unrated_count`, and, where an event is sampled,
    `cost_variance` Decimal(38, 24), null in panes without one.
    Every event is counted once, in the pane of its first entry; so the counts add up as the costs do, and so do the
    variances: that of an event is of all its entries together and not the sum of theirs.
    """
    entries = priced.entries
    has_entries = np.zeros(usage.length, bool)
    has_entries[entries.row] = True
    bare = np.flatnonzero(~has_entries)
    sku_of_point, skus = entries.points.sku_id
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
    count = len(first)
    order = stable_order(code[: len(entries.row)], count)
    of_entry = code[order]

    def total(amounts: Exact) -> Exact:
        return amounts.take(order).sum_by(of_entry, count)

    contracted = total(entries.contracted).decimal(_PICO)
    same = entries.listed is entries.contracted
    error = usage.is_symbol("status", "ERROR")
    variance = of_events(entries, usage.longs.get("sample_weight"), usage.length)
    sampled = {}
    if variance is not None:
        sampled["cost_variance"] = sum_by(variance.take(pa.array(row[is_first])), code[is_first], count)
    return Panes(
        row[first],
        {
            "sku_id": Text((sku[first] - 1).astype(np.int32), skus),
            "billing_currency": Text((currency[first] - 1).astype(np.int32), priced.currency.values),
            "billed_cost": contracted,
            "list_cost": contracted if same else total(entries.listed).decimal(_PICO),
            "consumed_quantity": _consumed(entries, total),
            "event_count": _count(code[is_first], count),
            "error_count": _count(code[is_first & error[row]] if error is not None else code[:0], count),
            "unrated_count": _count(code[is_first & (priced.reason != RATED)[row]], count),
            **sampled,
        },
    )


def _count(codes: Int64Array, groups: int) -> Int64Array:
    return np.bincount(codes, minlength=groups)


def _consumed(entries: Entries, total: Callable[[Exact], Exact]) -> pa.Array:
    """Consumed quantities of panes in one unit for all: extra quantities come in millionths, money in picounits."""
    factor = np.where(entries.leaf >= len(FIXED_SLOTS), 1, 10**_MILLIONTHS)
    is_money = _is_money(entries)
    if not is_money.any():
        return total(entries.quantity.times(factor)).decimal(_MILLIONTHS)
    return total(entries.quantity.times(np.where(is_money, 1, factor * 10**_MILLIONTHS))).decimal(_PICO)


def _is_money(entries: Entries) -> BoolArray:
    return entries.leaf == len(entries.leaves) - 1  # reported_cost is the last name


def consumed_quantity(entries: Entries) -> pa.Array:
    """Consumed quantity of each entry in its consumed unit, Decimal(38, 12)."""
    extra = entries.leaf >= len(FIXED_SLOTS)
    whole = entries.quantity.decimal(0)
    if not extra.any():
        return whole
    finer = np.where(_is_money(entries), 2, np.where(extra, 1, 0))
    choices = [whole, entries.quantity.decimal(_MILLIONTHS), entries.quantity.decimal(_PICO)]
    return pa.concat_arrays(choices).take(pa.array(np.arange(len(finer)) + finer * len(finer)))


def performance_panes(usage: UsageColumns, groups: Groups) -> Panes:
    """One pane for each (group, window), with the counts, sums and histograms of `PerformanceRollup`."""
    count = len(groups.first)
    order = stable_order(groups.code, count)
    starts = np.searchsorted(groups.code[order], np.arange(count))
    columns: dict[str, Int64Array | Text | pa.Array] = {"event_count": _count(groups.code, count)}
    for name, symbol in (("error_count", "ERROR"), ("cancelled_count", "CANCELLED"), ("partial_count", "PARTIAL")):
        found = usage.is_symbol("status", symbol)
        columns[name] = _count(groups.code[:0] if found is None else groups.code[found], count)
    attempt = usage.nullable.get("attempt")
    again = groups.code[:0] if attempt is None else groups.code[attempt[1] & (attempt[0] > 1)]
    columns["retry_count"] = _count(again, count)
    measures = {"request_count": np.minimum(usage.long("requests", 1), _TOKENS_MAX)}
    leaves = token_leaves(usage)
    for name, part in (("input_tokens", "input"), ("cache_read_tokens", "cache_read"), ("output_tokens", "output")):
        measures[name] = _token_sum(usage, leaves, part)
    for name in ("duration_ms", "time_to_first_token_ms"):
        measured = usage.nullable.get(name)
        measures[f"{name}_sum"] = np.zeros(usage.length, np.int64)
        rows = np.zeros(0, np.int64)
        if measured is not None:
            rows = np.flatnonzero(measured[1] & (measured[0] >= 0))
            measures[f"{name}_sum"][rows] = np.minimum(measured[0][rows], _TOKENS_MAX)
        columns[f"{name}_histogram"] = _histogram(groups.code[rows], measures[f"{name}_sum"][rows], count)
    columns |= {name: np.add.reduceat(values[order], starts) for name, values in measures.items()}
    return Panes(groups.first, columns)


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
    order = stable_order(bucket, 256)
    order = order[stable_order(code[order], groups)]
    keys = (code * 256 + bucket)[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    keys, count = keys[starts], np.diff(starts, append=len(keys))
    offsets = np.searchsorted(keys, np.arange(groups + 1) * 256)
    buckets = pa.StructArray.from_arrays(
        [pa.array((keys % 256).astype(np.int32)), pa.array(count)],
        fields=[pa.field("bucket", pa.int32(), nullable=False), pa.field("count", pa.int64(), nullable=False)],
    )
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), buckets)


def _coded(usage: UsageColumns, name: str) -> tuple[Int64Array, int]:
    text: Text = usage.texts[name]
    return text.codes.astype(np.int64) + 1, len(text.values) + 1
