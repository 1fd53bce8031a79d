"""Reading what surrounds a charge model: discounts, modifiers, status policies.

Source: spec/rating.md, sections 3, 5 and 10; spec/formats.md, section 2.
"""

import re
from decimal import Decimal
from typing import Literal, cast

from chargeline.domain.documents import Place
from chargeline.domain.fields import AMOUNT, FACTOR, Fields
from chargeline.domain.money import plain
from chargeline.domain.rates.card import Discount, FactorTable, Modifier, StatusRule, TimeBand, TimeBands
from chargeline.domain.rates.card_format import MODIFIER_ATTRIBUTES, POLICIES, STATUSES, TIME_BAND, WEEKDAYS
from chargeline.domain.time_zones import is_time_zone

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")
_DAY, _WEEK = 1440, 7 * 1440  # minutes


def read_discounts(fields: Fields, document: Place) -> tuple[Discount, ...]:
    """The discounts of a SKU, in their order (which does not matter)."""
    found = []
    for each in fields.places(document, "discounts"):
        fields.keys(each, frozenset({"percent", "fixed"}), ())
        given = [key for key in ("percent", "fixed") if each.get(key) is not None]
        if len(given) != 1:
            fields.fault(each, "percent", "BAD_VALUE", "a discount is {percent: …} or {fixed: …}")
            continue
        kind = cast("Literal['percent', 'fixed']", given[0])
        value = fields.exact(each, kind, FACTOR if kind == "percent" else AMOUNT)
        if kind == "percent" and value is not None and value > 100:
            fields.fault(each, kind, "DISCOUNT_ABOVE_100", f"a discount of {plain(value)}% would pay the customer")
        found.append(Discount(kind, value or Decimal(0)))
    return tuple(found)


def read_modifiers(fields: Fields, document: Place) -> tuple[Modifier, ...]:
    """The modifiers of a SKU, sorted by attribute; one for an attribute."""
    found: dict[str, Modifier] = {}
    for each in fields.places(document, "modifiers"):
        attribute = fields.choice(each, "attribute", (*MODIFIER_ATTRIBUTES, TIME_BAND))
        bands = attribute == TIME_BAND
        modifier = _time_bands(fields, each) if bands else _factors(fields, each, attribute or "")
        if attribute in found:
            fields.fault(each, "attribute", "BAD_VALUE", f"{attribute} has two modifiers")
        if attribute is not None and modifier is not None:
            found[attribute] = modifier
    return tuple(found[attribute] for attribute in sorted(found))


def _factors(fields: Fields, modifier: Place, attribute: str) -> FactorTable | None:
    fields.keys(modifier, frozenset({"attribute", "factors"}), ("attribute", "factors"))
    factors = modifier.get("factors")
    if factors is None:
        return None
    if not isinstance(factors, Place) or not factors:
        fields.fault(modifier, "factors", "BAD_VALUE", "factors is a mapping of values to factors")
        return None
    read = [(value, fields.exact(factors, value, FACTOR, required=True)) for value in sorted(factors)]
    return FactorTable(attribute, tuple((value, factor) for value, factor in read if factor is not None))


def _time_bands(fields: Fields, modifier: Place) -> TimeBands | None:
    keys = ("attribute", "time_zone", "bands")
    fields.keys(modifier, frozenset(keys), keys)
    zone = fields.text(modifier, "time_zone")
    if zone is not None and not is_time_zone(zone):
        fields.fault(modifier, "time_zone", "UNKNOWN_TIME_ZONE", f"{zone} is no time zone of the IANA data")
    if modifier.get("bands") == []:
        fields.fault(modifier, "bands", "BAD_VALUE", "bands has at least one band")
    bands: list[TimeBand] = []
    for each in fields.places(modifier, "bands"):
        band = _band(fields, each)
        if band is None:
            continue
        if any(_meet(band, other) for other in bands):
            fields.fault(each, "from", "BANDS_OVERLAP", "the band overlaps one before it")
        bands.append(band)
    return None if zone is None else TimeBands(zone, tuple(bands))


def _band(fields: Fields, place: Place) -> TimeBand | None:
    keys = ("weekdays", "from", "to", "factor")
    fields.keys(place, frozenset(keys), keys)
    start, end = _minutes(fields, place, "from"), _minutes(fields, place, "to")
    factor = fields.exact(place, "factor", FACTOR)
    days: tuple[str, ...] = ()
    if place.get("weekdays") is not None:
        days = fields.values(place, "weekdays")
        for day in days:
            if day not in WEEKDAYS:
                fields.fault(place, "weekdays", "BAD_VALUE", f"{day} is none of {', '.join(WEEKDAYS)}")
    if start is not None and start in {end, _DAY}:
        fields.fault(place, "to", "BAD_VALUE", "a band is not empty; a whole day is from 00:00 to 24:00")
    if start is None or end is None or factor is None:
        return None
    return TimeBand(tuple(sorted(WEEKDAYS.index(day) for day in days if day in WEEKDAYS)), start, end, factor)


def _minutes(fields: Fields, place: Place, key: str) -> int | None:
    value = place.get(key)
    if value is None:
        return None
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        fields.fault(place, key, "BAD_TIME", f"{key} must be a local time such as 22:00")
        return None
    hour, minute = value.split(":")
    return int(hour) * 60 + int(minute)


def _meet(one: TimeBand, two: TimeBand) -> bool:
    """Whether some minute of the week lies in both."""
    return any(
        (start - other) % _WEEK < other_length or (other - start) % _WEEK < length
        for start, length in _spans(one)
        for other, other_length in _spans(two)
    )


def _spans(band: TimeBand) -> list[tuple[int, int]]:
    """(first minute of the week, minutes) for each weekday of a band; past midnight goes on into the next day."""
    length = band.end - band.start if band.end > band.start else band.end - band.start + _DAY
    return [(day * _DAY + band.start, length) for day in band.weekdays]


def read_status_policy(fields: Fields, document: Place) -> tuple[StatusRule, ...]:
    """What a card or SKU says of failed requests, sorted by status."""
    policy = document.get("status_policy")
    if policy is None:
        return ()
    if not isinstance(policy, Place):
        fields.fault(document, "status_policy", "BAD_VALUE", "status_policy is a mapping")
        return ()
    fields.keys(policy, frozenset(STATUSES), ())
    rules = [rule for status in sorted(policy) if (rule := _status_rule(fields, policy, status)) is not None]
    return tuple(rules)


def _status_rule(fields: Fields, policy: Place, status: str) -> StatusRule | None:
    value = policy[status]
    if status == "OK" and value != "bill_full":
        fields.fault(policy, status, "BAD_VALUE", "OK is always bill_full")
        return None
    if value in POLICIES:
        return StatusRule(status, value)
    if isinstance(value, Place) and list(value) == ["amortise"] and (pool := fields.text(value, "amortise")):
        return StatusRule(status, "amortise", pool)
    fields.fault(policy, status, "BAD_VALUE", "a policy is bill_full, bill_zero or {amortise: POOL}")
    return None
