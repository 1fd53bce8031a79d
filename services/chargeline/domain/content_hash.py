"""The hash that tells a repeated event from one with other content under the same identity: 4 bytes, documented.

    (sum of word[i] * KEY[i] for the 8-byte little-endian words, zeros behind the last byte, + length * KEY[-1]) >> 32

all modulo 2**64, where KEY[i] is output i of splitmix64 with seed 0, made odd, and KEY[-1] is `_LENGTH_KEY`. One
multiplication a word, so it costs an eighth of murmur3; a hash of identities it is not, as its inputs can be chosen.
Its values may never change (golden values: tests/unit/test_hashes.py).
"""

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
PADDING = 8  # bytes that must follow the last text

_CHUNK = 4096  # texts gathered at a time: what is worked on stays in the processor's cache
_LONG = 64  # words; longer texts are few, and each is summed up by itself
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_LENGTH_KEY = np.uint64(0xD6E8FEB86659FD93)
_TAIL = np.array([(1 << (8 * n)) - 1 for n in range(8)], np.uint64)


def content_hash(data: npt.NDArray[np.uint8], starts: Int64Array, lengths: Int64Array) -> npt.NDArray[np.uint32]:
    """Hash n texts.

    Args:
        data: all bytes, followed by at least `PADDING` more.
        starts, lengths: int64, where each text lies.
    """
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    count = lengths >> 3  # whole words; the rest of a text is one more, and the bytes behind it are masked away
    keys = _keys(int(count.max(initial=0)) + 1)
    sums = (words[starts + (count << 3)] & _TAIL[lengths & 7]) * keys[count]
    sums += lengths.astype(np.uint64) * _LENGTH_KEY
    # Texts of equally many words make a matrix that is gathered by rows, in the order of the memory.
    short = np.minimum(count, _LONG).astype(np.uint16)
    order = np.argsort(short, kind="stable")
    ends = np.cumsum(np.bincount(short, minlength=_LONG + 1)).tolist()
    for number in range(1, _LONG):
        for begin in range(ends[number - 1], ends[number], _CHUNK):
            rows = order[begin : min(begin + _CHUNK, ends[number])]
            matrix = np.ndarray((len(data) - 8 * number + 1, number), "<u8", data, strides=(1, 8))
            sums[rows] += np.einsum("ij,j->i", matrix[starts[rows]], keys[:number])
    for row in order[ends[_LONG - 1] :].tolist():
        at, many = int(starts[row]), int(count[row])
        sums[row : row + 1] += (words[at : at + 8 * many : 8] * keys[:many]).sum()
    return (sums >> np.uint64(32)).astype(np.uint32)


def _keys(count: int) -> UInt64Array:
    """The first keys: splitmix64 with seed 0, made odd."""
    state = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))) | np.uint64(1)
