"""Functions as machine code."""

from typing import Any

import numpy as np

from chargeline.domain.columns.compiled import compiled, words_of


def test_a_function_of_no_file_is_compiled_without_a_place_to_keep_it():
    names: dict[str, Any] = {}
    exec("def twice(number): return 2 * number", names)
    assert compiled(names["twice"])(21) == 42


def test_words_begin_at_every_byte_and_end_with_the_last_one():
    data = np.arange(10, dtype=np.uint8)
    assert words_of(data).tolist() == [int.from_bytes(bytes(range(at, at + 8)), "little") for at in range(3)]
    assert len(words_of(data, "<u4")) == 7
