"""Accounts that have promised, been given and subscribed to something, so that their closes book all that a close can."""

import json

CARDS = ("""
id: fees
version: 1
currency: USD
effective_from: 2023-01-01T00:00:00Z
scope: default
skus:
  - {sku_id: seats, charge_model: flat, amount: "3.1", pricing_unit: Seats}
  - {sku_id: desks, quantity: recurring_units, charge_model: graduated, pricing_unit: Desks,
     tiers: [{up_to: 2, unit_price: "1.5", flat_fee: "0.5"}, {up_to: null, unit_price: "1"}]}
""", """
id: agreed
version: 1
currency: USD
effective_from: 2023-01-01T00:00:00Z
scope: {contract: C}
skus:
  - {sku_id: support, charge_model: flat, amount: "7", pricing_unit: Months, bill_in: advance}
  - {sku_id: searches, match: {provider_name: openai, models: [gpt-4o, gpt-4o-mini]}, quantity: web_searches,
     charge_model: graduated, tiers: [{up_to: 5, unit_price: "0.6", flat_fee: 2}, {up_to: null, unit_price: "0.2"}],
     minimum: 4, pricing_unit: Searches}
  - {sku_id: odd, match: {provider_name: openai, models: [gpt-4o, gpt-4o-mini]}, quantity: odd, window: event,
     charge_model: volume, tiers: [{up_to: "0.00001", unit_price: "5"}, {up_to: null, unit_price: "3"}], minimum: 1,
     status_policy: {ERROR: bill_zero}, pricing_unit: Odds}
""")  # fmt: skip
_START, _BETWEEN, _END = "2023-10-01T00:00:00Z", "2023-11-01T00:00:00Z", "2023-12-01T00:00:00Z"


def terms_of(accounts, *, later=False):
    """An accounts document; `later`: the next one, by which grants give more and minimums are other ones."""
    names = list(dict.fromkeys(accounts))
    return json.dumps(
        {
            "accounts": [
                {"billing_account_id": name, "valid_from": "2023-01-01T00:00:00Z", "minimum": "31" if later else "25"}
                for name in names[::2]
            ],
            "contracts": [
                {"contract": "C", "billing_account_id": names[0], "valid_from": "2023-01-01T00:00:00Z"},
            ],
            "subscriptions": [
                {"subscription_id": f"S-{sku}-{name}", "billing_account_id": name, "sku_id": sku,
                 "changes": [{"at": _START, "quantity": "2"}, {"at": "2023-11-09T00:00:00Z", "quantity": "1.5"}]}
                for name in names for sku in ("seats", "desks")
            ],
            "commitments": [
                {"commitment_id": f"K{number}-{name}", "billing_account_id": name, "amount": amount, "currency": "USD",
                 "overage_factor": "1.25", "paid_up_front": number == 1, "from": start, "to": end, "priority": number,
                 "sku_ids": ["*"]}
                for name in names
                for number, (amount, start, end) in enumerate((("4", _START, _BETWEEN), ("9", _START, _END)))
            ],
            "credits": [
                {"grant_id": f"G{number}-{name}", "billing_account_id": name, "kind": kind, "currency": "USD",
                 "amount": "12" if later else "5", "priority": number, "sku_ids": ["*"], "effective_at": _START,
                 "expires_at": expires, "covers_minimum": number == 1}
                for name in names
                for number, (kind, expires) in enumerate((("granted", _BETWEEN), ("prepaid", None)))
            ],
        }
    )  # fmt: skip
