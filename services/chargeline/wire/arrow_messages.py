"""Columnar messages: an Arrow table as Kafka values small enough for a default broker, and back."""

from collections.abc import Collection, Iterator

import pyarrow as pa

# The broker's default limit is 1 MiB; 10 % stay free for headers and framing.
MESSAGE_BYTES_MAX = 900_000
_WANTED = 800_000
_ROW_BYTES = 100  # first guess; each slice corrects it for the next one
_LARGE_DICTIONARY = 1_000
# Measured (docs/performance.md): a pool of threads costs three times what it compresses in buffers this small, and
# zstd makes a message 40 % smaller for three times the time.
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READING = pa.ipc.IpcReadOptions(use_threads=False)


def encode(table: pa.Table) -> list[bytes]:
    """Arrow IPC streams of consecutive rows of `table`, each at most `MESSAGE_BYTES_MAX`; one if it has no rows."""
    if not table.num_rows:
        return [_stream(table)]
    return list(_slices(table.combine_chunks()))


def encode_whole(table: pa.Table) -> bytes:
    """One Arrow IPC stream of all rows, however large: for stores without a message limit."""
    return _stream(table)


def decode(value: bytes) -> pa.Table:
    """The table of one message. Raises pa.ArrowInvalid if it is none."""
    return pa.ipc.open_stream(pa.py_buffer(value), options=_READING).read_all()


def schema_of(value: bytes) -> pa.Schema:
    """The columns of one message; none of them is unpacked. Raises pa.ArrowInvalid if it is none."""
    return pa.ipc.open_stream(pa.py_buffer(value), options=_READING).schema


def decode_columns(value: bytes, schema: pa.Schema, names: Collection[str]) -> pa.Table:
    """Some columns of one message in its order; the others are not unpacked, which is most of the cost of `decode`.

    Args:
        schema: of the message.
        names: at least one of them is there; those that the message leaves out are left out.
    """
    places = [place for place, name in enumerate(schema.names) if name in names]
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=places)
    return pa.ipc.open_stream(pa.py_buffer(value), options=options).read_all()


def _slices(table: pa.Table) -> Iterator[bytes]:
    row_bytes = float(_ROW_BYTES)
    start = 0
    while start < table.num_rows:
        rows = max(1, min(int(_WANTED / row_bytes), table.num_rows - start))
        stream = _stream(table.slice(start, rows))
        while len(stream) > MESSAGE_BYTES_MAX and rows > 1:
            rows //= 2
            stream = _stream(table.slice(start, rows))
        row_bytes = max(1.0, len(stream) / rows)
        start += rows
        yield stream


def _stream(table: pa.Table) -> bytes:
    batch = _compact(table)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
        writer.write_table(batch)
    return bytes(sink.getvalue())


def _compact(table: pa.Table) -> pa.Table:
    """Leave out dictionary values of other slices: a stream carries its dictionaries whole."""
    for number, field in enumerate(table.schema):
        if not pa.types.is_dictionary(field.type):
            continue
        column = table.column(number)
        values = column.chunk(0).dictionary if column.num_chunks else ()
        if len(values) > _LARGE_DICTIONARY and len(values) > table.num_rows // 4:
            fresh = column.combine_chunks().dictionary_decode().dictionary_encode()
            table = table.set_column(number, field, fresh.cast(field.type))
    return table
