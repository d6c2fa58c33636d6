"""The way through the phases of some studies, whatever runs their tasks: failures, console, MLflow."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence

from raylab.errors import RaylabError, StoppedError
from raylab.files import Folder
from raylab.runs import ResolvedStudy, RunStore
from raylab.runs.studies import begin_study
from raylab.study.console import Console
from raylab.study.events import ProgressEvent
from raylab.study.grid import Grid
from raylab.study.interrupts import Interrupts, this_command
from raylab.study.pace import DriverNote, Pace
from raylab.tracking import MlflowUploader
from raylab.tracking.sync import INTERRUPTED


class RunFailedError(RaylabError):
    """One or more runs of a study did not finish; what they committed stays and is continued next time.

    Attributes:
        uploader: of the studies.
    """

    exit_code = 1

    def __init__(self, lines: Sequence[str], uploader: MlflowUploader) -> None:
        super().__init__("\n".join(lines))
        self.uploader = uploader


class Watcher:
    """Follows the tasks of some studies: says where they are, sends what is committed to MLflow, keeps failures.

    Args:
        studies: with their runs.
        store: of the results.
        uploader: to MLflow.
        say: takes a line for the person who waits.

    Attributes:
        grid: of the studies.
        failures: reasons by task.
        interrupts: whether somebody asked the studies to stop.
        listeners: are told every event.
    """

    def __init__(
        self, studies: Sequence[ResolvedStudy], store: Folder, uploader: MlflowUploader, say: Callable[[str], None]
    ) -> None:
        self.studies = studies
        self.store = store
        self.uploader = uploader
        self.say = say
        self.grid = Grid(studies)
        self.failures: dict[str, str] = {}
        self.interrupts = Interrupts(studies[0].config.run.compute.grace)
        self.listeners: list[Callable[[ProgressEvent], None]] = []
        self._console = Console(self.grid.name_of, say)
        self._pace = Pace(self.grid, store)
        self._note = DriverNote(studies, self.grid, store)

    def follow(self, run_phase: Callable[[Sequence[str]], None]) -> None:
        """Write the studies down and go through their phases, each without the tasks that failures make impossible.

        Args:
            run_phase: does the tasks of one, which need one another in no way, and says which `failed`; whether the
                others are done is asked of the store.

        Raises:
            RunFailedError: once all that could be done is done; at once where a task neither is done nor failed.
            StoppedError: a signal asked the studies to stop, and something is left to do.
        """
        for study in self.studies:
            begin_study(self.store, study)
        self._note.write(self._pace)
        self._sync()
        try:
            with self.interrupts.caught():
                interrupted = self._run_phases(run_phase)
            if self.interrupts.number is not None:
                self._stop(self.interrupts.number)
        except SystemExit:  # the second signal
            raise
        except BaseException:
            self._send_rest(ended=True)
            raise
        finally:
            self._note.write(self._pace, ended=True)
        self._send_rest(ended=bool(interrupted))
        lines = [f"{self.grid.name_of(task)}: {reason}" for task, reason in self.failures.items()]
        lines += [f"{self.grid.name_of(task)}: ended without being done, and without a reason" for task in interrupted]
        if lines:
            lines.append(f"{self.finished()}; the same command goes on with the others")
            raise RunFailedError(lines, self.uploader)

    def _run_phases(self, run_phase: Callable[[Sequence[str]], None]) -> list[str]:
        """Tasks of the last phase that neither are done nor failed: after them no other phase is begun."""
        for index in range(len(self.grid.phases(set()))):
            if self.interrupts.requested:
                break
            if tasks := self.grid.phases(set(self.failures))[index]:
                run_phase(tasks)
                if remaining := self.remaining(tasks):
                    return remaining
        return []

    def _stop(self, number: int) -> None:
        """Say what is done and how to go on, unless everything is done."""
        if not (unfinished := self._unfinished()):
            return
        lines = [f"{self.grid.name_of(task)}: {self._how_far(task)}" for task in unfinished]
        lines += [f"{self.grid.name_of(task)}: {reason}" for task, reason in self.failures.items()]
        lines += [
            f"Stopped by {signal.Signals(number).name}: {self.finished()}; results: {self.store.uri}",
            f"Go on with: {this_command()}",
        ]
        raise StoppedError("\n".join(lines), number)

    def _unfinished(self) -> list[str]:
        """The runs and trainings on all masks that neither are done nor failed."""
        return self.remaining([*self.grid.runs, *self.grid.supervised])

    def _how_far(self, task: str) -> str:
        if (run := self.grid.runs.get(task)) is None:
            return "not done"
        done = RunStore(self.store, run).done_rounds()
        return f"{done} of {len(run.config.budget.rounds) + 1} rounds are done"

    def _send_rest(self, ended: bool) -> None:
        """Have sent what is not yet; what is unfinished is shown as interrupted where the studies ended before it."""
        for task in self._unfinished() if ended else ():
            self.uploader.mark_failed(task, INTERRUPTED)
        self._sync()
        self.uploader.flush()

    def finished(self) -> str:
        """How many runs are finished, in words."""
        done = sum(RunStore(self.store, run).finished() for run in self.grid.runs.values())
        return f"{done} of {len(self.grid.runs)} runs are finished"

    def remaining(self, tasks: Sequence[str]) -> list[str]:
        """Those of some tasks that neither are done, as the store says, nor failed."""
        remaining = []
        for task in tasks:
            try:
                if self.grid.done(self.store, task):
                    self.failures.pop(task, None)  # as when its process died after the last commit
                elif task not in self.failures:
                    remaining.append(task)
            except RaylabError as error:
                self.failed(task, str(error))
        return remaining

    def take(self, events: Iterable[ProgressEvent]) -> None:
        """Say what events tell, oldest first, and have sent what they say is committed; nothing else hangs on them."""
        committed, trained = False, self._pace.done
        for event in events:
            self._console.show(event)
            self._pace.take([event])
            for listener in self.listeners:
                listener(event)
            committed |= event.stage in ("committed", "done")
        if self._pace.done > trained:
            self._console.show_pace(self._pace)
        self._note.write(self._pace)
        if committed:
            self._sync()

    def failed(self, task: str, reason: str) -> None:
        """Take note of a failure; the first reason of a task stays."""
        if task not in self.failures:
            self.failures[task] = reason
            for lost in self.grid.hanging_on(task):
                self.uploader.mark_failed(lost, reason)

    def _sync(self) -> None:
        for study in self.studies:
            self.uploader.sync(self.store, study.name, list(study.runs))
