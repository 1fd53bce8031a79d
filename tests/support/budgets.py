"""Builders of panes, budgets and alerts for tests."""

from decimal import Decimal
from typing import Any

import pyarrow as pa

from chargeline.domain.alerts.alert import Alert
from chargeline.domain.budgets import state as budget_state
from chargeline.domain.budgets.budget import Scope, budget_of
from chargeline.wire._arrow import COST_ROLLUP
from chargeline.wire._generated import COST_ANOMALY_SCHEMA
from chargeline.wire.cost_anomalies import AnomalyDecoder, encode_budget_alert

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
JUNE_1 = 1_780_272_000_000_000  # 2026-06-01T00:00:00Z, a Monday
SCHEMA_ID = 7


def pane(unit, index, cost, at=JUNE_1, *, account="acme", team="search", currency="USD", partition=0, **names):
    """One row of cost-rollups; `cost` as text or Decimal."""
    row = dict.fromkeys(COST_ROLLUP.names)
    row |= {
        "billing_account_id": account,
        "team": team,
        "request_model": "m",
        "billing_currency": currency,
        "window_start": at,
        "window_end": at + MINUTE_US,
        "pane": "EARLY",
        "billed_cost": Decimal(cost),
        "list_cost": Decimal(cost),
        "consumed_quantity": Decimal(0),
        "event_count": 1,
        "error_count": 0,
        "unrated_count": 0,
        "source_partition": partition,
        "unit_end_offset": unit,
        "pane_index": index,
    }
    return row | names


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=COST_ROLLUP)


def budget(limit="100", *, account="acme", team=None, project=None, experiment=None, period="monthly",
           currency="USD", soft=("80%",), hard="100%"):  # fmt: skip
    return budget_of(Scope(account, team, project, experiment), period, limit, currency, soft, hard)


def standing(terms, spend, now, weights=None) -> Any:
    """Where a budget stands."""
    return budget_state.standing(terms, spend, now, weights)


def alert(**changed):
    fields: dict[str, Any] = {
        "anomaly_id": "a1",
        "sequence": 1,
        "state": "OPEN",
        "kind": "BUDGET_BURN",
        "severity": "HIGH",
        "billing_account_id": "acme",
        "dimensions": (("team", "search"),),
        "what": "the monthly budget is exceeded",
        "unit": "USD",
        "actual": Decimal("412.5"),
        "expected": Decimal(100),
        "since": JUNE_1,
        "at": JUNE_1 + HOUR_US,
        "explanation": "because",
    }
    return Alert(**(fields | changed))


def record_of(found):
    """The value of an alert in cost-anomalies."""
    return encode_budget_alert(found, 0, SCHEMA_ID)


def read(value):
    """The alert of a value."""
    return AnomalyDecoder(lambda number: COST_ANOMALY_SCHEMA if number == SCHEMA_ID else None).decode(value)
