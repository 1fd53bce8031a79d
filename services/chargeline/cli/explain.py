"""`chargeline explain EVENT_ID`: the arithmetic from the raw event to the billed cost, as the charge recorded it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.cli.common import AsJson, DataDir, print_json, to_text
from chargeline.domain.errors import Refused
from chargeline.domain.money import plain
from chargeline.domain.usage import COUNTED
from chargeline.runtime.stack import load_stack

_ENTRY = "entries."
_MOST = 100
_TOKENS = "_tokens"
_COSTS = ("list_cost", "contracted_cost", "effective_cost", "billed_cost")
# Written on an entry only where they say something.
_SELDOM = ("charge_class", "pool", "waived_cost", "cost_variance", "estimated")


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    event_id: Annotated[str, typer.Argument(help="The event's id.")],
    data: DataDir = None,
    account: Annotated[
        str | None, typer.Option(help="Its billing account, where several have an event so named.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Its source, likewise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a charge came about, from its event to its total.

    Quantities, units, prices, cards, rounding, conversion, total. Corrections of an event follow it, and what the
    close of its period credited, covered or raised of it.

    Example: chargeline explain req-81f2 --account acme --json
    """
    stack = load_stack(data)
    warehouse = ClickHouse(stack.clickhouse_url, stack.clickhouse_bi_user, stack.clickhouse_bi_password)
    rows = warehouse.query(*question(event_id, account, source)).to_pylist()
    if not rows:
        raise Refused(
            "NO_CHARGE",
            f"no charge of event {event_id!r} is stored: it may be a few seconds away, a duplicate of another record, "
            "or refused (`chargeline dlq list`)",
        )
    found = [explanation(of_event(row, event_id)) for row in rows]
    if as_json:
        print_json(found)
        return
    console = Console()
    for each in found:
        for line in (*told(each), ""):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if len(found) > 1:
        console.print(in_all(found), highlight=False, markup=False, soft_wrap=True)


def question(event_id: str, account: str | None, source: str | None) -> tuple[str, dict[str, Any]]:
    """(SQL, parameters) of the charges of an event and of what corrects it, in the order of the log."""
    given = {"event_id": event_id, "billing_account_id": account, "source": source}
    wanted = {name: value for name, value in given.items() if value is not None}
    also = "".join(f" AND {name} = {{{name}:String}}" for name in wanted if name != "event_id")
    of_close = f"event_kind = 'PERIOD_CLOSE' AND has(`{_ENTRY}event_id`, {{event_id:String}})"
    sql = (
        f"SELECT * FROM charges WHERE (event_id = {{event_id:String}} OR amends_event_id = {{event_id:String}} "
        f"OR {of_close}){also} ORDER BY source_partition, source_offset, source_index LIMIT {_MOST}"
    )
    return sql, wanted


def of_event(row: dict[str, Any], event_id: str) -> dict[str, Any]:
    """A row of `charges`; of a close, which is about many events, the entries of this one and their sums."""
    if row["event_kind"] != "PERIOD_CLOSE" or row["event_id"] == event_id:
        return row
    entries = [each for each in entries_of(row) if each["event_id"] == event_id]
    columns = {name: [each[name.removeprefix(_ENTRY)] for each in entries] for name in row if name.startswith(_ENTRY)}
    sums = {name: sum((each[name] for each in entries), Decimal(0)) for name in _COSTS}
    return row | columns | sums


def in_all(found: list[dict[str, Any]]) -> str:
    """What an event costs after everything that was said of it."""
    sums: dict[str, Decimal] = {}
    for each in found:
        if each["billed_cost"] is not None and each["billing_currency"]:
            sums[each["billing_currency"]] = sums.get(each["billing_currency"], Decimal(0)) + each["billed_cost"]
    return "in all: billed " + (", ".join(f"{plain(cost)} {currency}" for currency, cost in sums.items()) or "nothing")


def explanation(row: dict[str, Any]) -> dict[str, Any]:
    """One charge as nested plain values: event, quantities as sent, entries with their arithmetic, totals."""
    entries = entries_of(row)
    currency = row["billing_currency"]
    return {
        "event": {
            name: row[name]
            for name in ("event_id", "source", "billing_account_id", "event_time", "event_kind", "amends_event_id",
                         "provider_name", "request_model", "response_model", "operation_name", "status",
                         "sample_weight")
        },
        "coordinate": f"{row['source_partition']}/{row['source_offset']}/{row['source_index']}",
        "governance_sequence": row["governance_sequence"],
        "quantities": quantities(row),
        "token_convention": row["token_convention"],
        "outcome": row["outcome"],
        "reason": row["reason"],
        "match_kind": row["match_kind"],
        "billing_period": [row["billing_period_start"], row["billing_period_end"]],
        "entries": [entry | {"arithmetic": arithmetic(entry, currency)} for entry in entries],
        "list_cost": row["list_cost"],
        "contracted_cost": row["contracted_cost"],
        "effective_cost": row["effective_cost"],
        "billed_cost": row["billed_cost"],
        "billing_currency": currency,
        "cost_variance": row.get("cost_variance"),
    }  # fmt: skip


def entries_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a row of `charges`, whose columns are arrays."""
    columns = {name.removeprefix(_ENTRY): values for name, values in row.items() if name.startswith(_ENTRY)}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def quantities(row: dict[str, Any]) -> dict[str, int]:
    """What the event said, under its own names; zeros left out."""
    names = [name for name in row if name.endswith(_TOKENS) and not name.startswith(_ENTRY)]
    said = {name: row[name] for name in (*names, *COUNTED) if row.get(name)}
    if row.get("reported_cost_picos") is not None:
        said["reported_cost_picos"] = row["reported_cost_picos"]
    return said | dict(row["extra_quantities"] or {})


def arithmetic(entry: dict[str, Any], billing_currency: str | None) -> str:
    """The calculation of one entry in a line, from consumed quantity to contracted cost."""
    cost = f"{_number(entry['contracted_cost'])} {billing_currency or ''}".rstrip()
    if entry.get("billed_cost") not in (None, entry["contracted_cost"]):  # what a close covers, credits or raises
        return f"billed {_number(entry['billed_cost'])} {billing_currency or ''}".rstrip()
    pricing_currency = entry.get("pricing_currency") or billing_currency
    if entry.get("fx_rate") and entry.get("pricing_cost") is not None:
        priced = f"{_number(entry['pricing_cost'])} {pricing_currency}"
        cost = f"{priced} x {_number(entry['fx_rate'])} = {cost}"
    if not entry["pricing_unit"]:
        return cost
    measured = f"{_number(entry['consumed_quantity'])} {entry['consumed_unit']}"
    units = f"{_number(entry['pricing_quantity'])} x {entry['pricing_unit']}"
    return f"{measured} = {units}, at {_number(entry['contracted_unit_price'])} = {cost}"


def told(explained: dict[str, Any]) -> Iterator[str]:
    """The lines for people."""
    event = explained["event"]
    model = event["response_model"] or event["request_model"]
    yield f"event {event['event_id']} of {event['source']}, account {event['billing_account_id']}"
    called = f"{event['provider_name']} {model} {event['operation_name']}, {event['status']}"
    yield f"  {to_text(event['event_time'])}  {called}"
    if event["amends_event_id"]:
        yield f"  {event['event_kind']} of {event['amends_event_id']}"
    said = ", ".join(f"{name} {value}" for name, value in explained["quantities"].items())
    yield f"  measured: {said or 'nothing'} ({explained['token_convention']})"
    if event["sample_weight"] != 1:
        yield f"  sampled: stands for {event['sample_weight']} of its kind"
    if explained["outcome"] != "CHARGED":
        yield f"  {explained['outcome']}: {explained['reason']}"
    for entry in explained["entries"]:
        yield from _entry_told(entry)
    if explained["billed_cost"] is not None:
        contracted, billed = plain(explained["contracted_cost"]), plain(explained["billed_cost"])
        variance = explained["cost_variance"]
        error = f" ± {plain(round(variance.sqrt(), 12))}" if variance else ""
        yield f"  contracted {contracted}, billed {billed}{error} {explained['billing_currency'] or ''}".rstrip()
    found = {"EXACT": "by its name", "ALIAS": "by an alias", "PREFIX": "by a prefix", "NONE": "by no card"}
    how = found.get(explained["match_kind"], explained["match_kind"])
    facts = explained["governance_sequence"]
    yield f"  the model was found {how}; record {explained['coordinate']}; facts up to {facts}"


def _entry_told(entry: dict[str, Any]) -> Iterator[str]:
    below = " " * 37
    yield f"  {entry['entry_kind']:<12} {entry['leaf'] or '':<22} {entry['arithmetic']}"
    if entry["sku_price_id"]:
        card = f"{entry['rate_card_id']}@{entry['rate_card_version']}"
        differs = entry["list_unit_price"] != entry["contracted_unit_price"]
        listed = f", list price {_number(entry['list_unit_price'])}" if differs else ""
        yield f"{below} {entry['sku_price_id']} of {card}{listed}"
    for name in _SELDOM:
        value = entry.get(name)
        if value:
            yield f"{below} {name}: {value if isinstance(value, str | bool) else to_text(value)}"


def _number(value: Decimal | None) -> str:
    return "-" if value is None else plain(value)
