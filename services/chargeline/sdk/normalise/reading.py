"""Reading one usage block by its format's table: numbers, unknown fields, leaves. Pure; raises Unreadable alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from chargeline.sdk.normalise.formats import INPUT_LEAVES, LEAVES, OUTPUT_LEAVES, Counted, Format, Items, Node, Quiet

LONG_MAX = (1 << 63) - 1  # quantities of a UsageEvent are Avro longs
_MILLION = 1_000_000
_SIDES = {"input": INPUT_LEAVES, "output": OUTPUT_LEAVES}
_DIGITS_MAX = 40  # more digits than any count has; a longer text is refused before it is parsed


class Unreadable(ValueError):
    """The block cannot be understood; `code` is one of `chargeline.sdk.normalise.CODES`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Reading:
    """Leaves without zeros under their event names, extra quantities in millionths, and what was not understood."""

    quantities: dict[str, int]
    extra_quantities: dict[str, int]
    unknown_fields: list[str]
    complete: bool


@dataclass
class _Found:
    counts: dict[int, dict[int, Decimal | int]] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)  # in order, each once
    bad: list[str] = field(default_factory=list)
    negative: list[str] = field(default_factory=list)


def read(block: Mapping[Any, Any], shape: Format) -> Reading:
    """The leaves of one block.

    Raises:
        Unreadable: MALFORMED where the structure is not the format's, BAD_NUMBER for what is no count,
            NEGATIVE_QUANTITY where counts contradict each other; in this order of precedence.
    """
    found = _Found()
    _walk(block, shape.tree, "", shape.selector, found)
    if found.bad:
        raise Unreadable("BAD_NUMBER", f"no count: {', '.join(found.bad)}")
    sums: dict[str, Decimal | int] = {}
    sides: set[str] = set()
    for group, ranks in found.counts.items():
        number = ranks[min(ranks)]
        effect = shape.effects[group]
        if effect[0][0] in LEAVES and number != int(number):
            raise Unreadable("BAD_NUMBER", f"{list(shape.counts)[group]} is {number}, no whole number of tokens")
        for name, sign in effect:
            sums[name] = sums.get(name, 0) + sign * number
        if len(effect) == 1:
            sides.update(side for side, leaves in _SIDES.items() if effect[0][0] in leaves)
    if found.negative:
        raise Unreadable("NEGATIVE_QUANTITY", f"below zero: {', '.join(found.negative)}")
    return Reading(
        _leaves(sums),
        {name: _long(name, _millionths(sums[name])) for name in sums if name not in LEAVES and sums[name]},
        list(found.unknown),
        _is_complete(block, shape, sides, sums),
    )


def _walk(block: Mapping[Any, Any], node: Node, prefix: str, selector: str, found: _Found) -> None:
    """One level of a block; as deep as the table is, whatever the block's depth."""
    for key, value in block.items():
        below = node.get(key) if isinstance(key, str) else None
        if below is Quiet.KNOWN or (below is not None and value is None):
            continue
        if isinstance(below, Counted):
            _count(prefix, key, value, below, found)
        elif isinstance(below, dict):
            if not isinstance(value, Mapping):
                raise Unreadable("MALFORMED", f"{prefix}{key} is no object")
            _walk(value, below, f"{prefix}{key}.", selector, found)
        elif isinstance(below, Items):
            _walk_items(value, below, f"{prefix}{key}", selector, found)
        elif below is None or _says_something(value):
            found.unknown[f"{prefix}{key}"] = None


def _says_something(value: Any) -> bool:
    """An UNCOUNTED field is reported unless it, or all that is in it, is zero."""
    return any(value.values()) if isinstance(value, Mapping) else bool(value)


def _walk_items(value: Any, items: Items, path: str, selector: str, found: _Found) -> None:
    if not isinstance(value, list):
        raise Unreadable("MALFORMED", f"{path} is no list")
    for item in value:
        if not isinstance(item, Mapping):
            raise Unreadable("MALFORMED", f"an item of {path} is no object")
        chosen = item.get(selector, "") if selector else ""
        word = chosen if isinstance(chosen, str) and chosen in items.by_selector else ""
        below = items.by_selector.get(word)
        if below is None:
            found.unknown[f"{path}[{chosen if isinstance(chosen, str) else ''}]"] = None
        else:
            _walk(item, below, f"{path}[{word}].", selector, found)


def _count(prefix: str, key: str, value: Any, counted: Counted, found: _Found) -> None:
    number = _number(value)
    if number is None:
        found.bad.append(f"{prefix}{key}")
        return
    if number < 0:
        found.negative.append(f"{prefix}{key}")
    for group, rank in counted.places:
        ranks = found.counts.setdefault(group, {})
        ranks[rank] = ranks.get(rank, 0) + number


def _number(value: Any) -> Decimal | int | None:
    """A count as sent: a whole or decimal number, or its text, as 64-bit numbers come in some JSON; else None."""
    if type(value) is int:
        return value if abs(value) <= LONG_MAX else None
    if not isinstance(value, float | Decimal | str) or (isinstance(value, str) and len(value) > _DIGITS_MAX):
        return None
    text = str(value)
    if isinstance(value, str) and not (text.isascii() and text.lstrip("-").replace(".", "", 1).isdigit()):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number) > LONG_MAX:
        return None
    return int(number) if number == number.to_integral_value() else number


def _leaves(sums: Mapping[str, Decimal | int]) -> dict[str, int]:
    """Leaves in the order of spec/rating.md 6; without zeros."""
    leaves = {name: sums[name] for name in LEAVES if sums.get(name)}
    if leaves.get("input", 0) < 0 < leaves.get("input_image", 0):
        # Missing tokens are cached images: already in cache_read_input (spec/rating.md 6).
        overlap = min(-leaves["input"], leaves["input_image"])
        leaves["input"] += overlap
        leaves["input_image"] -= overlap
    for name, number in leaves.items():
        if number < 0:
            raise Unreadable("NEGATIVE_QUANTITY", f"{name} is {number}: a part is larger than its whole")
    return {f"{name}_tokens": _long(name, int(number)) for name, number in leaves.items() if number}


def _millionths(number: Decimal | int) -> int:
    return int((Decimal(number) * _MILLION).to_integral_value(ROUND_HALF_UP))


def _long(name: str, number: int) -> int:
    if number > LONG_MAX:
        raise Unreadable("BAD_NUMBER", f"{name} is larger than a 64-bit number")
    return number


def _is_complete(block: Mapping[Any, Any], shape: Format, sides: set[str], sums: Mapping[str, Decimal | int]) -> bool:
    if sides.issuperset(shape.needs):
        return True
    if shape.total is None or type(total := block.get(shape.total)) is not int:
        return False
    return total == sum(sums.get(name, 0) for name in (*INPUT_LEAVES, *OUTPUT_LEAVES))
