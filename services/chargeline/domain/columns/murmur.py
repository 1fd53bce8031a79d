"""The two documented hashes that the log and the state depend on, over many texts at once.

murmur3_x64_128 names identities and contents; murmur2 is Java's Kafka partitioner. Both are Austin Appleby's public
domain algorithms; their values may never change (golden values: tests/unit/test_hashes.py).
"""

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.compiled import compiled, words_of

Int64Array = npt.NDArray[np.int64]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]
PADDING = 16  # bytes that must follow the last text, so that whole words can be loaded

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_TAIL = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)
_FIVE, _ADD_1, _ADD_2 = np.uint64(5), np.uint64(0x52DCE729), np.uint64(0x38495AB5)
_33, _64 = np.uint64(33), np.uint64(64)
_AVALANCHE_1, _AVALANCHE_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_27, _31 = np.uint64(27), np.uint64(31)

_M = np.uint32(0x5BD1E995)
_SEED_2 = np.uint32(0x9747B28C)
_TAIL_2 = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)
_13, _15, _24 = np.uint32(13), np.uint32(15), np.uint32(24)


def murmur3_x64_128(
    data: npt.NDArray[np.uint8], starts: Int64Array, lengths: Int64Array
) -> tuple[UInt64Array, UInt64Array]:
    """Hash n texts with seed 0.

    Args:
        data: all bytes, followed by at least `PADDING` more.
        starts, lengths: int64, where each text lies.

    Returns:
        The two halves of each hash; the digest is first and second, little-endian each.
    """
    first, second = np.empty(len(starts), np.uint64), np.empty(len(starts), np.uint64)
    _murmur3(words_of(data), starts, lengths, first, second)
    return first, second


def murmur2(data: npt.NDArray[np.uint8], starts: Int64Array, lengths: Int64Array) -> Int64Array:
    """Java Kafka's murmur2 of n texts (arguments as above), with the sign bit cleared as its partitioner does."""
    hashes = np.empty(len(starts), np.int64)
    _murmur2(words_of(data, "<u4"), starts, lengths, hashes)
    return hashes


@compiled
def _turned(word: np.uint64, bits: np.uint64) -> np.uint64:
    return (word << bits) | (word >> (_64 - bits))


@compiled
def _avalanche(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> _33)) * _AVALANCHE_1
    word = (word ^ (word >> _33)) * _AVALANCHE_2
    return word ^ (word >> _33)


@compiled
def _murmur3(
    words: UInt64Array, starts: Int64Array, lengths: Int64Array, firsts: UInt64Array, seconds: UInt64Array
) -> None:
    for row in range(len(starts)):
        length = lengths[row]
        at, end = starts[row], starts[row] + (length & ~15)
        first, second = np.uint64(0), np.uint64(0)
        while at < end:
            first ^= _turned(words[at] * _C1, _31) * _C2
            first = (_turned(first, _27) + second) * _FIVE + _ADD_1
            second ^= _turned(words[at + 8] * _C2, _33) * _C1
            second = (_turned(second, _31) + first) * _FIVE + _ADD_2
            at += 16
        rest = length & 15
        second ^= _turned((words[at + 8] & _TAIL[max(rest - 8, 0)]) * _C2, _33) * _C1
        first ^= _turned((words[at] & _TAIL[min(rest, 8)]) * _C1, _31) * _C2
        first ^= np.uint64(length)
        second ^= np.uint64(length)
        first += second
        second += first
        first, second = _avalanche(first), _avalanche(second)
        first += second
        firsts[row], seconds[row] = first, second + first


@compiled
def _murmur2(words: UInt32Array, starts: Int64Array, lengths: Int64Array, hashes: Int64Array) -> None:
    for row in range(len(starts)):
        length = lengths[row]
        at, end = starts[row], starts[row] + (length & ~3)
        state = np.uint32(_SEED_2 ^ np.uint32(length))
        while at < end:
            word = np.uint32(words[at] * _M)
            word = np.uint32((word ^ (word >> _24)) * _M)
            state = np.uint32(np.uint32(state * _M) ^ word)
            at += 4
        if length & 3:
            state = np.uint32((state ^ (words[at] & _TAIL_2[length & 3])) * _M)
        state = np.uint32((state ^ (state >> _13)) * _M)
        hashes[row] = np.int64((state ^ (state >> _15)) & np.uint32(0x7FFFFFFF))
