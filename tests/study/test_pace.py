"""How far studies are, and what their driver says of it for `raylab status`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raylab.config import StudyConfig
from raylab.files import Folder
from raylab.runs import ResolvedStudy
from raylab.runs.studies import begin_study
from raylab.study.events import ProgressEvent
from raylab.study.grid import Grid
from raylab.study.pace import SILENCE, DriverNote, Pace, duration, lines_of_note, note_path
from tests.configs import resolved_study, tiny_run
from tests.studies import Finished


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


@pytest.fixture
def study() -> ResolvedStudy:
    """A shared round 0, and two runs of two more rounds each: five trainings."""
    return resolved_study(StudyConfig(name="s", run=tiny_run(), strategies=("random", "entropy")))


def test_trainings_are_counted_and_the_rest_estimated_at_their_pace(study: ResolvedStudy, store: Folder) -> None:
    grid, clock = Grid([study]), Clock()
    pace = Pace(grid, store, clock)
    (first,), (run, other) = grid.firsts, grid.runs
    assert (pace.done, pace.total, pace.share, pace.seconds_left) == (0, 5, 0, None)
    pace.take([ProgressEvent(first, 0, "select", 0, 1), ProgressEvent(first, 0, "committed", 1, 1)])
    pace.take([ProgressEvent(first, 0, "train", 1, 4)])
    assert (pace.done, pace.share) == (0, 0.25 / 5)
    clock.now += 10
    pace.take([ProgressEvent(first, 0, "train", 4, 4), ProgressEvent(first, 0, "committed", 1, 1)])
    pace.take([ProgressEvent(first, 0, "score", 0, 9), ProgressEvent(first, 0, "committed", 1, 1)])
    pace.take([ProgressEvent(first, 0, "done")])
    assert (pace.done, pace.now) == (1, {})
    assert pace.seconds_left == pytest.approx(40)
    for task in (run, other):
        pace.take([ProgressEvent(task, 1, "train", 2, 4)])
    assert pace.share == pytest.approx(0.4)
    assert pace.seconds_left == pytest.approx(15)
    assert pace.summary == "1 of 5 trainings, 40 %, about 15 s left"
    pace.take([ProgressEvent(run, 1, "failed", note="why")])
    assert list(pace.now) == [other]


def test_what_is_done_already_is_no_pace(finished: Finished) -> None:
    pace = Pace(Grid([resolved_study(finished.config)]), finished.store)
    assert (pace.done, pace.total) == (1 + 1 + 3 * 2, 8)
    assert (pace.share, pace.seconds_left) == (1, None)
    assert pace.summary == "8 of 8 trainings, 100 %"


def test_a_note_is_written_now_and_then_and_at_the_end(study: ResolvedStudy, store: Folder) -> None:
    begin_study(store, study)
    grid, clock = Grid([study]), Clock()
    pace, note = Pace(grid, store, clock), DriverNote([study], grid, store)
    assert lines_of_note(store, "s") == []
    note.write(pace)
    (run, _) = grid.runs
    pace.take([ProgressEvent(run, 1, "train", 2, 4, "loss 1.5")])
    clock.now += 5
    note.write(pace)
    assert len(lines_of_note(store, "s", clock.now)) == 1, "too soon"
    clock.now += 5
    note.write(pace)
    running, doing = lines_of_note(store, "s", clock.now + 2)
    assert running == f"runs for 12 s in process {os.getpid()} on {os.uname().nodename}: {pace.summary}"
    assert doing == "  random N16 seed 0: round 1  train 2/4  loss 1.5  for 12 s"
    note.write(pace, ended=True)
    assert lines_of_note(store, "s", clock.now + 200) == [f"ended 3 min ago: {pace.summary}"]


@pytest.mark.parametrize("where", ["here", "here, its number another's now", "elsewhere"])
def test_a_driver_that_is_gone_is_told_as_dead(study: ResolvedStudy, store: Folder, where: str) -> None:
    begin_study(store, study)
    grid = Grid([study])
    pace = Pace(grid, store, Clock())
    DriverNote([study], grid, store).write(pace)
    note: dict[str, Any] = store.read_json(note_path("s"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    other = {"here": {"process": gone.pid}, "elsewhere": {"host": "elsewhere"}}.get(where, {"started": 1})
    store.write_json(note_path("s"), note | {"owner": note["owner"] | other})
    assert lines_of_note(store, "s", 1_001.0)[0].startswith("runs for 1 s in " if where == "elsewhere" else "dead: ")
    assert lines_of_note(store, "s", 1_001.0 + SILENCE)[0].startswith("dead: process ")


def test_a_study_says_that_it_has_ended(finished: Finished) -> None:
    (line,) = lines_of_note(finished.store, "tiny")
    assert line.startswith("ended ")
    assert line.endswith("8 of 8 trainings, 100 %")
    assert any("of 8 trainings, " in line and " left" in line for line in finished.lines)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
