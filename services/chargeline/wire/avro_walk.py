"""The two walks over Avro datums that avro_columns.py asks for, field by field in the order of the schema."""

import numpy as np
import numpy.typing as npt

from chargeline.domain.columns.compiled import compiled
from chargeline.wire.block_texts import code_of

UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]

# Of a field. CODED: a text that repeats.
CODED, TEXT, LONG, ENUM, DOUBLE, MAP_OF_LONGS, MAP_OF_TEXTS = range(7)
_MAP_ENTRIES_MAX = 64  # with 1 KiB a text this keeps every charge far below the message limit
NONE = -1  # for a place: there is no such value
_1, _7, _63, _LOW = np.uint64(1), np.uint64(7), np.uint64(63), np.uint64(0x7F)


@compiled
def varint(data: UInt8Array, at: int, end: int) -> tuple[int, int]:
    """(the zigzag number, the place behind it); no place: it is cut off or has more than 64 bits."""
    raw, shift = np.uint64(0), np.uint64(0)
    while at < end:
        byte = np.uint64(data[at])
        at += 1
        if shift == _63 and byte > _1:
            break
        raw |= (byte & _LOW) << shift
        if byte <= _LOW:
            return int(np.int64(raw >> _1) ^ -np.int64(raw & _1)), at
        shift += _7
    return 0, NONE


@compiled
def text(data: UInt8Array, at: int, end: int) -> tuple[int, int]:
    """(length of a text, the place behind it)."""
    length, at = varint(data, at, end)
    if at == NONE or length < 0 or length > end - at:
        return 0, NONE
    return length, at + length


@compiled
def measure(
    data: UInt8Array,
    starts: Int64Array,
    ends: Int64Array,
    kind: Int64Array,
    nullable: BoolArray,
    symbols: Int64Array,
    default_byte: Int64Array,
    text_bytes_max: int,
    irregular: BoolArray,
    long_text: BoolArray,
    seen: BoolArray,
    entries: Int64Array,
) -> None:
    """Mark the rows that are not plain, those with longer texts, and the fields that some row gives a value.

    Args:
        kind, nullable, symbols, default_byte: by field.
        entries: by field: how many entries of the map there are in all rows.

    Every place is compared with the end of its datum before anything is read from it.
    """
    for row in range(len(starts)):
        at, end = starts[row], ends[row]
        for field in range(len(kind)):
            if at >= end:
                at = NONE
                break
            if data[at] == default_byte[field]:
                at += 1
                continue
            seen[field] = True
            if nullable[field]:
                if data[at] != 2:  # the second branch of the union, in zigzag
                    at = NONE
                    break
                at += 1
            if kind[field] <= TEXT:
                length, at = text(data, at, end)
                long_text[row] |= length > text_bytes_max
            elif kind[field] == LONG:
                _, at = varint(data, at, end)
            elif kind[field] == ENUM:
                number, at = varint(data, at, end)
                if number < 0 or number >= symbols[field]:
                    at = NONE
            elif kind[field] == DOUBLE:
                at = at + 8 if at + 8 <= end else NONE
            else:
                count, at = _measured_map(data, at, end, kind[field] == MAP_OF_TEXTS, text_bytes_max, long_text, row)
                entries[field] += count
            if at == NONE:
                break
        irregular[row] = at != end


@compiled
def _measured_map(
    data: UInt8Array, at: int, end: int, of_texts: bool, text_bytes_max: int, long_text: BoolArray, row: int
) -> tuple[int, int]:
    """(entries, the place behind the map). One block is what every encoder in use writes."""
    count, at = varint(data, at, end)
    if at == NONE or count < 0 or count > _MAP_ENTRIES_MAX:
        return 0, NONE
    for _ in range(count):
        length, at = text(data, at, end)
        if at == NONE:
            return 0, NONE
        long_text[row] |= length > text_bytes_max
        if of_texts:
            length, at = text(data, at, end)
            long_text[row] |= length > text_bytes_max
        else:
            _, at = varint(data, at, end)
        if at == NONE:
            return 0, NONE
    if count:
        last, at = varint(data, at, end)
        if last != 0:
            return 0, NONE
    return count, at


@compiled
def fill(
    data: UInt8Array,
    words: UInt64Array,
    starts: Int64Array,
    left_out: BoolArray,
    begin: int,
    kind: Int64Array,
    nullable: BoolArray,
    default_byte: Int64Array,
    slots: Int64Array,
    valid_slots: Int64Array,
    numbers: Int64Array,
    codes: Int32Array,
    places: Int32Array,
    valid: BoolArray,
    maps: Int64Array,
    map_end: Int64Array,
    code_slots: Int32Array,
    code_places: Int32Array,
    counts: Int64Array,
    seed: np.uint64,
) -> None:
    """Write the values of the rows that are not left out, which `measure` has found plain, and nothing else.

    Args:
        begin: the row of the arrays that the first one is.
        slots, valid_slots: by field: its place in `numbers`, `codes` or `places`, and in `valid`.
        map_end: by field: where in `maps` its next entry goes; moved on.
        code_slots, code_places, counts, seed: see block_texts.Numbering.
    """
    end = len(data)
    for number in range(len(starts)):
        if left_out[number]:
            continue
        at, row = starts[number], begin + number
        for field in range(len(kind)):
            if data[at] == default_byte[field]:
                at += 1
                continue
            slot = slots[field]
            if nullable[field]:
                valid[valid_slots[field], row] = True
                at += 1
            if kind[field] == CODED:
                length, at = text(data, at, end)
                codes[slot, row] = code_of(words, at - length, length, code_slots, code_places, seed, counts, slot)
            elif kind[field] == TEXT:
                length, at = text(data, at, end)
                places[slot, 0, row], places[slot, 1, row] = at - length, length
            elif kind[field] == DOUBLE:
                numbers[slot, row] = np.int64(words[at])
                at += 8
            elif kind[field] <= ENUM:
                numbers[slot, row], at = varint(data, at, end)
            else:
                map_end[field], at = _filled_map(data, at, kind[field] == MAP_OF_TEXTS, row, maps, map_end[field])


@compiled
def _filled_map(data: UInt8Array, at: int, of_texts: bool, row: int, maps: Int64Array, place: int) -> tuple[int, int]:
    """(where in `maps` the next entry goes, the place behind the map)."""
    end = len(data)
    count, at = varint(data, at, end)
    for _ in range(count):
        length, at = text(data, at, end)
        maps[0, place], maps[1, place], maps[2, place] = row, at - length, length
        if of_texts:
            length, at = text(data, at, end)
            maps[3, place], maps[4, place] = at - length, length
        else:
            maps[3, place], at = varint(data, at, end)
        place += 1
    return place, at + 1 if count else at
