"""`chargeline anomaly score`: judge a file of values with the very detector of the anomaly service; no server runs."""

import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from math import isfinite, nan
from pathlib import Path
from typing import Annotated, Protocol

import typer

from chargeline.adapters.anomaly_parameters import parameters_of
from chargeline.domain.anomaly.detector import Detector
from chargeline.domain.errors import Refused

_TIME_NAMES = ("timestamp", "time", "event_time", "datetime", "date", "ts", "window_start", "charge_period_start")
_VALUE_NAMES = ("value", "values", "billed_cost", "cost", "amount", "y")
_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M")  # beside ISO 8601
_DELIMITERS = (",", ";", "\t")
_MILLISECONDS_FROM, _MICROSECONDS_FROM = 1e11, 1e14  # as seconds these would lie thousands of years ahead


class _Unusable(Exception):
    """The file cannot be scored. Exit code 2."""


class _Writer(Protocol):
    def writerow(self, row: Iterable[object], /) -> object: ...


@dataclass
class _Columns:
    time: int
    value: int


@dataclass
class _Counts:
    rows: int = 0
    alerts: int = 0
    values_missing: int = 0
    times_missing: int = 0


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Anomalies of a series of values.")
    group.command()(score)
    app.add_typer(group, name="anomaly")


def score(
    source: Annotated[Path, typer.Option("--input", help="CSV with timestamp and value.", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option("--output", help="Where to write timestamp, value, score and alert.")],
    params: Annotated[
        Path | None, typer.Option("--params", help="TOML instead of the shipped parameters.", exists=True)
    ] = None,
) -> None:
    """Score each row of a file by what came before it.

    One pass, in file order, the same parameters for every file. The score is 0 to 1; alert is 1 exactly where it is
    0.5 or more. A value that is missing gets score 0. Times are ISO 8601 (UTC where no zone is given) or seconds,
    milliseconds or microseconds since 1970; they may repeat or go back.

    Example: chargeline anomaly score --input spend.csv --output scored.csv
    """
    try:
        detector = Detector(parameters_of(params))
    except (Refused, OSError, UnicodeDecodeError) as error:
        _report(f"{params}: {error}")
        raise typer.Exit(2) from error
    unfinished = output.with_name(f"{output.name}.part")
    try:
        with source.open(encoding="utf-8-sig", newline="") as read, unfinished.open("w", newline="") as written:
            counts = _score(read, csv.writer(written, lineterminator="\n"), detector)
        unfinished.replace(output)
    except (_Unusable, OSError, UnicodeDecodeError, csv.Error) as error:
        _report(f"{source}: {error}")
        raise typer.Exit(2) from error
    finally:
        # What failed leaves no half a file under the name that was asked for.
        with suppress(OSError):
            unfinished.unlink()
    _report(f"{counts.rows} rows, {counts.alerts} alerts, {counts.values_missing} without a value, "
            f"{counts.times_missing} without a time")  # fmt: skip


def _report(text: str) -> None:
    sys.stderr.write(text + "\n")


def _score(lines: Iterator[str], writer: "_Writer", detector: Detector) -> _Counts:
    """Judge row by row; nothing is read ahead but the header."""
    columns, rows = _table(lines)
    counts = _Counts()
    time_s, step_s, known = nan, 0.0, 0
    writer.writerow(("timestamp", "value", "score", "alert"))
    for row in rows:
        time_text, value_text = _cell(row, columns.time), _cell(row, columns.value)
        value, given = _number(value_text), _time(time_text)
        if given is None:
            counts.times_missing += 1
            given = time_s + step_s  # as if the series went on in its step; NaN before the first time
        elif given > time_s:
            step_s = given - time_s
        time_s = given
        counts.rows += 1
        counts.values_missing += not isfinite(value)
        known += isfinite(value) and isfinite(time_s)
        verdict = detector.step(time_s, value if isfinite(time_s) else nan)
        counts.alerts += verdict.is_alert
        writer.writerow((time_text, value_text, repr(verdict.score), int(verdict.is_alert)))
    if not known:
        raise _Unusable(f"none of {counts.rows} rows has a time and a number")
    return counts


def _table(lines: Iterator[str]) -> tuple[_Columns, Iterator[list[str]]]:
    """Where time and value stand, and the rows."""
    header = next((line for line in lines if line.strip()), None)
    if header is None:
        raise _Unusable("the file is empty")
    delimiter = max(_DELIMITERS, key=header.count)
    first = next(csv.reader([header], delimiter=delimiter))
    names = [name.strip().lower() for name in first]
    rows = (row for row in csv.reader(lines, delimiter=delimiter) if any(cell.strip() for cell in row))
    time = next((names.index(name) for name in _TIME_NAMES if name in names), None)
    value = next((names.index(name) for name in _VALUE_NAMES if name in names), None)
    if time is not None and value is not None:
        return _Columns(time, value), rows
    if len(names) >= 2 and _time(first[0].strip()) is not None and isfinite(_number(first[1])):
        return _Columns(0, 1), chain([first], rows)  # no header at all
    raise _Unusable(f"no columns timestamp and value in the header {header.strip()[:200]!r}")


def _cell(row: list[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _number(text: str) -> float:
    """NaN for what is no number."""
    try:
        return float(text)
    except ValueError:
        return nan


def _time(text: str) -> float | None:
    """Seconds since 1970; None for what is no time."""
    number = _number(text)
    if isfinite(number):
        return (
            number / 1e6 if number >= _MICROSECONDS_FROM else number / 1e3 if number >= _MILLISECONDS_FROM else number
        )
    with suppress(ValueError):
        return _seconds(datetime.fromisoformat(text))
    for form in _FORMATS:
        with suppress(ValueError):
            return _seconds(datetime.strptime(text, form))  # noqa: DTZ007  # the zone is set below
    return None


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
