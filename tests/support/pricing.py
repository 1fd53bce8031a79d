"""What prices a document in the tests of rating: every implementation must pass the same tables."""

from collections.abc import Callable
from typing import Any

from chargeline.verify.rating.price import price_document
from tests.support.command_pricing import price_with_command

Price = Callable[..., list[dict[str, Any]]]

# One line for each implementation: (cards, accounts, fx, events, close_period) -> the objects of spec/formats.md 6.
PRICERS: dict[str, Price] = {
    "reference": price_document,
    "command": price_with_command,
}
