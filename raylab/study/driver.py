"""Runs the tasks of some studies as trials of Ray Tune, and ends what it started for them."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from raylab.backends.ray import RayBackend
from raylab.backends.resource_pool import ResourcePool, service
from raylab.errors import RaylabError
from raylab.files import Folder
from raylab.plugins import load
from raylab.runs.studies import study_folder
from raylab.study.base import Watcher
from raylab.study.checks import check_resources
from raylab.study.events import CollectedProgress, ProgressCollector, ProgressEvent
from raylab.study.grid import Grid
from raylab.study.ray_session import ray_session
from raylab.study.task import Tasks

_TRIAL_MEMORY = 500 * 2**20
"""What the process that drives a run needs. Asking for memory and for no CPU places a trial without taking a CPU
from the workers it waits for; an empty request is refused by Tune."""


def run_tasks(watcher: Watcher) -> None:
    """Run all that is not done yet, on the Ray of this process, or one that ends with the studies.

    Args:
        watcher: of the studies.

    Raises:
        ClusterError: Ray does not start, or none answers where RAY_ADDRESS says.
        ResourceError: a stage holds more than there is.
        RunFailedError: once all that could be done is done.
    """
    with ray_session():
        resources = ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        for study in watcher.studies:
            check_resources(study.config.run.compute, cpus, gpus)
        with service(ResourcePool, cpus, gpus) as resource_pool, service(ProgressCollector) as collector:
            driver = _Driver(watcher, resource_pool, collector, cpus, gpus)
            watcher.follow(driver.run_phase)


class _Driver:
    def __init__(self, watcher: Watcher, resource_pool: Any, collector: Any, cpus: float, gpus: float) -> None:
        self.watcher = watcher
        self.collector = collector
        computes = [study.config.run.compute for study in watcher.studies]
        use_gpu = any(compute.device != "cpu" for compute in computes) and gpus > 0
        self.trial = Trial(watcher.grid, watcher.store, resource_pool, collector, use_gpu)
        fit = cpus / max(max(c.training_cpus, c.scoring_cpus) for c in computes)
        if use_gpu:
            fit = min(fit, gpus / max(max(c.workers, c.scorers, 1) for c in computes))
        self.concurrent = watcher.studies[0].config.concurrent_runs or max(1, int(fit))

    def run_phase(self, tasks: Sequence[str]) -> None:
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        thread.start()
        try:
            results = self._tune(tasks)
        finally:
            stop.set()
            thread.join()
        for result in (results[i] for i in range(len(results))):
            if result.error is not None and result.config is not None:
                self.watcher.failed(result.config["task"], str(result.error).strip().splitlines()[-1])

    def _tune(self, tasks: Sequence[str]) -> tune.ResultGrid:
        store = self.watcher.store
        folder = study_folder(self.watcher.studies[0].name)
        with tempfile.TemporaryDirectory() as scratch:
            # Trials keep nothing with Tune: a run goes on from what it committed to the store.
            tuner = tune.Tuner(
                tune.with_resources(self.trial, tune.PlacementGroupFactory([{"memory": _TRIAL_MEMORY}])),
                param_space={"task": tune.grid_search(list(tasks))},
                # A process that drove a run drives the next: starting one and importing torch takes seconds.
                tune_config=tune.TuneConfig(max_concurrent_trials=self.concurrent, reuse_actors=True),
                run_config=tune.RunConfig(
                    name="tune",
                    **({"storage_path": scratch} if store.local else store.for_ray(folder)),
                    failure_config=tune.FailureConfig(max_failures=3),
                    callbacks=[_Silent()],
                    verbose=0,
                ),
            )
            return tuner.fit()

    def _watch(self, stop: threading.Event) -> None:
        stopping = False
        while not stopping:
            stopping = stop.wait(1.0)
            self.watcher.take(ray.get(self.collector.fetch.remote()))


class Trial:
    """What a trial calls; pickles into it.

    Args:
        grid: of the studies.
        store: of the results.
        resource_pool: actor handle of the `ResourcePool`.
        collector: actor handle of the `ProgressCollector`.
        use_gpu: whether workers and scorers get a GPU each.
    """

    def __init__(self, grid: Grid, store: Folder, resource_pool: Any, collector: Any, use_gpu: bool) -> None:
        self.grid = grid
        self.store = store
        self.resource_pool = resource_pool
        self.collector = collector
        self.use_gpu = use_gpu
        self.__name__ = "raylab"

    def __call__(self, trial: dict[str, str]) -> None:
        """Do the task that a trial names, unless it is done."""
        task = trial["task"]
        tasks = Tasks(
            self.grid, self.store, lambda run: RayBackend(run, self.store, self.resource_pool, task, self.use_gpu)
        )
        try:
            load(self.grid.plugins)
            tasks.do(task, CollectedProgress(self.collector, task))
            self._post(ProgressEvent(task, 0, "done"))
        except RaylabError as error:
            # For the user to fix: trying again would not help.
            self._post(ProgressEvent(task, 0, "failed", note=str(error)))
        finally:
            ray.get(self.resource_pool.leave.remote(task))

    def _post(self, event: ProgressEvent) -> None:
        ray.get(self.collector.post.remote(event))


class _Silent(TrialProgressCallback):  # type: ignore[misc]
    """Takes the place of the callback that prints a line a trial even at verbosity 0."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing: the console has said it."""

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Nothing."""
