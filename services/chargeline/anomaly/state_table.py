"""The state of the partitions in a Faust table, whose changelog is what survives the process.

    1. the bases of some full detectors, and the core in chunks, each under a name that the newest manifest does not use
    2. when all of them are durable: the manifest, which names them
    3. when it is durable: the marks that the core contains, and all that it does not name, are dropped

A crash before 2 is done leaves the old manifest and all that it names. Then the input's next_offsets are committed,
by the caller: never beyond what the manifest holds.

Bases and chunks are large, and the detectors that they are made of are in memory anyway: of them the table holds names
with nothing behind, and what was recovered until it is loaded, once.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from chargeline.anomaly.processor import Mark, Partition
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_pieces, due_bases, restored
from chargeline.domain.errors import StateIncomplete

CHUNK_BYTES = 800_000  # a default broker takes messages of 1 MiB
UNDER_WAY = 4  # parts that are sent and not durable yet: the producer holds a copy of each
_KEPT = ("manifest", "marks")  # small, and asked for between recoveries
_IN_CHANGELOG = b""


class Revoked(Exception):
    """The partitions were given up while a state was written: it is not to be finished."""


class StateTable:
    """Names of the state's parts in a table of bytes.

    Args:
        table: a `ChangelogTable`; its values are written with the partition named, outside of any stream.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self._revocations = 0
        self.bytes_written = 0

    async def store(self, partition: Partition, bases: int) -> None:
        """Write the state of a partition; when this returns it is durable.

        It is made and sent in steps, and the event loop goes on between them; nobody may change the partition
        meanwhile.

        Raises:
            Revoked: `revoke` was called meanwhile; what counts is the state that was stored before.
        """
        watch, number, revocations = partition.watch, partition.watch.partition, self._revocations
        slot = 1 - int(self._manifest(number).get("slot", 1))
        digest = hashlib.sha256()
        cores, under_way = list[str](), deque[Any]()
        for name, part in _parts(watch, bases, slot, digest):
            await asyncio.sleep(0)
            if self._revocations != revocations:
                raise Revoked
            if part:
                under_way.append(self._send(number, name, part))
                cores += [name] if name.startswith("core/") else []
            while len(under_way) > UNDER_WAY:
                await under_way.popleft()
        await asyncio.gather(*under_way)
        if self._revocations != revocations:
            raise Revoked
        manifest = {"slot": slot, "chunks": len(cores), "sha256": digest.hexdigest()}
        manifest |= {"next_offsets": partition.next_offsets}
        await self._send(number, "manifest", json.dumps(manifest).encode())
        await self._send(number, "marks", b"[]")
        bases_known = [f"full/{series}/{full.version % 2}" for series, full in watch.scorer.full.items()]
        await self._forget(number, [*_KEPT, *cores, *bases_known])
        partition.is_dirty = False

    def revoke(self) -> None:
        """The partitions are given up; a state that is still being written is not finished."""
        self._revocations += 1

    async def mark(self, number: int, mark: Mark) -> None:
        """Keep a decision of the clock; when this returns it is durable."""
        known = json.loads(self._table.data.get(_key(number, "marks")) or b"[]")
        await self._send(number, "marks", json.dumps([*known, [mark.counted, mark.watermark]]).encode())

    def load(self, number: int, rules: Rules, parameters: Parameters) -> Partition:
        """The partition as it was stored; a new one if it never was. Once after each recovery: the values are given up.

        Raises:
            StateIncomplete: parts are missing or damaged, or it is of other windows or dimensions.
        """
        try:
            return self._loaded(number, rules, parameters)
        finally:
            for key in self._keys(number):
                self._take(key)

    def _loaded(self, number: int, rules: Rules, parameters: Parameters) -> Partition:
        manifest = self._manifest(number)
        marks = [Mark(*each) for each in json.loads(self._table.data.get(_key(number, "marks")) or b"[]")]
        if not manifest:
            return Partition(Watch(number, rules, parameters), marks)
        chunks = (self._take(_key(number, f"core/{manifest['slot']}/{at}")) for at in range(manifest["chunks"]))
        core = b"".join(chunks)
        if hashlib.sha256(core).hexdigest() != manifest["sha256"]:
            raise StateIncomplete(f"state of partition {number}: its parts are not what the manifest says")
        watch = restored(core, lambda of: self._take(_key(number, f"full/{of[0]}/{of[1]}")), number, rules, parameters)
        return Partition(watch, marks, manifest["next_offsets"])

    def _manifest(self, number: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self._table.data.get(_key(number, "manifest")) or b"{}")
        return found

    def _keys(self, number: int) -> list[bytes]:
        """Of all parts of a partition that the changelog holds."""
        return [key for key in self._table.data if key.startswith(_key(number, ""))]

    def _take(self, key: bytes) -> bytes:
        """The value of a part; its name alone stays, unless it is one that is kept."""
        value: bytes = self._table.data.get(key, _IN_CHANGELOG)
        if value and key.partition(b"/")[2].decode() not in _KEPT:
            self._table.data[key] = _IN_CHANGELOG
        return value

    def _send(self, number: int, name: str, value: bytes) -> Any:
        """Send a part to the changelog; durable when what is returned is done."""
        key = _key(number, name)
        sent = self._table.send_changelog(number, key, value)
        self._table.data[key] = value if name in _KEPT else _IN_CHANGELOG
        self.bytes_written += len(value)
        return sent

    async def _forget(self, number: int, known: list[str]) -> None:
        """Drop what the newest manifest does not need, here and in the changelog."""
        kept = {_key(number, name) for name in known}
        gone = [key for key in self._keys(number) if key not in kept]
        for key in gone:
            del self._table.data[key]
        await asyncio.gather(*(self._table.send_changelog(number, key, None) for key in gone))


def _parts(watch: Watch, bases: int, slot: int, digest: Any) -> Iterator[tuple[str, bytes]]:
    """The parts of a state, each made when it is asked for; an empty one after a step that did not fill a chunk.

    Args:
        digest: takes in the core.
    """
    for (series, place), base in due_bases(watch, bases):
        yield f"full/{series}/{place}", base
    core, chunks = bytearray(), 0
    for piece in core_pieces(watch):
        digest.update(piece)
        core += piece
        while len(core) >= CHUNK_BYTES:
            yield f"core/{slot}/{chunks}", bytes(core[:CHUNK_BYTES])
            del core[:CHUNK_BYTES]
            chunks += 1
        yield "", b""
    if core:
        yield f"core/{slot}/{chunks}", bytes(core)


def _key(number: int, name: str) -> bytes:
    return f"{number}/{name}".encode()
