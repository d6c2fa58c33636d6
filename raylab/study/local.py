"""Runs the tasks of some studies one after another in this process, without Ray."""

from __future__ import annotations

from collections.abc import Sequence

from raylab.backends.local import LocalBackend, device_of
from raylab.errors import RaylabError
from raylab.study.base import Watcher
from raylab.study.events import ProgressEvent
from raylab.study.interrupts import StoppedTask
from raylab.study.task import Tasks


def run_tasks(watcher: Watcher) -> None:
    """Run all that is not done yet.

    Args:
        watcher: of the studies.

    Raises:
        ResourceError: a GPU is asked for and there is none.
        RunFailedError: once all that could be done is done.
        Exception: a bug in raylab, as it is: what a debugger wants.
    """
    for study in watcher.studies:
        device_of(study.config.run.compute)
    tasks = Tasks(watcher.grid, watcher.store, lambda run: LocalBackend(run, watcher.store))

    def run_phase(names: Sequence[str]) -> None:
        for name in names:
            if watcher.interrupts.requested:
                return
            try:
                tasks.do(name, WatchedProgress(watcher, name))
            except StoppedTask:
                return
            except RaylabError as error:
                watcher.failed(name, str(error))
                watcher.take([ProgressEvent(name, 0, "failed", note=str(error))])
            except Exception as error:
                watcher.failed(name, str(error) or type(error).__name__)
                raise
            else:
                watcher.take([ProgressEvent(name, 0, "done")])

    watcher.follow(run_phase)


class WatchedProgress:
    """A `Progress` that tells a watcher in the same process.

    Args:
        watcher: of the studies.
        task: that it tells of.
    """

    def __init__(self, watcher: Watcher, task: str) -> None:
        self.watcher = watcher
        self.task = task
        self.round_index = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """See `raylab.progress.Progress`."""
        self.watcher.take([ProgressEvent(self.task, self.round_index, stage, done, total, note)])
        interrupts = self.watcher.interrupts
        if interrupts.overdue or (interrupts.requested and stage == "committed"):
            raise StoppedTask
