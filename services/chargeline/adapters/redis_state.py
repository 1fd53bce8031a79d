"""The stored state by source partition in Redis. Keys and blob format: docs/state.md.

All keys of a partition share the hash tag `{usage-events:<partition>}`, so that one script works in Redis Cluster.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chargeline.domain.errors import StateIncomplete, TransientError
from chargeline.state_ports import ApplyOutcome, Segment, StateDelta, StateHead, StateSizes

IDENTITY_BYTES = 24
_SCOPE_KEY, _SCOPE = 16, 57  # bytes of a scope's name, and of the name with its state
_SCOPES_AT_ONCE = 20_000
_FIELDS_AT_ONCE = 2_000
SEGMENT_BYTES = 1_000_000 * IDENTITY_BYTES
_CHUNK = 4_000_000  # one APPEND of a snapshot: far below the server's limit on a request

# The compare is what makes a unit count once: a zombie, or a repeated call, finds another next_offset and writes
# nothing.
_APPLY = """
local head, index, ids, live, scopes, corrections = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local next = redis.call('HGET', head, 'next_offset')
if not next then return 'BEHIND' end
if next ~= ARGV[1] then
  if tonumber(next) > tonumber(ARGV[1]) then return 'AHEAD' end
  return 'BEHIND'
end
local blob = ARGV[4]
if #blob > 0 then
  local number = tonumber(redis.call('HGET', head, 'segment') or '0')
  local size = redis.call('STRLEN', ids .. number)
  if size > 0 and size + #blob > tonumber(ARGV[6]) then
    number = number + 1
    size = 0
    redis.call('HSET', head, 'segment', number)
  end
  redis.call('APPEND', ids .. number, blob)
  redis.call('HSET', index, number, (size + #blob) .. ' ' .. ARGV[5])
end
redis.call('HSET', head, 'next_offset', ARGV[2], 'charges_next_offset', ARGV[3], 'watermark', ARGV[8])
local changed = ARGV[9]
for i = 1, #changed, 57 do redis.call('HSET', scopes, changed:sub(i, i + 15), changed:sub(i + 16, i + 56)) end
local fields = tonumber(ARGV[10])
for i = 11, 10 + 2 * fields, 2 do
  if #ARGV[i + 1] > 0 then redis.call('HSET', corrections, ARGV[i], ARGV[i + 1])
  else redis.call('HDEL', corrections, ARGV[i]) end
end
for i = 11 + 2 * fields, #ARGV, 2 do redis.call('SET', live .. ARGV[i], ARGV[i + 1], 'EX', ARGV[7]) end
return 'APPLIED'
"""

T = TypeVar("T")


class RedisAway(TransientError):
    """Redis does not answer, or not now."""

    peer = "redis"


class RedisStateStore:
    """`state_ports.StateStore`. Every method may block for the socket's time limit and raises TransientError then."""

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

    def head(self, partition: int) -> StateHead | None:
        stored = self._call(lambda: self._redis.hgetall(_key(partition, "head")))
        if b"next_offset" not in stored:
            return None
        watermark = stored.get(b"watermark", b"")
        return StateHead(
            int(stored[b"next_offset"]), int(stored[b"charges_next_offset"]), int(watermark) if watermark else None
        )

    def segments(self, partition: int) -> Iterator[Segment]:
        index = self._call(lambda: self._redis.hgetall(_key(partition, "segments")))
        for number in sorted(map(int, index)):
            size, append_time = map(int, index[str(number).encode()].split())
            key = _key(partition, f"ids:{number}")
            blob = self._blob(key)
            if len(blob) != size:
                raise StateIncomplete(f"segment {number} of partition {partition} holds {len(blob)} of {size} bytes")
            yield Segment(number, blob, append_time)

    def _blob(self, key: str) -> bytes:
        return cast("bytes | None", self._call(lambda: self._redis.get(key))) or b""

    def apply(self, partition: int, delta: StateDelta) -> ApplyOutcome:
        keys = [_key(partition, name) for name in ("head", "segments", "ids:", "live:", "scopes", "corrections")]
        arguments: list[Any] = [delta.start, delta.end, delta.charges_next_offset, delta.identities]
        arguments += [delta.last_append_time, SEGMENT_BYTES, delta.live_ttl_s, _text(delta.watermark), delta.scopes]
        arguments += [len(delta.corrections), *chain.from_iterable(delta.corrections.items())]
        for window, blob in delta.live.items():
            arguments += [window, blob]
        answer = self._call(lambda: self._apply(keys=keys, args=arguments))
        return ApplyOutcome(cast("bytes", answer).decode())

    def replace(
        self,
        partition: int,
        head: StateHead,
        segments: Sequence[Segment],
        live: Mapping[int, bytes],
        scopes: bytes,
        corrections: Mapping[bytes, bytes] | None = None,
    ) -> None:
        def write() -> None:
            # Without a head there is no state: a crash in between leaves a partition that folds `charges` again.
            self._redis.delete(_key(partition, "head"))
            self._clear(partition)
            for segment in segments:
                key = _key(partition, f"ids:{segment.number}")
                for start in range(0, len(segment.identities), _CHUNK):
                    self._redis.append(key, segment.identities[start : start + _CHUNK])
                self._redis.hset(
                    _key(partition, "segments"),
                    str(segment.number),
                    f"{len(segment.identities)} {segment.last_append_time}",
                )
            for window, blob in live.items():
                self._redis.set(_key(partition, f"live:{window}"), blob, ex=3600)
            for start in range(0, len(scopes), _SCOPES_AT_ONCE * _SCOPE):
                self._redis.hset(
                    _key(partition, "scopes"), items=_fields(scopes[start : start + _SCOPES_AT_ONCE * _SCOPE])
                )
            for part in _in_parts(list((corrections or {}).items()), _FIELDS_AT_ONCE):
                self._redis.hset(_key(partition, "corrections"), items=list(chain.from_iterable(part)))
            fields: dict[Any, Any] = {
                "next_offset": head.next_offset,
                "charges_next_offset": head.charges_next_offset,
                "watermark": _text(head.watermark),
                "segment": max((segment.number for segment in segments), default=0),
            }
            self._redis.hset(_key(partition, "head"), mapping=fields)

        self._call(write)

    def scopes(self, partition: int) -> bytes:
        def read() -> bytes:
            found = self._redis.hscan_iter(_key(partition, "scopes"), count=_SCOPES_AT_ONCE)
            # A scan may tell a field twice; as a mapping each is once.
            return b"".join(chain.from_iterable(dict(found).items()))

        return self._call(read)

    def corrections(self, partition: int) -> dict[bytes, bytes]:
        key = _key(partition, "corrections")
        return self._call(lambda: dict(self._redis.hscan_iter(key, count=_FIELDS_AT_ONCE)))

    def drop_segments(self, partition: int, before_append_time: int) -> None:
        def drop() -> None:
            index = cast("dict[bytes, bytes]", self._redis.hgetall(_key(partition, "segments")))
            for number, entry in index.items():
                if int(entry.split()[1]) < before_append_time:
                    # The index first: a segment without an entry is garbage, an entry without a segment a fault.
                    self._redis.hdel(_key(partition, "segments"), number.decode())
                    self._redis.delete(_key(partition, f"ids:{number.decode()}"))

        self._call(drop)

    def live(self, partition: int) -> dict[int, bytes]:
        prefix = _key(partition, "live:")
        keys = self._live_keys(partition)
        blobs = cast("list[bytes | None]", self._call(lambda: self._redis.mget(keys))) if keys else []
        return {int(k[len(prefix) :]): blob for k, blob in zip(keys, blobs, strict=True) if blob is not None}

    def sizes(self, partition: int) -> StateSizes:
        live = self._live_keys(partition)

        def read() -> StateSizes:
            index = cast("dict[bytes, bytes]", self._redis.hgetall(_key(partition, "segments")))
            wanted = [int(entry.split()[0]) for entry in index.values()]
            found = [self._length(_key(partition, f"ids:{number.decode()}")) for number in index]
            damaged = sum(length != size for length, size in zip(found, wanted, strict=True))
            size = sum(found) + sum(self._length(key.decode()) for key in live)
            scopes = int(self._redis.hlen(_key(partition, "scopes")))
            return StateSizes(len(index), sum(wanted) // IDENTITY_BYTES, damaged, size, len(live), scopes)

        return self._call(read)

    def invalidate(self, partition: int) -> None:
        self._call(lambda: self._redis.delete(_key(partition, "head")))

    def _live_keys(self, partition: int) -> list[bytes]:
        return self._call(lambda: self._found(partition, "live:"))

    def _length(self, key: str) -> int:
        return int(self._redis.strlen(key))

    def _found(self, partition: int, prefix: str) -> list[bytes]:
        return list(self._redis.scan_iter(match=f"{_key(partition, prefix)}*", count=1000))

    def ping(self) -> None:
        """Ask whether it answers. Raises TransientError."""
        self._call(self._redis.ping)

    def version(self) -> str:
        """Version and memory, for people. Raises TransientError."""
        info = self._call(self._redis.info)
        limit = int(info.get("maxmemory", 0))
        of = f" of {limit >> 20:,} MiB" if limit else ""
        return f"version {info['redis_version']}, {int(info['used_memory']) >> 20:,} MiB{of} used"

    def close(self) -> None:
        self._redis.close()

    def _clear(self, partition: int) -> None:
        # Looked for, not taken from the index: a segment that the index lost would be appended to.
        named = [_key(partition, name) for name in ("segments", "scopes", "corrections")]
        self._redis.delete(*named, *self._found(partition, "ids:"))

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except redis.exceptions.RedisError as error:
            raise RedisAway(f"Redis: {error}") from error


def _fields(scopes: bytes) -> list[bytes]:
    """Name, state, name, state …"""
    rows = range(0, len(scopes), _SCOPE)
    return [part for at in rows for part in (scopes[at : at + _SCOPE_KEY], scopes[at + _SCOPE_KEY : at + _SCOPE])]


def _in_parts(fields: list[tuple[bytes, bytes]], most: int) -> Iterator[list[tuple[bytes, bytes]]]:
    for start in range(0, len(fields), most):
        yield fields[start : start + most]


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _key(partition: int, name: str) -> str:
    return f"{{usage-events:{partition}}}:{name}"
