"""From the raw values of a commit unit to usage columns, with the dead letter code of whatever cannot be decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.columns.compiled import words_of
from chargeline.domain.columns.murmur import murmur2, murmur3_x64_128
from chargeline.domain.content_hash import content_hash
from chargeline.domain.identities import Keys
from chargeline.domain.usage import GOOD, MESSAGE_BYTES_MAX, Refusals, Text, UsageColumns
from chargeline.wire import avro_rows
from chargeline.wire.avro_columns import PADDING, walk

Int64Array = npt.NDArray[np.int64]
SchemaOf = Callable[[int], str | None]

FRAMING = 5  # magic byte and schema id


@dataclass(frozen=True)
class Decoded:
    """n records: their columns (anything where `refusals` has a code), and the hash of each one's content."""

    usage: UsageColumns
    refusals: Refusals
    content: npt.NDArray[np.uint32]


def decode(values: list[bytes], sizes: Int64Array, schema_of: SchemaOf) -> Decoded:
    """Decode the values of n records.

    Args:
        sizes: int64, bytes of each value.
        schema_of: text of a schema id; None: definitely not registered. Raises TransientError if it cannot tell.
    """
    length = len(values)
    refusals = Refusals(length)
    refusals.mark("TOO_LARGE", sizes > MESSAGE_BYTES_MAX)
    data = np.frombuffer(b"".join([*values, bytes(PADDING)]), np.uint8)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    framed = sizes >= FRAMING
    framed[framed] = data[starts[framed]] == 0
    refusals.mark("MALFORMED", ~framed)
    ids = np.full(length, -1, np.int64)
    words = words_of(data, ">u4")
    ids[framed] = words[starts[framed] + 1]
    ours = np.zeros(length, bool)
    others: dict[int, str] = {}
    same = length and (ids == ids[0]).all()
    for number in ids[:1].tolist() if same else np.unique(ids).tolist():
        if number < 0:
            continue
        text = schema_of(number)
        if text is None or not avro_rows.is_usage_event(text):
            refusals.mark("UNKNOWN_SCHEMA", ids == number)
        else:
            others[number] = text
            if avro_rows.is_ours(text):
                ours |= ids == number
    good = ours & refusals.good()
    begin, stop = np.where(good, starts + FRAMING, 0), np.where(good, ends, 0)
    walked = walk(data, begin, stop)
    slow = np.flatnonzero(walked.irregular & refusals.good())
    mended = _mend(slow, values, ids, others, refusals)
    if mended:
        data, begin, stop = _replaced(data, begin, stop, mended)
        walked = walk(data, begin, stop)
        # It decodes, and is still not plain: a map with more entries than we take.
        refusals.mark("TOO_LARGE", walked.irregular)
    refusals.mark("TOO_LARGE", walked.long_text)
    # What is refused is not hashed: it may be megabytes long.
    return Decoded(walked.usage, refusals, content_hash(data, begin, np.where(refusals.good(), stop - begin, 0)))


def _mend(
    rows: Int64Array, values: list[bytes], ids: Int64Array, schemas: dict[int, str], refusals: Refusals
) -> dict[int, bytes]:
    """The plain encoding of the rows that the slow path can read; the others are MALFORMED."""
    mended = {}
    for row in rows.tolist():
        plain = avro_rows.canonical(values[row][FRAMING:], schemas[int(ids[row])])
        if plain is None:
            refusals.codes[row] = 1  # MALFORMED
        else:
            mended[row] = plain
    return mended


def _replaced(
    data: npt.NDArray[np.uint8], begin: Int64Array, stop: Int64Array, mended: dict[int, bytes]
) -> tuple[npt.NDArray[np.uint8], Int64Array, Int64Array]:
    begin, stop = begin.copy(), stop.copy()
    at = len(data) - PADDING
    for row, plain in mended.items():
        begin[row], stop[row] = at, at + len(plain)
        at += len(plain)
    joined = data[: len(data) - PADDING].tobytes() + b"".join(mended.values()) + bytes(PADDING)
    return np.frombuffer(joined, np.uint8), begin, stop


def identity_keys(usage: UsageColumns, content: npt.NDArray[np.uint32], offsets: Int64Array) -> Keys:
    """The identity of n events: murmur3 of the netstrings of account and source, and the event id (docs/state.md)."""
    prefix = [
        pc.binary_join_element_wise(pc.cast(pc.binary_length(text.values), pa.string()), text.values, ":").take(
            pa.array(text.codes)
        )
        for text in (usage.texts["billing_account_id"], usage.texts["source"])
    ]
    joined = pc.binary_join_element_wise(*prefix, usage.plain["event_id"], "")
    data, starts, lengths = _bytes_of(joined)
    first, second = murmur3_x64_128(data, starts, lengths)
    low = (second & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return Keys(first.byteswap(), low.byteswap(), content, offsets)


def identity_hashes(identities: Sequence[tuple[str, str, str]]) -> list[bytes]:
    """The 12 bytes that stand for each (account, source, event_id)."""
    if not identities:
        return []
    texts = [f"{len(account.encode())}:{account}{len(source.encode())}:{source}{event_id}"
             for account, source, event_id in identities]  # fmt: skip
    first, second = murmur3_x64_128(*_bytes_of(pa.array(texts, pa.string())))
    high, low = first.astype("<u8").tobytes(), (second & np.uint64(0xFFFFFFFF)).astype("<u4").tobytes()
    return [high[8 * at : 8 * at + 8] + low[4 * at : 4 * at + 4] for at in range(len(identities))]


def misplaced(usage: UsageColumns, partition: int, partitions: int) -> npt.NDArray[np.bool_]:
    """Which events lie on another partition than their account's."""
    accounts: Text = usage.texts["billing_account_id"]
    data, starts, lengths = _bytes_of(accounts.values)
    wrong = murmur2(data, starts, lengths) % partitions != partition
    return np.append(wrong, False)[accounts.codes]


def _bytes_of(texts: pa.StringArray) -> tuple[npt.NDArray[np.uint8], Int64Array, Int64Array]:
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    buffer = texts.buffers()[2]
    raw = b"" if buffer is None else buffer.to_pybytes()
    return np.frombuffer(raw + bytes(PADDING), np.uint8), offsets[:-1], np.diff(offsets)


__all__ = ["FRAMING", "GOOD", "Decoded", "decode", "identity_hashes", "identity_keys", "misplaced"]
