"""The state of the partitions in a Faust table, whose changelog is what survives the process.

    1. the bases of some full detectors, and the core in chunks, each under a name that the newest manifest does not use
    2. when all of them are durable: the manifest, which names them
    3. when it is durable: the marks that the core contains, and all that it does not name, are dropped

A crash before 2 is done leaves the old manifest and all that it names. Then the input's next_offsets are committed,
by the caller: never beyond what the manifest holds.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from chargeline.anomaly.processor import Mark, Partition
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_pieces, due_bases, restored
from chargeline.domain.errors import StateIncomplete

CHUNK_BYTES = 800_000  # a default broker takes messages of 1 MiB


class StateTable:
    """Names of the state's parts in a table of bytes.

    Args:
        table: a Faust table; its values are written with the partition named, outside of any stream.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self.bytes_written = 0

    async def store(self, partition: Partition, bases: int) -> None:
        """Write the state of a partition; when this returns it is durable.

        It is made in steps, and the event loop goes on between them; nobody may change the partition meanwhile.
        """
        number = partition.watch.partition
        slot = 1 - int(self._manifest(number).get("slot", 1))
        written = []
        for (series, place), base in due_bases(partition.watch, bases):
            written.append((f"full/{series}/{place}", base))
            await asyncio.sleep(0)
        digest, core = hashlib.sha256(), bytearray()
        chunks: list[bytes] = []
        for piece in core_pieces(partition.watch):
            digest.update(piece)
            core += piece
            whole = len(core) // CHUNK_BYTES * CHUNK_BYTES
            chunks += [bytes(core[at : at + CHUNK_BYTES]) for at in range(0, whole, CHUNK_BYTES)]
            del core[:whole]
            await asyncio.sleep(0)
        chunks += [bytes(core)] if core else []
        written += [(f"core/{slot}/{at}", chunk) for at, chunk in enumerate(chunks)]
        await asyncio.gather(*(self._put(number, name, value) for name, value in written))
        manifest = {"slot": slot, "chunks": len(chunks), "sha256": digest.hexdigest()}
        manifest |= {"next_offsets": partition.next_offsets}
        await self._put(number, "manifest", json.dumps(manifest).encode())
        await self._put(number, "marks", b"[]")
        bases_known = [f"full/{series}/{full.version % 2}" for series, full in partition.watch.scorer.full.items()]
        cores = [f"core/{slot}/{at}" for at in range(len(chunks))]
        await self._forget(number, ["manifest", "marks", *cores, *bases_known])
        partition.is_dirty = False

    async def _forget(self, number: int, known: list[str]) -> None:
        """Drop what the newest manifest does not need, here and in the changelog."""
        kept = {_key(number, name) for name in known}
        gone = [key for key in self._table.data if key.startswith(_key(number, "")) and key not in kept]
        for key in gone:
            del self._table.data[key]
        await asyncio.gather(*(self._table.send_changelog(number, key, None) for key in gone))

    async def mark(self, number: int, mark: Mark) -> None:
        """Keep a decision of the clock; when this returns it is durable."""
        known = json.loads(self._get(number, "marks") or b"[]")
        await self._put(number, "marks", json.dumps([*known, [mark.counted, mark.watermark]]).encode())

    def load(self, number: int, rules: Rules, parameters: Parameters) -> Partition:
        """The partition as it was stored; a new one if it never was.

        Raises:
            StateIncomplete: parts are missing or damaged, or it is of other windows or dimensions.
        """
        manifest = self._manifest(number)
        marks = [Mark(*each) for each in json.loads(self._get(number, "marks") or b"[]")]
        if not manifest:
            return Partition(Watch(number, rules, parameters), marks)
        chunks = [self._get(number, f"core/{manifest['slot']}/{at}") for at in range(manifest["chunks"])]
        core = b"".join(chunk or b"" for chunk in chunks)
        if hashlib.sha256(core).hexdigest() != manifest["sha256"]:
            raise StateIncomplete(f"state of partition {number}: its parts are not what the manifest says")
        watch = restored(core, lambda key: self._get(number, f"full/{key[0]}/{key[1]}"), number, rules, parameters)
        return Partition(watch, marks, manifest["next_offsets"])

    def _manifest(self, number: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self._get(number, "manifest") or b"{}")
        return found

    def _get(self, number: int, name: str) -> bytes | None:
        value: bytes | None = self._table.data.get(_key(number, name))
        return value

    async def _put(self, number: int, name: str, value: bytes) -> None:
        key = _key(number, name)
        sent = self._table.send_changelog(number, key, value)
        self._table.data[key] = value
        self.bytes_written += len(value)
        await sent


def _key(number: int, name: str) -> bytes:
    return f"{number}/{name}".encode()
