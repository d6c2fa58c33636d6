"""One round's training and evaluation with Ray Train: data-parallel over k workers, resumed where a kill left it."""

from __future__ import annotations

import logging
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from raylab.errors import DamagedError, TrainingError, handler_kept, known_cause
from raylab.files import Folder
from raylab.plugins import load
from raylab.progress import Progress
from raylab.training.checkpoint import STATE, decode_state, encode_state
from raylab.training.job import TrainingJob
from raylab.training.session import largest, run_session
from raylab.training.step import device_given, prepare_process

logger = logging.getLogger(__name__)
_ASK_EVERY = 5.0
"""Seconds between two questions whether a worker's node is about to be taken away; all workers meet for it."""


def fit(
    job: TrainingJob, store: Folder, folder: str, model_path: str, use_gpu: bool, progress: Progress
) -> dict[str, Any]:
    """Train and evaluate; the model is written by rank 0 of the workers, straight into the store.

    Args:
        job: what to train.
        store: of the results.
        folder: below the storage root, for the checkpoints of the training; the same at a restart, which
            continues after the last of them. Deleted by whoever commits the training.
        model_path: below the storage root, of the trained weights (safetensors).
        use_gpu: whether each worker asks for a GPU.
        progress: told of every step; must pickle.

    Returns:
        See `raylab.training.session.run_session`.

    Raises:
        TrainingError: the training diverged.
        RaylabError: whatever else the workers meet that the user can fix.
        TrainingFailedError: workers failed more than `compute.max_failures` times; nodes that were announced to go do
            not count.
    """
    for attempt in range(job.compute.max_failures + 1):
        try:
            # Ray Train leaves a handler of its own in a main thread, and with it the controller.
            with handler_kept(signal.SIGINT):
                result: Any = _trainer(job, store, folder, model_path, use_gpu, progress).fit()
            return result.return_value
        except TrainingFailedError as error:
            if isinstance(known := known_cause(error), TrainingError):
                store.delete(folder)  # what diverged is not gone on with
            if known:
                raise known from None
            if attempt == job.compute.max_failures:
                raise
    raise AssertionError  # the last attempt returns or raises


def _trainer(
    job: TrainingJob, store: Folder, folder: str, model_path: str, use_gpu: bool, progress: Progress
) -> TorchTrainer:
    return TorchTrainer(
        _worker,  # type: ignore[arg-type]  # Ray's annotation knows no return value
        train_loop_config={
            "job": job,
            "store": store,
            "model_path": model_path,
            "progress": progress,
            "use_gpu": use_gpu,
        },
        scaling_config=ScalingConfig(
            num_workers=job.compute.workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": job.compute.cpus_per_worker, **({"GPU": 1} if use_gpu else {})},
        ),
        # One name per round, for ever the same: that is how Ray Train finds the checkpoints after a kill.
        run_config=RunConfig(
            name="checkpoints",
            **store.for_ray(folder),
            # `fit` tries again: Ray Train would do so too after errors that come again.
            failure_config=FailureConfig(max_failures=0),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
    )


def _worker(settings: dict[str, Any]) -> dict[str, Any]:
    job: TrainingJob = settings["job"]
    load(job.plugins)
    device_given(settings.pop("use_gpu"))
    prepare_process(job.compute.threads)
    resume = None
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            resume = _read_checkpoint(Path(folder) / STATE)
        damaged = largest(int(resume is None), get_device())
        if damaged:
            resume = None
            settings["progress"]("train", 0, job.iterations, "its checkpoint is damaged; from the start")
    due = _due(job.compute.checkpoint_seconds)
    return run_session(**settings, device=get_device(), save_checkpoint=_save_checkpoint, due=due, resume=resume)


def _due(limit: float) -> Callable[[float], bool]:
    """Whether a checkpoint is due, asked with the seconds since the last one: all workers get rank 0's answer."""
    asked, announced = time.monotonic(), False

    def due(seconds: float) -> bool:
        nonlocal asked, announced
        ask = time.monotonic() - asked >= _ASK_EVERY
        answer = largest(2 * (seconds >= limit) + ask if dist.get_rank() == 0 else 0, get_device())
        if answer % 2 and not announced:
            asked = time.monotonic()
            announced = ray.train.get_preemption_info() is not None
            return announced or answer > 1
        return answer > 1

    return due


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state in a checkpoint, None where it is damaged: the training then begins anew."""
    try:
        return decode_state(path.read_bytes(), str(path))
    except (DamagedError, OSError) as error:
        logger.warning("%s; the training begins anew", error)
        return None


def _save_checkpoint(done: int, state: Callable[[], dict[str, Any]]) -> None:
    if dist.get_rank() > 0:
        ray.train.report({"done": done})
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / STATE).write_bytes(encode_state(state()))
        ray.train.report({"done": done}, checkpoint=Checkpoint.from_directory(folder))
