"""`chargeline anomalies`: incidents as ClickHouse holds them, why they happened, and what people say of them."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.adapters.anomaly_notes import NotesReader, NotesWriter
from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.anomaly_why import explained, print_explained
from chargeline.cli.common import SHORT_S, AsJson, DataDir, print_json, print_rows
from chargeline.cli.incidents import incident, rows_of, scope_text, updates_of
from chargeline.cli.publishing import instant_argument, user_name
from chargeline.domain.alerts.text import amount
from chargeline.domain.anomaly.notes import Mute, Notes, precision
from chargeline.domain.anomaly.panes import DIMENSIONS
from chargeline.domain.errors import Refused
from chargeline.runtime.stack import Stack, load_stack
from chargeline.wire._generated import ANOMALY_NOTE_SCHEMA
from chargeline.wire.anomaly_records import instant

_LOOK_S = 0.5
LABELS = {"true": "TRUE_POSITIVE", "false": "FALSE_POSITIVE", "expected": "EXPECTED"}
_LISTED = (
    "anomaly_id, severity, status, kind, billing_account_id, dimensions, window_start, windows, impact, "
    "billing_currency, is_muted"
)
Ident = Annotated[str, typer.Argument(help="anomaly_id, or its first characters.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept beside it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Incidents of cost: list, explain, mute, label.")
    group.command("list")(list_)
    for command in (show, explain, mute, unmute, mutes, label):
        group.command()(command)
    app.add_typer(group, name="anomalies")


def list_(
    data: DataDir = None,
    account: Annotated[str | None, typer.Option(help="Of this billing account.")] = None,
    team: Annotated[str | None, typer.Option(help="Of spend of this team.")] = None,
    status: Annotated[str | None, typer.Option(help="OPEN or RESOLVED.")] = None,
    since: Annotated[int, typer.Option(min=1, help="Hours back from now, by event time.")] = 24 * 365,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    stats: Annotated[bool, typer.Option("--stats", help="Counts by kind, and the precision by labels.")] = False,
    wait: Annotated[
        float, typer.Option(min=0.0, help="Wait up to so many seconds for one; without any, fail with NO_ANOMALY.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """List incidents, or count them.

    Example: chargeline anomalies list --status OPEN
    """
    stack = load_stack(data)
    notes = _notes(stack)
    sql = (
        f"SELECT {_LISTED} FROM anomalies WHERE ({{account:String}} = '' OR billing_account_id = {{account:String}}) "
        "AND ({team:String} = '' OR dimensions['team'] = {team:String}) "
        "AND ({status:String} = '' OR status = {status:String}) "
        "AND window_start >= now() - toIntervalHour({since:UInt32})"
        f" ORDER BY window_start DESC, anomaly_id{'' if stats else ' LIMIT {limit:UInt32}'}"
    )
    given = {"account": account or "", "team": team or "", "status": status or "", "since": since, "limit": limit}
    rows = rows_of(stack, sql, given)
    deadline = time.monotonic() + wait
    while wait and not rows:
        if time.monotonic() > deadline:
            raise Refused("NO_ANOMALY", f"no such incident in {wait:g} s: is the anomaly service running?")
        time.sleep(_LOOK_S)
        rows = rows_of(stack, sql, given)
    for row in rows:
        row["label"] = notes.labels.get(row["anomaly_id"])
    if stats:
        _print_stats(rows, as_json=as_json)
    elif as_json:
        print_json(rows)
    else:
        print_rows([_short(row) for row in rows], whole=("id", "what", "status", "begun", "impact"))


def show(anomaly: Ident, data: DataDir = None, as_json: AsJson = False) -> None:
    """All updates of an incident; from the log while ClickHouse is away.

    Example: chargeline anomalies show 3f2a
    """
    rows, _ = updates_of(load_stack(data), anomaly)
    if as_json:
        print_json(rows)
    else:
        print_rows([_update(row) for row in rows], f"{rows[-1]['anomaly_id']} {scope_text(rows[-1])}",
                   whole=("status", "severity", "spent", "expected", "impact"))  # fmt: skip


def explain(
    anomaly: Ident,
    clickhouse_timeout: Annotated[
        int, typer.Option(min=1, help="Seconds of silence after which the rest is told without ClickHouse.")
    ] = SHORT_S,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Why it happened: price, volume, mix, contributors, charges.

    Intents, labels and charges come from ClickHouse; while it is away or silent, the rest is told from the log.

    Example: chargeline anomalies explain 3f2a
    """
    stack = load_stack(data)
    updates, is_stored = updates_of(stack, anomaly, clickhouse_timeout)
    found = explained(stack, updates[-1], clickhouse_timeout, is_stored=is_stored)
    if as_json:
        print_json(found)
    else:
        print_explained(found)


def mute(
    name: Annotated[str, typer.Argument(help="Name of the mute, by which it is taken back.")],
    reason: Reason,
    data: DataDir = None,
    anomaly: Annotated[str | None, typer.Option(help="Only this incident.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this billing account.")] = None,
    dimension: Annotated[list[str] | None, typer.Option(help="team=search; may be given several times.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, e.g. SPEND.")] = None,
    begins: Annotated[str | None, typer.Option("--from", help="From this instant on (with --hours: from now).")] = None,
    until: Annotated[str | None, typer.Option(help="To this instant; default: for ever.")] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="For so long, instead of --until.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of some incidents.

    They are detected, listed and marked as muted. Times are event times.

    Example: chargeline anomalies mute load-test --account acme --dimension team=search --hours 2 --reason "load test"
    """
    stack = load_stack(data)
    pairs = dict(_pair(text) for text in dimension or ())
    first, last = _times(begins, until, hours)
    note = _note(f"mute/{name}", "MUTE", reason) | {
        "anomaly_id": incident(stack, anomaly)["anomaly_id"] if anomaly else None,
        "billing_account_id": account,
        "dimensions": pairs,
        "anomaly_kind": kind,
        "from_time": first,
        "until_time": last,
    }
    _write(stack, note, as_json=as_json)


def mutes(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the mutes.

    Example: chargeline anomalies mutes
    """
    found = [_mute(each) for each in _notes(load_stack(data)).mutes.values()]
    if as_json:
        print_json(found)
    else:
        print_rows(found)


def unmute(
    name: Annotated[str, typer.Argument(help="Name of the mute.")], data: DataDir = None, as_json: AsJson = False
) -> None:
    """Take a mute back.

    Example: chargeline anomalies unmute load-test
    """
    stack = load_stack(data)
    key = f"mute/{name}"
    if key not in _notes(stack).mutes:
        raise Refused("NO_SUCH_MUTE", f"no mute is called {name}")
    _writer(stack).take_back(key)
    _recorded({"note_id": key, "kind": "MUTE", "taken_back": True}, as_json=as_json)


def label(
    anomaly: Ident,
    what: Annotated[str, typer.Argument(help="true, false, or expected: rightly seen, and nobody's fault.")],
    data: DataDir = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Say whether an incident was one.

    The precision in `list --stats` follows from it.

    Example: chargeline anomalies label 3f2a false --reason "month-end batch"
    """
    known = LABELS.get(what.lower().removesuffix("_positive"))
    if known is None:
        raise Refused("BAD_OPTION", f"{what} is no label: {', '.join(LABELS)}")
    stack = load_stack(data)
    ident = incident(stack, anomaly)["anomaly_id"]
    _write(stack, _note(f"label/{ident}", "LABEL", reason) | {"anomaly_id": ident, "label": known}, as_json=as_json)


def _print_stats(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    kinds = sorted({row["kind"] for row in rows})
    counted = []
    for kind in [*kinds, "all"]:
        of_kind = [row for row in rows if kind in ("all", row["kind"])]
        labels = [row["label"] for row in of_kind if row["label"]]
        found = precision(labels)
        counted.append(
            {
                "kind": kind,
                "incidents": len(of_kind),
                "open": sum(row["status"] == "OPEN" for row in of_kind),
                "muted": sum(bool(row["is_muted"]) for row in of_kind),
                "labelled": len(labels),
                "precision": None if found is None else round(found, 4),
            }
        )
    if as_json:
        print_json(counted)
    else:
        print_rows(counted)


def _notes(stack: Stack) -> Notes:
    log_reader = KafkaLogReader(stack.kafka)
    try:
        reader = NotesReader(log_reader)
        reader.refresh()
        return reader.notes
    finally:
        log_reader.close()


def _writer(stack: Stack) -> NotesWriter:
    return NotesWriter(stack.kafka, SchemaRegistry(stack.registry).register("anomaly-notes-value", ANOMALY_NOTE_SCHEMA))


def _write(stack: Stack, note: dict[str, Any], *, as_json: bool) -> None:
    _writer(stack).put(note)
    _recorded({name: value for name, value in note.items() if value is not None}, as_json=as_json)


def _recorded(note: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(note)
    else:
        Console(stderr=True).print(f"recorded {note['note_id']}", highlight=False)


def _note(note_id: str, kind: str, reason: str) -> dict[str, Any]:
    nothing = ("anomaly_id", "label", "billing_account_id", "anomaly_kind", "from_time", "until_time")
    return {
        "note_id": note_id,
        "kind": kind,
        "author": user_name(),
        "reason": reason,
        "dimensions": {},
    } | dict.fromkeys(nothing)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in DIMENSIONS:
        raise Refused("BAD_OPTION", f"--dimension is NAME=VALUE with a name of {', '.join(DIMENSIONS)}, not {text}")
    return name, value


def _times(begins: str | None, until: str | None, hours: float | None) -> tuple[datetime | None, datetime | None]:
    """From and until of a mute; None: without a bound."""
    first = None if begins is None else instant(instant_argument(begins))
    last = None if until is None else instant(instant_argument(until))
    if hours is not None:
        if until is not None:
            raise Refused("BAD_OPTION", "--hours and --until exclude each other")
        first = instant(SystemClock().now_ms() * 1000) if first is None else first
        last = first + timedelta(hours=hours)
    if first is not None and last is not None and first >= last:
        raise Refused("BAD_OPTION", f"a mute from {first.isoformat()} until {last.isoformat()} covers nothing")
    return first, last


def _mute(found: Mute) -> dict[str, Any]:
    scope = [
        found.billing_account_id or "all accounts",
        *(f"{name}={value}" for name, value in found.dimensions.items()),
    ]
    return {
        "name": found.note_id.removeprefix("mute/"),
        "scope": " ".join(scope),
        "kind": found.kind,
        "anomaly_id": found.anomaly_id,
        "from": None if found.from_time is None else instant(found.from_time),
        "until": None if found.until_time is None else instant(found.until_time),
    }


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "id": row["anomaly_id"][:8],
        "what": f"{row['severity']} {row['kind']}",
        "status": row["status"] + (" muted" if row["is_muted"] else ""),
        "scope": scope_text(row),
        "begun": f"{row['window_start']:%m-%d %H:%M:%S}",
        "impact": f"{amount(row['impact'])} {row['billing_currency']}",
    }
    return found | {"label": row["label"] and row["label"].removesuffix("_POSITIVE").lower()}


def _update(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "no": row["sequence"],
        "status": row["status"],
        "severity": row["severity"],
        "until": f"{row['window_end']:%m-%d %H:%M:%S}",
        "spent": amount(row["actual_cost"]),
        "expected": amount(row["expected_cost"]),
        "impact": amount(row["impact"]),
        "kinds": ", ".join(row["kinds"]),
    }
