"""`chargeline anomalies`: incidents as ClickHouse holds them, why they happened, and what people say of them."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from getpass import getuser
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.adapters.anomaly_notes import NotesReader, NotesWriter
from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.domain.anomaly.notes import Notes, precision
from chargeline.domain.anomaly.panes import DIMENSIONS
from chargeline.domain.errors import Refused
from chargeline.domain.money import plain
from chargeline.runtime.stack import Stack, load_stack
from chargeline.wire._generated import ANOMALY_NOTE_SCHEMA

_LOOK_S = 0.5
LABELS = ("TRUE_POSITIVE", "FALSE_POSITIVE", "EXPECTED")
_LISTED = (
    "anomaly_id, severity, status, kind, billing_account_id, dimensions, window_start, windows, impact, "
    "billing_currency, is_muted"
)
Ident = Annotated[str, typer.Argument(help="anomaly_id, or its first characters.")]
Reason = Annotated[str, typer.Option(help="Why.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Incidents of cost: list, explain, mute, label.")
    group.command("list")(list_)
    for command in (show, explain, mute, unmute, label):
        group.command()(command)
    app.add_typer(group, name="anomalies")


def list_(
    data: DataDir = None,
    account: Annotated[str | None, typer.Option(help="Of this billing account.")] = None,
    team: Annotated[str | None, typer.Option(help="Of spend of this team.")] = None,
    status: Annotated[str | None, typer.Option(help="OPEN or RESOLVED.")] = None,
    since: Annotated[int, typer.Option(min=1, help="Hours back, by event time; 0 is now.")] = 24 * 365,
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
    rows = _rows(stack, sql, given)
    deadline = time.monotonic() + wait
    while wait and not rows:
        if time.monotonic() > deadline:
            raise Refused("NO_ANOMALY", f"no such incident in {wait:g} s: is the anomaly service running?")
        time.sleep(_LOOK_S)
        rows = _rows(stack, sql, given)
    for row in rows:
        row["label"] = notes.labels.get(row["anomaly_id"])
    if stats:
        _print_stats(rows, as_json=as_json)
    elif as_json:
        print_json(rows)
    else:
        print_rows([_short(row) for row in rows])


def show(anomaly: Ident, data: DataDir = None, as_json: AsJson = False) -> None:
    """All updates of an incident.

    Example: chargeline anomalies show 3f2a
    """
    stack = load_stack(data)
    found = _newest(stack, anomaly)
    sql = "SELECT * FROM cost_anomalies FINAL WHERE anomaly_id = {id:String} ORDER BY sequence"
    rows = [_record(row) for row in _rows(stack, sql, {"id": found["anomaly_id"]})]
    if as_json:
        print_json(rows)
        return
    names = (
        "sequence",
        "status",
        "severity",
        "kinds",
        "window_end",
        "windows",
        "actual_cost",
        "expected_cost",
        "impact",
    )
    print_rows([{name: _cell(row[name]) for name in names} for row in rows], f"{found['anomaly_id']} {_scope(found)}")


def explain(anomaly: Ident, data: DataDir = None, as_json: AsJson = False) -> None:
    """Why it happened: price, volume and mix, who contributed, and charges to look at.

    Example: chargeline anomalies explain 3f2a
    """
    stack = load_stack(data)
    found = _newest(stack, anomaly)
    found["charges"] = _sample_charges(stack, found)
    if as_json:
        print_json(found)
        return
    console = Console()
    currency = found["billing_currency"]
    change = found["actual_cost"] - found["reference_cost"]
    console.print(
        f"[bold]{found['severity']} {found['kind']}[/bold] {_scope(found)} ({found['status']})", highlight=False
    )
    console.print(
        f"{found['window_start']:%Y-%m-%d %H:%M} to {found['window_end']:%H:%M} UTC: {plain(found['actual_cost'])} "
        f"{currency}, expected about {plain(found['expected_cost'])}; impact {plain(found['impact'])}",
        highlight=False,
    )
    console.print(
        f"against {plain(found['reference_cost'])} in as many usual windows: {plain(change)} = "
        f"volume {plain(found['volume_effect'])} + price {plain(found['price_effect'])} + "
        f"mix {plain(found['mix_effect'])}",
        highlight=False,
    )
    for reason in found["reasons"]:
        console.print(f"  {reason}", highlight=False)
    if found["contributors"]:
        print_rows(found["contributors"], "contributors")
    if found["charges"]:
        print_rows(found["charges"], "charges of the sample units")


def mute(
    name: Annotated[str, typer.Argument(help="Name of the mute, by which it is taken back.")],
    reason: Reason,
    data: DataDir = None,
    anomaly: Annotated[str | None, typer.Option(help="Only this incident.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this billing account.")] = None,
    dimension: Annotated[list[str] | None, typer.Option(help="team=search; may be given several times.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, e.g. SPEND.")] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="From now on, for so long; default: for ever.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of some incidents; they are detected, listed and marked as muted.

    Example: chargeline anomalies mute load-test --account acme --dimension team=search --hours 2 --reason "load test"
    """
    stack = load_stack(data)
    pairs = dict(_pair(text) for text in dimension or ())
    now = datetime.now(UTC)
    note = _note(f"mute/{name}", "MUTE", reason) | {
        "anomaly_id": _newest(stack, anomaly)["anomaly_id"] if anomaly else None,
        "billing_account_id": account,
        "dimensions": pairs,
        "anomaly_kind": kind,
        "from_time": now if hours is not None else None,
        "until_time": now + timedelta(hours=hours) if hours is not None else None,
    }
    _write(stack, note, as_json=as_json)


def unmute(name: Annotated[str, typer.Argument(help="Name of the mute.")], data: DataDir = None) -> None:
    """Take a mute back.

    Example: chargeline anomalies unmute load-test
    """
    stack = load_stack(data)
    key = f"mute/{name}"
    if key not in _notes(stack).mutes:
        raise Refused("NO_SUCH_MUTE", f"no mute is called {name}")
    _writer(stack).take_back(key)


def label(
    anomaly: Ident,
    what: Annotated[str, typer.Argument(help=", ".join(LABELS))],
    data: DataDir = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Say whether an incident was one: the precision in `list --stats` follows from it.

    Example: chargeline anomalies label 3f2a FALSE_POSITIVE --reason "month-end batch"
    """
    if what not in LABELS:
        raise Refused("BAD_OPTION", f"{what} is no label: {', '.join(LABELS)}")
    stack = load_stack(data)
    ident = _newest(stack, anomaly)["anomaly_id"]
    _write(stack, _note(f"label/{ident}", "LABEL", reason) | {"anomaly_id": ident, "label": what}, as_json=as_json)


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


def _newest(stack: Stack, ident: str) -> dict[str, Any]:
    """The newest update of the incident whose id begins so."""
    rows = _rows(stack, "SELECT * FROM anomalies WHERE startsWith(anomaly_id, {id:String}) LIMIT 2", {"id": ident})
    if not rows:
        raise Refused("NO_SUCH_ANOMALY", f"no incident's id begins with {ident}: `chargeline anomalies list`")
    if len(rows) > 1:
        raise Refused("AMBIGUOUS", f"several incidents' ids begin with {ident}: give more of it")
    return _record(rows[0])


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row under the names of the schema: parallel lists are lists of records again, or of texts."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        outer, _, inner = name.partition(".")
        if not inner:
            found[name] = value
        elif inner in ("name", "text"):
            found[outer] = list(value)
        else:
            records = found.setdefault(outer, [{} for _ in value])
            for record, each in zip(records, value, strict=True):
                record[inner] = each
    return {name: value for name, value in found.items() if not name.startswith(("log_", "unit_"))}


def _sample_charges(stack: Stack, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not found["samples"]:
        return []
    units = " OR ".join(
        f"(source_offset >= {int(unit['unit_start'])} AND source_offset < {int(unit['unit_end'])})"
        for unit in found["samples"]
    )
    given: dict[str, Any] = {"p": found["source_partition"], "account": found["billing_account_id"]}
    scope = ""
    for name, value in found["dimensions"].items():
        if name in DIMENSIONS:
            scope += f" AND {name} = {{d_{name}:String}}"
            given[f"d_{name}"] = value
    sql = (
        "SELECT source_partition, source_offset, event_time, event_id, request_model, feature, billed_cost "
        f"FROM charges WHERE source_partition = {{p:Int32}} AND ({units}) AND billing_account_id = {{account:String}}"
        f"{scope} ORDER BY billed_cost DESC, source_offset LIMIT 5"
    )
    return _rows(stack, sql, given)


def _rows(stack: Stack, sql: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_bi_user, stack.clickhouse_bi_password)
    try:
        rows: list[dict[str, Any]] = warehouse.query(sql, given).to_pylist()
    finally:
        warehouse.close()
    for row in rows:
        if "dimensions" in row:
            row["dimensions"] = dict(row["dimensions"])
    return rows


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
    if as_json:
        print_json({name: value for name, value in note.items() if value is not None})
    else:
        Console(stderr=True).print(f"recorded {note['note_id']}", highlight=False)


def _note(note_id: str, kind: str, reason: str) -> dict[str, Any]:
    nothing = ("anomaly_id", "label", "billing_account_id", "anomaly_kind", "from_time", "until_time")
    return {"note_id": note_id, "kind": kind, "author": getuser(), "reason": reason, "dimensions": {}} | dict.fromkeys(
        nothing
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in DIMENSIONS:
        raise Refused("BAD_OPTION", f"--dimension is NAME=VALUE with a name of {', '.join(DIMENSIONS)}, not {text}")
    return name, value


def _scope(row: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{name}={value}" for name, value in row["dimensions"].items())
    return f"{row['billing_account_id']} {inside}".strip()


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["anomaly_id"][:8],
        "severity": row["severity"],
        "status": row["status"] + (" muted" if row["is_muted"] else ""),
        "kind": row["kind"],
        "scope": _scope(row),
        "begun": f"{row['window_start']:%Y-%m-%d %H:%M:%S}",
        "windows": row["windows"],
        "impact": f"{row['impact']:.4f} {row['billing_currency']}",
        "label": row["label"],
    }


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.6f}" if isinstance(value, Decimal) else value
