"""Runs the tasks of some studies as trials of Ray Tune, and ends what it started for them."""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import BasicVariantGenerator

from raylab.backends.devices import ON_DEMAND, Devices, devices_for
from raylab.backends.failures import failure_reason, out_of_memory
from raylab.backends.local import LocalBackend
from raylab.backends.ray import RayBackend
from raylab.config import ComputeConfig
from raylab.errors import known_cause
from raylab.files import Folder
from raylab.guardian import guardian
from raylab.loop import Backend
from raylab.plugins import load
from raylab.runs import ResolvedRun
from raylab.study.base import Watcher
from raylab.study.collector import fetched, progress_collector
from raylab.study.grid import Grid
from raylab.study.interrupts import Interrupts, StoppedTask
from raylab.study.metrics import StudyMetrics
from raylab.study.nodes import live_nodes, on_demand, wait_for_nodes
from raylab.study.ray_session import ray_session
from raylab.study.resources import check_resources, devices_line, fitting_runs, together
from raylab.study.task import Tasks
from raylab.study.trial_progress import TrialProgress
from raylab.training.step import device_given

_TRIAL_MEMORY = 500 * 2**20
"""What a process needs that drives a run and computes nothing. Asking for memory and for no CPU places it without
taking a CPU from the workers it waits for; an empty request is refused by Tune."""

FAILED = "failed"
"""What a trial returns the reason of its failure under."""


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.,=+-]+", "-", text)[:100]


def run_tasks(watcher: Watcher) -> None:
    """Run all that is not done yet, on the Ray of this process, or one that ends with the studies.

    Args:
        watcher: of the studies.

    Raises:
        ClusterError: Ray does not start, or none answers where RAY_ADDRESS says.
        ResourceError: a stage holds more than there is, or the nodes that are expected do not come.
        RunFailedError: once all that could be done is done.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it tells failures with tracebacks
    computes = list(dict.fromkeys(study.config.run.compute for study in watcher.studies))
    with ray_session() as started_here:
        for compute in computes:
            wait_for_nodes(compute.expect, not started_here, watcher.say)
        nodes = live_nodes()
        for compute in computes:
            check_resources(compute, nodes)
        devices = {compute: devices_for(compute, together(nodes, "GPU")) for compute in computes}
        for line in dict.fromkeys(devices_line(*item) for item in devices.items()):
            watcher.say(line)
        with progress_collector() as collector:
            driver = _Driver(watcher, Trial(watcher.grid, watcher.store, collector, devices), not started_here)
            watcher.listeners.append(StudyMetrics(watcher.grid))
            watcher.follow(driver.run_phase)


class _Driver:
    def __init__(self, watcher: Watcher, trial: Trial, shared: bool) -> None:
        self.watcher = watcher
        self.trial = trial
        self.shared = shared
        self.one_at_a_time = False

    def run_phase(self, tasks: Sequence[str]) -> None:
        deaths = Counter[str]()
        while tasks and not self.watcher.interrupts.requested:
            following = _Following(self.watcher, tasks, self.trial.collector, self.most_runs)
            try:
                self._tune(tasks, following)
                return
            except RuntimeError as error:
                # Tune gives up all trials when one is killed for want of memory, and does not say which.
                if not out_of_memory(error):
                    raise
                reason = failure_reason(error)
                if not self.one_at_a_time:
                    self.watcher.say(f"{reason}; the runs go on one at a time")
                    self.one_at_a_time = True
                else:
                    deaths[following.last_started] += 1
                    if deaths[following.last_started] > 1:
                        self.watcher.failed(following.last_started, reason)
                tasks = self.watcher.remaining(tasks)

    def most_runs(self) -> int:
        """Runs that may be in progress now; 0: as many as Ray finds room for."""
        if self.one_at_a_time:
            return 1
        computes = list(self.trial.devices)
        if (asked := self.watcher.studies[0].config.concurrent_runs) or not any(one.workers for one in computes):
            return asked
        nodes = live_nodes()
        # Processes that drive runs ask for no CPU, so Ray alone would start all of them. On a Ray that was joined, one
        # more than fits shows an autoscaler that there is work.
        return max(1, min(fitting_runs(compute, nodes) for compute in computes) + self.shared)

    def _tune(self, tasks: Sequence[str], following: _Following) -> None:
        names = {task: f"{point['data']} {self.watcher.grid.name_of(task)}" for task, point in following.points.items()}
        with tempfile.TemporaryDirectory(dir=guardian().folder) as scratch:
            # Trials keep nothing with Tune: a run goes on from what it committed to the store.
            tuner = tune.Tuner(
                tune.with_resources(self.trial, self.trial.request),
                param_space=following.space,
                tune_config=tune.TuneConfig(
                    search_alg=following.search,
                    num_samples=len(tasks),
                    trial_name_creator=lambda trial: names[trial.config["task"]],
                    trial_dirname_creator=lambda trial: f"{_file_name(names[trial.config['task']])}-{trial.trial_id}",
                    # A process that drove a run drives the next: starting one and importing torch takes seconds.
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    failure_config=tune.FailureConfig(max_failures=max(one.max_failures for one in self.trial.devices)),
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
        tasks: of the phase.
        collector: actor handle of the `ProgressCollector`.
        most_runs: says how many may be in progress at this moment.

    Attributes:
        points: what is varied, by task.
        space: of those points.
        search: gives Tune the next of them, as long as there may be one more trial.
        last_started: task of the trial that was started last.
    """

    def __init__(self, watcher: Watcher, tasks: Sequence[str], collector: Any, most_runs: Callable[[], int]) -> None:
        super().__init__()
        self.watcher = watcher
        self.collector = collector
        self.most_runs = most_runs
        self.points = {task: watcher.grid.settings_of(task) for task in tasks}
        # Tune picks at random from a space whose points it is not given; all are.
        self.space = {
            name: tune.choice(list(dict.fromkeys(point[name] for point in self.points.values())))
            for name in watcher.grid.settings_of(tasks[0])
        }
        self.search = BasicVariantGenerator(list(self.points.values()), max_concurrent=most_runs())
        self.last_started = ""
        self._fetched = 0.0

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
        """Once a second, say where the trials are, and ask how many there may be."""
        if time.monotonic() - self._fetched >= 1.0:
            self.fetch()
            self.search.max_concurrent = self.most_runs()

    def fetch(self) -> None:
        """Say where the trials are."""
        self._fetched = time.monotonic()
        self.watcher.take(fetched(self.collector, self.watcher.interrupts.requested))

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
        collector: actor handle of the `ProgressCollector`.
        devices: of the studies, by what they ask for.
    """

    def __init__(self, grid: Grid, store: Folder, collector: Any, devices: Mapping[ComputeConfig, Devices]) -> None:
        self.grid = grid
        self.store = store
        self.collector = collector
        self.devices = devices
        self.__name__ = "raylab"

    def request(self, trial: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the process of a trial asks Ray for: what its run uses, if it computes it itself."""
        compute = self.grid.run_of(trial["task"]).config.compute
        if compute.workers:
            # A run whose driver is taken away begins its stage again, so it is kept off such nodes.
            labels = [ON_DEMAND] if on_demand(_TRIAL_MEMORY) else []
            return tune.PlacementGroupFactory([{"memory": _TRIAL_MEMORY}], bundle_label_selector=labels)
        gpus = {"GPU": 1} if self.devices[compute].network else {}
        return tune.PlacementGroupFactory([{"CPU": compute.cpus_per_worker, **gpus}])

    def __call__(self, trial: dict[str, Any]) -> dict[str, Any]:
        """Do the task that a trial names, unless it is done; every round of a run is a result of Tune's.

        Returns:
            The last round's result, and under `FAILED` why it failed for a reason that trying again would not help;
            nothing there when it is done.

        Raises:
            Exception: what trying again may help against.
        """
        task = trial["task"]
        progress = TrialProgress(self.collector, task, self.grid.runs.get(task), self.store)
        try:
            load(self.grid.plugins)
            progress.check()
            progress.report()
            Tasks(self.grid, self.store, self._backend).do(task, progress)
        except StoppedTask:
            return {**progress.result, FAILED: ""}
        except Exception as error:
            if (known := known_cause(error)) is None:
                raise
            progress.end("failed", str(known))
            return {**progress.result, FAILED: str(known)}
        progress.end("done")
        return {**progress.result, FAILED: ""}

    def _backend(self, run: ResolvedRun) -> Backend:
        devices = self.devices[run.config.compute]
        if run.config.compute.workers:
            return RayBackend(run, self.store, devices)
        return LocalBackend(run, self.store, device_given(devices.network))
