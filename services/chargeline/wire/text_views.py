"""Columns of texts inside one block of bytes, as Arrow string views: two words a text, nothing copied.

The first word of a view holds the length and the first 4 bytes; the second holds the other 8 bytes of a short text, or
the place of a long one. So short texts are compared as numbers, and a column that repeats is numbered without its
texts ever being made: only its distinct values become Arrow strings.
"""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.codes import dense_codes
from chargeline.domain.usage import Text

UInt8Array = npt.NDArray[np.uint8]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_INLINE = 12  # bytes that fit into a view
_KEEP_4 = np.array([(1 << (8 * n)) - 1 for n in range(5)], np.uint32)
_KEEP_8 = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_32 = np.uint64(32)
_LENGTH = np.uint64(0xFFFFFFFF)


def views(words: UInt64Array, halves: UInt32Array, start: Int64Array, length: Int64Array) -> UInt64Array:
    """The views (2, n) of n texts.

    Args:
        words, halves: the block read as a word of 8 and of 4 bytes from each place on.
    """
    pair = np.empty((2, len(start)), np.uint64)
    least, most = int(length.min(initial=0)), int(length.max(initial=0))
    if least == most:
        keep_4: Any = _KEEP_4[min(most, 4)]
        keep_8: Any = _KEEP_8[min(max(most - 4, 0), 8)]
    else:
        keep_4 = _KEEP_4[np.minimum(length, 4)]
        keep_8 = _KEEP_8[np.clip(length - 4, 0, 8)]
    pair[0] = halves[start] & keep_4
    pair[0] <<= _32
    pair[0] |= length.view(np.uint64)
    if least > _INLINE:
        pair[1] = start.view(np.uint64) << _32
        return pair
    pair[1] = words[start + 4] & keep_8
    if most > _INLINE:
        outside = length > _INLINE
        pair[1, outside] = start[outside].view(np.uint64) << _32
    return pair


def arrow_texts(
    data: UInt8Array, pair: UInt64Array, valid: BoolArray | None
) -> tuple[pa.StringArray, BoolArray | None]:
    """Arrow strings, and which rows are not UTF-8 (None: all are; such rows become empty)."""
    bitmap = None
    if valid is not None and not valid.all():
        pair = np.where(valid, pair, np.uint64(0))
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    buffers = [bitmap, pa.py_buffer(np.ascontiguousarray(pair.T)), pa.py_buffer(data)]
    texts = pc.cast(pa.Array.from_buffers(pa.string_view(), pair.shape[1], cast("Any", buffers)), pa.string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        bad = np.array([not _is_utf8(raw) for raw in texts.cast(pa.binary()).to_pylist()])
        return arrow_texts(data, np.where(bad, np.uint64(0), pair), valid)[0], bad
    return texts, None


def numbered_texts(data: UInt8Array, pair: UInt64Array, valid: BoolArray | None) -> tuple[Text, BoolArray | None]:
    """The same column as codes into its distinct values."""
    if valid is not None and not valid.all():
        rows = np.flatnonzero(valid)
        inner, worse = numbered_texts(data, pair[:, rows], None)
        codes = np.full(len(valid), -1, np.int32)
        codes[rows] = inner.codes
        bad = None
        if worse is not None:
            bad = np.zeros(len(valid), bool)
            bad[rows] = worse
        return Text(codes, inner.values), bad
    number, first = dense_codes(_keys(data, pair).view(np.int64))
    values, wrong = arrow_texts(data, pair[:, first], None)
    if not _same(data, pair, np.stack([word[first[number]] for word in pair])):
        # Two texts were mixed to one key: somebody took pains for it. The texts themselves decide.
        encoded = arrow_texts(data, pair, None)[0].dictionary_encode()
        number, values, wrong = encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary, None
    return Text(number.astype(np.int32), values), None if wrong is None else wrong[number]


def _keys(data: UInt8Array, pair: UInt64Array) -> UInt64Array:
    """A number for each text: equal for equal texts, and nearly always different for different ones."""
    second = pair[1]
    rows, start, length = _outside(pair)
    if len(rows):
        second = second.copy()
        second[rows] = 0
        for at, active, word in _long_words(data, start, length):
            del at
            mixed = (second[rows[active]] ^ word) * _SECOND
            second[rows[active]] = mixed ^ (mixed >> _32)
    keys: UInt64Array = pair[0] * _FIRST
    keys ^= second
    keys ^= keys >> _32
    keys *= _SECOND
    return keys


def _same(data: UInt8Array, left: UInt64Array, right: UInt64Array) -> bool:
    if not np.array_equal(left[0], right[0]):
        return False
    rows, start, length = _outside(left)
    if not len(rows):
        return np.array_equal(left[1], right[1])
    inline = np.ones(left.shape[1], bool)
    inline[rows] = False
    other = (right[1, rows] >> _32).view(np.int64)
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    return bool((left[1] == right[1])[inline].all()) and all(
        np.array_equal(word, words[other[active] + at] & _KEEP_8[np.minimum(length[active] - at, 8)])
        for at, active, word in _long_words(data, start, length)
    )


def _outside(pair: UInt64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
    """(rows, start, length) of the texts that do not fit into their views."""
    length = (pair[0] & _LENGTH).view(np.int64)
    rows = np.flatnonzero(length > _INLINE)
    return rows, (pair[1, rows] >> _32).view(np.int64), length[rows]


def _long_words(data: UInt8Array, start: Int64Array, length: Int64Array) -> Any:
    """(place, which texts reach it, their next 8 bytes) from the front to the end of the longest text."""
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    active = np.arange(len(start))
    for at in range(0, int(length.max(initial=0)), 8):
        active = active[length[active] > at]
        yield at, active, words[start[active] + at] & _KEEP_8[np.minimum(length[active] - at, 8)]


def _is_utf8(raw: bytes | None) -> bool:
    try:
        (raw or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
