"""The hash that tells a repeated event from one with other content under the same identity: 4 bytes, documented.

    (sum of word[i] * KEY[i] for the 8-byte little-endian words, zeros behind the last byte, + length * KEY[-1]) >> 32

all modulo 2**64, where KEY[i] is output i of splitmix64 with seed 0, made odd, and KEY[-1] is `_LENGTH_KEY`. One
multiplication a word, so it costs an eighth of murmur3; a hash of identities it is not, as its inputs can be chosen.
Its values may never change (golden values: tests/unit/test_hashes.py).
"""

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.compiled import compiled, words_of

Int64Array = npt.NDArray[np.int64]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]
PADDING = 8  # bytes that must follow the last text

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_LENGTH_KEY = np.uint64(0xD6E8FEB86659FD93)
_TAIL = np.array([(1 << (8 * n)) - 1 for n in range(8)], np.uint64)
_32 = np.uint64(32)


def content_hash(data: npt.NDArray[np.uint8], starts: Int64Array, lengths: Int64Array) -> UInt32Array:
    """Hash n texts.

    Args:
        data: all bytes, followed by at least `PADDING` more.
        starts, lengths: int64, where each text lies.
    """
    hashes = np.empty(len(starts), np.uint32)
    _hash(words_of(data), starts, lengths, _keys(int(lengths.max(initial=0)) // 8 + 1), hashes)
    return hashes


@compiled
def _hash(words: UInt64Array, starts: Int64Array, lengths: Int64Array, keys: UInt64Array, hashes: UInt32Array) -> None:
    for row in range(len(starts)):
        at, length = starts[row], lengths[row]
        whole = length >> 3
        total = np.uint64(length) * _LENGTH_KEY
        for number in range(whole):
            total += words[at + 8 * number] * keys[number]
        total += (words[at + 8 * whole] & _TAIL[length & 7]) * keys[whole]
        hashes[row] = np.uint32(total >> _32)


def _keys(count: int) -> UInt64Array:
    """The first keys: splitmix64 with seed 0, made odd."""
    state = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))) | np.uint64(1)
