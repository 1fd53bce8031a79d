"""The parameters of a detector: few, round, the same for every series."""

import tomllib
from dataclasses import dataclass, fields

from chargeline.domain.errors import Refused

LEGS = ("value", "seasonal", "pattern", "level", "shape")


@dataclass(frozen=True)
class Parameters:
    """What a detector needs to know. Rows are windows of the series, whatever its step.

    Attributes:
        threshold: mean surprise of the legs from which a row is an alert; -log10 of a probability.
        spend_threshold: surprise of spend alone from which a row is an alert, in the light detector too; 0 leaves
            spend out.
        cool_down_rows: rows after an alert without another one.
        learning_rows: rows at the start without an alert.
        history_rows: values that each signal is compared with.
        pattern_history_rows: the same for the two signals of a pattern, which change once a block.
        profile_weight: weight of one row in the profile by time of day and by hour of week.
        late_rows: rows that can be taken back when a late value corrects them.
    """

    threshold: float
    spend_threshold: float
    cool_down_rows: int
    learning_rows: int
    history_rows: int
    pattern_history_rows: int
    profile_weight: float
    late_rows: int


_BOUNDS: dict[str, tuple[float, float]] = {
    "threshold": (0.1, 8),
    "spend_threshold": (0, 8),
    "cool_down_rows": (0, 100_000),
    "learning_rows": (0, 100_000),
    "history_rows": (100, 20_000),
    "pattern_history_rows": (100, 20_000),
    "profile_weight": (1e-6, 1),
    "late_rows": (0, 1_000),
}


def read_parameters(text: str) -> Parameters:
    """Parameters from TOML: every name exactly once, none unknown, each inside its bounds.

    Raises:
        Refused: BAD_PARAMETERS, with all faults together.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused("BAD_PARAMETERS", f"no TOML: {error}") from error
    faults = [f"{name} is unknown" for name in given if name not in _BOUNDS]
    for name, (least, most) in _BOUNDS.items():
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            faults.append(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")
        elif not least <= value <= most:
            faults.append(f"{name} must be from {least:g} to {most:g}, not {value}")
        elif name.endswith("_rows") and value != int(value):
            faults.append(f"{name} must be a whole number, not {value}")
    if faults:
        raise Refused("BAD_PARAMETERS", "; ".join(faults))
    return Parameters(**{each.name: each.type(given[each.name]) for each in fields(Parameters)})  # type: ignore[operator]
