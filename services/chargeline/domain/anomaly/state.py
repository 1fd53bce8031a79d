"""State as bytes: columns and a JSON document, compressed; plain little-endian arrays, whatever the NumPy."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.errors import StateIncomplete

_MAGIC = b"CLAW0001"  # the last four digits: version of the layout
_CODEC = "zstd"


def packed(document: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """One block of bytes."""
    shapes, pieces = {}, []
    for name, column in columns.items():
        plain = np.ascontiguousarray(column)
        shapes[name] = [plain.dtype.str, list(plain.shape)]
        pieces.append(plain.tobytes())
    head = json.dumps({"document": document, "columns": shapes}, separators=(",", ":")).encode()
    body = b"".join([len(head).to_bytes(8, "little"), head, *pieces])
    return _MAGIC + len(body).to_bytes(8, "little") + bytes(pa.compress(body, _CODEC, asbytes=True))


def unpacked(state: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The document and the columns, which may be changed.

    Raises:
        StateIncomplete: another layout, or damaged bytes.
    """
    if state[:8] != _MAGIC:
        raise StateIncomplete("state of the anomaly detection: another layout")
    try:
        size = int.from_bytes(state[8:16], "little")
        body = bytes(pa.decompress(state[16:], size, _CODEC, asbytes=True))
        at = 8 + int.from_bytes(body[:8], "little")
        head = json.loads(body[8:at])
        columns = {}
        for name, (kind, shape) in head["columns"].items():
            dtype = np.dtype(kind)
            count = int(np.prod(shape))
            columns[name] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
            at += count * dtype.itemsize
    except (ValueError, KeyError, OSError, pa.ArrowInvalid) as error:
        raise StateIncomplete(f"state of the anomaly detection: {error}") from error
    if at != len(body):
        raise StateIncomplete("state of the anomaly detection: bytes are missing or too many")
    return head["document"], columns
