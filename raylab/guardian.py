"""A folder for this process's temporary files, and a program that cleans up once the process is gone, also if killed.

Python removes temporary files on the way out, which SIGKILL cuts off. Ray's nodes notice that their driver is gone, but
their agents and the session's folder stay. The guardian is this file run as a program of its own, which imports nothing
of raylab; it waits for the end of its standard input, which the process that it guards holds open.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MARK = "RAYLAB_DRIVER"
"""Variable in the environment of every process that is ended with the one that is guarded: its `Guardian.mark`."""
_DONE = b"done\n"
_PATIENCE = 2.0
"""Seconds that marked processes get to end by themselves."""


class Guardian:
    """Guards this process from its making on.

    Attributes:
        folder: for temporary files; it goes when the process ends.
        mark: value of the variable `MARK` for processes that are to end with this one; they are found on Linux alone.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self.folder = Path(tempfile.mkdtemp(prefix="raylab-"))
        self.mark = f"{self.process}-{time.monotonic_ns()}"
        self._program = subprocess.Popen(
            [sys.executable, "-I", __file__, f"{MARK}={self.mark}", str(self.folder)],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # what stops this process's group does not stop it
        )
        atexit.register(self._end)

    def guard_sessions(self, folder: Path, kept: Iterable[Path]) -> None:
        """Have the Ray sessions removed that this process begins.

        Args:
            folder: in which Ray keeps them.
            kept: those that it began before, for somebody else.
        """
        assert self._program.stdin is not None
        with suppress(BrokenPipeError):  # it was killed
            self._program.stdin.write(json.dumps([str(folder), self.process, *map(str, kept)]).encode() + b"\n")

    def _end(self) -> None:
        if os.getpid() == self.process:  # and not a fork's end
            shutil.rmtree(self.folder, ignore_errors=True)
            self._program.communicate(_DONE)


_found: list[Guardian] = []
_lock = threading.Lock()


def guardian() -> Guardian:
    """The guardian of this process, begun by the first who asks."""
    with _lock:
        if not _found or _found[-1].process != os.getpid():
            _found.append(Guardian())
        return _found[-1]


def sessions_of(folder: Path, process: int) -> set[Path]:
    """Folders of the Ray sessions that a process began; each is named by it."""
    return set(folder.glob(f"session_*_{process}"))


def remove_sessions(sessions: Iterable[Path]) -> None:
    """Remove what Ray kept of some sessions, and its link to the latest one if that is among them."""
    for session in sessions:
        shutil.rmtree(session, ignore_errors=True)
        with suppress(OSError):
            latest = session.parent / "session_latest"
            if os.readlink(latest) == str(session):
                latest.unlink()


def _main(mark: str, folder: str) -> None:
    told = sys.stdin.buffer.readlines()
    if told and told[-1] == _DONE:
        return
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and _marked(mark):
        time.sleep(0.1)
    for pid in _marked(mark):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    for line in told:
        ray_folder, process, *kept = json.loads(line)
        remove_sessions(sessions_of(Path(ray_folder), process) - set(map(Path, kept)))


def _marked(mark: str) -> list[int]:
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


if __name__ == "__main__":
    _main(*sys.argv[1:])
