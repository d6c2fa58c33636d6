"""What a process leaves goes with it: on the way out, and after SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from raylab.guardian import MARK, guardian
sessions = Path(sys.argv[1])
earlier, begun = (sessions / f"session_{n}_{os.getpid()}" for n in (1, 2))
earlier.mkdir()
guardian().guard_sessions(sessions, {earlier})
begun.mkdir()
(begun / "log").touch()
(sessions / "session_latest").symlink_to(begun)
(guardian().folder / "file").touch()
child = subprocess.Popen(["sleep", "600"], env={MARK: guardian().mark}, stdout=subprocess.DEVNULL)
print(guardian().folder, child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_what_a_process_leaves(killed: bool, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder, child = process.stdout.readline().split()
    assert Path(folder, "file").exists()
    if killed:
        process.kill()
    process.communicate()
    wait_until_gone(Path(folder))
    if killed:
        wait_until_gone(tmp_path / f"session_2_{process.pid}")
        wait_until_gone(Path("/proc", child))
        assert [path.name for path in tmp_path.iterdir()] == [f"session_1_{process.pid}"]
    else:  # Ray and its sessions are ended by whoever began them
        assert len(list(tmp_path.iterdir())) == 3
        os.kill(int(child), signal.SIGTERM)


def wait_until_gone(path: Path) -> None:
    while path.exists():  # pytest-timeout ends what hangs
        time.sleep(0.02)


def test_a_fork_has_a_guardian_of_its_own() -> None:
    code = """
import os
from raylab.guardian import guardian
before = guardian().folder
assert guardian().folder == before
if os.fork() == 0:
    assert guardian().folder != before
    os._exit(0)
assert os.wait()[1] == 0
assert before.exists()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
