"""The finished study that tests share."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from raylab.config import ComputeConfig, StudyConfig
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.study import run_study
from tests.configs import resolved_runs, tiny_run


@dataclass(frozen=True)
class Finished:
    """A study that lies finished on the disk: read it, or copy it and run what is changed.

    Attributes:
        config: of the study; its backend is the local one.
        lines: that were said while it ran.
    """

    config: StudyConfig
    lines: list[str]

    @property
    def store(self) -> Folder:
        return Folder(self.config.run.storage)

    def at(self, storage: Path, compute: ComputeConfig | None = None) -> StudyConfig:
        """The same study below another root, on another backend."""
        changes = {"storage": str(storage), "compute": compute or self.config.run.compute}
        return self.config.model_copy(update={"run": self.config.run.model_copy(update=changes)})


def finish_study(storage: Path) -> Finished:
    """Three strategies, three rounds and the bound on all masks."""
    run = tiny_run(str(storage), compute=ComputeConfig(backend="local"))
    config = StudyConfig(
        name="tiny", run=run, strategies=("random", "entropy+spatial", "entropy+feature"), supervised=True
    )
    lines: list[str] = []
    run_study(config, say=lines.append)
    return Finished(config, lines)


def break_last_round(config: StudyConfig) -> None:
    """Undo the last rounds of the first two runs; the second one's ledger can never be written."""
    store = Folder(config.run.storage)
    first, second, _ = (RunStore(store, run) for run in resolved_runs(config))
    Path(store.uri_of(first.round(2).path("train.json"))).unlink()
    folder = Path(store.uri_of(second.round(2).prefix))
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")
