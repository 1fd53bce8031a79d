"""A file for events that Kafka did not take."""

import base64
import json
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows: there each client must be given a file of its own
    fcntl = None  # type: ignore[assignment]


class SpillFile:
    """Events as (account, event_id, framed value), kept until they are sent; safe to share between threads.

    What is being sent again lies beside the file under `.sending`, so that what fails again goes into a new one.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self.path, self._owned = _own(path)
        self._taken = self.path.with_suffix(".sending")

    def __bool__(self) -> bool:
        """Whether something is kept."""
        return self.path.exists() or self._taken.exists()

    def keep(self, account: str, event_id: str, value: bytes) -> None:
        line = json.dumps({"account": account, "event_id": event_id, "value": base64.b64encode(value).decode()})
        with self._lock, self.path.open("a") as file:
            # A line that a crash cut off must not spoil the one after it.
            file.write(f"\n{line}\n")

    def taken(self) -> Iterator[tuple[str, str, bytes]]:
        """All that is kept. It stays in the file until `forget_taken`."""
        with self._lock:
            if not self._taken.exists():
                self.path.rename(self._taken)
        with self._taken.open() as file:
            for line in file:
                try:
                    kept = json.loads(line)
                except ValueError:
                    continue  # blank, or cut off by a crash
                yield kept["account"], kept["event_id"], base64.b64decode(kept["value"])

    def forget_taken(self) -> None:
        self._taken.unlink()

    def close(self) -> None:
        self._owned.close()


def _own(path: Path) -> tuple[Path, IO[str]]:
    """The first of path, path-1, path-2 … that no other running client uses, and the lock on it."""
    for number in count():
        mine = path.with_stem(f"{path.stem}-{number}") if number else path
        lock = mine.with_suffix(".lock").open("a")
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return mine, lock
    raise AssertionError
