"""Spend and budget documents in Redis. Keys: docs/state.md and docs/budgets.md.

The totals of a partition share the hash tag `{budgets:<partition>}`, so that one script works in Redis Cluster; each
document is a key of its own, named for gateways.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chargeline.adapters.redis_state import RedisAway
from chargeline.domain.budgets.spend import Cell, Spend, Totals, cell_of
from chargeline.domain.rates.card import instant
from chargeline.state_ports import ApplyOutcome, SpendDelta, SpendHead

HEARTBEAT = "budgets:heartbeat"

# The compare is what makes a pane count once over restarts: whoever does not know the newest place writes nothing.
_APPLY = """
local head, days, fives = KEYS[1], KEYS[2], KEYS[3]
local next = redis.call('HGET', head, 'next_offset') or ''
if next ~= ARGV[1] then
  if ARGV[1] == '' or (next ~= '' and tonumber(next) > tonumber(ARGV[1])) then return 'AHEAD' end
  return 'BEHIND'
end
local at = 7
for part = 1, 2 do
  local key = part == 1 and days or fives
  for i = 1, tonumber(ARGV[4 + part]) do
    if ARGV[at + 1] == '' then redis.call('HDEL', key, ARGV[at])
    else redis.call('HSET', key, ARGV[at], ARGV[at + 1]) end
    at = at + 2
  end
end
redis.call('HSET', head, 'next_offset', ARGV[2], 'mark', ARGV[3], 'complete_from', ARGV[4])
return 'APPLIED'
"""

_PUBLISH = """
local old = redis.call('GET', KEYS[1])
if old and (cjson.decode(old)['next_offset'] or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

T = TypeVar("T")


class RedisSpendStore:
    """`state_ports.SpendStore`. Every method may block for the socket's time limit and raises TransientError then."""

    def __init__(self, url: str, *, username: str | None = None, password: str | None = None) -> None:
        self._redis = redis.Redis.from_url(
            url,
            username=username,
            password=password,
            socket_timeout=10.0,
            socket_connect_timeout=2.0,
            # The owner of the loop decides about retries: an unknown outcome is resolved by the script's compare.
            retry=Retry(NoBackoff(), 0),
        )
        self._apply = self._redis.register_script(_APPLY)
        self._publish = self._redis.register_script(_PUBLISH)

    def load(self, partition: int) -> tuple[SpendHead, Spend] | None:
        def read() -> list[dict[bytes, bytes]]:
            # One transaction: a snapshot that is being replaced is read whole or not at all.
            pipeline = self._redis.pipeline(transaction=True)
            for name in ("head", "days", "fives"):
                pipeline.hgetall(_key(partition, name))
            return cast("list[dict[bytes, bytes]]", pipeline.execute())

        stored, days, fives = self._call(read)
        if b"next_offset" not in stored:
            return None
        unit, pane = map(int, stored[b"mark"].split())
        complete = stored[b"complete_from"]
        head = SpendHead(int(stored[b"next_offset"]), (unit, pane), int(complete) if complete else None)
        return head, Spend(head.mark, head.complete_from, _totals(days), _totals(fives))

    def apply(self, partition: int, delta: SpendDelta) -> ApplyOutcome:
        keys = [_key(partition, name) for name in ("head", "days", "fives")]
        arguments: list[Any] = ["" if delta.start is None else delta.start, *_head(delta.head)]
        arguments += [len(delta.days), len(delta.fives)]
        for cells in (delta.days, delta.fives):
            for cell, picos in cells.items():
                arguments += [cell.encode(), "" if picos is None else picos]
        answer = self._call(lambda: self._apply(keys=keys, args=arguments))
        return ApplyOutcome(cast("bytes", answer).decode())

    def replace(self, partition: int, head: SpendHead, spend: Spend) -> None:
        def write() -> None:
            pipeline = self._redis.pipeline(transaction=True)
            for name, totals in (("days", spend.days), ("fives", spend.fives)):
                pipeline.delete(_key(partition, name))
                cells: dict[Any, Any] = {cell.encode(): picos for cell, picos in totals.items()}
                if cells:
                    pipeline.hset(_key(partition, name), mapping=cells)
            next_offset, mark, complete = _head(head)
            fields: dict[Any, Any] = {"next_offset": next_offset, "mark": mark, "complete_from": complete}
            pipeline.hset(_key(partition, "head"), mapping=fields)
            pipeline.execute()

        self._call(write)

    def publish(self, partition: int, documents: Mapping[str, str], next_offset: int) -> None:
        def write() -> None:
            paths = _key(partition, "paths")
            known = {path.decode() for path in cast("set[bytes]", self._redis.smembers(paths))}
            if documents:
                # Noted first: a document that nobody remembers would stay for ever.
                self._redis.sadd(paths, *documents)
            pipeline = self._redis.pipeline(transaction=False)
            for path, text in documents.items():
                self._publish(keys=[document_key(path)], args=[next_offset, text], client=pipeline)
            pipeline.execute()
            for path in known - set(documents):
                self._redis.delete(document_key(path))
                self._redis.srem(paths, path)

        self._call(write)

    def told(self, partition: int) -> dict[str, str]:
        stored = cast("dict[bytes, bytes]", self._call(lambda: self._redis.hgetall(_key(partition, "told"))))
        return {name.decode(): text.decode() for name, text in stored.items()}

    def tell(self, partition: int, told: Mapping[str, str | None]) -> None:
        def write() -> None:
            pipeline = self._redis.pipeline(transaction=True)
            for name, text in told.items():
                if text is None:
                    pipeline.hdel(_key(partition, "told"), name)
                else:
                    pipeline.hset(_key(partition, "told"), name, text)
            pipeline.execute()

        if told:
            self._call(write)

    def beat(self, updated_at: int) -> None:
        text = json.dumps({"updated_at": instant(updated_at)}, separators=(",", ":"))
        self._call(lambda: self._redis.set(HEARTBEAT, text))

    def document(self, path: str) -> str | None:
        """The document of a scope, for people. Raises TransientError."""
        found = cast("bytes | None", self._call(lambda: self._redis.get(document_key(path))))
        return None if found is None else found.decode()

    def ping(self) -> None:
        """Ask whether it answers. Raises TransientError."""
        self._call(self._redis.ping)

    def close(self) -> None:
        self._redis.close()

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except redis.exceptions.RedisError as error:
            raise RedisAway(f"Redis: {error}") from error


def document_key(path: str) -> str:
    """The key of a scope's document."""
    return f"budget:{path}"


def _head(head: SpendHead) -> tuple[int, str, str]:
    complete = "" if head.complete_from is None else str(head.complete_from)
    return head.next_offset, f"{head.mark[0]} {head.mark[1]}", complete


def _totals(stored: Mapping[bytes, bytes]) -> Totals:
    cells: dict[Cell, int] = {cell_of(name.decode()): int(picos) for name, picos in stored.items()}
    return Totals(cells)


def _key(partition: int, name: str) -> str:
    return f"{{budgets:{partition}}}:{name}"
