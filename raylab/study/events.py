"""Events: how far the runs of a study are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressEvent:
    """Where a run is.

    Attributes:
        run: label of the run.
        round_index: t.
        stage: see `raylab.progress.Progress`; `done` and `failed` end a run.
        done: units of work done.
        total: units in all.
        note: what else a person would like to see.
    """

    run: str
    round_index: int
    stage: str
    done: int = 0
    total: int = 0
    note: str = ""
