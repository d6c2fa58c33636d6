"""Drivers that share a root in an object store: one does a task, one that is dead or silent is followed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from raylab.config import StudyConfig
from raylab.files import Folder
from raylab.lease import LEASES
from tests.configs import resolved_runs
from tests.faults.conftest import UndisturbedStudy
from tests.faults.processes import marked
from tests.faults.two_strategies import STEPS, begun_in, outcome_of, study
from tests.s3 import S3Server

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

_PROGRAM = """
import os, sys
from raylab.cli import main
from raylab.study.local import WatchedProgress

tell = WatchedProgress.__call__

def tell_and_signal(self, stage, done, total, note=""):
    tell(self, stage, done, total, note)
    if stage == "train" and done == 0 and len(sys.argv) > 2:
        os.kill(os.getpid(), int(sys.argv.pop()))

WatchedProgress.__call__ = tell_and_signal
main(["study", "--config", sys.argv[1]])
"""
"""A study; with a signal, a process that sends it to itself once, when its first training begins."""


@dataclass
class Shared:
    """A study whose root lies in a bucket, and its drivers."""

    config: StudyConfig
    folder: Path

    def __post_init__(self) -> None:
        self.file = self.folder / "study.yaml"
        self.file.write_text(yaml.safe_dump(self.config.model_dump(mode="json")))
        self.drivers: list[subprocess.Popen[bytes]] = []
        self.store = Folder(self.config.run.storage)

    def start(self, *number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _PROGRAM, str(self.file), *map(str, number)]
        with self.said_file(len(self.drivers)).open("wb") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, env=marked(self.folder))
        self.drivers.append(process)
        return process

    def said_file(self, index: int) -> Path:
        return self.folder / f"said-{index}"

    def said(self, index: int) -> str:
        """What a driver has said."""
        return self.said_file(index).read_text()

    def begun(self, index: int) -> int:
        return begun_in(self.said(index))

    def trained(self) -> bool:
        """Whether round 0 is."""
        first, _ = resolved_runs(self.config)
        return self.store.is_file(f"round0/{first.round0_identity}/train.json")


@pytest.fixture(params=[2.0])
def shared(s3: S3Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shared]:
    s3.make_bucket(bucket := f"bucket-{uuid4().hex}")
    config = study(s3.uri(f"{bucket}/results"), backend="local", takeover=request.param)
    run = config.run.model_copy(update={"tracking": f"sqlite:///{tmp_path}/mlflow.db"})
    shared = Shared(config.model_copy(update={"run": run}), tmp_path)
    yield shared
    for driver in shared.drivers:
        driver.kill()
        driver.wait()


def stopped(driver: subprocess.Popen[bytes]) -> bool:
    """Whether a driver has stopped itself; waits until it has, or has ended."""
    return os.WIFSTOPPED(os.waitpid(driver.pid, os.WUNTRACED)[1])


@pytest.mark.parametrize("shared", [60.0], indirect=True)  # a driver that is slow is not dead
def test_two_at_once_do_each_step_once(
    shared: Shared, undisturbed_study: UndisturbedStudy, record_fault: Callable[..., None]
) -> None:
    drivers = [shared.start() for _ in range(2)]
    assert [driver.wait() for driver in drivers] == [0, 0], shared.said(0) + shared.said(1)
    assert outcome_of(shared.config) == undisturbed_study(0)
    assert shared.begun(0) + shared.begun(1) == STEPS
    promise = "each step is done once; both end with 0"
    record_fault("two drivers at once on one root in a bucket", promise, {"studies": 1}, {"equal": 1})


def test_one_that_was_killed_on_another_machine_is_followed(
    shared: Shared, undisturbed_study: UndisturbedStudy, record_fault: Callable[..., None]
) -> None:
    assert shared.start(signal.SIGKILL).wait() == -signal.SIGKILL
    (path,) = [path for path in shared.store.walk(LEASES)[0] if "round0" in path]
    lease = shared.store.read_json(f"{LEASES}/{path}")
    lease["owner"]["host"] = "another"
    shared.store.write_bytes(f"{LEASES}/{path}", json.dumps(lease).encode())
    assert shared.start().wait() == 0, shared.said(1)
    assert "for process" in shared.said(1)
    assert outcome_of(shared.config) == undisturbed_study(0)
    assert (shared.begun(0), shared.begun(1)) == (2, STEPS - 1)
    promise = "who waits does its work after `compute.takeover` seconds, from the last commit on"
    record_fault("SIGKILL of a driver on another machine, root in a bucket", promise, {"kills": 1}, {"equal": 1}, 1)


def test_one_that_wakes_up_after_it_was_followed_commits_nothing(
    shared: Shared, undisturbed_study: UndisturbedStudy, record_fault: Callable[..., None]
) -> None:
    sleeping = shared.start(signal.SIGSTOP)
    assert stopped(sleeping), shared.said(0)
    following = shared.start(signal.SIGSTOP)
    assert stopped(following), shared.said(1)
    sleeping.send_signal(signal.SIGCONT)
    assert sleeping.wait() == 1, shared.said(0)
    assert re.search(r"\d\.json\?.*: another process has taken over what this one does", shared.said(0))
    assert "Traceback" not in shared.said(0)
    assert not shared.trained()
    following.send_signal(signal.SIGCONT)
    assert following.wait() == 0, shared.said(1)
    assert outcome_of(shared.config) == undisturbed_study(0)
    promise = "who waits does its work; when it wakes up it commits nothing, and ends with one line and 1"
    record_fault("SIGSTOP of a driver, root in a bucket", promise, {"stops": 1}, {"commits": 0, "equal": 1}, 1)
