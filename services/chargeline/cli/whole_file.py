"""Output that is there as a whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from chargeline.cli.price_files import Unusable, unreadable


@contextmanager
def whole_file(output: Path | None) -> Iterator[BinaryIO]:
    """Where to write; the file appears under its name when the block is left without an error. None: standard output.

    Raises:
        Unusable: the file cannot be written.
    """
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():  # a pipe or a device has no draft
        with output.open("wb") as sink:
            yield sink
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        try:
            sink = draft.open("wb")
        except OSError as error:
            raise Unusable([(output, unreadable(error))]) from error
        with sink:
            yield sink
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
