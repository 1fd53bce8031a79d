"""The names of accumulating scopes: 16 bytes that are the same in every process and for ever.

The key is murmur3_x64_128 of the concatenated netstrings (`<bytes>:<text>`; `-` for a text that is null) of: account,
rate card id, its version, sku_id, variant, start of the window in microseconds since 1970, for a window that is shorter
than the billing period the start of that too, and the values of the rate's `scope_by` attributes in their order (golden
values: tests/unit/test_scope_keys.py; docs/state.md). The version is part of it because a scope has one rate: a version
that starts at once inside a billing period opens scopes of its own.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.columns.exact import Int64Array
from chargeline.domain.columns.murmur import PADDING, murmur3_x64_128
from chargeline.domain.rates.book import Rate
from chargeline.domain.usage import Text


def rate_name(rate: Rate) -> str:
    """The part of a key that names the rate."""
    card = rate.card
    return "".join(map(netstring, (card.rate_card_id, str(card.version), rate.sku.sku_id, rate.sku.variant)))


def netstring(text: str | None) -> str:
    return "-" if text is None else f"{len(text.encode())}:{text}"


def scope_keys(account: Text, rates: Text, window_start: Int64Array, by: Sequence[pa.StringArray]) -> bytes:
    """The keys of n scopes, 16 bytes each.

    Args:
        rates: of each, its `rate_name`.
        by: what splits it: the start of the billing period where the window is shorter, then the values of the
            attributes, null where it has none.
    """
    parts = [
        _taken(account),
        rates.values.take(pa.array(rates.codes)),
        _netstrings(pa.array(window_start).cast(pa.string())),
    ]
    parts += [_netstrings(values).fill_null("-") for values in by]
    joined = pc.binary_join_element_wise(*parts, "")
    data, starts, lengths = _bytes_of(joined)
    first, second = murmur3_x64_128(data, starts, lengths)
    both = np.empty((len(first), 2), "<u8")
    both[:, 0], both[:, 1] = first, second
    return both.tobytes()


def _taken(text: Text) -> pa.StringArray:
    return _netstrings(text.values).take(pa.array(text.codes))


def _netstrings(texts: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise(pc.cast(pc.binary_length(texts), pa.string()), texts, ":")


def _bytes_of(texts: pa.StringArray) -> tuple[npt.NDArray[np.uint8], Int64Array, Int64Array]:
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    buffer = texts.buffers()[2]
    raw = b"" if buffer is None else buffer.to_pybytes()
    return np.frombuffer(raw + bytes(PADDING), np.uint8), offsets[:-1], np.diff(offsets)
