"""What `chargeline price` writes as JSON lines (spec/formats.md 6)."""

import json
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from chargeline.cli.price_events import Block
from chargeline.cli.price_objects import Object, Totals, counted, single_objects
from chargeline.pricer.log_records import Answers
from chargeline.wire.charge_lines import charge_lines, is_plain

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class JsonLines:
    """One line an object; the last one has the totals."""

    def __init__(self, sink: BinaryIO, totals: Totals) -> None:
        self._sink = sink
        self._totals = totals

    def block(self, block: Block, answers: Answers) -> None:
        """The lines of a block in their order."""
        lines: list[Any] = [None] * len(block.names)
        for table in answers.tables:
            plain = is_plain(table)
            if len(answers.tables) == 1 and table.num_rows == len(lines) and plain.all():
                self._totals.add_table(table)
                self._sink.write(_bytes_of(charge_lines(table)))
                return
            written = table.filter(pa.array(plain))
            if written.num_rows:
                self._totals.add_table(written)
                offsets = written.column("source_offset").to_pylist()
                for offset, line in zip(offsets, charge_lines(written).to_pylist(), strict=True):
                    lines[offset - block.start] = line.encode()
        for place, account, found in single_objects(block, answers):
            lines[place] = _line(counted(account, found, self._totals))
        self._sink.writelines(lines)

    def scope(self, found: Object) -> None:
        """What a close booked for one scope."""
        self._totals.add_scope(found)
        self._sink.write(_line(found))

    def end(self) -> None:
        self._sink.write(_line(self._totals.line()))


def _bytes_of(lines: pa.LargeStringArray) -> memoryview:
    """The texts of a column one after the other."""
    bounds = np.frombuffer(lines.buffers()[1], np.int64)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[int(bounds[0]) : int(bounds[-1])]


def _line(found: Object) -> bytes:
    try:
        return (_ENCODE(found) + "\n").encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, but an escape
        return (json.dumps(found, separators=(",", ":")) + "\n").encode()
