"""The usage block of a model provider's answer as disjoint quantities of a UsageEvent. Pure, light to import.

`formats` says what a table is, `openai`, `anthropic`, `google`, `others` hold the tables, `providers` says who
answers in which. How to add one: docs/normaliser.md.
"""

from chargeline.sdk.normalise.normaliser import (
    CODES,
    Normalised,
    UsageNotUnderstood,
    normalise,
    normalise_row,
    usage_fields,
)

__all__ = ["CODES", "Normalised", "UsageNotUnderstood", "normalise", "normalise_row", "usage_fields"]
