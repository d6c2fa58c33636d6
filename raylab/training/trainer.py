"""One round's training and evaluation with Ray Train: data-parallel over 0..k workers, resumed where a kill left it."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from safetensors.torch import save

from raylab.data import open_dataset
from raylab.errors import DamagedError, TrainingError
from raylab.files import Folder
from raylab.plugins import load
from raylab.progress import Progress, peak_memory
from raylab.training.checkpoint import STATE, decode_state, encode_state
from raylab.training.job import TrainingJob
from raylab.training.step import evaluate, prepare_process, train

logger = logging.getLogger(__name__)
_DIVERGED = "diverged"


def fit(
    job: TrainingJob, store: Folder, folder: str, model_path: str, use_gpu: bool, progress: Progress
) -> dict[str, Any]:
    """Train and evaluate; the model is written by rank 0 of the workers, straight into the store.

    Args:
        job: what to train; `job.compute.workers` = 0 trains in this process.
        store: of the results.
        folder: below the storage root, for the checkpoints of the training; the same at a restart, which
            continues after the last of them. Deleted at the end.
        model_path: below the storage root, of the trained weights (safetensors).
        use_gpu: whether each worker gets a GPU.
        progress: told of every step; must pickle.

    Returns:
        Plain JSON values: `confusion` (C x C, rows the truth), `losses`, `weights` (where they came
        from), `weights_sha256`, `seconds_train`, `seconds_evaluate`,
        `peak_memory` in bytes (the largest worker's) and `peak_gpu_memory`.

    Raises:
        TrainingError: the training diverged.
    """
    settings = {"job": job, "store": store, "model_path": model_path, "progress": progress}
    if job.compute.workers == 0:
        device = torch.device("cuda" if use_gpu else "cpu")
        return _work(settings, device, lambda done, state: None, None)
    trainer = TorchTrainer(
        _worker,  # type: ignore[arg-type]  # Ray's annotation knows no return value
        train_loop_config=settings,
        scaling_config=ScalingConfig(
            num_workers=job.compute.workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": job.compute.cpus_per_worker, **({"GPU": 1} if use_gpu else {})},
        ),
        # One name per round, for ever the same: that is how Ray Train finds the checkpoints after a kill.
        run_config=RunConfig(
            name="checkpoints",
            **store.for_ray(folder),
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
    )
    result: Any = trainer.fit()
    store.delete(folder)
    record: dict[str, Any] = result.return_value
    if _DIVERGED in record:
        raise TrainingError(record[_DIVERGED])
    return record


def _worker(settings: dict[str, Any]) -> dict[str, Any]:
    resume = None
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            resume = _read_checkpoint(Path(folder) / STATE)
        if _smallest(int(resume is not None), get_device()) == 0:
            resume = None
            settings["progress"]("train", 0, settings["job"].iterations, "its checkpoint is damaged; from the start")
    try:
        return _work(settings, get_device(), _save_checkpoint, resume)
    except TrainingError as error:
        # Every worker meets it at the same step; raised here, Ray Train would start them all again.
        return {_DIVERGED: str(error)}


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


def _work(
    settings: dict[str, Any],
    device: torch.device,
    save_checkpoint: Callable[[int, Callable[[], dict[str, Any]]], None],
    resume: dict[str, Any] | None,
) -> dict[str, Any]:
    job: TrainingJob = settings["job"]
    progress: Progress = settings["progress"]
    rank = dist.get_rank() if dist.is_initialized() else 0
    load(job.plugins)
    prepare_process(job.compute.threads)

    def report(done: int, loss: Callable[[], float], state: Callable[[], dict[str, Any]]) -> None:
        if rank == 0 and (done % 10 == 0 or done == job.iterations):
            progress("train", done, job.iterations, f"loss {loss():.3f}")
        if done % job.training.checkpoint_every == 0 and done < job.iterations:
            save_checkpoint(done, state)

    start = time.perf_counter()
    trained = train(job, device, report, resume)
    middle = time.perf_counter()
    matrix = evaluate(trained.model, open_dataset(job.data), device, job.eval_batch, job.training.precision)
    if rank == 0:
        weights = {name: tensor.detach().contiguous().cpu() for name, tensor in trained.model.state_dict().items()}
        settings["store"].write_bytes(settings["model_path"], save(weights))
    return {
        "confusion": matrix.tolist(),
        "losses": trained.losses,
        "weights": trained.model.weights_source,
        "weights_sha256": trained.model.weights_sha256,
        "seconds_train": middle - start,
        "seconds_evaluate": time.perf_counter() - middle,
        "peak_memory": _largest(peak_memory(), device),
        "peak_gpu_memory": _largest(torch.cuda.max_memory_allocated(), device) if device.type == "cuda" else 0,
    }


def _smallest(value: int, device: torch.device) -> int:
    return -_largest(-value, device)


def _largest(value: int, device: torch.device) -> int:
    tensor = torch.tensor(value, device=device)
    if dist.is_initialized():
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)
