"""Splitting whole steps so that the parts add up to the whole (spec/allocation.md 2)."""

from collections.abc import Mapping
from fractions import Fraction


def split_steps(steps: int, weights: Mapping[str | None, int | Fraction]) -> dict[str | None, int]:
    """Split a whole number of steps by weight; steps left over go to the largest remainders.

    Args:
        steps: the whole, in quanta (1e-12, or a minor unit); may be negative.
        weights: by target key, each >= 0, their sum > 0 unless `steps` is 0. Order does not matter.

    Returns:
        One part per key, with the sign of `steps`. A tie goes to the smaller key in UTF-8 bytes; None counts as
        smaller than every text. Parts of -x are those of x negated.

    Raises:
        ValueError: a negative weight, or no weight for an amount.

    Source: spec/allocation.md, section 2.
    """
    whole = sum(weights.values(), Fraction(0))
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("weights must not be negative")
    if steps == 0:
        return dict.fromkeys(weights, 0)
    if whole == 0:
        raise ValueError("an amount cannot be split by weights that sum to zero")
    exact = {key: Fraction(abs(steps) * weight) / whole for key, weight in weights.items()}
    parts = {key: share.numerator // share.denominator for key, share in exact.items()}
    left = abs(steps) - sum(parts.values())
    for key in sorted(weights, key=lambda each: (parts[each] - exact[each], _bytes(each)))[:left]:
        parts[key] += 1
    sign = -1 if steps < 0 else 1
    return {key: sign * part for key, part in parts.items()}


def _bytes(key: str | None) -> tuple[bool, bytes]:
    return key is not None, (key or "").encode()
