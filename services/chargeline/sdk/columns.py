"""Columns of made-up or recorded usage, for the commands: never imported with the client."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.wire.usage_encoder import ragged

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
UInt8Array = npt.NDArray[np.uint8]

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def coded(codes: Int64Array, values: Sequence[str], absent: BoolArray | None = None) -> pa.DictionaryArray:
    """Texts by their place in `values`; null where absent."""
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=absent), pa.array(values, pa.large_string())
    )


def numbered(prefix: str, numbers: Int64Array) -> pa.Array:
    """Texts: the prefix and each number in hexadecimal."""
    width = max(1, -(-int(numbers.max(initial=0)).bit_length() // 4))
    digits = numbers[:, None] >> (np.arange(width - 1, -1, -1) * 4)
    kept = digits != 0
    kept[:, -1] = True
    return _prefixed(prefix, _DIGITS[digits & 15], kept)


def random_hex(prefix: str, raw: UInt8Array) -> pa.Array:
    """Texts: the prefix and each row's bytes in hexadecimal."""
    digits = np.stack([raw >> 4, raw & 15], axis=2).reshape(len(raw), -1)
    return _prefixed(prefix, _DIGITS[digits], np.ones(digits.shape, np.bool_))


def _prefixed(prefix: str, digits: UInt8Array, kept: BoolArray) -> pa.Array:
    letters = np.frombuffer(prefix.encode(), np.uint8)
    matrix = np.concatenate([np.broadcast_to(letters, (len(digits), len(letters))), digits], axis=1)
    return ragged(matrix, np.pad(kept, ((0, 0), (len(letters), 0)), constant_values=True)).view(pa.large_string())
