"""Who does a task: a lease in the store, held by one process at a time, on disks and in object stores alike.

A lease is a file, `.leases/<task>/0001.json`, put where there is none by the process that holds it, which alone writes
it again, every few seconds, as a sign of life. When it is given back, or shows no sign of life for so long that its
owner counts as dead, the next process puts `0002.json`. Only the owner of the last one may commit. A process that waits
adds up how long it has itself looked at a file that did not change, so that clocks may differ and jump, machines sleep
and stores be away. On the machine of the owner its death is seen at once.

What is committed does not hang on it: manifests are put where there is none. The lease saves doing work twice.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from raylab.errors import ExistsError, LeaseLostError, MissingError, StoreError
from raylab.files import Folder
from raylab.progress import Progress

LEASES = ".leases"
TAKEOVER = 60.0
"""Seconds without a sign of life after which an owner on another machine counts as dead."""
_BEATS = 6
"""Signs of life within that time."""
_LONGEST_PAUSE = 1.0


class Lease:
    """One that this process holds.

    Args:
        store: that it lies in.
        folder: of the task's leases.
        number: of this one.
        takeover: as `leased` takes it.

    Attributes:
        owner: this process, as `this_process` gives it, and an id of its own.
    """

    def __init__(self, store: Folder, folder: str, number: int, takeover: float) -> None:
        self.store = store
        self.folder = folder
        self.number = number
        self.owner = {"id": uuid4().hex, **this_process()}
        self.takeover = takeover
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._show_life, name="raylab lease", daemon=True)

    @property
    def path(self) -> str:
        """Of its file."""
        return f"{self.folder}/{self.number:04d}.json"

    def take(self) -> bool:
        """Put it where there is none; whether this process holds the last one now."""
        with suppress(ExistsError):
            self.store.create(self.path, self._content())
        if not self.is_mine():
            if _read(self.store, self.path).get("owner") == self.owner:
                self.store.delete(self.path)  # later ones had come and gone meanwhile
            return False
        for number in _numbers(self.store, self.folder):
            if number < self.number:
                self.store.delete(f"{self.folder}/{number:04d}.json")
        self._beat.start()
        return True

    def is_mine(self) -> bool:
        """Whether it is the last one, and this process put it there."""
        if max(_numbers(self.store, self.folder), default=0) != self.number:
            return False
        with suppress(MissingError):
            return bool(_read(self.store, self.path).get("owner") == self.owner)
        return False

    def check(self) -> None:
        """See that nobody else has taken the task over.

        Raises:
            LeaseLostError: somebody has.
            StoreError: that cannot be found out.
        """
        if not self.is_mine():
            raise LeaseLostError(
                f"{self.store.uri_of(self.path)}: another process has taken over what this one does, since it showed "
                "no sign of life, or somebody removed the file; what is committed stays: start the same command again"
            )

    def give_back(self) -> None:
        """Let the next one have it at once."""
        self._ended.set()
        self._beat.join(self.takeover / _BEATS)  # a store that is away holds nobody up

    def _content(self, ended: bool = False) -> bytes:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        value = {
            "owner": self.owner, "attempt": self.number, "takeover": self.takeover, "time": now, "ended": ended,
        }  # fmt: skip
        return (json.dumps(value) + "\n").encode()

    def _show_life(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(self.takeover / _BEATS)
            with suppress(StoreError):  # the next time, or whoever commits, will tell
                if not self.is_mine():
                    return
                self.store.write_bytes(self.path, self._content(ended))


@contextmanager
def leased(store: Folder, task: str, takeover: float = TAKEOVER, progress: Progress | None = None) -> Iterator[Lease]:
    """Wait until no other process holds the lease of a task, and hold it while the block runs.

    Args:
        store: that the task's results go to.
        task: any name.
        takeover: seconds without a sign of life after which this process counts as dead on other machines.
        progress: is told once a second, as stage `wait`, for whom this waits; may raise.

    Raises:
        StoreError: the store cannot be written to.
    """
    folder = f"{LEASES}/{re.sub(r'[^A-Za-z0-9.=,+-]+', '-', task)}"
    lease = _wait(store, folder, takeover, progress)
    try:
        yield lease
    finally:
        lease.give_back()


def _wait(store: Folder, folder: str, takeover: float, progress: Progress | None) -> Lease:
    seen, silent, pause = None, 0.0, 0.05
    while True:
        number = max(_numbers(store, folder), default=0)
        now = _read(store, f"{folder}/{number:04d}.json") if number else {}
        if now != seen:
            seen, silent = now, 0.0
        promised = now.get("takeover")
        # The owner shows life as often as its own setting asks.
        dead = (
            silent > (promised if isinstance(promised, int | float) else takeover)
            or is_alive(now.get("owner")) is False
        )
        if not number or now.get("ended") is True or dead:
            lease = Lease(store, folder, number + 1, takeover)
            if lease.take():
                return lease
        elif progress:
            progress("wait", 0, 1, f"for {process_name(now.get('owner'))}, which does the same")
        time.sleep(pause)
        silent += pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def _numbers(store: Folder, folder: str) -> list[int]:
    return [int(name[:-5]) for name in store.list(folder) if re.fullmatch(r"\d+\.json", name)]


def _read(store: Folder, path: str) -> dict[str, Any]:
    """What a lease says; nothing where it is gone, or no lease."""
    with suppress(MissingError, ValueError, RecursionError):
        value = json.loads(store.read_bytes(path))
        return value if isinstance(value, dict) else {}
    return {}


def process_name(owner: Any) -> str:
    """A process, as `this_process` gave it there, as it is told to people."""
    found = owner if isinstance(owner, dict) else {}
    return f"process {found.get('process')} on {found.get('host')}"


@cache
def _machine() -> dict[str, str]:
    """This machine until it is started anew; on systems without /proc its death is not seen, only its silence."""
    found = {"host": socket.gethostname(), "boot": "", "processes": ""}
    with suppress(OSError):
        found["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers of one host count their processes from 1 each.
        found["processes"] = os.readlink("/proc/self/ns/pid")
    return found


def this_process() -> dict[str, Any]:
    """What tells this process from all others, also from a later one of the same number."""
    return {**_machine(), "process": os.getpid(), "started": _started(os.getpid())}


def is_alive(owner: Any) -> bool | None:
    """Whether a process of this machine is seen to live; None where that cannot be seen.

    Args:
        owner: as `this_process` gave it there.
    """
    here = _machine()
    if not here["boot"] or not isinstance(owner, dict) or not isinstance(owner.get("process"), int):
        return None
    if any(owner.get(name) != value for name, value in here.items()):
        return None
    try:
        os.kill(owner["process"], 0)  # asks only whether it is there
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, of which nothing may be seen
        return None
    return _started(owner["process"]) == owner.get("started")


def _started(process: int) -> int | None:
    """When a process was started, in ticks since the machine was; None where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
