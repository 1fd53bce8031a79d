"""Columns of texts that lie inside one block of bytes: as Arrow strings, or as codes into their distinct values."""

import secrets

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.columns.compiled import compiled, words_of
from chargeline.domain.usage import Text

UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]

PADDING = 8  # bytes that must follow the last text
_TAIL = np.array([(1 << (8 * n)) - 1 for n in range(8)], np.uint64)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)
SEED = np.uint64(secrets.randbits(64))  # nobody who writes texts can know which ones collide


def arrow_texts(
    data: UInt8Array, starts: Int32Array, lengths: Int32Array, valid: BoolArray | None
) -> tuple[pa.StringArray, BoolArray | None]:
    """Arrow strings, and which rows are not UTF-8 (None: all are; such rows become empty).

    Args:
        data: the block, below 2 GiB.
        starts, lengths: int32, where each text lies in it; length 0 where `valid` is false.
        valid: rows that are not null; None: all.
    """
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    joined = np.empty(offsets[-1] + PADDING, np.uint8)
    _gather(words_of(data), starts, offsets, words_of(joined))
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    texts = pa.Array.from_buffers(pa.string(), len(starts), [bitmap, pa.py_buffer(offsets), pa.py_buffer(joined)])
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        bad = np.array([not is_utf8(raw) for raw in texts.cast(pa.binary()).to_pylist()])
        return arrow_texts(data, starts, np.where(bad, np.int32(0), lengths), valid)[0], bad
    return texts, None


class Numbering:
    """Numbers the distinct texts of `columns` columns of up to `rows` rows, in the order in which they come first.

    Attributes:
        slots: int32 (column, slot): open addressing; the code of a text or -1. A power of two of them above `rows`.
        places: int32 (column, code, 2): where the first text of a code lies, and its length.
        counts: by column: how many codes there are.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.slots = np.full((columns, 1 << (2 * rows).bit_length()), -1, np.int32)
        self.places = np.empty((columns, rows, 2), np.int32)
        self.counts = np.zeros(columns, np.int64)

    def text(self, data: UInt8Array, column: int, codes: Int32Array) -> tuple[Text, BoolArray | None]:
        """A column with its distinct values; and which rows are not UTF-8 (None: all are)."""
        starts, lengths = self.places[column, : self.counts[column]].T
        values, wrong = arrow_texts(data, starts, lengths, None)
        return Text(codes, values), None if wrong is None else (codes >= 0) & wrong[codes]


def numbered_texts(data: UInt8Array, starts: Int64Array, lengths: Int64Array) -> tuple[Text, BoolArray | None]:
    """A column of texts without nulls as codes into its distinct values; and which rows are not UTF-8."""
    numbering, codes = Numbering(1, len(starts)), np.empty(len(starts), np.int32)
    _number(words_of(data), starts, lengths, numbering.slots, numbering.places, SEED, codes, numbering.counts)
    return numbering.text(data, 0, codes)


@compiled
def _gather(words: UInt64Array, starts: Int32Array, offsets: Int32Array, joined: UInt64Array) -> None:
    """Copy by whole words: what is copied beyond a text is written over by the next one, or lies in the padding."""
    for row in range(len(starts)):
        at, start = offsets[row], starts[row]
        for number in range(0, offsets[row + 1] - at, 8):
            joined[at + number] = words[start + number]


@compiled
def _number(
    words: UInt64Array,
    starts: Int64Array,
    lengths: Int64Array,
    slots: Int32Array,
    places: Int32Array,
    seed: np.uint64,
    codes: Int32Array,
    counts: Int64Array,
) -> None:
    for row in range(len(starts)):
        codes[row] = code_of(words, starts[row], lengths[row], slots, places, seed, counts, 0)


@compiled
def code_of(
    words: UInt64Array,
    start: int,
    length: int,
    slots: Int32Array,
    places: Int32Array,
    seed: np.uint64,
    counts: Int64Array,
    column: int,
) -> int:
    """The code of a text in a column; a new text gets the next one. For the arrays see Numbering."""
    mask = slots.shape[1] - 1
    slot = np.int64(_hash(words, start, length, seed) >> _32) & mask
    while slots[column, slot] >= 0:
        code = slots[column, slot]
        if places[column, code, 1] == length and _same(words, places[column, code, 0], start, length):
            return code
        slot = (slot + 1) & mask
    code = counts[column]
    slots[column, slot], counts[column] = code, code + 1
    places[column, code, 0], places[column, code, 1] = start, length
    return code


@compiled
def _hash(words: UInt64Array, start: int, length: int, seed: np.uint64) -> np.uint64:
    end = start + (length & ~7)
    state = (seed ^ np.uint64(length)) * _MIX
    while start < end:
        state = (state ^ words[start]) * _MIX
        state ^= state >> _32
        start += 8
    state = (state ^ (words[start] & _TAIL[length & 7])) * _MIX
    return state ^ (state >> _32) * _MIX


@compiled
def _same(words: UInt64Array, left: int, right: int, length: int) -> bool:
    for at in range(0, length & ~7, 8):
        if words[left + at] != words[right + at]:
            return False
    at = length & ~7
    return not (words[left + at] ^ words[right + at]) & _TAIL[length & 7]


def is_utf8(raw: bytes | None) -> bool:
    """Whether bytes are a text; none at all are."""
    try:
        (raw or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
