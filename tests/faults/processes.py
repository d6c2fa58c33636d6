"""Finds the processes of a study: those below its driver, and those that are left when it ended."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_MARK = "RAYLAB_TEST_ROOT"


def marked(storage: Path) -> dict[str, str]:
    """An environment by which all that a driver starts is found, also when the driver is gone."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), _MARK: str(storage)}


def left_of(storage: Path) -> list[str]:
    """Command lines of the processes with a root's mark, once they had ten seconds to end."""
    deadline = time.monotonic() + 10
    while (found := _marked(storage)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _marked(storage: Path) -> list[str]:
    found = []
    for entry in _entries():
        with suppress(OSError):
            if f"{_MARK}={storage}\0".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text())
    return found


def below(driver: int, name: str) -> list[int]:
    """Processes of a title that a driver's Ray started, and not another Ray of the machine."""
    found = []
    for entry in _entries():
        with suppress(OSError):
            if (entry / "cmdline").read_text().startswith(f"ray::{name}") and driver in _ancestors(int(entry.name)):
                found.append(int(entry.name))
    return found


def _entries() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _ancestors(process: int) -> list[int]:
    above = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        above.append(process)
    return above
