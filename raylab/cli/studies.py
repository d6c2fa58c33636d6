"""Commands that run studies, or say what they would cost."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from raylab.config import RunConfig, StudyConfig
from raylab.config.load import read_yaml, refuse_without_effect
from raylab.config.sections import Frozen
from raylab.errors import ConfigError, nearest
from raylab.experiment import experiments
from raylab.files import brought_folder
from raylab.launch import launch


class DemoOptions(Frozen):
    """Where the demonstration goes."""

    storage: str = RunConfig().storage
    """Folder or URI (s3://, gs://) under which every result lies."""
    plan: bool = False
    """Only say what it would cost."""


def demo(options: DemoOptions) -> None:
    """Three strategies on generated street scenes, to a report: minutes on two cores, and no data needed."""
    config = read_yaml(StudyConfig, str(brought_folder("experiments") / "demo.yaml"))
    run = config.run.model_copy(update={"storage": options.storage})
    launch([config.model_copy(update={"run": run})], plan=options.plan)


def run(config: RunConfig) -> None:
    """One strategy and seed through all rounds."""
    launch([study_of(config)])


def study(config: StudyConfig) -> None:
    """A grid of runs: strategies x region sizes x seeds, round 0 shared."""
    _refuse_without_effect(config)
    launch([config])


def plan(config: StudyConfig) -> None:
    """What a study will cost, before it starts: runs, trainings saved, images, regions, disk."""
    _refuse_without_effect(config)
    launch([config], plan=True)


def experiment(args: Sequence[str]) -> None:
    """A table or figure of the paper: `raylab experiment NAME [OPTIONS]`; without a name, which there are."""
    known = experiments()
    if not args or args[0] in ("-h", "--help", "--help-all"):
        lines = [f"  {name:<22}{summary}" for name, summary in known.items()]
        print("\n".join(["usage: raylab experiment NAME [OPTIONS]", "", *lines]))
        print("\nraylab experiment NAME --help tells its options; --plan what it costs, --smoke runs it tiny.")
        return
    name = args[0].replace("-", "_")
    if name not in known:
        raise ConfigError(f"no experiment {args[0]!r}{nearest(name, known)}; raylab experiment lists them")
    folder = brought_folder("experiments")
    before = sys.argv, sys.path
    # As `python experiments/NAME.py` would: a script finds those beside it.
    sys.argv, sys.path = [name, *args[1:]], [os.fspath(folder), *sys.path]
    try:
        runpy.run_path(os.fspath(folder / f"{name}.py"), run_name="__main__")
    finally:
        sys.argv, sys.path = before


def study_of(config: RunConfig) -> StudyConfig:
    """A run as a study of one; without a name it gets that of the run, once its data and weights are read."""
    strategies = (config.strategy.label,)
    return StudyConfig(name=config.name or "", run=config, strategies=strategies, seeds=(config.seed,))


def _refuse_without_effect(config: StudyConfig) -> None:
    """Refuse a field of `run` that each run of the grid gets from a list of the study's.

    Raises:
        ConfigError: names the field and what to set.
    """
    refuse_without_effect(config.run, {"strategy": "strategies", "seed": "seeds", "name": "name"})
