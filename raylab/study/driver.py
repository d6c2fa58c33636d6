"""Runs a study: first what its runs share, then the runs, through Ray Tune; the only process that writes to MLflow."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from raylab.config import RunConfig, StudyConfig
from raylab.data import open_dataset
from raylab.errors import MismatchError, RaylabError
from raylab.loop import Loop, commit_training, labelled_share, pool_regions, pretrained_folder, pretrained_model
from raylab.regions import RegionGrid
from raylab.store import RoundStore, RunStore, Store
from raylab.store.rounds import first_difference
from raylab.store.studies import study_folder, study_path
from raylab.study.console import Console
from raylab.study.plan import check_resources, check_study
from raylab.study.services import Board, BoardProgress, Gate, Notice, start
from raylab.study.stages import RayStages
from raylab.tracking import Mirror, default_tracking
from raylab.training.job import TrainingJob, training_job

_TRIAL_MEMORY = 500 * 2**20
"""What the process that drives a run needs. Asking for memory and for no CPU places a trial without taking a CPU
from the workers it waits for; an empty request is refused by Tune."""


_SHARED = "round0:"
"""Before the label of a run: the task of computing the round 0 that it shares."""
_SUPERVISED, _PRETRAINING = "supervised", "pretraining"


class RunFailedError(RaylabError):
    """One or more runs of a study did not finish; what they committed stays and is continued next time."""

    exit_code = 1


def run_study(config: StudyConfig, say: Callable[[str], None] = print) -> Mirror:
    """Run every run of a study that is not finished yet, and mirror it to MLflow.

    Args:
        config: of the study.
        say: takes a line for the person who waits.

    Returns:
        The mirror, for the report's pictures.

    Raises:
        RaylabError: a mistake found before anything was started (see `check_study`), or `RunFailedError`.
    """
    say(f"weights: {check_study(config)}")
    store = Store(config.run.storage)
    _open_study(store, config)
    mirror = Mirror(config.run.tracking or default_tracking(store), config.run.experiment)
    started = start_ray()
    try:
        resources = ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        check_resources(config.run.compute, cpus, gpus)
        _Driver(config, store, mirror, cpus, gpus, say).run()
        return mirror
    finally:
        if started:
            ray.shutdown()


def start_ray() -> bool:
    """Join the cluster that RAY_ADDRESS names (as `ray job submit` sets it), or start Ray on this machine.

    Returns:
        Whether this process started or joined Ray, and so is to leave it.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the newer output engine prints boxes even when told to be silent
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        ray.init(address="local", include_dashboard=False, **quiet)
    return True


def supervised_folder(config: StudyConfig) -> str:
    """Where the fully supervised bound of the first seed lies."""
    key = config.run.model_copy(update={"seed": config.seeds[0]}).round0_identity()
    return f"supervised/{key}-{config.supervised_iterations or 'as-round'}"


def _open_study(store: Store, config: StudyConfig) -> None:
    path = study_path(config.name)
    now = {
        "config": config.model_dump(mode="json"),
        "supervised": [supervised_folder(config)] if config.supervised else [],
    }
    if store.exists(path):
        then = StudyConfig.model_validate(store.read_json(path)["config"])
        # A study may grow by strategies, seeds and sizes; what all of its runs share may not change.
        if field := first_difference(then.run.decisive(), config.run.decisive()):
            raise MismatchError(
                f"{store.place(path)}: run.{field[0]} was {field[1]!r} when the study {config.name!r} began and is "
                f"{field[2]!r} now; restore it, or give the study another name"
            )
    store.write_json(path, now)


class _Driver:
    def __init__(
        self, config: StudyConfig, store: Store, mirror: Mirror, cpus: float, gpus: float, say: Callable[[str], None]
    ) -> None:
        self.config = config
        self.store = store
        self.mirror = mirror
        self.runs = {run.label: run for run in config.runs()}
        self.use_gpu = config.run.compute.device != "cpu" and gpus > 0
        self.gate = start(Gate, cpus, gpus)
        self.board = start(Board)
        self.console = Console(self.runs, say)
        self.failures: dict[str, str] = {}
        compute = config.run.compute
        fit = cpus / max(compute.training_cpus, compute.scoring_cpus)
        if self.use_gpu:
            fit = min(fit, gpus / max(compute.workers, compute.scorers, 1))
        self.concurrent = config.concurrent_runs or max(1, int(fit))

    def run(self) -> None:
        self.mirror.sync(self.store, self.config.name, list(self.runs.values()))
        firsts: dict[str, RunConfig] = {}
        for run in self.runs.values():
            firsts.setdefault(run.round0_identity(), run)
        try:
            self._phase([_PRETRAINING] if self.config.run.pretraining.iterations else [])
            if not self.failures:
                self._phase([_SHARED + run.label for run in firsts.values()])
                # What needs a round 0 that failed cannot go on; all else can.
                lost = {key for key, run in firsts.items() if _SHARED + run.label in self.failures}
                able = [label for label, run in self.runs.items() if run.round0_identity() not in lost]
                self._phase([_SUPERVISED] * self.config.supervised + able)
        finally:
            self.mirror.sync(self.store, self.config.name, list(self.runs.values()))
        if self.failures:
            lines = [f"{self.console.name_of(task)}: {reason}" for task, reason in self.failures.items()]
            done = sum(RunStore(self.store, run).finished() for run in self.runs.values())
            lines.append(f"{done} of {len(self.runs)} runs are finished; the same command goes on with the others")
            raise RunFailedError("\n".join(lines))

    def _phase(self, tasks: list[str]) -> None:
        if not tasks:
            return
        task = _Task(self.config, self.store, self.gate, self.board, self.use_gpu)
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        try:
            results = self._tune(task, tasks)
        finally:
            stop.set()
            watcher.join()
        for result in (results[i] for i in range(len(results))):
            if result.error is not None and result.config is not None:
                reason = str(result.error).strip().splitlines()[-1]
                self.failures.setdefault(result.config["task"], reason)

    def _tune(self, task: _Task, tasks: list[str]) -> tune.ResultGrid:
        with tempfile.TemporaryDirectory() as scratch:
            # Trials keep nothing with Tune: a run goes on from what it committed to the store.
            tuner = tune.Tuner(
                tune.with_resources(task, tune.PlacementGroupFactory([{"memory": _TRIAL_MEMORY}])),
                param_space={"task": tune.grid_search(tasks)},
                # A process that drove a run drives the next: starting one and importing torch takes seconds.
                tune_config=tune.TuneConfig(max_concurrent_trials=self.concurrent, reuse_actors=True),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch if self.store.local else self.store.place(study_folder(self.config.name)),
                    failure_config=tune.FailureConfig(max_failures=3),
                    callbacks=[_Silent()],
                    verbose=0,
                ),
            )
            return tuner.fit()

    def _watch(self, stop: threading.Event) -> None:
        while True:
            stopping = stop.wait(1.0)
            notices = ray.get(self.board.fetch.remote())
            for notice in notices:
                self.console.show(notice)
                if notice.stage == "failed":
                    self.failures[notice.run] = notice.note
                if notice.stage == "failed" and notice.run in self.runs:
                    self.mirror.mark_failed(self.runs[notice.run], notice.note)
            if any(notice.stage in ("committed", "done") for notice in notices):
                self.mirror.sync(self.store, self.config.name, list(self.runs.values()))
            if stopping:
                return


class _Silent(TrialProgressCallback):  # type: ignore[misc]
    """Takes the place of the callback that prints a line a trial even at verbosity 0."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing: the console has said it."""

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Nothing."""


class _Task:
    """What a trial does: the shared first round of some runs, a run, or the fully supervised bound."""

    def __init__(self, config: StudyConfig, store: Store, gate: Any, board: Any, use_gpu: bool) -> None:
        self.config = config
        self.store = store
        self.gate = gate
        self.board = board
        self.use_gpu = use_gpu
        self.__name__ = "raylab"

    def __call__(self, trial: dict[str, str]) -> None:
        task = trial["task"]
        label = task.removeprefix(_SHARED)
        progress = BoardProgress(self.board, task)
        try:
            if task == _SUPERVISED:
                self._supervised(progress)
            elif task == _PRETRAINING:
                self._pretraining(progress)
            else:
                run = next(run for run in self.config.runs() if run.label == label)
                stages = RayStages(run, self.store, self.gate, task, self.use_gpu)
                loop = Loop(run, self.store, stages, progress)
                if task.startswith(_SHARED):
                    self._first_round(loop, run)
                else:
                    loop.run()
            self._post(Notice(task, 0, "done"))
        except RaylabError as error:
            # The user's to mend, so trying again would not help.
            self._post(Notice(task, 0, "failed", note=str(error)))
        finally:
            ray.get(self.gate.leave.remote(task))

    def _first_round(self, loop: Loop, run: RunConfig) -> None:
        loop.select(0)
        loop.train(0)
        if not run.budget.rounds:
            return
        sharing = [other for other in self.config.runs() if other.round0_identity() == run.round0_identity()]
        for pca in sorted({other.pca for other in sharing}):
            alike = [other for other in sharing if other.pca == pca]
            needs = [other.strategy.acquisition() for other in alike]
            maps = sorted({name for a in needs for name in a.maps})
            scorer = Loop(alike[0], self.store, loop.stages, loop.progress)
            scorer.score(0, maps, any(a.needs_features for a in needs))

    def _supervised(self, progress: BoardProgress) -> None:
        run = self.config.run.model_copy(update={"seed": self.config.seeds[0]})
        dataset = open_dataset(run.data)
        grid = pool_regions(run, dataset, self.store, progress)
        start = pretrained_model(run, self.store)
        job = training_job(run, grid, len(dataset.classes), None, self.config.supervised_iterations, start)
        everything = labelled_share(grid, np.arange(grid.n_regions))
        self._train_alone(_SUPERVISED, supervised_folder(self.config), run, job, progress, everything)

    def _pretraining(self, progress: BoardProgress) -> None:
        # The same for all seeds, as its folder is.
        run = self.config.run.model_copy(update={"data": self.config.run.pretraining.data, "seed": 0})
        dataset = open_dataset(run.data)
        grid = RegionGrid(dataset.image_sizes("train"), run.regions.size)
        job = training_job(run, grid, len(dataset.classes), None, run.pretraining.iterations)
        self._train_alone(_PRETRAINING, pretrained_folder(self.config.run), run, job, progress, {})

    def _train_alone(
        self,
        task: str,
        folder: str,
        run: RunConfig,
        job: TrainingJob,
        progress: BoardProgress,
        budget: dict[str, Any],
    ) -> None:
        """A training that no selection precedes; its ensemble has one member."""
        alone = job.training.model_copy(update={"ensemble": 1})
        job = dataclasses.replace(job, training=alone)
        stages = RayStages(run, self.store, self.gate, task, self.use_gpu)
        commit_training(RoundStore(self.store, folder), job, open_dataset(run.data), stages, progress, budget)

    def _post(self, notice: Notice) -> None:
        ray.get(self.board.post.remote(notice))
