"""The documented hashes: golden values, and an independent implementation."""

import random

import mmh3
import numpy as np

from chargeline.domain.murmur import PADDING, murmur2, murmur3_x64_128
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
