"""Random cards, accounts, exchange rates and events that reach every rule of rating; one seed is one case."""

import random
from typing import Any

from tests.support.rating import card, event, millionths, sku

Document = dict[str, Any]
ACCOUNTS = ("acme", "bolt", "cord")
PROJECTS = (None, "a", "b", "é")
TIERS = ("standard", "batch", "priority", "flex")
STATUSES = ("OK", "OK", "OK", "OK", "ERROR", "CANCELLED", "PARTIAL")
_LEAVES = ("input", "cache_read_input", "cache_write_input", "cache_write_1h_input", "input_audio", "input_image",
           "cache_read_audio", "output", "reasoning_output", "output_audio", "output_image")  # fmt: skip

_DAYS = tuple(f"{day}T00:00:00Z" for day in ("05-01", "05-20", "06-01", "06-09", "06-15", "06-20", "07-01", "08-01"))


class RandomRating:
    """One case: `cards`, `accounts`, `fx`, `events`. Times lie in May to July 2026, most of them in June.

    With `closes` it has more of what a close reads: several closes, accounts that change within a period, fees in
    blocks and with discounts, many subscriptions, terms and grants.
    """

    def __init__(self, seed: int, events: int = 60, *, closes: bool = False) -> None:
        self._chance = random.Random(seed)
        self._closes = closes
        self.cards = self._cards()
        self.accounts = self._accounts() if self._maybe(0.8) else None
        self.fx = self._fx() if self._maybe(0.8) else None
        self.events = self._events(events)

    def _maybe(self, share: float) -> bool:
        return self._chance.random() < share

    def _one(self, *choices: Any) -> Any:
        return self._chance.choice(choices)

    def _number(self, most: int, decimals: int = 3) -> str:
        count = self._chance.randint(0, most * 10**decimals)
        return f"{count // 10**decimals}.{count % 10**decimals:0{decimals}d}" if decimals else str(count)

    def _time(self, first: str | None = None) -> str:
        if first is not None:
            return first
        day = self._one("05-31", "06-01", "06-30", "07-01", *(f"06-{each:02d}" for each in range(1, 31)))
        clock = self._one(
            "00:00:00", "23:59:59", f"{self._chance.randint(0, 23):02d}:{self._chance.randint(0, 59):02d}:07"
        )
        return f"2026-{day}T{clock}{self._one('', '', '.000001')}Z"

    # Cards

    def _cards(self) -> list[Document]:
        found = [self._card("list", "default")]
        if self._maybe(0.5):  # a new version in June: accumulating rates wait for July
            start = self._one("2026-06-01T00:00:00Z", "2026-06-11T06:00:00Z", "2026-07-01T00:00:00Z")
            found.append(self._next_version(found[0], start))
        if self._maybe(0.4):
            found.append(self._card("group", {"group": self._one("near", "far")}, part=True))
        if self._maybe(0.4):
            found.append(self._card("own", {"account": "acme"}, part=True))
        if self._maybe(0.4):
            found.append(self._card("contract", {"contract": "C"}, part=True))
        if self._maybe(0.3):
            found.append(self._next_version(found[0], "2026-01-01T00:00:00Z") | {
                "version": 9, "supersedes": None, "correction": True})  # fmt: skip
        return found

    def _card(self, name: str, scope: Any, *, part: bool = False) -> Document:
        skus = [*self._token_skus(), *self._metered(), *self._fees()]
        if part:
            skus = [each for each in skus if self._maybe(0.5)]
        start = (
            self._one("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-06-05T00:00:00Z")
            if part
            else "2026-01-01T00:00:00Z"
        )
        end = self._one(None, None, "2026-06-21T00:00:00Z") if part else None
        aliases = [] if part else [{"provider_name": "p", "alias": "nickname", "model": "m"}]
        policy = {status: self._policy() for status in ("ERROR", "CANCELLED", "PARTIAL") if self._maybe(0.4)}
        currency = self._one("USD", "USD", "USD", "EUR") if part else "USD"
        return card(*skus, id=name, scope=scope, currency=currency, effective_from=start, effective_to=end,
                    aliases=aliases, status_policy=policy)  # fmt: skip

    def _next_version(self, before: Document, start: str) -> Document:
        skus = []
        for each in before["skus"]:
            changed = dict(each)
            for name in ("unit_price", "amount", "package_price", "multiplier"):
                if name in changed and self._maybe(0.5):
                    changed[name] = self._number(9)
            if "tiers" in changed and self._maybe(0.5):
                changed["tiers"] = self._tiers(percent="rate_percent" in changed["tiers"][0])
            skus.append(changed)
        return before | {"version": 2, "supersedes": 1, "effective_from": start, "skus": skus}

    def _policy(self) -> Any:
        return self._one("bill_full", "bill_zero", {"amortise": "failures"})

    def _token_skus(self) -> list[Document]:
        leaves = ["input", "output"]
        if self._maybe(0.7):
            leaves += ["cache_read_input", "input_audio", "cache_read_audio"]
        leaves += [leaf for leaf in ("cache_write_input", "reasoning_output", "output_image") if self._maybe(0.4)]
        skus = []
        for leaf in leaves:
            rate = sku("per_unit", pricing_unit="1000000 Tokens", sku_id=f"m/{leaf}", unit_price=self._number(20, 6))
            del rate["quantity"]
            rate["leaf"] = leaf
            skus.append(self._dressed(rate))
            if self._maybe(0.25):
                skus.append(
                    {
                        **rate,
                        "variant": "batch",
                        "unit_price": self._number(9, 6),
                        "match": rate["match"] | {"service_tier": "batch"},
                    }
                )
            rate = dict(rate, sku_id=f"long/{leaf}", charge_model="threshold", base=self._number(9, 6),
                        thresholds=[{"above": 900, "price": self._number(9)}, {"above": 2000, "price": self._number(20)}],
                        match={"provider_name": "p", "model_prefix": self._one("long-", "long-")})  # fmt: skip
            del rate["unit_price"]
            skus.append(rate)
        return skus

    def _tiers(self, *, percent: bool = False, blocks: bool = True) -> list[Document]:
        bounds = sorted({self._chance.randint(1, 300) for _ in range(self._chance.randint(0, 3))})
        name = "rate_percent" if percent else "unit_price"
        rows = [{"up_to": None if bound is None else str(bound), name: self._number(3),
                 "flat_fee": self._one("0", self._number(5))} for bound in (*bounds, None)]  # fmt: skip
        for row in rows:
            if blocks and not percent and self._maybe(0.2):
                row["block_size"] = self._one("3", "2.5", "25")
        return rows

    def _dressed(self, rate: Document, *, volume: bool = False) -> Document:
        """Discounts, limits, windows and modifiers, each with some probability."""
        if self._maybe(0.25):
            rate["discounts"] = [{"percent": self._one("10", "33.3", "100")}] + [{"fixed": "2"}] * self._maybe(0.4)
        if self._maybe(0.15):
            rate["free_units"] = self._number(20)
        if self._maybe(0.15):
            rate["maximum"] = self._number(200)
        if self._maybe(0.15):
            rate["minimum"] = self._number(20) if "maximum" not in rate else "0"
        if self._maybe(0.15):
            rate["round"] = "up"
        if self._maybe(0.25):
            rate["window"] = self._one("day", "hour", "event")
        if self._maybe(0.2):
            rate["scope_by"] = self._one(["project"], ["project", "region"])
        if not volume and self._maybe(0.3):
            rate["modifiers"] = [each for each in (self._table(), self._bands()) if self._maybe(0.6)]
        if self._maybe(0.15):
            rate["status_policy"] = {"ERROR": self._policy()}
        return rate

    def _table(self) -> Document:
        factors = {tier: self._number(2) for tier in TIERS if self._maybe(0.9)}
        return {"attribute": "service_tier", "factors": factors | ({"*": "1"} if self._maybe(0.5) else {})}

    def _bands(self) -> Document:
        bands = [{"weekdays": ["MON", "TUE", "FRI", "SUN"], "from": "22:00", "to": "06:00", "factor": "0.8"},
                 {"weekdays": ["WED", "SAT"], "from": "09:30", "to": "17:00", "factor": self._number(3)}]  # fmt: skip
        return {
            "attribute": "time_band",
            "time_zone": self._one("Europe/Berlin", "America/New_York", "UTC"),
            "bands": bands,
        }

    def _metered(self) -> list[Document]:
        money = ("transaction_amount", "USD")
        models = [
            self._dressed(sku("per_unit", unit_price=self._number(5))),
            self._dressed(sku("graduated", "calls", "Calls", tiers=self._tiers())),
            self._dressed(sku("volume", "images", "Images", tiers=self._tiers()), volume=True),
            self._dressed(sku("package", "pages", "Pages", package_price=self._number(9), package_size=self._one("48", "0.7"),
                              package_round=self._one("up", "down"))),
            self._percentage(),
            self._dressed(sku("graduated_percentage", "fees", "USD", tiers=self._tiers(percent=True))),
            sku("per_unit", "requests", "Requests", unit_price=self._number(1)),
            sku("per_unit", "gpu_ms", "GPU-Hours", unit_price=self._number(5), modifiers=[self._bands()]),
            sku("per_unit", "storage_mib_s", "GB-Months", unit_price=self._number(5)),
            sku("dynamic", "reported_cost", "USD", dynamic=True, price_sources=["gw"], match={"models": ["routed"]}),
            sku("cost_plus", "reported_cost", "USD", multiplier=self._number(2), sku_id="resale", match={"models": ["resold"]}),
        ]  # fmt: skip
        models[4]["quantity"], models[4]["pricing_unit"] = money
        return models

    def _percentage(self) -> Document:
        rate = sku("percentage", "transaction_amount", "USD", rate_percent=self._number(5), fixed=self._number(1))
        for name, value in (
            ("free_events", "2"),
            ("free_amount", "120"),
            ("per_event_min", "0.5"),
            ("per_event_max", "2"),
        ):
            if self._maybe(0.4):
                rate[name] = value
        return self._dressed(rate)

    def _fees(self) -> list[Document]:
        seats: Document = {"sku_id": "seats", "charge_model": "flat", "amount": self._number(90), "pricing_unit": "Seats",
                 "bill_in": self._one("arrears", "advance")}  # fmt: skip
        units: Document = {"sku_id": "licences", "quantity": "recurring_units", "pricing_unit": "Seats"}
        if self._closes:
            seats["discounts"], units["discounts"] = ([{"percent": "12.5"}] * self._maybe(0.3) for _ in range(2))
        priced = self._one(
            {"charge_model": "per_unit", "unit_price": self._number(9)},
            {"charge_model": "graduated", "tiers": self._tiers(blocks=self._closes)},
            {"charge_model": "volume", "tiers": self._tiers(blocks=self._closes)},
        )
        return [seats, units | priced]

    # Accounts

    def _accounts(self) -> Document:
        rows = [
            {"billing_account_id": name, "valid_from": "2026-01-01T00:00:00Z",
             "valid_to": self._one(None, None, "2026-06-23T12:00:00Z"), "group": self._one(None, "near", "far"),
             "billing_currency": self._one(None, "USD", "EUR"), "billing_cycle_day": self._one(1, 1, 20),
             "minimum": self._one(None, None, "75"), "correction_months": 13, "bill_estimates": self._maybe(0.5),
             "fx": self._one({"policy": "event_date"}, {"policy": "fixed", "rates": {"USD": "0.92", "EUR": "1.09"}})}
            for name in ACCOUNTS if self._maybe(0.7)
        ]  # fmt: skip
        if self._closes:
            rows = [part for row in rows for part in self._changed(row)]
        contract = {"contract": "C", "billing_account_id": self._one(*ACCOUNTS), "valid_from": "2026-01-01T00:00:00Z",
                    "valid_to": self._one(None, "2026-06-11T00:00:00Z")}  # fmt: skip
        return {
            "groups": [{"group": "near", "parent": "far"}, {"group": "far", "parent": None}],
            "accounts": rows,
            "contracts": [contract],
            "subscriptions": [self._subscription(at) for at in self._count(3)],
            "commitments": [self._commitment(at) for at in self._count(3)],
            "credits": [self._credit(at) for at in self._count(4)],
        }

    def _count(self, most: int) -> range:
        return range(self._chance.randint(0, most * (1 + self._closes)))

    def _changed(self, row: Document) -> list[Document]:
        """The account as it is, or with other terms from a day within June on, maybe after a gap."""
        if row["valid_to"] is not None or self._maybe(0.5):
            return [row]
        first, second = self._one(
            ("06-12T00:00:00Z", "06-12T00:00:00Z"),
            ("06-12T15:30:00Z", "06-12T15:30:00Z"),
            ("06-08T09:00:00Z", "06-14T00:00:00Z"),
        )
        new = {"minimum": self._one(None, "40"), "billing_currency": self._one(None, "USD", "EUR"),
               "billing_cycle_day": self._one(*[row["billing_cycle_day"]] * 4, 10)}  # fmt: skip
        return [row | {"valid_to": f"2026-{first}"}, row | new | {"valid_from": f"2026-{second}"}]

    def _day(self) -> str:
        return f"2026-{self._one(*_DAYS)}"

    def _changes(self) -> list[Document]:
        """Quantities that are never below 0, several of one day among them."""
        days = sorted(
            self._chance.choices([f"06-{day:02d}T{hour:02d}" for day in (1, 2, 15, 30) for hour in (0, 13)], k=4)
        )
        found, running = [{"at": "2026-05-03T00:00:00Z", "quantity": self._one("4", "0.5", "12")}], 0
        for day in days:
            change = self._chance.randint(-running, 9)
            running += change
            found.append({"at": f"2026-{day}:00:00Z", "quantity": str(change)})
        return found

    def _subscription(self, at: int) -> Document:
        changes = [{"at": "2026-05-03T00:00:00Z", "quantity": "4"}, {"at": "2026-06-12T09:00:00Z", "quantity": "3"},
                   {"at": "2026-06-20T00:00:00Z", "quantity": "-5"}]  # fmt: skip
        if self._closes and self._maybe(0.5):
            changes = self._changes()
        return {"subscription_id": f"S{at}", "billing_account_id": self._one(*ACCOUNTS),
                "sku_id": self._one("seats", "licences"), "changes": changes[: self._chance.randint(1, len(changes))]}  # fmt: skip

    def _commitment(self, at: int) -> Document:
        start, end = self._one(("06-01", "07-01"), ("06-19", "07-01"), ("05-01", "08-01"))
        found = {"commitment_id": f"K{at}", "billing_account_id": self._one(*ACCOUNTS), "amount": self._number(300),
                "currency": self._one("USD", "EUR"), "overage_factor": self._one("1", "1.25", "1.1"),
                "paid_up_front": self._maybe(0.3), "from": f"2026-{start}T00:00:00Z", "to": f"2026-{end}T00:00:00Z",
                "sku_ids": self._one(["*"], ["calls", "units"]), "priority": str(self._chance.randint(1, 2))}  # fmt: skip
        if self._closes and self._maybe(0.5):
            first, last = self._chance.sample(["05-20", "06-01", "06-09", "06-20", "07-01", "07-20"], 2)
            found |= {"from": f"2026-{min(first, last)}T00:00:00Z", "to": f"2026-{max(first, last)}T00:00:00Z"}
        return found

    def _credit(self, at: int) -> Document:
        found = {"grant_id": f"G{at}", "billing_account_id": self._one(*ACCOUNTS), "kind": self._one("granted", "prepaid"),
                "amount": self._number(80), "currency": self._one("USD", "EUR"), "priority": str(self._chance.randint(0, 1)),
                "sku_ids": self._one(["*"], ["calls", "seats"]), "effective_at": "2026-01-01T00:00:00Z",
                "expires_at": self._one(None, "2026-06-15T00:00:00Z", "2026-07-01T00:00:00Z"),
                "covers_minimum": self._maybe(0.3)}  # fmt: skip
        if self._closes and self._maybe(0.5):
            start = self._day()
            ends = [each for each in (*_DAYS, "06-12T10:30:00Z") if f"2026-{each}" > start]
            found |= {"effective_at": start, "expires_at": self._one(None, *(f"2026-{each}" for each in ends))}
        return found

    def _fx(self) -> list[Document]:
        pairs = [("USD", "EUR"), ("EUR", "USD")]
        return [{"date": f"2026-{day}", "from_currency": one, "to_currency": other, "rate": self._number(2, 6), "source": "x"}
                for day in ("05-28", "06-01", "06-07", "06-13", "06-19", "06-25", "06-30") for one, other in pairs]  # fmt: skip

    # Events

    def _events(self, count: int) -> list[Any]:
        found: list[Any] = []
        for at in range(count):
            made = self._chance.random()
            if made < 0.06 and found:
                found.append(self._repeat(found))
            elif made < 0.2:
                found.append(self._about(at, found))
            elif made < 0.22 or (self._closes and made > 0.94):
                found.append(self._control(at))
            elif made < 0.24:
                found.append(self._one(None, {"event_id": "x"}, self._usage(at) | {"sample_weight": 0}))
            else:
                found.append(self._usage(at))
        return found

    def _repeat(self, found: list[Any]) -> Any:
        before = self._one(*found)
        return before | {"team": "other"} if before is not None and self._maybe(0.3) else before

    def _about(self, at: int, found: list[Any]) -> Document:
        """A cancel, amend or re-rating of an earlier event, or of one that is still to come."""
        named = [each for each in found if each is not None and "source" in each]
        target = self._one(*named) if named and self._maybe(0.8) else self._usage(at + self._chance.randint(1, 9))
        kind = self._one("CANCEL", "CANCEL", "AMEND", "RERATE")
        usage = self._usage(at)
        return usage | {"event_id": f"{kind}-{at}", "source": target["source"], "event_kind": kind,
                        "amends_event_id": target["event_id"], "billing_account_id": target["billing_account_id"]}  # fmt: skip

    def _control(self, at: int) -> Document:
        return event(f"close-{at}", source="chargeline", event_kind="PERIOD_CLOSE", event_time=self._time(),
                     billing_account_id=self._one(*ACCOUNTS), requests=0)  # fmt: skip

    def _usage(self, at: int) -> Document:
        found = event(f"e{at}", event_time=self._time(), billing_account_id=self._one("acme", "acme", *ACCOUNTS),
                      source=self._one("gw", "gw", "gw", "other"), project=self._one(*PROJECTS),
                      region=self._one(None, "eu"), service_tier=self._one(None, *TIERS), status=self._one(*STATUSES),
                      sample_weight=self._one(1, 1, 1, 1, 5))  # fmt: skip
        found["request_model"] = self._one("m", "m", "m", "nickname", "long-1", "routed", "resold", "unknown")
        if self._maybe(0.1):
            found["response_model"] = "m"
        if found["request_model"] in ("routed", "resold"):
            return found | {
                "reported_cost_picos": self._chance.randint(0, 10**13),
                "reported_cost_currency": self._one(None, "USD", "EUR"),
            }
        if self._maybe(0.5):
            found |= self._tokens()
        if self._maybe(0.15):
            end = f"{found['event_time'][:10]}T23:59:59.999999Z"
            found |= {
                "charge_period_end": self._one(*[end] * 9, "2026-07-02T03:00:00Z"),
                "gpu_ms": self._chance.randint(0, 10**8),
            }
        if self._maybe(0.1):
            found["storage_mib_s"] = self._chance.randint(0, 10**11)
        names = [
            name
            for name in ("units", "calls", "images", "pages", "transaction_amount", "fees", "unpriced")
            if self._maybe(0.2)
        ]
        return found | {"extra_quantities": {name: millionths(self._number(150, 6)) for name in names}}

    def _tokens(self) -> Document:
        if self._maybe(0.6):
            leaves = [leaf for leaf in _LEAVES if self._maybe(0.4)]
            return {f"{leaf}_tokens": self._chance.randint(0, 3000) for leaf in leaves}
        return {"token_convention": "INCLUSIVE", "input_tokens": self._chance.randint(300, 3000), "cache_read_input_tokens": 200,
                "cache_read_audio_tokens": self._one(0, 50), "input_audio_tokens": 60, "output_tokens": 500,
                "reasoning_output_tokens": self._chance.randint(300, 530)}  # fmt: skip
