"""ClickHouse behind `ports.Warehouse`."""

import re
from collections.abc import Mapping
from typing import Any

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from chargeline.domain.errors import Fault, TransientError

_CODE = re.compile(r"Code: (\d+)")
# Too many parts, memory limit, time-out, network, no replica, shutting down: the same call may succeed later.
_TRANSIENT = {159, 160, 202, 209, 210, 241, 242, 252, 279, 319, 394, 425, 999}

# A pool of threads costs more than it writes in buffers this small.
_PLAIN = pa.ipc.IpcWriteOptions(use_threads=False)
# One message is one block, written when the call returns: a block that the server cut would be deduplicated by
# halves, and one that it put off would be acknowledged with others.
_ONE_BLOCK = {
    "async_insert": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 0,
    "min_insert_block_size_bytes": 0,
    "input_format_parallel_parsing": 0,
    # A null in a column that has none is a fault of ours; it must not become a zero in silence.
    "input_format_null_as_default": 0,
    # Skip indexes are made by the first merge; a fresh part is read whole in no time.
    "materialize_skip_indexes_on_insert": 0,
}


class ClickHouseAway(TransientError):
    """ClickHouse does not answer, or not now."""

    peer = "clickhouse"


class ClickHouse:
    """One connection; not to be shared by threads."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url, self._user, self._password = url, user, password
        self._made: Client | None = None

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        names = ", ".join(f"`{name}`" for name in rows.column_names)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=_PLAIN) as writer:
            writer.write_table(rows)
        sql = f"INSERT INTO {table} ({names}) FORMAT ArrowStream"
        body = sink.getvalue().to_pybytes()
        settings = _ONE_BLOCK | {"insert_deduplication_token": token}
        self._guarded(lambda client: client.command(sql, data=body, settings=settings))

    def stored_maximum(self, table: str, topic: str) -> dict[int, int]:
        sql = f"SELECT log_partition, max(log_offset) FROM {table} WHERE log_topic = {{topic:String}} GROUP BY 1"
        rows = self._guarded(lambda client: client.query(sql, parameters={"topic": topic})).result_rows
        return {int(partition): int(offset) for partition, offset in rows}

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        return self._guarded(lambda client: client.query_arrow(sql, parameters=dict(parameters or {})))

    def command(self, sql: str) -> None:
        """Run a statement without a result."""
        self._guarded(lambda client: client.command(sql))

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def _guarded(self, call: Any) -> Any:
        try:
            if self._made is None:
                self._made = _client(self._url, self._user, self._password)
            return call(self._made)
        except (OperationalError, urllib3.exceptions.HTTPError, OSError) as error:
            self._made = None
            raise ClickHouseAway(f"ClickHouse: {error}") from error
        except (DatabaseError, ClickHouseError) as error:
            found = _CODE.search(str(error))
            if found is None or int(found.group(1)) in _TRANSIENT:
                self._made = None
                raise ClickHouseAway(f"ClickHouse: {error}") from error
            raise Fault(f"ClickHouse refused a statement: {error}") from error


def _client(url: str, user: str, password: str) -> Client:
    parts = urllib3.util.parse_url(url)
    return clickhouse_connect.get_client(
        host=parts.host or "",
        port=parts.port or 8123,
        interface=parts.scheme or "http",
        username=user,
        password=password,
        # A session belongs to one statement at a time, and retries of the client would hide an unknown outcome.
        autogenerate_session_id=False,
        query_retries=0,
        compress=False,
        send_receive_timeout=60,
        connect_timeout=5,
    )
