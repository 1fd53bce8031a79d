"""Units of price lists: how many base units of a leaf or quantity one pricing unit holds.

Source: spec/formats.md, section 2 (base units); spec/rating.md, section 6.
"""

import re
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.usage import COUNTED, LEAVES

_TOKENS = {"Tokens": 1}
# 0: GB-Months, whose size depends on the billing period.
_SIZES: dict[str, dict[str, int]] = {
    **dict.fromkeys(LEAVES, _TOKENS),
    "requests": {"Requests": 1},
    "gpu_ms": {"GPU-Hours": 3_600_000, "GPU-Seconds": 1000},
    "cpu_ms": {"CPU-Hours": 3_600_000, "CPU-Seconds": 1000},
    "memory_mib_s": {"GiB-Hours": 3_686_400},
    "storage_mib_s": {"GB-Months": 0},
    "io_bytes": {"Bytes": 1, "GB": 10**9, "GiB": 2**30},
    "audio_s": {"Seconds": 1, "Minutes": 60},
    "web_searches": {"Searches": 1},
    "tool_calls": {"Calls": 1},
    "images": {"Images": 1},
    "characters": {"Characters": 1},
    "pages": {"Pages": 1},
    "training_tokens": _TOKENS,
    "provisioned_unit_s": {"Unit-Hours": 3600},
}
# Base units of one unit of the event's own field, where that field is finer than what a price list counts: extra
# quantities come in millionths, the reported cost in picounits of the currency.
_FINER = {"reported_cost": 10**12, "recurring_units": 1, "": 1}
# A quantity of a free name counts in a plural of its own; these already mean a number of something smaller.
_TAKEN = {name for sizes in _SIZES.values() for name, size in sizes.items() if size != 1}
_UNIT = re.compile(r"(?:([1-9][0-9]{0,14}) )?([A-Z][A-Za-z-]*)")
_PLURAL = re.compile(r"[A-Z][A-Za-z-]*s")
_CONSUMED = {
    **dict.fromkeys(LEAVES, "Tokens"),
    "requests": "Requests",
    "gpu_ms": "GPU-Milliseconds",
    "cpu_ms": "CPU-Milliseconds",
    "memory_mib_s": "MiB-Seconds",
    "storage_mib_s": "MiB-Seconds",
    "io_bytes": "Bytes",
    "audio_s": "Seconds",
    "provisioned_unit_s": "Unit-Seconds",
}
_MILLION = 10**6
_HOURS_OF_A_MONTH = 720


def names_number(unit: str) -> bool:
    """Whether a unit says its size by itself, as `1000000 Tokens` does."""
    return unit[:1].isdigit()


def unit_size(unit: str, measures: str) -> Decimal | None:
    """Base units of a leaf or quantity in a pricing unit such as `1000000 Tokens`.

    Extra quantities count in whole units here, not in millionths.

    Returns:
        0 for GB-Months; None if it is not a unit of this quantity.
    """
    found = _UNIT.fullmatch(unit)
    if found is None:
        return None
    count, name = int(found[1] or 1), found[2]
    free = {name: 1} if _PLURAL.fullmatch(name) and name not in _TAKEN else {}
    size = _SIZES.get(measures, free).get(name)
    if size is None or (size == 0 and count != 1):
        return None
    return Decimal(size * count)


def consumed_unit(pricing_unit: str, measures: str) -> str:
    """The unit in which a quantity is measured: Tokens, Requests, GPU-Milliseconds …; extra quantities in their own."""
    return _CONSUMED.get(measures) or pricing_unit.rpartition(" ")[2]


def base_units(divide_by: Decimal | None, measures: str) -> Fraction:
    """Base units of the event's own field in a pricing unit; extra quantities are fields in millionths.

    Args:
        divide_by: as on the SKU; None (GB-Months) is answered for a month of 30 days.
    """
    if divide_by is None:
        return Fraction(10**9 * 3600 * _HOURS_OF_A_MONTH, 1_048_576)
    return Fraction(divide_by) * (1 if measures in LEAVES or measures in COUNTED else _FINER.get(measures, _MILLION))
