"""State as bytes: columns and a JSON document, compressed; plain little-endian arrays, whatever the NumPy."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chargeline.domain.errors import StateIncomplete

_MAGIC = b"CLAW0001"  # the last four digits: version of the layout
_CODEC = "zstd"
_PIECE = 4 << 20  # bytes before compression: some 20 ms


def packing(document: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> Iterator[bytes]:
    """One block of bytes, piece by piece; columns and document must not change between two of them."""
    plain = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    shapes = {name: [column.dtype.str, list(column.shape)] for name, column in plain.items()}
    head = json.dumps({"document": document, "columns": shapes}, separators=(",", ":")).encode()
    size = 8 + len(head) + sum(column.nbytes for column in plain.values())
    yield _MAGIC + size.to_bytes(8, "little")
    piece = bytearray(len(head).to_bytes(8, "little") + head)
    for column in plain.values():
        values = column.reshape(-1).view(np.uint8)
        for at in range(0, len(values), _PIECE):
            piece += values[at : at + _PIECE].data
            if len(piece) >= _PIECE:
                yield _compressed(piece)
                piece = bytearray()
    yield _compressed(piece)


def packed(document: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """One block of bytes."""
    return b"".join(packing(document, columns))


def _compressed(piece: bytearray) -> bytes:
    """A frame of its own: frames beside each other are read as one."""
    return bytes(pa.compress(bytes(piece), _CODEC, asbytes=True))


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
