"""ClickHouse's HTTP interface over the embedded engine (chdb), for one machine.

The engine has no users, so this process knows two: `chargeline` may do everything, `bi` may only read, and if
CHARGELINE_BI_TEAM is set sees that team's rows alone. One engine handle a request: settings, parameters and failures
need no cleaning up.
"""

import asyncio
import base64
import gzip
import hmac
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import chdb
import pyarrow as pa
import uvicorn

_OPTIONS = "?mark_cache_size=134217728&max_server_memory_usage=4000000000&background_pool_size=4"
_BODY_MAX = 256 * 1024 * 1024
_TRANSPORT = {
    "query", "database", "user", "password", "default_format", "query_id", "session_id", "session_timeout",
    "session_check", "compress", "decompress", "enable_http_compression", "wait_end_of_query", "buffer_size",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "client_protocol_version", "role",
    "cancel_http_readonly_queries_on_client_close", "http_zlib_compression_level", "quota_key",
}  # fmt: skip
_INSERT = re.compile(r"^\s*INSERT\s+INTO\s.*?\bFORMAT\s+(\w+)[ \t]*(?:\r?\n|$|\s)", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")
_HAS_RESULT = re.compile(r"^\s*(\(|SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK)\b", re.IGNORECASE)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
# Table functions that reach beyond the tables: files of this machine, other servers, programs.
_OUTSIDE = re.compile(
    r"\b(file|fileCluster|url|urlCluster|s3|s3Cluster|gcs|remote|remoteSecure|cluster|clusterAllReplicas|executable|"
    r"mysql|postgresql|sqlite|mongodb|redis|odbc|jdbc|hdfs|hdfsCluster|iceberg\w*|deltaLake\w*|hudi\w*|azure\w*|"
    r"python|merge|input|dictionary|loop|hive|ytsaurus|paimon\w*|arrowFlight)\s*\(",
    re.IGNORECASE,
)
_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'")
_TEAM_TABLES = ("charges", "cost_rollups", "performance_rollups")


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Engine:
    """The engine of one data directory; the root handle keeps it open."""

    def __init__(self, path: Path) -> None:
        self._address = f"{path}{_OPTIONS}"
        self._root = chdb.connect(self._address)
        rows = str(self._root.query("SELECT name FROM system.settings", "TSV"))
        self._settings = set(rows.split())

    def run(self, sql: str, body: bytes, arguments: dict[str, str], *, writer: bool) -> tuple[bytes, str | None]:
        """Run one statement; (result, format of the result or None if it has none)."""
        handle = chdb.connect(self._address)
        try:
            self._set(handle, arguments, writer=writer)
            found = _INSERT.match(sql)
            if found is not None and found.group(1).upper() != "VALUES":
                if not writer:
                    raise Refusal(
                        500, 164, "Code: 164. DB::Exception: Cannot execute query in readonly mode. (READONLY)"
                    )
                statement = sql[: found.start(1)].rstrip()[: -len("FORMAT")]
                inserting = handle.send_insert(statement, found.group(1))
                inline = sql[found.end() :].encode()
                inserting.append(inline + body if inline else body)
                inserting.finish()
                return b"", None
            if body:
                sql = f"{sql}\n{body.decode()}" if sql else body.decode()
            if not writer and _OUTSIDE.search(_LITERAL.sub("''", sql)):
                message = "Code: 497. DB::Exception: this user may read the tables only. (ACCESS_DENIED)"
                raise Refusal(403, 497, message)
            parameters = {name[6:]: value for name, value in arguments.items() if name.startswith("param_")}
            named = _FORMAT.search(sql)
            kind = named.group(1) if named else arguments.get("default_format", "TabSeparated")
            result = handle.query(sql, kind, params=parameters)
            return result.bytes(), kind if _HAS_RESULT.match(sql) else None
        except RuntimeError as error:
            raise _refusal(str(error)) from error
        finally:
            handle.close()

    def _set(self, handle: Any, arguments: dict[str, str], *, writer: bool) -> None:
        if arguments.get("database", "default") != "default":
            handle.query(f"USE `{arguments['database'].replace('`', '')}`")
        wanted = []
        for name, value in arguments.items():
            if name in _TRANSPORT or name.startswith("param_"):
                continue
            if name not in self._settings:
                raise Refusal(404, 115, f"Code: 115. DB::Exception: Unknown setting {name}. (UNKNOWN_SETTING)")
            if writer or name not in {"readonly", "additional_table_filters"}:
                wanted.append(f"{name} = '{_quoted(value)}'")
        if wanted:
            handle.query(f"SET {', '.join(wanted)}")
        if not writer:
            team = os.environ.get("CHARGELINE_BI_TEAM")
            if team:
                rule = _quoted(f"team = '{_quoted(team)}'")
                filters = ", ".join(f"'default.{table}': '{rule}'" for table in _TEAM_TABLES)
                handle.query(f"SET additional_table_filters = {{{filters}}}")
            handle.query("SET readonly = 1")

    def close(self) -> None:
        self._root.close()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _refusal(message: str) -> Refusal:
    found = _CODE.search(message)
    code = int(found.group(1)) if found else 1001
    status = {60: 404, 81: 404, 115: 404, 62: 400, 47: 400, 241: 500}.get(code, 500)
    return Refusal(status, code, message if found else f"Code: {code}. DB::Exception: {message} (STD_EXCEPTION)")


class Facade:
    """The ASGI application."""

    def __init__(self, path: Path) -> None:
        self._engine = Engine(path)
        self._threads = ThreadPoolExecutor(16)
        self._passwords = {
            "chargeline": os.environ["CHARGELINE_CLICKHOUSE_PASSWORD"],
            "bi": os.environ["CHARGELINE_BI_PASSWORD"],
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["path"] in {"/ping", "/replicas_status"}:
            await _answer(send, 200, b"Ok.\n", {})
            return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        arguments = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        try:
            writer = self._authenticate(headers, arguments) == "chargeline"
            body = _decompressed(await _body(receive), headers.get("content-encoding", ""))
            if headers.get("content-type", "").startswith("multipart/form-data"):
                arguments, body = arguments | _form(headers["content-type"], body), b""
            sql = arguments.get("query", "")
            loop = asyncio.get_running_loop()
            result, kind = await loop.run_in_executor(
                self._threads, lambda: self._run(sql, body, arguments, writer=writer)
            )
        except Refusal as refusal:
            extra = {"X-ClickHouse-Exception-Code": str(refusal.code)}
            await _answer(send, refusal.status, str(refusal).encode(), extra)
            return
        extra = {"X-ClickHouse-Summary": '{"read_rows":"0","written_rows":"0"}', "X-ClickHouse-Timezone": "UTC"}
        if kind is not None:
            extra["X-ClickHouse-Format"] = kind
        if arguments.get("enable_http_compression") == "1" and "gzip" in headers.get("accept-encoding", ""):
            result = gzip.compress(result, 1)
            extra["Content-Encoding"] = "gzip"
        await _answer(send, 200, result, extra)

    def _run(self, sql: str, body: bytes, arguments: dict[str, str], *, writer: bool) -> tuple[bytes, str | None]:
        if not sql:
            head = body[:65_536].decode(errors="ignore")
            found = _INSERT.match(head)
            if found is not None:
                at = len(head[: found.end()].encode())
                return self._engine.run(head[: found.end()], body[at:], arguments, writer=writer)
            return self._engine.run(body.decode(), b"", arguments, writer=writer)
        return self._engine.run(sql, body, arguments, writer=writer)

    def _authenticate(self, headers: dict[str, str], arguments: dict[str, str]) -> str:
        user = headers.get("x-clickhouse-user") or arguments.get("user", "")
        password = headers.get("x-clickhouse-key") or arguments.get("password", "")
        if headers.get("authorization", "").startswith("Basic "):
            decoded = base64.b64decode(headers["authorization"][6:]).decode()
            user, _, password = decoded.partition(":")
        known = self._passwords.get(user, "")
        if not known or not hmac.compare_digest(known.encode(), password.encode()):
            message = f"Code: 516. DB::Exception: {user}: Authentication failed. (AUTHENTICATION_FAILED)"
            raise Refusal(403, 516, message)
        return user

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._threads.shutdown()
                self._engine.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _body(receive: Any) -> bytes:
    parts = []
    size = 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _BODY_MAX:
            raise Refusal(413, 307, "Code: 307. DB::Exception: The request is too large. (TOO_MANY_BYTES)")
        if not message.get("more_body"):
            return b"".join(parts)


def _form(kind: str, body: bytes) -> dict[str, str]:
    """The fields of a form: so the client sends the statement and its parameters where these are long."""
    whole = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    parts = whole.iter_parts() if isinstance(whole, EmailMessage) else ()
    return {
        str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True) or b"").decode()
        for part in parts
    }


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding not in {"lz4", "zstd", "gzip"}:
        return body
    with pa.input_stream(pa.py_buffer(body), compression=encoding) as source:
        return bytes(source.read())


async def _answer(send: Any, status: int, body: bytes, extra: dict[str, str]) -> None:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "Content-Length": str(len(body)), **extra}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    path, port = Path(sys.argv[1]), int(sys.argv[2])
    uvicorn.run(Facade(path), host="127.0.0.1", port=port, log_level="warning", timeout_keep_alive=75, access_log=False)


if __name__ == "__main__":
    main()
