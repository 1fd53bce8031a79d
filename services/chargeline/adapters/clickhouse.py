"""ClickHouse behind `ports.Warehouse`."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlencode

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from chargeline.domain.errors import Fault, TransientError

_CODE = re.compile(r"Code: (\d+)")
# Too many parts, memory limit, time-out, network, no replica, shutting down: the same call may succeed later.
_TRANSIENT = {159, 160, 202, 209, 210, 241, 242, 252, 279, 319, 394, 425, 999}

# Compressing costs less than sending and receiving four times as much; a pool of threads costs more than it compresses.
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
# One insert is one block, written when the call returns: a block that the server cut would be deduplicated by
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

_CONNECT_S = 5
ANSWER_S = 60


class ClickHouseAway(TransientError):
    """ClickHouse does not answer, or not now."""

    peer = "clickhouse"


class ClickHouse:
    """One connection; not to be shared by threads. After `answer_s` seconds without an answer it counts as away."""

    def __init__(self, url: str, user: str, password: str, *, answer_s: int = ANSWER_S) -> None:
        self._url, self._user, self._password, self._answer_s = url, user, password, answer_s
        self._timeout = urllib3.Timeout(connect=_CONNECT_S, read=answer_s)
        self._made: Client | None = None
        self._http = urllib3.PoolManager(num_pools=1, maxsize=1)

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        names = ", ".join(f"`{name}`" for name in rows.column_names)
        body = pa.BufferOutputStream()
        body.write(f"INSERT INTO {table} ({names}) FORMAT ArrowStream\n".encode())
        with pa.ipc.new_stream(body, rows.schema, options=_OPTIONS) as writer:
            writer.write_table(rows)
        settings = urlencode(_ONE_BLOCK | {"insert_deduplication_token": token})
        # Any buffer is sent as bytes are; a copy of a large unit would cost as much as reading it.
        buffer = cast("bytes", memoryview(body.getvalue()))
        self._guarded(lambda: self._post(settings, buffer))

    def _post(self, settings: str, body: bytes) -> None:
        """One request, never repeated by the client.

        The client library would put the statement into the address, and take longer to quote its hundred names there
        than to send the rows.
        """
        headers = {"X-ClickHouse-User": self._user, "X-ClickHouse-Key": self._password}
        answer = self._http.request(
            "POST", f"{self._url}/?{settings}", body=body, headers=headers, retries=False, timeout=self._timeout
        )
        if answer.status != 200:
            raise DatabaseError(answer.data.decode(errors="replace"))

    def stored_maximum(self, table: str, topic: str) -> dict[int, int]:
        sql = f"SELECT log_partition, max(log_offset) FROM {table} WHERE log_topic = {{topic:String}} GROUP BY 1"
        rows = self._guarded(lambda: self._client().query(sql, parameters={"topic": topic})).result_rows
        return {int(partition): int(offset) for partition, offset in rows}

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        return self._guarded(lambda: self._client().query_arrow(sql, parameters=dict(parameters or {})))

    def command(self, sql: str) -> None:
        """Run a statement without a result."""
        self._guarded(lambda: self._client().command(sql))

    def close(self) -> None:
        self._http.clear()
        if self._made is not None:
            self._made.close()

    def _client(self) -> Client:
        if self._made is None:
            self._made = _client(self._url, self._user, self._password, self._answer_s)
        return self._made

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (OperationalError, urllib3.exceptions.HTTPError, OSError) as error:
            self._made = None
            raise ClickHouseAway(f"ClickHouse: {error}") from error
        except (DatabaseError, ClickHouseError) as error:
            found = _CODE.search(str(error))
            if found is None or int(found.group(1)) in _TRANSIENT:
                self._made = None
                raise ClickHouseAway(f"ClickHouse: {error}") from error
            raise Fault(f"ClickHouse refused a statement: {error}") from error


def _client(url: str, user: str, password: str, answer_s: int) -> Client:
    # The library warns of what it raises too: people would be told twice, once without the reason.
    logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)
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
        send_receive_timeout=answer_s,
        connect_timeout=_CONNECT_S,
    )
