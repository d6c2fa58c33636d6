"""Runs the tasks of some studies as trials of Ray Tune, and ends what it started for them."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.progress_reporter import TrialProgressCallback

from raylab.backends.failures import failure_reason, out_of_memory
from raylab.backends.ray import RayBackend
from raylab.backends.resource_pool import ResourcePool, service
from raylab.errors import known_cause
from raylab.files import Folder
from raylab.guardian import guardian
from raylab.plugins import load
from raylab.runs.studies import study_folder
from raylab.study.base import Watcher
from raylab.study.checks import check_resources
from raylab.study.collector import CollectedProgress, ProgressCollector
from raylab.study.events import ProgressEvent
from raylab.study.grid import Grid
from raylab.study.interrupts import Interrupts, StoppedTask
from raylab.study.ray_session import ray_session
from raylab.study.task import Tasks

_TRIAL_MEMORY = 500 * 2**20
"""What the process that drives a run needs. Asking for memory and for no CPU places a trial without taking a CPU
from the workers it waits for; an empty request is refused by Tune."""

FAILED = "failed"
"""What a trial returns the reason of its failure under."""


def run_tasks(watcher: Watcher) -> None:
    """Run all that is not done yet, on the Ray of this process, or one that ends with the studies.

    Args:
        watcher: of the studies.

    Raises:
        ClusterError: Ray does not start, or none answers where RAY_ADDRESS says.
        ResourceError: a stage holds more than there is.
        RunFailedError: once all that could be done is done.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it tells failures with tracebacks
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
        deaths = Counter[str]()
        while tasks and not self.watcher.interrupts.requested:
            following = _Following(self.watcher, self.collector)
            try:
                self._tune(tasks, following)
                return
            except RuntimeError as error:
                # Tune gives up all trials when one is killed for want of memory, and does not say which.
                if not out_of_memory(error):
                    raise
                reason = failure_reason(error)
                if self.concurrent > 1:
                    self.watcher.say(f"{reason}; the runs go on one at a time")
                    self.concurrent = 1
                else:
                    deaths[following.last_started] += 1
                    if deaths[following.last_started] > 1:
                        self.watcher.failed(following.last_started, reason)
                tasks = self.watcher.remaining(tasks)

    def _tune(self, tasks: Sequence[str], following: _Following) -> None:
        store = self.watcher.store
        folder = study_folder(self.watcher.studies[0].name)
        with tempfile.TemporaryDirectory(dir=guardian().folder) as scratch:
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
                    callbacks=[following],
                    stop=_Overdue(self.watcher.interrupts),
                    verbose=0,
                ),
            )
            results = tuner.fit()
            following.fetch()
        for result in (results[i] for i in range(len(results))):
            if result.config is None:
                continue
            if result.error is not None:
                self.watcher.failed(result.config["task"], failure_reason(result.error))
            elif reason := (result.metrics or {}).get(FAILED):
                self.watcher.failed(result.config["task"], reason)


class _Following(TrialProgressCallback):  # type: ignore[misc]
    """Follows the trials of a phase from Tune's own loop.

    Takes the place of the callback that prints a line a trial even at verbosity 0.

    Args:
        watcher: is told.
        collector: actor handle of the `ProgressCollector`.

    Attributes:
        last_started: task of the trial that was started last.
    """

    def __init__(self, watcher: Watcher, collector: Any) -> None:
        super().__init__()
        self.watcher = watcher
        self.collector = collector
        self.last_started = ""
        self._fetched = 0.0
        self._told = False

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its callbacks down for a restoration that is not used here

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remember it."""
        self.last_started = trial.config["task"]

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Take note of its failure, if it returned one."""
        if reason := trial.last_result.get(FAILED):
            self.watcher.failed(trial.config["task"], reason)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Say where the trials are, once a second."""
        if self.watcher.interrupts.requested and not self._told:
            self._told = True
            if self.collector is not None:
                self.collector.stop.remote()
        if time.monotonic() - self._fetched >= 1.0:
            self.fetch()

    def fetch(self) -> None:
        """Say where the trials are."""
        self._fetched = time.monotonic()
        try:
            if self.collector is not None:
                self.watcher.take(ray.get(self.collector.fetch.remote()))
        except RayError as error:
            self.watcher.say(f"where runs are is not told any more: {failure_reason(error)}")
            self.collector = None

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        """Nothing: the console has said it."""


class _Overdue(tune.Stopper):  # type: ignore[misc]
    """Ends the trials that have committed nothing within the time there was."""

    def __init__(self, interrupts: Interrupts | None) -> None:
        self.interrupts = interrupts

    def __reduce__(self) -> Any:
        return _Overdue, (None,)  # Tune writes it down for a restoration that is not used here

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is ended for its result."""
        return False

    def stop_all(self) -> bool:
        """Whether to end all trials."""
        return self.interrupts is not None and self.interrupts.overdue


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

    def __call__(self, trial: dict[str, str]) -> dict[str, str]:
        """Do the task that a trial names, unless it is done.

        Returns:
            Under `FAILED` why it failed for a reason that trying again would not help; nothing there when it is done.

        Raises:
            Exception: what trying again may help against.
        """
        task = trial["task"]
        tasks = Tasks(
            self.grid, self.store, lambda run: RayBackend(run, self.store, self.resource_pool, task, self.use_gpu)
        )
        try:
            load(self.grid.plugins)
            progress = CollectedProgress(self.collector, task)
            progress.check()
            tasks.do(task, progress)
        except StoppedTask:
            return {FAILED: ""}
        except Exception as error:
            if (known := known_cause(error)) is None:
                raise
            self._post(ProgressEvent(task, 0, "failed", note=str(known)))
            return {FAILED: str(known)}
        finally:
            ray.get(self.resource_pool.leave.remote(task))
        self._post(ProgressEvent(task, 0, "done"))
        return {FAILED: ""}

    def _post(self, event: ProgressEvent) -> None:
        with suppress(RayError):  # nothing hangs on it
            ray.get(self.collector.post.remote(event))
