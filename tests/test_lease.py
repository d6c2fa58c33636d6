"""Leases: one holder at a time, on a disk and in an object store; an owner that is dead or silent is followed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from raylab import lease as lease_module
from raylab.errors import LeaseLostError, StoreError
from raylab.files import Folder
from raylab.lease import LEASES, Lease, is_alive, leased, this_process
from tests.s3 import S3Server


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "disk":
        return Folder(str(tmp_path / "root")).claim()
    s3: S3Server = request.getfixturevalue("s3")
    s3.make_bucket(name := f"bucket-{uuid4().hex}")
    return Folder(s3.uri(f"{name}/root")).claim()


def says(store: Folder) -> list[dict[str, Any]]:
    """The files of the lease of `task`."""
    return [store.read_json(f"{LEASES}/task/{name}") for name in store.list(f"{LEASES}/task")]


class Waited:
    """A progress that calls a function each time this process has waited, and keeps what it is told."""

    round_index = 0

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act = act
        self.notes: list[str] = []

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        assert stage == "wait"
        self.notes.append(note)
        self.act()


def stop() -> None:
    raise InterruptedError


def test_one_at_a_time_and_given_back(store: Folder) -> None:
    waited = Waited(stop)
    with leased(store, "task") as held:
        held.check()
        with leased(store, "another task"):
            pass
        with pytest.raises(InterruptedError), leased(store, "task", progress=waited):
            pass
        assert waited.notes == [f"for process {os.getpid()} on {this_process()['host']}, which does the same"]
        held.check()
    with leased(store, "task", progress=waited) as held:
        assert (held.number, len(says(store)), len(waited.notes)) == (2, 1, 1)


def test_many_at_once_enter_one_after_another(store: Folder) -> None:
    inside, most, entered = 0, 0, 0

    def enter() -> None:
        nonlocal inside, most, entered
        with leased(store, "task") as held:
            inside += 1
            most, entered = max(most, inside), entered + 1
            held.check()
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, entered, len(says(store))) == (1, 5, 1)


_HOLDER = """
import sys, time
from pathlib import Path
from raylab.files import Folder
from raylab.lease import leased
with leased(Folder(sys.argv[1], create=False), "task", takeover=3) as held:
    Path(sys.argv[2]).touch()
    while Path(sys.argv[2]).exists():
        time.sleep(0.01)
    try:
        held.check()
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.fixture
def holder(store: Folder, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease until its file `held` is removed."""
    command = [sys.executable, "-c", _HOLDER, store.uri, str(tmp_path / "held")]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "held").exists():
        assert process.poll() is None
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


@pytest.mark.fault
def test_an_owner_that_was_killed_is_followed_at_once(
    store: Folder, holder: subprocess.Popen[str], record_fault: Callable[..., None]
) -> None:
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # it stays as a zombie
    waited = Waited(stop)
    with leased(store, "task", progress=waited) as held:
        assert held.number == 2
    assert not waited.notes
    promise = "the next one on this machine follows at once, by its boot, process id and start time"
    record_fault("SIGKILL of a process that holds a lease", promise, {"kills": 1}, {"second holders": 0})


@pytest.mark.fault
def test_an_owner_that_is_silent_is_followed_and_cannot_commit(
    store: Folder,
    holder: subprocess.Popen[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_fault: Callable[..., None],
) -> None:
    monkeypatch.setattr(lease_module, "is_alive", lambda owner: None)  # as from another machine

    def watch() -> None:
        if len({json.dumps(one) for one in alive}) < 3:
            alive.append(says(store)[-1])  # shows life as long as it runs
        else:
            holder.send_signal(signal.SIGSTOP)

    alive: list[dict[str, Any]] = []
    with leased(store, "task", progress=Waited(watch)) as held:
        assert len({one["time"] for one in alive}) > 1
        (tmp_path / "held").unlink()
        holder.send_signal(signal.SIGCONT)
        assert holder.communicate()[0] == "LeaseLostError\n"
        held.check()
    assert [one["attempt"] for one in says(store)] == [2]
    promise = "the next one follows; the one that wakes up commits nothing"
    record_fault("SIGSTOP of a process that holds a lease", promise, {"stops": 1}, {"commits": 0})


@pytest.mark.fault
def test_a_lease_that_is_deleted_has_one_holder_that_may_commit(
    store: Folder, record_fault: Callable[..., None]
) -> None:
    with leased(store, "task") as first:
        store.delete(LEASES)
        with pytest.raises(LeaseLostError):
            first.check()
        with leased(store, "task") as second:
            assert second.number == first.number
            with pytest.raises(LeaseLostError, match=r"0001\.json.*: another process has taken over"):
                first.check()
            second.check()
    assert says(store)[-1]["owner"]["id"] == second.owner["id"]
    promise = "at most one holder may commit"
    record_fault(
        "the files of a lease are deleted while it is held", promise, {"deletions": 1}, {"second committers": 0}
    )


def test_who_comes_late_is_not_the_last(store: Folder) -> None:
    """A process that was stopped between looking and taking, while others came and went."""
    for _ in range(3):
        with leased(store, "task"):
            pass
    late = Lease(store, f"{LEASES}/task", 2, 60)
    assert not late.take()
    assert [one["attempt"] for one in says(store)] == [3]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"owner": 1, "ended": "no"}', b'{"owner": {"process": "1"}}'])
def test_a_lease_that_is_none_is_followed_when_it_does_not_change(tmp_path: Path, text: bytes) -> None:
    store = Folder(str(tmp_path))
    store.write_bytes(f"{LEASES}/task/0007.json", text)
    with leased(store, "task", takeover=0.2) as held:
        assert held.number == 8


def test_who_is_alive() -> None:
    here = this_process()
    assert is_alive(here)
    assert is_alive({**here, "started": here["started"] - 1}) is False  # its number was given to another process
    assert is_alive({**here, "process": 2**22 + 1}) is False
    for other in ({"boot": "another"}, {"host": "another"}, {"processes": "another"}):
        assert is_alive({**here, **other, "process": 2**22 + 1}) is None


def test_a_root_that_vanishes_is_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    store = Folder(str(root)).claim()
    with leased(store, "task"):
        shutil.rmtree(root)
        root.mkdir()
        with pytest.raises(StoreError, match="mount or restore it"):
            leased(store, "another task").__enter__()
    assert not list(root.iterdir())
