"""Ray that does not start or answer is one line, soon; Ray that raylab started leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raylab.errors import ClusterError
from raylab.study.ray_session import ray_session

PROGRAM = """
import sys
from raylab.errors import exit_cleanly, without_teardown
with without_teardown(), exit_cleanly():
    from raylab.study import ray_session
    ray_session.ANSWER = 2
    with ray_session.ray_session():
        print("in a session")
"""


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has no Ray, and must not come so far as to start it."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was started"))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """pytest's own folders are too long for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="r"))
    yield folder
    shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(*before: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | variables
    command = [*before, sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.usefixtures("unstarted")
@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:{port}", "nothing answers there .* unset RAY_ADDRESS"),
        ("ray://127.0.0.1:{port}", "nothing answers there .* unset RAY_ADDRESS"),
        ("no-such-host.invalid:6379", "nothing answers there"),
        ("localhost", "is no address of Ray; give host:port"),
        ("localhost:70000", "is no address of Ray; give host:port"),
        ("http://127.0.0.1:8265", "is a dashboard, which takes jobs"),
    ],
)
def test_an_address_where_no_ray_is(address: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = address.format(port=free_port())
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ClusterError, match=rf"^RAY_ADDRESS={address}.*{says}"), ray_session():
        pytest.fail("there is no Ray")


@pytest.mark.usefixtures("unstarted")
def test_a_folder_too_long_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 20)))
    with pytest.raises(ClusterError, match=r"bytes too long .* set RAY_TMPDIR to a shorter folder"), ray_session():
        pytest.fail("Ray cannot start there")


@pytest.mark.usefixtures("unstarted")
def test_what_ray_says_when_it_does_not_start(monkeypatch: pytest.MonkeyPatch, short_folder: Path) -> None:
    earlier = short_folder / "ray" / f"session_2020-01-01_00-00-00_000000_{os.getpid()}"  # this process's, and in use
    earlier.mkdir(parents=True)

    def fails(**options: object) -> None:
        raise Exception("\nThe current node timed out during startup.\nThis could happen because ...")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(short_folder))
    monkeypatch.setattr("ray.init", fails)
    with pytest.raises(ClusterError) as caught, ray_session():
        pytest.fail("Ray did not start")
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("Ray cannot start: The current node timed out during startup; ")
    assert earlier.exists()


def test_what_listens_there_is_not_ray() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        done = program(RAY_ADDRESS=f"127.0.0.1:{listener.getsockname()[1]}")
    assert done.returncode == 2
    assert "does not answer as Ray does (no answer in 2 seconds)" in done.stderr.splitlines()[-1]


def test_auto_where_no_ray_runs(short_folder: Path) -> None:
    alone = ("unshare", "-pf", "--mount-proc")  # in which no other Ray of this machine is seen
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a process namespace of its own")
    done = program(*alone, RAY_ADDRESS="auto", RAY_TMPDIR=str(short_folder))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: RAY_ADDRESS=auto: Ray cannot be joined (Could not find any running Ray instance")
    assert "ray start --head" in line


@pytest.mark.ray
def test_ray_that_was_started_leaves_no_files(short_folder: Path) -> None:
    kept = short_folder / "ray" / "session_2020-01-01_00-00-00_000000_1"  # of another process
    kept.mkdir(parents=True)
    done = program(RAY_TMPDIR=str(short_folder))
    assert (done.returncode, done.stdout) == (0, "in a session\n"), done.stderr
    assert [path for path in (short_folder / "ray").iterdir() if path.is_dir() or path.is_symlink()] == [kept]


def test_rays_advice_on_processes_stays_out_whoever_imports_ray_first() -> None:
    program = """
import raylab.study.ray_session
from ray._private import ray_constants
print(ray_constants.RAY_DEDUP_LOGS_SKIP_REGEX)
"""
    env = {name: value for name, value in os.environ.items() if name != "RAY_DEDUP_LOGS_SKIP_REGEX"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["."]
