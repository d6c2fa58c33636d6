"""Runs studies through Ray Tune: what their runs share, then the runs; the only process that writes to MLflow."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from raylab.backends.resource_pool import ResourcePool, start
from raylab.config import DataConfig, StudyConfig
from raylab.config.load import absolute_paths
from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.runs import ResolvedStudy, RunStore, resolve_study
from raylab.runs.inputs import read_inputs
from raylab.runs.studies import begin_study, study_folder
from raylab.runs.surveys import survey_of
from raylab.study.checks import check_resources, check_study
from raylab.study.console import Console, SlowReading
from raylab.study.events import ProgressCollector
from raylab.study.grid import Grid
from raylab.study.ray_session import ray_session
from raylab.study.task import Task
from raylab.tracking import MlflowUploader, experiment_for, tracking_for

_TRIAL_MEMORY = 500 * 2**20
"""What the process that drives a run needs. Asking for memory and for no CPU places a trial without taking a CPU
from the workers it waits for; an empty request is refused by Tune."""


class RunFailedError(RaylabError):
    """One or more runs of a study did not finish; what they committed stays and is continued next time.

    Attributes:
        uploader: of the studies.
    """

    exit_code = 1

    def __init__(self, lines: Sequence[str], uploader: MlflowUploader) -> None:
        super().__init__("\n".join(lines))
        self.uploader = uploader


def run_study(config: StudyConfig, say: Callable[[str], None] = print) -> MlflowUploader:
    """`run_studies` of one."""
    return run_studies([config], say)


def run_studies(configs: Sequence[StudyConfig], say: Callable[[str], None] = print) -> MlflowUploader:
    """Run every run of some studies that is not finished yet, and uploader them to MLflow; common work is done once.

    Args:
        configs: of the studies; one storage root and MLflow for all.
        say: takes a line for the person who waits.

    Returns:
        The uploader, for the reports' pictures.

    Raises:
        RaylabError: a mistake found before anything was started (see `begin_studies`), or `RunFailedError`, once all
            that could be done is done.
    """
    return run_begun(begin_studies(configs, say), say)


def begin_studies(configs: Sequence[StudyConfig], say: Callable[[str], None] = print) -> list[ResolvedStudy]:
    """Find every mistake that can be found now, read what runs read, and write down what the studies' runs are.

    Args:
        configs: of the studies; one storage root for all.
        say: takes a line for the person who waits.

    Raises:
        RaylabError: as `check_study`; or a `MismatchError` where another study lies under the name.
    """
    configs = [absolute_paths(config) for config in configs]
    for line in dict.fromkeys(f"weights: {check_study(config)}" for config in configs):
        say(line)
    store = Folder(configs[0].run.storage)
    _look_at_data(configs, store, say)
    studies = [
        resolve_study(config, read_inputs(config.run, store, SlowReading(config.run.data.name, say)))
        for config in configs
    ]
    for study in studies:
        begin_study(store, study)
    return studies


def _look_at_data(configs: Sequence[StudyConfig], store: Folder, say: Callable[[str], None]) -> None:
    """Say what each data set holds, once.

    Raises:
        DataError: files that do not fit, or questions that its owner must answer.
    """
    used = [data for config in configs for data in (config.run.data, *_pretraining_data(config))]
    for data in {(data.name, data.root, data.train_list): data for data in used}.values():
        if survey := survey_of(data, store, SlowReading(data.name, say)):
            for line in [*survey.lines(), *(f"note: {line}" for line in survey.warnings)]:
                say(line)


def _pretraining_data(config: StudyConfig) -> list[DataConfig]:
    return [config.run.pretraining.data] if config.run.pretraining.iterations else []


def run_begun(studies: Sequence[ResolvedStudy], say: Callable[[str], None] = print) -> MlflowUploader:
    """`run_studies` of what `begin_studies` gave."""
    configs = [study.config for study in studies]
    first, store = configs[0].run, Folder(configs[0].run.storage).claim()
    uploader = MlflowUploader(tracking_for(first.tracking, store), experiment_for(first.experiment), say)
    with ray_session():
        resources = ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        for config in configs:
            check_resources(config.run.compute, cpus, gpus)
        _Driver(studies, store, uploader, cpus, gpus, say).run()
        return uploader


class _Driver:
    def __init__(
        self,
        studies: Sequence[ResolvedStudy],
        store: Folder,
        uploader: MlflowUploader,
        cpus: float,
        gpus: float,
        say: Callable[[str], None],
    ) -> None:
        self.studies = studies
        self.store = store
        self.uploader = uploader
        self.grid = Grid(studies)
        computes = [study.config.run.compute for study in studies]
        self.use_gpu = any(compute.device != "cpu" for compute in computes) and gpus > 0
        self.resource_pool = start(ResourcePool, cpus, gpus)
        self.collector = start(ProgressCollector)
        self.console = Console(self.grid.name_of, say)
        self.failures: dict[str, str] = {}
        fit = cpus / max(max(c.training_cpus, c.scoring_cpus) for c in computes)
        if self.use_gpu:
            fit = min(fit, gpus / max(max(c.workers, c.scorers, 1) for c in computes))
        self.concurrent = studies[0].config.concurrent_runs or max(1, int(fit))

    def run(self) -> None:
        self._sync()
        try:
            for phase in range(len(self.grid.phases(set()))):
                if tasks := self.grid.phases(set(self.failures))[phase]:
                    self._phase(tasks)
        finally:
            self._sync()
            self.uploader.flush()
        if self.failures:
            lines = [f"{self.grid.name_of(task)}: {reason}" for task, reason in self.failures.items()]
            done = sum(RunStore(self.store, run).finished() for run in self.grid.runs.values())
            lines.append(f"{done} of {len(self.grid.runs)} runs are finished; the same command goes on with the others")
            raise RunFailedError(lines, self.uploader)

    def _sync(self) -> None:
        for study in self.studies:
            self.uploader.sync(self.store, study.name, list(study.runs))

    def _phase(self, tasks: list[str]) -> None:
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        try:
            results = self._tune(tasks)
        finally:
            stop.set()
            watcher.join()
        for result in (results[i] for i in range(len(results))):
            if result.error is not None and result.config is not None:
                self._failed(result.config["task"], str(result.error).strip().splitlines()[-1])

    def _failed(self, task: str, reason: str) -> None:
        if task not in self.failures:
            self.failures[task] = reason
            if run := self.grid.runs.get(task):
                self.uploader.mark_failed(run, reason)

    def _tune(self, tasks: list[str]) -> tune.ResultGrid:
        task = Task(self.grid, self.store, self.resource_pool, self.collector, self.use_gpu)
        folder = study_folder(self.studies[0].name)
        with tempfile.TemporaryDirectory() as scratch:
            # Trials keep nothing with Tune: a run goes on from what it committed to the store.
            tuner = tune.Tuner(
                tune.with_resources(task, tune.PlacementGroupFactory([{"memory": _TRIAL_MEMORY}])),
                param_space={"task": tune.grid_search(tasks)},
                # A process that drove a run drives the next: starting one and importing torch takes seconds.
                tune_config=tune.TuneConfig(max_concurrent_trials=self.concurrent, reuse_actors=True),
                run_config=tune.RunConfig(
                    name="tune",
                    **({"storage_path": scratch} if self.store.local else self.store.for_ray(folder)),
                    failure_config=tune.FailureConfig(max_failures=3),
                    callbacks=[_Silent()],
                    verbose=0,
                ),
            )
            return tuner.fit()

    def _watch(self, stop: threading.Event) -> None:
        while True:
            stopping = stop.wait(1.0)
            events = ray.get(self.collector.fetch.remote())
            for event in events:
                self.console.show(event)
                if event.stage == "failed":
                    self._failed(event.run, event.note)
            if any(event.stage in ("committed", "done") for event in events):
                self._sync()
            if stopping:
                return


class _Silent(TrialProgressCallback):  # type: ignore[misc]
    """Takes the place of the callback that prints a line a trial even at verbosity 0."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing: the console has said it."""

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Nothing."""
