"""Kills a study at random times for as long as it is told, and looks after each end: `python -m tests.faults.soak`.

Each study runs in a process of its own; that is killed (SIGKILL, or SIGTERM) after a random time and started again,
until it ends by itself. Then its picks and its results must be those of a study that nothing happened to, no process
and no file half written may be left, and the temporary folder may not have grown. The next study begins.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from raylab.disk import PARTIAL
from raylab.errors import StoreError
from tests.faults.short_run import result

PROGRAM = """
import sys
from pathlib import Path
from tests.faults.short_run import go_on
go_on(Path(sys.argv[1]), Path(sys.argv[2]))
"""
_RAY = """
import sys
from raylab.config import StudyConfig
from raylab.study import run_study
from tests.faults.short_run import config_of
from pathlib import Path
run_study(StudyConfig(name="short", run=config_of(Path(sys.argv[1])), strategies=("entropy+spatial",)))
"""


def session_of(group: int) -> list[int]:
    """Processes that are left of the session that a process began."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_for_none(group: int, seconds: float) -> list[int]:
    """What is left of a session after at most some seconds."""
    deadline = time.monotonic() + seconds
    while (left := session_of(group)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


class Soak:
    """Studies one after another, killed at random.

    Args:
        folder: for their storage roots.
        program: that runs one.
        seed: of the times.
    """

    def __init__(self, folder: Path, program: str, seed: int) -> None:
        self.folder, self.program = folder, program
        self.rng = random.Random(seed)
        self.kills = self.studies = self.orphans = self.unequal = self.partials = self.grown = 0
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.usual, start = 3600.0, time.monotonic()
        self._ended_early(folder / "undisturbed", start)
        self.usual = time.monotonic() - start
        self.usual_temporary = len(os.listdir(self.temporary))
        self.expected = result(folder / "undisturbed")

    def study(self, until: float) -> None:
        """One study, killed until it ends by itself or the time is over."""
        root = self.folder / f"root-{self.studies}"
        while self._ended_early(root, until):
            self.kills += 1
        self.studies += 1
        try:
            self.unequal += result(root) != self.expected
        except (StoreError, AssertionError):
            self.unequal += 1
        self.partials += len(list(root.rglob(f"{PARTIAL}*")))
        shutil.rmtree(root)
        self.grown = len(os.listdir(self.temporary)) - self.usual_temporary

    def _ended_early(self, root: Path, until: float) -> bool:
        command = [sys.executable, "-c", self.program, str(root), str(self.folder / "begun")]
        process = subprocess.Popen(
            command,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )
        try:
            process.wait(None if time.monotonic() > until else self.rng.uniform(0.2, 1.1) * self.usual)
            killed = False
        except subprocess.TimeoutExpired:
            process.send_signal(self.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            process.wait()
            killed = True
        self.orphans += len(wait_for_none(process.pid, 10))
        if not killed and process.returncode:
            raise SystemExit(f"the study ended with {process.returncode} without a kill; its root: {root}")
        return killed

    def line(self) -> str:
        return (
            f"{self.kills} kills, {self.studies} studies, {self.unequal} of them unequal, {self.orphans} processes, "
            f"{self.partials} files half written, {self.grown} temporary files left"
        )

    def holds(self) -> bool:
        return not (self.unequal or self.orphans or self.partials or self.grown)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true", help="studies on Ray instead of in one process")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), _RAY if options.ray else PROGRAM, options.seed)
        while time.monotonic() < until:
            soak.study(until)
            print(soak.line(), flush=True)
    return 0 if soak.holds() else 1


if __name__ == "__main__":
    sys.exit(main())
