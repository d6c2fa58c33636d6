"""The collector of progress: it lives on the driver's node, and nothing but lines is lost with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

from raylab.study import collector as module
from raylab.study.collector import CollectedProgress, ProgressCollector, fetched, progress_collector
from raylab.study.interrupts import StoppedTask
from tests.conftest import actors_alive


@pytest.mark.ray
def test_it_collects_until_the_block_ends_however_it_ends(ray_session: Any) -> None:
    before = actors_alive().keys()
    with suppress(ZeroDivisionError), progress_collector() as collector:
        progress = CollectedProgress(collector, "run")
        progress("train", 0, 10)
        progress("train", 10, 10, "loss 1.0")
        progress("train", 0, 10)  # of another member of an ensemble
        progress("committed", 1, 1)
        # The latest note of a stage replaces those before it that nobody fetched, and none that it ended with.
        found = [(event.stage, event.done) for event in fetched(collector, False)]
        assert found == [("train", 10), ("train", 0), ("committed", 1)]
        assert fetched(collector, True) == []
        with pytest.raises(StoppedTask):
            progress.check()
        assert len(actors_alive().keys() - before) == 1
        raise ZeroDivisionError
    progress("train", 1, 1)
    progress.end("done")  # to nobody
    assert fetched(collector, False) == []


@pytest.mark.ray
@pytest.mark.fault
def test_one_that_is_killed_is_started_again_and_told_what_it_must_know(
    ray_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collector(ProgressCollector):  # here, so that its process does not import the tests, which make a folder
        def process(self) -> int:
            return os.getpid()

    monkeypatch.setattr(module, "ProgressCollector", Collector)
    with progress_collector() as collector:
        progress = CollectedProgress(collector, "run")
        os.kill(ray_session.get(collector.process.remote()), signal.SIGKILL)
        progress("train", 5, 10)  # perhaps to nobody
        progress.check()
        for _ in range(1000):
            progress.end("done")
            if events := fetched(collector, True):
                break
        assert events[-1].stage == "done"
        with pytest.raises(StoppedTask):
            progress.check()


def test_its_process_imports_nothing_heavy() -> None:
    code = (
        "import sys, raylab.study.collector;"
        "print(*{'torch', 'mlflow', 'pandas', 'raylab.files', 'raylab.study.run'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
