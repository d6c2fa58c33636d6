"""How far some studies are: trainings done of all, what each task does now, and about how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.lease import is_alive, process_name, this_process
from raylab.runs import ResolvedStudy, RunStore
from raylab.runs.studies import study_folder
from raylab.study.events import ProgressEvent
from raylab.study.grid import Grid

EVERY = 10.0
"""Seconds between two notes of a driver."""

SILENCE = 90.0
"""Seconds after which a driver on another machine that writes no note is taken for dead; one step may keep it from
writing."""


@dataclass
class Doing:
    """What a task does now.

    Attributes:
        event: the last one.
        since: when its stage began, in seconds of `time.time`.
    """

    event: ProgressEvent
    since: float


class Pace:
    """Counts trainings, each weighing the same.

    Args:
        grid: of the studies.
        store: of the results, which says what is done.
        clock: seconds since the epoch.

    Attributes:
        total: trainings in all.
        now: what the tasks that run are doing.
    """

    def __init__(self, grid: Grid, store: Folder, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.began = clock()
        self.now: dict[str, Doing] = {}
        alone = (*grid.pretrainings, *grid.firsts, *grid.supervised)
        self._trainings = dict.fromkeys(alone, 1) | {t: len(run.config.budget.rounds) for t, run in grid.runs.items()}
        self.total = sum(self._trainings.values())
        self._done = {task: _trained(grid, store, task) for task in self._trainings}
        self._before = self.done

    @property
    def done(self) -> int:
        """Trainings that are committed."""
        return sum(self._done.values())

    @property
    def share(self) -> float:
        """What part of the trainings is done, 0..1, those in progress by their iterations."""
        return (self.done + self._in_progress()) / self.total if self.total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest takes at the pace so far; None before a tenth of a training is done here."""
        gained = self.done - self._before + self._in_progress()
        if gained < 0.1:
            return None
        return (self.clock() - self.began) * (self.total * (1 - self.share)) / gained

    @property
    def summary(self) -> str:
        """All of this in a line."""
        return summary(self.done, self.total, self.share, self.seconds_left)

    def take(self, events: Iterable[ProgressEvent]) -> None:
        """Take note of events, oldest first."""
        for event in events:
            task, doing = event.run, self.now.get(event.run)
            if event.stage in ("done", "failed"):
                self.now.pop(task, None)
                if event.stage == "done":
                    self._done[task] = self._trainings[task]
            elif event.stage == "committed":
                if doing and doing.event.stage == "train":
                    self._done[task] = min(self._done[task] + 1, self._trainings[task])
                self.now[task] = Doing(event, self.clock())
            elif doing and (doing.event.stage, doing.event.round_index) == (event.stage, event.round_index):
                doing.event = event
            else:
                self.now[task] = Doing(event, self.clock())

    def _in_progress(self) -> float:
        events = (doing.event for doing in self.now.values() if doing.event.stage == "train")
        return sum(event.done / event.total for event in events if event.total)


def _trained(grid: Grid, store: Folder, task: str) -> int:
    with suppress(RaylabError):  # of what is damaged; whoever does the task says so
        if run := grid.runs.get(task):
            return max(RunStore(store, run).done_rounds() - 1, 0)
        return int(grid.done(store, task))
    return 0


class DriverNote:
    """A file in each study's folder that says what its driver does, for `raylab status`; nothing else reads it.

    Args:
        studies: that run.
        grid: of them.
        store: that they lie in.
    """

    def __init__(self, studies: Iterable[ResolvedStudy], grid: Grid, store: Folder) -> None:
        self.studies = list(studies)
        self.grid = grid
        self.store = store
        self._written = 0.0

    def write(self, pace: Pace, ended: bool = False) -> None:
        """Say where the studies are, unless that was said less than `EVERY` seconds ago and they have not ended."""
        if not ended and pace.clock() - self._written < EVERY:
            return
        self._written = pace.clock()
        note = {
            "owner": this_process(),
            "began": pace.began,
            "at": self._written,
            "ended": ended,
            "summary": pace.summary,
            "now": [] if ended else [self._doing(task, doing) for task, doing in pace.now.items()],
        }
        for study in self.studies:
            with suppress(RaylabError):  # no outcome hangs on it
                self.store.write_json(note_path(study.name), note)

    def _doing(self, task: str, doing: Doing) -> dict[str, Any]:
        return {"task": self.grid.name_of(task), "what": what(doing.event), "since": doing.since}


def note_path(study: str) -> str:
    """Where the note of a study's driver lies."""
    return f"{study_folder(study)}/driver.json"


def lines_of_note(store: Folder, study: str, now: float | None = None) -> list[str]:
    """What the note of a study's driver says, for a person; nothing where there is none.

    Args:
        store: that the study lies in.
        study: its name.
        now: seconds since the epoch; when None, the time.
    """
    try:
        note = store.read_json(note_path(study))
    except RaylabError:
        return []
    if not isinstance(note, dict) or "owner" not in note:
        return []
    now = time.time() if now is None else now
    who, silent = process_name(note["owner"]), now - note["at"]
    if note["ended"]:
        return [f"ended {duration(silent)} ago: {note['summary']}"]
    alive = is_alive(note["owner"])  # of a process on another machine the note's age tells
    if silent >= SILENCE if alive is None else not alive:
        return [f"dead: {who} was last heard of {duration(silent)} ago: {note['summary']}"]
    doing = [f"  {one['task']}: {one['what']}  for {duration(now - one['since'])}" for one in note["now"]]
    return [f"runs for {duration(now - note['began'])} in {who}: {note['summary']}", *doing]


def what(event: ProgressEvent) -> str:
    """An event in words: round, stage, how much of it."""
    counts = f" {event.done:,}/{event.total:,}" if event.total > 1 else ""
    return f"round {event.round_index}  {event.stage}{counts}  {event.note}".rstrip()


def summary(done: int, total: int, share: float, seconds_left: float | None) -> str:
    """`7 of 24 trainings, 31 %, about 2 h 10 min left`."""
    left = "" if seconds_left is None or done == total else f", about {duration(seconds_left)} left"
    return f"{done:,} of {total:,} trainings, {100 * share:.0f} %{left}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
