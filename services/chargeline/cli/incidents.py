"""Incidents as commands find them: in ClickHouse, or in the log while ClickHouse is away."""

from collections.abc import Mapping
from typing import Any

from chargeline.adapters.clickhouse import ANSWER_S, ClickHouse
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.cli.common import SHORT_S
from chargeline.cli.publishing import stderr
from chargeline.domain.errors import Refused, TransientError
from chargeline.runtime.stack import Stack
from chargeline.wire.anomaly_records import ANOMALIES, decode_anomaly


def incident(stack: Stack, ident: str) -> dict[str, Any]:
    """The newest update of the incident whose id begins so. Raises Refused: none does, or several do."""
    return updates_of(stack, ident)[0][-1]


def updates_of(stack: Stack, ident: str, answer_s: int = SHORT_S) -> tuple[list[dict[str, Any]], bool]:
    """All updates of the incident whose id begins so, in their order, under the names of the schema.

    Returns:
        The updates, and whether ClickHouse told them; it is not asked twice while it is away.
    """
    sql = "SELECT * FROM cost_anomalies FINAL WHERE startsWith(anomaly_id, {id:String}) ORDER BY sequence"
    is_stored = True
    try:
        found = [_record(row) for row in rows_of(stack, sql, {"id": ident}, answer_s)]
    except TransientError:
        stderr().print("[yellow]ClickHouse does not answer[/yellow]: this is what the log tells")
        found, is_stored = _of_log(stack, ident), False
    if not found:
        raise Refused("NO_SUCH_ANOMALY", f"no incident's id begins with {ident}: `chargeline anomalies list`")
    if len({row["anomaly_id"] for row in found}) > 1:
        raise Refused("AMBIGUOUS", f"several incidents' ids begin with {ident}: give more of it")
    return found, is_stored


def rows_of(stack: Stack, sql: str, given: Mapping[str, Any], answer_s: int = ANSWER_S) -> list[dict[str, Any]]:
    """What ClickHouse answers. Raises TransientError while it is away, or silent for `answer_s` seconds."""
    user, password = stack.clickhouse_bi_user, stack.clickhouse_bi_password
    warehouse = ClickHouse(stack.clickhouse_url, user, password, answer_s=answer_s)
    try:
        rows: list[dict[str, Any]] = warehouse.query(sql, given).to_pylist()
    finally:
        warehouse.close()
    for row in rows:
        if "dimensions" in row:
            row["dimensions"] = dict(row["dimensions"])
    return rows


def scope_text(row: Mapping[str, Any]) -> str:
    """What an incident is about."""
    inside = ", ".join(f"{name}={value}" for name, value in row["dimensions"].items())
    return f"{row['billing_account_id']} {inside}".strip()


def _of_log(stack: Stack, ident: str) -> list[dict[str, Any]]:
    reader = KafkaLogReader(stack.kafka)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    try:
        for partition in range(reader.partitions(ANOMALIES)):
            for record in reader.read(ANOMALIES, partition, *reader.bounds(ANOMALIES, partition)):
                update = decode_anomaly(record.value or b"")
                if update["anomaly_id"].startswith(ident):
                    update["kinds"] = [each["name"] for each in update["kinds"]]
                    update["reasons"] = [each["text"] for each in update["reasons"]]
                    found[update["anomaly_id"], update["sequence"]] = update
    finally:
        reader.close()
    return [found[key] for key in sorted(found)]


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
