"""A program of its own that ends what is left of a Ray session once the process that began it was killed.

Ray's nodes notice that their driver is gone; their agents and the session's folder stay. The guardian waits for the end
of its standard input, which the driver holds open, and imports nothing of raylab.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

DONE = b"done"
"""What the driver says when it has ended its session itself."""
_PATIENCE = 2.0
"""Seconds that Ray's processes get to end by themselves."""


def main(mark: str, folders: list[str]) -> None:
    """Wait, then clean up.

    Args:
        mark: `NAME=value` in the environment of every process of the session.
        folders: of the session.
    """
    if sys.stdin.buffer.read() == DONE:
        return
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and _marked(mark):
        time.sleep(0.1)
    for pid in _marked(mark):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
