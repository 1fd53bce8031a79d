"""Why an incident happened: its newest update, and what only the charges tell: intents, labels, single events.

Those are asked of ClickHouse, over the incident's own time, and compared with the time before it: twelve times as long,
at most a day, at least as long as the incident. While ClickHouse is away, or does not answer in time, they are left out
(null), and that is said.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from rich.console import Console

from chargeline.cli.common import moment, print_rows
from chargeline.cli.incidents import rows_of, scope_text
from chargeline.cli.publishing import stderr
from chargeline.domain.alerts.text import amount
from chargeline.domain.anomaly.contribution import Amount, contributors, money, scaled
from chargeline.domain.anomaly.panes import DIMENSIONS
from chargeline.domain.errors import TransientError
from chargeline.runtime.stack import Stack
from chargeline.wire.anomaly_records import micros

_DAY_US = 86_400_000_000
_SHOWN, _VALUES_MAX = 10, 1_000
_OF_SCOPE = (
    "source_partition = {p:Int32} AND billing_account_id = {account:String} AND billing_currency = {unit:String}"
)
_CHARGES = """
SELECT source_partition, source_offset, event_time, event_id, request_model, feature, user_intent, billed_cost
FROM charges WHERE ({units}) AND event_time >= {{first:DateTime64(6, 'UTC')}}
AND event_time < {{last:DateTime64(6, 'UTC')}} AND {scope} ORDER BY billed_cost DESC, source_offset LIMIT 5
"""
# Every event counts under its intent, under each of its labels, and in the whole (no name).
_BY_VALUE = """
SELECT pair.1 AS dimension, pair.2 AS value,
    sumIf(cost, is_now) AS now_cost, countIf(is_now) AS now_events,
    sumIf(cost, NOT is_now) AS then_cost, countIf(NOT is_now) AS then_events
FROM
(
    SELECT ifNull(billed_cost, toDecimal128(0, 12)) AS cost, event_time >= {{first:DateTime64(6, 'UTC')}} AS is_now,
        arrayJoin(arrayConcat(
        [('', ''), ('user_intent', ifNull(toString(user_intent), ''))],
        arrayMap((name, text) -> (concat('label ', name), text), mapKeys(labels), mapValues(labels)))) AS pair
    FROM charges WHERE event_time >= {{before:DateTime64(6, 'UTC')}} AND event_time < {{last:DateTime64(6, 'UTC')}}
    AND {scope}
)
GROUP BY dimension, value ORDER BY dimension = '' DESC, abs(now_cost - then_cost) DESC LIMIT {most}
"""


def explained(stack: Stack, found: dict[str, Any], answer_s: int, *, is_stored: bool) -> dict[str, Any]:
    """The incident with `charges` (sample events) and `charge_contributors`; both null without ClickHouse."""
    if is_stored:
        try:
            causes, largest = _by_value(stack, found, answer_s), _charges(stack, found, answer_s)
            return found | {"charge_contributors": causes, "charges": largest}
        except TransientError:
            stderr().print(f"[yellow]ClickHouse does not answer[/yellow] (within {answer_s} s: --clickhouse-timeout)")
    stderr().print("left out: intents, labels and single charges, which only ClickHouse tells")
    return found | {"charge_contributors": None, "charges": None}


def print_explained(found: Mapping[str, Any]) -> None:
    """For people; money is rounded, `--json` has it exact."""
    console = Console(highlight=False, soft_wrap=True)
    unit = found["billing_currency"]
    change = found["actual_cost"] - found["reference_cost"]
    console.print(f"[bold]{found['severity']} {found['kind']}[/bold] {scope_text(found)} ({found['status']})")
    console.print(f"when   {found['window_start']:%Y-%m-%d %H:%M:%S} to {found['window_end']:%Y-%m-%d %H:%M:%S} UTC")
    console.print(f"spent  {amount(found['actual_cost'])} {unit}, expected about {amount(found['expected_cost'])}; "
                  f"impact {amount(found['impact'])}")  # fmt: skip
    console.print(f"why    {amount(change)} more than in as many usual windows ({amount(found['reference_cost'])}):\n"
                  f"       volume {amount(found['volume_effect'])}, price {amount(found['price_effect'])}, "
                  f"mix {amount(found['mix_effect'])}")  # fmt: skip
    for reason in found["reasons"]:
        console.print(f"seen   {reason}", markup=False)
    found_causes = [*found["contributors"], *(found["charge_contributors"] or ())]
    if found_causes:
        print_rows([_cause(each) for each in found_causes], "contributors", whole=("spent", "usual", "more"))
    if found["charges"]:
        print_rows([_event(each) for each in found["charges"]], "largest charges", whole=("place", "cost"))


def _scope(found: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A condition on charges, and its parameters."""
    given = {
        "p": found["source_partition"],
        "account": found["billing_account_id"],
        "unit": found["billing_currency"],
        "first": moment(micros(found["window_start"])),
        "last": moment(micros(found["window_end"])),
    }
    condition = _OF_SCOPE
    for name, value in found["dimensions"].items():
        if name in DIMENSIONS:
            condition += f" AND {name} = {{d_{name}:String}}"
            given[f"d_{name}"] = value
    return condition, given


def _charges(stack: Stack, found: Mapping[str, Any], answer_s: int) -> list[dict[str, Any]]:
    """The largest charges of the sample units, with their coordinates."""
    if not found["samples"]:
        return []
    scope, given = _scope(found)
    units = " OR ".join(
        f"(source_offset >= {int(unit['unit_start'])} AND source_offset < {int(unit['unit_end'])})"
        for unit in found["samples"]
    )
    return rows_of(stack, _CHARGES.format(units=units, scope=scope), given, answer_s)


def _by_value(stack: Stack, found: Mapping[str, Any], answer_s: int) -> list[dict[str, Any]]:
    """What intents and labels brought to the change, the largest first."""
    scope, given = _scope(found)
    length = micros(found["window_end"]) - micros(found["window_start"])
    past = max(length, min(12 * length, _DAY_US))
    given["before"] = moment(micros(found["window_start"]) - past)
    now: dict[str, dict[str, Amount]] = {}
    then: dict[str, dict[str, Amount]] = {}
    for row in rows_of(stack, _BY_VALUE.format(scope=scope, most=_VALUES_MAX), given, answer_s):
        for side, name in ((now, "now"), (then, "then")):
            side.setdefault(row["dimension"], {})[row["value"]] = Amount(
                int(Fraction(row[f"{name}_cost"]) * 10**12), row[f"{name}_events"]
            )
    for side in (now, then):
        whole = side.pop("", {}).get("", Amount(0, 0))
        for values in side.values():
            _with_rest(values, whole)
    usual = {name: scaled(values, length, past) for name, values in then.items()}
    return [
        {
            "dimension": each.dimension,
            "value": each.value,
            "actual_cost": money(each.actual),
            "reference_cost": money(each.reference),
        }
        for each in contributors(now, usual, _SHOWN)
    ]


def _with_rest(values: dict[str, Amount], whole: Amount) -> None:
    """Add what has none of the values: a label of a few events is told from the rest."""
    picos = whole.picos - sum(each.picos for each in values.values())
    events = whole.events - sum(each.events for each in values.values())
    if picos or events:
        before = values.get("", Amount(0, 0))
        values[""] = Amount(before.picos + picos, before.events + events)


def _cause(each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "what": f"{each['dimension']}={each['value']}",
        "spent": amount(each["actual_cost"]),
        "usual": amount(each["reference_cost"]),
        "more": amount(each["actual_cost"] - each["reference_cost"]),
    }


def _event(each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "place": f"{each['source_partition']}/{each['source_offset']}",
        "event_id": each["event_id"],
        "event_time": f"{each['event_time']:%m-%d %H:%M:%S}",
        "model": each["request_model"],
        "feature": each["feature"],
        "cost": amount(each["billed_cost"]),
    }
