"""Typed reading of the mappings of a document, collecting every fault with its place before giving up.

Source: spec/formats.md, section 1.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal

from chargeline.domain.documents import Place, Problem
from chargeline.domain.money import NotANumber, parse_decimal
from chargeline.domain.usage import TEXT_BYTES_MAX

_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_WHOLE = re.compile(r"[0-9]{1,19}")
# (decimals, whole digits) of each kind of number (spec/rating.md 2).
PRICE, AMOUNT, FACTOR = (18, 20), (12, 26), (9, 9)


class Fields:
    """Reads values of mappings by key. What is absent or null is None (or empty); what is wrong is so too, and noted.

    Attributes:
        problems: every fault noted so far.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def fault(self, place: Place, key: str, code: str, message: str) -> None:
        """Note a fault of a key."""
        line, column = place.place(key)
        self.problems.append(Problem(code, message, line, column))

    def keys(self, place: Place, known: frozenset[str], required: tuple[str, ...]) -> None:
        for key in place:
            if key not in known:
                self.fault(place, key, "UNKNOWN_KEY", f"{key} is not a key here")
        for key in required:
            if place.get(key) is None:
                self.fault(place, key, "MISSING_KEY", f"{key} is required")

    def places(self, place: Place, key: str) -> list[Place]:
        value = place.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, Place) for each in value):
            self.fault(place, key, "BAD_VALUE", f"{key} is a list of mappings")
            return []
        return value

    def values(self, place: Place, key: str) -> tuple[str, ...]:
        """One text or a list of them, as a sorted tuple."""
        value = place[key] if isinstance(place[key], list) else [place[key]]
        if not value or not all(isinstance(each, str) and _fits(each) for each in value):
            self.fault(place, key, "BAD_VALUE", f"{key} is a text or a list of texts")
            return ()
        if len(set(value)) < len(value):
            self.fault(place, key, "BAD_VALUE", f"{key} names a value twice")
        return tuple(sorted(value))

    def texts(self, place: Place, key: str, known: frozenset[str] | None = None) -> tuple[tuple[str, str], ...]:
        value = place.get(key)
        if value is None:
            return ()
        if not isinstance(value, Place):
            self.fault(place, key, "BAD_VALUE", f"{key} is a mapping")
            return ()
        if known is not None:
            self.keys(value, known, ())
        return tuple(sorted((name, text) for name in value if (text := self.text(value, name)) is not None))

    def text(self, place: Place, key: str) -> str | None:
        value = place.get(key)
        if value is None or (isinstance(value, str) and _fits(value)):
            return value
        self.fault(place, key, "BAD_VALUE", f"{key} is a text of 1 to {TEXT_BYTES_MAX} bytes")
        return None

    def flag(self, place: Place, key: str) -> bool:
        value = place.get(key)
        if value not in (None, True, False):
            self.fault(place, key, "BAD_VALUE", f"{key} is true or false")
        return value is True

    def number(self, place: Place, key: str, *, signed: bool = False) -> Decimal | None:
        value = place.get(key)
        try:
            number = parse_decimal(value if isinstance(value, str) else "")
        except NotANumber:
            self.fault(place, key, "BAD_NUMBER", f"{key} must be a plain decimal number")
            return None
        if number < 0 and not signed:
            self.fault(place, key, "NEGATIVE", f"{key} must not be negative")
            return None
        return number

    def exact(
        self, place: Place, key: str, size: tuple[int, int], *, required: bool = False, signed: bool = False
    ) -> Decimal | None:
        """A number of at most so many decimals and whole digits; absent: None, and a fault if required.

        It is >= 0 unless it may be `signed`.
        """
        if place.get(key) is None:
            if required:
                self.fault(place, key, "MISSING_KEY", f"{key} is required")
            return None
        number = self.number(place, key, signed=signed)
        if number is None:
            return None
        decimals, digits = size
        if -int(number.as_tuple().exponent) > decimals or abs(number) >= Decimal(10**digits):
            self.fault(place, key, "BAD_NUMBER", f"{key} has over {decimals} decimals or {digits} whole digits")
            return None
        return number

    def price(self, place: Place, key: str) -> Decimal | None:
        return self.exact(place, key, PRICE, required=True)

    def positive(
        self, place: Place, key: str, size: tuple[int, int] = AMOUNT, *, required: bool = False
    ) -> Decimal | None:
        """A number above 0."""
        number = self.exact(place, key, size, required=required)
        if number == 0:
            self.fault(place, key, "NOT_POSITIVE", f"{key} must be above 0")
            return None
        return number

    def choice(self, place: Place, key: str, choices: tuple[str, ...]) -> str | None:
        """One of some words."""
        value = place.get(key)
        if value is None or value in choices:
            return value
        self.fault(place, key, "BAD_VALUE", f"{key} is one of {', '.join(choices)}")
        return None

    def whole(self, place: Place, key: str, limit: int = 10**18) -> int | None:
        value = place.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not _WHOLE.fullmatch(value) or int(value) > limit:
            self.fault(place, key, "BAD_NUMBER", f"{key} must be a whole number from 0 to {limit}")
            return None
        return int(value)

    def instant(self, place: Place, key: str) -> int | None:
        value = place.get(key)
        if value is None:
            return None
        try:
            if not isinstance(value, str) or not _INSTANT.fullmatch(value):
                raise ValueError(value)
            since = datetime.fromisoformat(value) - datetime(1970, 1, 1, tzinfo=UTC)
        except ValueError:
            self.fault(place, key, "BAD_TIME", f"{key} must be an instant such as 2026-01-01T00:00:00Z")
            return None
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _fits(text: str) -> bool:
    return 0 < len(text.encode()) <= TEXT_BYTES_MAX
