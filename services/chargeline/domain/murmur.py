"""The two documented hashes that the log and the state depend on, over many texts at once.

murmur3_x64_128 names identities and contents; murmur2 is Java's Kafka partitioner. Both are Austin Appleby's public
domain algorithms; their values may never change (golden values: tests/unit/test_murmur.py).
"""

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
PADDING = 16  # bytes that must follow the last text, so that whole words can be loaded

_CHUNK = 8192  # texts hashed at a time: what is worked on stays in the processor's cache

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_TAIL = np.array([(1 << (8 * n)) - 1 for n in range(8)] + [(1 << 64) - 1] * 9, np.uint64)


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
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    first, second = np.zeros(len(starts), np.uint64), np.zeros(len(starts), np.uint64)
    for at in range(0, len(starts), _CHUNK):
        # The longest first: those that still have a block are then always a prefix, and nothing is copied for it.
        rows = at + np.argsort(-lengths[at : at + _CHUNK], kind="stable")
        first[rows], second[rows] = _hash(words, starts[rows], lengths[rows])
    return first, second


def _hash(words: UInt64Array, starts: Int64Array, lengths: Int64Array) -> tuple[UInt64Array, UInt64Array]:
    first, second = np.zeros(len(starts), np.uint64), np.zeros(len(starts), np.uint64)
    blocks = lengths >> 4
    for block in range(int(blocks[0])):
        active = len(blocks) - int(np.searchsorted(blocks[::-1], block, "right"))
        at = starts[:active] + 16 * block
        one, two = first[:active], second[:active]
        one ^= _mix(words[at], _C1, 31, _C2)
        _turn(one, 27)
        one += two
        one *= np.uint64(5)
        one += np.uint64(0x52DCE729)
        two ^= _mix(words[at + 8], _C2, 33, _C1)
        _turn(two, 31)
        two += one
        two *= np.uint64(5)
        two += np.uint64(0x38495AB5)
    rest = lengths & 15
    at = starts + (blocks << 4)
    second ^= _mix(words[at + 8] & _TAIL[np.maximum(rest - 8, 0)], _C2, 33, _C1)
    first ^= _mix(words[at] & _TAIL[rest], _C1, 31, _C2)
    _finish(first, second, lengths.astype(np.uint64))
    return first, second


def _finish(first: UInt64Array, second: UInt64Array, lengths: UInt64Array) -> None:
    first ^= lengths
    second ^= lengths
    first += second
    second += first
    _avalanche(first)
    _avalanche(second)
    first += second
    second += first


def _mix(words: UInt64Array, before: np.uint64, bits: int, after: np.uint64) -> UInt64Array:
    words *= before
    _turn(words, bits)
    words *= after
    return words


def _turn(words: UInt64Array, bits: int) -> None:
    high = words << np.uint64(bits)
    words >>= np.uint64(64 - bits)
    words |= high


def _avalanche(words: UInt64Array) -> None:
    words ^= words >> np.uint64(33)
    words *= np.uint64(0xFF51AFD7ED558CCD)
    words ^= words >> np.uint64(33)
    words *= np.uint64(0xC4CEB9FE1A85EC53)
    words ^= words >> np.uint64(33)


def murmur2(data: npt.NDArray[np.uint8], starts: Int64Array, lengths: Int64Array) -> Int64Array:
    """Java Kafka's murmur2 of n texts (arguments as above), with the sign bit cleared as its partitioner does."""
    words = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))
    factor = np.uint32(0x5BD1E995)
    state = np.uint32(0x9747B28C) ^ lengths.astype(np.uint32)
    blocks = lengths >> 2
    for block in range(int(blocks.max(initial=0))):
        active = np.flatnonzero(blocks > block)
        word = words[starts[active] + 4 * block] * factor
        word = (word ^ (word >> np.uint32(24))) * factor
        state[active] = (state[active] * factor) ^ word
    rest = lengths & 3
    tail = words[starts + (blocks << 2)] & np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)[rest]
    state = np.where(rest > 0, (state ^ tail) * factor, state)
    state = (state ^ (state >> np.uint32(13))) * factor
    state ^= state >> np.uint32(15)
    return (state & np.uint32(0x7FFFFFFF)).astype(np.int64)
