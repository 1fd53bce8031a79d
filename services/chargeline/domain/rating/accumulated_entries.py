"""The entries of accumulating rates as columns, put together from blocks that were worked out in different ways."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chargeline.domain.columns.codes import stable_order
from chargeline.domain.columns.exact import Exact, Int64Array, taken
from chargeline.domain.columns.exact_rows import exact_of, joined
from chargeline.domain.money import PICOS
from chargeline.domain.rating.period_function import Piece, PieceKind, q12

KINDS = tuple(PieceKind)
FREE_UNITS, TIER_FLAT, UNIT, PER_EVENT_FEE, DISCOUNT, CAP, TIER_SHIFT = range(len(KINDS))


@dataclass(frozen=True)
class AccumulatedEntries:
    """Entries, ascending by event and within it in the order of `RateFunction.pieces`.

    Attributes:
        row: which row of the usage.
        kind: index into KINDS.
        tier: from 1, the tier of the scope's rate whose unit price it has; 0: none.
        quantity: base units. pricing: picounits of the pricing quantity. amount: picounits.
        counted: the pricing quantity in whole steps (X of period_columns); 0 where `pieces` has the entry.
        price: picounits, of a fee whose price depends on the event; -1: the price is that of the price point.
        pieces: by entry, what was worked out one by one; its pricing quantity may be no whole number of steps.
    """

    row: Int64Array
    kind: Int64Array
    tier: Int64Array
    quantity: Exact
    pricing: Exact
    amount: Exact
    counted: Exact
    price: Exact
    pieces: dict[int, Piece] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row)

    def take(self, at: Int64Array) -> "AccumulatedEntries":
        return AccumulatedEntries(
            self.row[at],
            self.kind[at],
            self.tier[at],
            self.quantity.take(at),
            self.pricing.take(at),
            self.amount.take(at),
            self.counted.take(at),
            self.price.take(at),
            taken(self.pieces, at),
        )


def block(
    row: Int64Array,
    kind: Int64Array | int,
    amount: Exact,
    tier: Int64Array | int = 0,
    quantity: Exact | None = None,
    pricing: Exact | None = None,
    counted: Exact | None = None,
    price: Exact | None = None,
) -> AccumulatedEntries:
    """Entries of which some columns are the same in all rows; without a quantity it is 0."""
    none = np.zeros(len(row), np.int64)
    return AccumulatedEntries(
        row,
        none + kind,
        none + tier,
        Exact(none) if quantity is None else quantity,
        Exact(none) if pricing is None else pricing,
        amount,
        Exact(none) if counted is None else counted,
        Exact(none - 1) if price is None else price,
    )


def from_pieces(pieces: Sequence[tuple[int, Piece]]) -> AccumulatedEntries:
    """(row, piece) each."""
    return AccumulatedEntries(
        np.array([row for row, _ in pieces], np.int64),
        np.array([KINDS.index(piece.kind) for _, piece in pieces], np.int64),
        np.array([piece.tier for _, piece in pieces], np.int64),
        exact_of(piece.quantity for _, piece in pieces),
        exact_of(q12(piece.pricing_quantity) for _, piece in pieces),
        exact_of(piece.picos for _, piece in pieces),
        Exact(np.zeros(len(pieces), np.int64)),
        exact_of(_price(piece) for _, piece in pieces),
        {entry: piece for entry, (_, piece) in enumerate(pieces)},
    )


def _price(piece: Piece) -> int:
    """Of a fee that is raised it is whole; another one that is whole is that of the price point."""
    price = piece.unit_price * PICOS
    return price.numerator if piece.kind is PieceKind.PER_EVENT_FEE and price.denominator == 1 else -1


def in_order(blocks: Sequence[AccumulatedEntries], rows: int) -> AccumulatedEntries:
    """All entries by row; those of one row in the order of the blocks."""
    filled = [each for each in blocks if len(each)]
    if not filled:
        return from_pieces([])
    starts = np.cumsum([0, *map(len, filled)]).tolist()
    whole = AccumulatedEntries(
        np.concatenate([each.row for each in filled]),
        np.concatenate([each.kind for each in filled]),
        np.concatenate([each.tier for each in filled]),
        joined([each.quantity for each in filled]),
        joined([each.pricing for each in filled]),
        joined([each.amount for each in filled]),
        joined([each.counted for each in filled]),
        joined([each.price for each in filled]),
        {start + at: piece for start, each in zip(starts, filled, strict=False) for at, piece in each.pieces.items()},
    )
    return whole.take(stable_order(whole.row, rows))
