"""The documented hashes: golden values, and an independent implementation."""

import random

import mmh3
import numpy as np
import pytest

from chargeline.domain.columns.murmur import PADDING, murmur2, murmur3_x64_128
from chargeline.domain.content_hash import content_hash
from chargeline.sdk.partitioner import murmur2 as one_by_one


def packed(texts):
    lengths = np.array([len(text) for text in texts], np.int64)
    data = np.frombuffer(b"".join(texts) + bytes(PADDING), np.uint8)
    return data, np.cumsum(lengths) - lengths, lengths


def test_murmur3_is_that_of_the_reference_library_for_every_length():
    chance = random.Random(1)
    texts = [chance.randbytes(length) for length in range(70)] + [chance.randbytes(33) for _ in range(500)]
    first, second = murmur3_x64_128(*packed(texts))
    for row, text in enumerate(texts):
        found = first[row].astype("<u8").tobytes() + second[row].astype("<u8").tobytes()
        assert found == mmh3.mmh3_x64_128_digest(text, 0)


def test_the_identity_hash_of_a_known_event_never_changes():
    first, second = murmur3_x64_128(*packed([b"4:acme2:gwe1"]))
    found = first[0].astype("<u8").tobytes() + second[0].astype("<u8").tobytes()
    assert found.hex() == "c43275853089218b149d28f15ba95ee1"


def test_murmur2_puts_keys_where_java_puts_them():
    # From Kafka's own UtilsTest: murmur2("21"), ("foobar"), ("a-little-bit-long-string"), sign bit cleared.
    golden = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    found = murmur2(*packed(list(golden))).tolist()
    assert found == [value & 0x7FFFFFFF for value in golden.values()]
    assert [one_by_one(key) for key in golden] == found


GOLDEN_CONTENT = [0, 1492727646, 2008926390]


def content_of(text):
    """The documented formula, one word at a time."""
    mask, state, total = (1 << 64) - 1, 0, len(text) * 0xD6E8FEB86659FD93
    for at in range(0, len(text), 8):
        state = (state + 0x9E3779B97F4A7C15) & mask
        key = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & mask
        total += int.from_bytes(text[at : at + 8], "little") * ((key ^ (key >> 31)) | 1)
    return (total & mask) >> 32


def test_the_content_hash_is_the_documented_one_for_every_length():
    chance = random.Random(3)
    lengths = [*range(70), *range(500, 530), 4000, 1000, 9001, *(chance.randrange(300) for _ in range(9000))]
    texts = [chance.randbytes(length) for length in lengths]
    assert content_hash(*packed(texts)).tolist() == [content_of(text) for text in texts]


def test_the_content_hash_of_a_known_text_never_changes():
    assert content_hash(*packed([b"", b"chargeline", bytes(range(256))])).tolist() == GOLDEN_CONTENT


@pytest.mark.parametrize("length", [1, 8, 100, 600])
def test_one_changed_bit_changes_the_content_hash(length):
    text = bytearray(random.Random(length).randbytes(length))
    changed = []
    for bit in range(8 * length):
        text[bit // 8] ^= 1 << bit % 8
        changed.append(bytes(text))
        text[bit // 8] ^= 1 << bit % 8
    hashes = content_hash(*packed([bytes(text), *changed]))
    assert (hashes[1:] != hashes[0]).all()
