"""The canonical text of accounts: keys sorted, numbers as plain text, defaults left out. Equal facts, equal texts.

Source: spec/formats.md, section 4.
"""

import json
from decimal import Decimal
from typing import Any

from chargeline.domain.accounts import Account, Accounts, Commitment, Credit, Subscription
from chargeline.domain.money import plain
from chargeline.domain.rates.card import instant


def accounts_to_json(accounts: Accounts) -> str:
    """The canonical text; rows stand in the order of the document."""
    document = {
        "groups": [_given({"group": each.group, "parent": each.parent}) for each in accounts.groups],
        "accounts": [_account(each) for each in accounts.accounts],
        "contracts": [
            _given(
                {
                    "contract": each.contract,
                    "billing_account_id": each.billing_account_id,
                    "valid_from": instant(each.valid_from),
                    "valid_to": _instant(each.valid_to),
                }
            )
            for each in accounts.contracts
        ],
        "subscriptions": [_subscription(each) for each in accounts.subscriptions],
        "commitments": [_commitment(each) for each in accounts.commitments],
        "credits": [_credit(each) for each in accounts.credits],
    }
    return json.dumps(_given(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _account(row: Account) -> dict[str, Any]:
    fixed = {"policy": "fixed", "rates": {currency: plain(rate) for currency, rate in row.fx.rates}}
    return _given(
        {
            "billing_account_id": row.billing_account_id,
            "valid_from": instant(row.valid_from),
            "valid_to": _instant(row.valid_to),
            "group": row.group,
            "billing_currency": row.billing_currency,
            "billing_cycle_day": None if row.billing_cycle_day == 1 else str(row.billing_cycle_day),
            "minimum": _number(row.minimum),
            "correction_months": None if row.correction_months == 13 else str(row.correction_months),
            "bill_estimates": row.bill_estimates or None,
            "fx": fixed if row.fx.kind == "fixed" else None,
        }
    )


def _subscription(row: Subscription) -> dict[str, Any]:
    changes = [{"at": instant(each.at), "quantity": plain(each.quantity)} for each in row.changes]
    return {
        "subscription_id": row.subscription_id,
        "billing_account_id": row.billing_account_id,
        "sku_id": row.sku_id,
        "changes": changes,
    }


def _commitment(row: Commitment) -> dict[str, Any]:
    return _given(
        {
            "commitment_id": row.commitment_id,
            "billing_account_id": row.billing_account_id,
            "amount": plain(row.amount),
            "currency": row.currency,
            "from": instant(row.start),
            "to": instant(row.end),
            "overage_factor": None if row.overage_factor == 1 else plain(row.overage_factor),
            "paid_up_front": row.paid_up_front or None,
            "sku_ids": _skus(row.sku_ids),
            "priority": str(row.priority) if row.priority else None,
        }
    )


def _credit(row: Credit) -> dict[str, Any]:
    return _given(
        {
            "grant_id": row.grant_id,
            "billing_account_id": row.billing_account_id,
            "kind": row.kind,
            "amount": plain(row.amount),
            "currency": row.currency,
            "effective_at": instant(row.effective_at),
            "expires_at": _instant(row.expires_at),
            "sku_ids": _skus(row.sku_ids),
            "priority": str(row.priority) if row.priority else None,
            "covers_minimum": row.covers_minimum or None,
        }
    )


def _skus(sku_ids: tuple[str, ...]) -> list[str] | None:
    return None if sku_ids == ("*",) else list(sku_ids)


def _instant(micros: int | None) -> str | None:
    return None if micros is None else instant(micros)


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _given(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in (None, [], {})}
