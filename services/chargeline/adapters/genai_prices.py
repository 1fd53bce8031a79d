"""The price catalogue of the installed package `genai-prices`, an optional extra."""

import dataclasses
from datetime import date, time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chargeline.domain.errors import Refused


def installed_catalogue() -> tuple[list[dict[str, Any]], str]:
    """The providers as the published JSON has them, prices as Decimal, and the package's version.

    Raises:
        Refused: the package is not installed.
    """
    try:
        data, number = import_module("genai_prices.data"), version("genai-prices")
    except (ImportError, PackageNotFoundError) as error:
        text = "genai-prices is not installed: pip install 'chargeline[genai-prices]', or name a catalogue file"
        raise Refused("NOT_INSTALLED", text) from error
    return [_plain(provider) for provider in data.providers], number


def _plain(value: Any) -> Any:
    """Objects as mappings without their nulls; dates and times as ISO 8601 text."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, date | time):
        return value.isoformat()
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
    elif type(value).__name__ == "ModelPrice":  # the one class of the package that is neither of them
        names = [name for name in vars(value) if not name.startswith("_")]
    else:
        return value
    given = {name.rstrip("_"): getattr(value, name, None) for name in names}
    return {name: _plain(each) for name, each in given.items() if each is not None}
