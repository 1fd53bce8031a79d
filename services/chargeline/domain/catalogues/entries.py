"""What an entry of a catalogue says, in the words of a rate card, whichever catalogue it comes from."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal

MILLION_TOKENS = "1000000 Tokens"
_SIGNIFICANT = Context(prec=12, rounding=ROUND_HALF_UP)
_EXACT = Context(prec=60)
Texts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Finding:
    """Something for a person to read before the entry is published: the list `review` of a catalogue.

    Attributes:
        entry: the entry's own name in the catalogue.
        field: the field of the entry; of a catalogue's match clauses, the clause.
        reason: a stable code, see docs/catalogues.md.
        message: what was done, in words.
        value: what the field holds, as text; None where the field's name says it all.
    """

    entry: str
    field: str
    reason: str
    message: str
    value: str | None = None


@dataclass(frozen=True)
class Band:
    """Hours of some weekdays, UTC, `[start, end)`; `factor` times the price. End 00:00: midnight."""

    weekdays: tuple[str, ...]
    start: str
    end: str
    factor: Decimal


@dataclass(frozen=True)
class Price:
    """One price of an entry.

    Attributes:
        measures: a leaf (spec/rating.md 6) or the name of another quantity.
        base: the price of one `unit`, in USD.
        unit: the pricing unit.
        tier: the service tier that the price is for; None: any without a price of its own.
        labels: labels of the event that the price is for, e.g. the resolution of an image.
        thresholds: (above so many input tokens of the request, price), ascending (spec/rating.md 4.8).
        bands: hours with another price.
        copy_of: the leaf whose price was copied because a card needs one here and the catalogue has none.
    """

    measures: str
    base: Decimal
    unit: str = MILLION_TOKENS
    tier: str | None = None
    labels: Texts = ()
    thresholds: tuple[tuple[int, Decimal], ...] = ()
    bands: tuple[Band, ...] = ()
    copy_of: str | None = None

    @property
    def place(self) -> tuple[str, str | None, Texts]:
        """What no two prices of an entry may share."""
        return (self.measures, self.tier, self.labels)


@dataclass(frozen=True)
class PriceVersion:
    """The prices of an entry from a time on (microseconds since 1970 UTC); None: as far back as the catalogue goes."""

    start: int | None
    prices: tuple[Price, ...]


@dataclass(frozen=True)
class Entry:
    """One model of one provider.

    Attributes:
        name: the entry's name in the catalogue.
        provider: in the vocabulary of `providers`.
        model: the exact name that an event carries.
        versions: ascending by start, at least one.
        aliases: further exact names.
        prefixes: beginnings of names.
        source: the page that the catalogue gives for the prices.
    """

    name: str
    provider: str
    model: str
    versions: tuple[PriceVersion, ...]
    aliases: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    source: str | None = None


@dataclass
class Catalogue:
    """What was read of a catalogue. `merged`: entries that say the same as another one, by name."""

    entries: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    merged: dict[str, str] = field(default_factory=dict)
    count: int = 0


class NotAPrice(ValueError):
    """A value that should be a price and is none."""


def price_of(value: object, scale: int = 1) -> tuple[Decimal, bool]:
    """A price of a catalogue, exact, for `scale` of its units.

    Args:
        value: a number as `parse_float=Decimal, parse_int=Decimal` gives it, or text.

    Returns:
        The price, and whether it had more than 12 significant digits and was rounded to 12.

    Raises:
        NotAPrice: not a finite number, or negative.

    Source: spec/rating.md, section 2.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise NotAPrice(str(value))
    try:
        number = Decimal(value)
    except ArithmeticError as error:
        raise NotAPrice(str(value)) from error
    if not number.is_finite() or number < 0:
        raise NotAPrice(str(value))
    rounded = _SIGNIFICANT.plus(number)
    return _EXACT.multiply(rounded, Decimal(scale)), rounded != number
