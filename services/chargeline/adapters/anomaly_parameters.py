"""The parameter files that are shipped with the anomaly detector."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from chargeline.domain.anomaly.parameters import Parameters, read_parameters

Shipped = Literal["default", "cost"]


def shipped_parameters(name: Shipped) -> Parameters:
    """`default` for any series of numbers, `cost` for streams of spend with an alert budget."""
    return read_parameters(files("chargeline.domain.anomaly").joinpath(f"{name}.toml").read_text("utf-8"))


def parameters_of(path: Path | None) -> Parameters:
    """The parameters of a file; the shipped ones without it.

    Raises:
        Refused: BAD_PARAMETERS, naming all faults.
    """
    return shipped_parameters("default") if path is None else read_parameters(path.read_text("utf-8"))
