"""A machine within this one: its own processes and network, so that no other Ray is met or ended, and none is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
_APART = ["--net", "--pid", "--mount"]
_PROGRAMS = (  # what runs there, but for the first process and this program itself
    "import os, pathlib\n"
    "for p in pathlib.Path('/proc').glob('[0-9]*'):\n"
    "    if p.name not in ('1', str(os.getpid())):\n"
    "        try: line = (p / 'cmdline').read_text().replace('\\0', ' ')\n"
    "        except OSError: continue\n"
    "        if line: print(p.name, line)\n"  # those that ended have none
)


class Machine:
    """Started by `machine`.

    Args:
        process: that holds it.
        folder: with a short path, for Ray's sockets; its home too.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.folder = folder
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        self._enter = ["nsenter", "--target", first, *_APART, *([] if os.geteuid() == 0 else ["--user"])]
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "SLURM_", "MLFLOW_"))}
        self.env = ours | {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "RAY_AUTH_MODE": "token",
            "RAY_TMPDIR": str(folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def start(
        self, *command: str | Path, cwd: Path | None = None, log: Path | None = None, **env: str
    ) -> subprocess.Popen[bytes]:
        """Start a program there; its output goes to a file."""
        with open(log or os.devnull, "ab") as out:
            return subprocess.Popen(
                [*self._enter, *command], cwd=cwd or self.folder, env=self.env | env, stdout=out, stderr=out
            )

    def run(self, *command: str | Path, cwd: Path | None = None, status: int = 0, **env: str) -> str:
        """Run a program there to its end; gives what it printed."""
        done = subprocess.run(
            [*self._enter, *command],
            cwd=cwd or self.folder,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def processes(self) -> list[str]:
        """Command lines of what runs there."""
        return self.run(sys.executable, "-I", "-c", _PROGRAMS).splitlines()


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine for the length of a block; all its processes end with it."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    apart = ["unshare", *user, *_APART, "--fork", "--kill-child", "--mount-proc"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*apart, "ip", "link", "set", "lo", "up"], check=False).returncode
    ):
        pytest.skip("needs namespaces of its own for processes and network")
    folder = Path(tempfile.mkdtemp(prefix="r"))
    # The first process takes in those whose parents end, and must not keep them.
    first = "ip link set lo up && trap '' CHLD && echo up && exec sleep infinity"
    process = subprocess.Popen([*apart, "sh", "-c", first], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield Machine(process, folder)
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)
