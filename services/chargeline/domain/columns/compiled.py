"""Loops over arrays as machine code: no interpreter, and none of its lock, while they run.

For what is one pass over bytes (decoding, hashing, hash tables), where a sequence of array operations would read and
write its operands many times over. A compiled function takes arrays and numbers and gives arrays and numbers; it is
compiled at its first call and kept beside its module, or in the user's cache where that cannot be written. Nothing
checks its bounds: each says why it stays inside.

Numbers in them keep their kind only if both operands have it: constants of unsigned words are `np.uint64(…)`.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The same function as machine code."""
    try:
        return cast("F", numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # there is no place to keep it: it is compiled by each process
        return cast("F", numba.njit(nogil=True)(function))


def words_of(data: npt.NDArray[np.uint8], kind: str = "<u8") -> npt.NDArray[Any]:
    """The bytes read as a word (of 8 bytes, or of 4: "<u4") from each place on."""
    return np.ndarray((len(data) - np.dtype(kind).itemsize + 1,), kind, data, strides=(1,))
