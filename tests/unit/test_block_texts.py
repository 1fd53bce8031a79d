"""Texts inside a block of bytes: as Arrow strings and as codes, against plain Python."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.wire.block_texts import PADDING, arrow_texts, numbered_texts

texts = st.lists(st.one_of(st.text(max_size=40), st.sampled_from(["", "a", "account-1", "account-12", "x" * 16])))


def placed(raw):
    """The block, with other bytes around each text, and where they lie."""
    block, starts = b"", []
    for each in raw:
        starts.append(len(block) + 1)
        block += b"\xff" + each
    data = np.frombuffer(block + b"\xff" * PADDING, np.uint8)
    return data, np.array(starts, np.int64), np.array([len(each) for each in raw], np.int64)


@settings(max_examples=200)
@given(texts, st.data())
def test_texts_are_read_and_numbered_as_they_come(rows, data):
    block, starts, lengths = placed([each.encode() for each in rows])
    valid = np.array([data.draw(st.booleans()) for _ in rows], bool)
    kept = np.where(valid, lengths, 0)
    found, bad = arrow_texts(block, starts.astype(np.int32), kept.astype(np.int32), valid)
    assert bad is None
    assert found.to_pylist() == [each if ok else None for each, ok in zip(rows, valid, strict=True)]
    numbered, bad = numbered_texts(block, starts, lengths)
    assert bad is None
    assert numbered.values.to_pylist() == list(dict.fromkeys(rows))
    assert [numbered.at(row) for row in range(len(rows))] == rows


@given(st.lists(st.binary(max_size=6), max_size=20))
def test_what_is_not_utf8_is_named_and_disturbs_no_other(raw):
    wanted = []
    for each in raw:
        try:
            wanted.append(each.decode())
        except UnicodeDecodeError:
            wanted.append(None)
    block, starts, lengths = placed(raw)
    found, bad = arrow_texts(block, starts.astype(np.int32), lengths.astype(np.int32), None)
    assert [
        None if is_bad else text for text, is_bad in zip(found.to_pylist(), _flags(bad, raw), strict=True)
    ] == wanted
    numbered, bad = numbered_texts(block, starts, lengths)
    flags = _flags(bad, raw)
    assert [None if flags[row] else numbered.at(row) for row in range(len(raw))] == wanted


def _flags(bad, raw):
    return [False] * len(raw) if bad is None else bad.tolist()
