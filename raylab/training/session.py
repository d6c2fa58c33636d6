"""One round's training from its first step to the model in the store, wherever it runs.

A worker of Ray Train and the process of a run go through the same `run_session`; they differ only in how a checkpoint
is kept. `fit_in_process` keeps it in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save

from raylab.data import open_dataset
from raylab.errors import DamagedError, TrainingError
from raylab.files import Folder
from raylab.progress import Progress, peak_memory
from raylab.training.checkpoint import STATE, decode_state, encode_state
from raylab.training.job import TrainingJob
from raylab.training.step import evaluate, torch_settings, train

_LOOK_EVERY = 10
"""Iterations between two looks at the clock, which workers take together."""
SaveCheckpoint = Callable[[int, Callable[[], dict[str, Any]]], None]
"""Keeps what a training resumes from: takes the iterations done, and a function that gives the state."""


def fit_in_process(
    job: TrainingJob, store: Folder, folder: str, model_path: str, device: torch.device, progress: Progress
) -> dict[str, Any]:
    """Train and evaluate in this process; goes on after the checkpoint that an earlier process left.

    Args:
        job: what to train.
        store: of the results.
        folder: below the storage root, for the checkpoint; the same at a restart. Deleted by whoever commits
            the training.
        model_path: below the storage root, of the trained weights (safetensors).
        device: where to compute.
        progress: told of every step.

    Returns:
        See `run_session`.

    Raises:
        TrainingError: the training diverged.
    """
    path = f"{folder}/{STATE}"

    def save_checkpoint(done: int, state: Callable[[], dict[str, Any]]) -> None:
        store.write_bytes(path, encode_state(state()))

    resume = None
    if store.exists(path):
        try:
            resume = decode_state(store.read_bytes(path), store.uri_of(path))
        except DamagedError:
            progress("train", 0, job.iterations, "its checkpoint is damaged; from the start")
    try:
        with torch_settings(job.compute.threads):
            record = run_session(
                job,
                store,
                model_path,
                device,
                progress,
                save_checkpoint,
                lambda seconds: seconds >= job.compute.checkpoint_seconds,
                resume,
            )
    except TrainingError:
        store.delete(folder)  # what diverged is not gone on with
        raise
    return record


def run_session(
    job: TrainingJob,
    store: Folder,
    model_path: str,
    device: torch.device,
    progress: Progress,
    save_checkpoint: SaveCheckpoint,
    due: Callable[[float], bool],
    resume: dict[str, Any] | None,
) -> dict[str, Any]:
    """Train, evaluate and write the model; with a process group, this worker's share, rank 0 writing.

    Args:
        job: what to train; `save_checkpoint` is called every `training.checkpoint_every` iterations and when `due`.
        store: of the results.
        model_path: below the storage root, of the trained weights (safetensors), unless others lie there.
        device: where to compute.
        progress: told of every tenth step, by rank 0.
        save_checkpoint: called on every rank.
        due: whether a checkpoint is to be kept, given the seconds since the last; asked on every rank, at the same
            iterations.
        resume: a state that `save_checkpoint` was given, or None.

    Returns:
        Plain JSON values: `model` (the file's name; see `Folder.add`), `confusion` (C x C, rows the truth), `losses`,
        `weights` (where they came from), `weights_sha256`, `seconds_train`, `seconds_evaluate`, `peak_memory` in
        bytes (the largest worker's) and `peak_gpu_memory`.

    Raises:
        TrainingError: the training diverged; every rank meets it at the same step.
    """
    rank = dist.get_rank() if dist.is_initialized() else 0
    kept = time.monotonic()

    def report(done: int, loss: Callable[[], float], state: Callable[[], dict[str, Any]]) -> None:
        nonlocal kept
        if rank == 0 and (done % 10 == 0 or done == job.iterations):
            progress("train", done, job.iterations, f"loss {loss():.3f}")
        at_once = done % job.training.checkpoint_every == 0 or done == job.iterations
        if at_once or (done % _LOOK_EVERY == 0 and due(time.monotonic() - kept)):
            save_checkpoint(done, state)
            kept = time.monotonic()

    start = time.perf_counter()
    trained = train(job, device, report, resume)
    middle = time.perf_counter()
    matrix = evaluate(trained.model, open_dataset(job.data), device, job.eval_batch, job.training.precision)
    path = model_path
    if rank == 0:
        weights = {name: tensor.detach().contiguous().cpu() for name, tensor in trained.model.state_dict().items()}
        path = store.add(model_path, save(weights))
    return {
        "model": path.rpartition("/")[2],
        "confusion": matrix.tolist(),
        "losses": trained.losses,
        "weights": trained.model.weights_source,
        "weights_sha256": trained.model.weights_sha256,
        "seconds_train": middle - start,
        "seconds_evaluate": time.perf_counter() - middle,
        "peak_memory": largest(peak_memory(), device),
        "peak_gpu_memory": largest(torch.cuda.max_memory_allocated(), device) if device.type == "cuda" else 0,
    }


def largest(value: int, device: torch.device) -> int:
    """The largest of the workers' values."""
    tensor = torch.tensor(value, device=device)
    if dist.is_initialized():
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)
