"""The training loop and the evaluation, plain torch: run in one process, or by every worker of a process group."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raylab.data.base import SegmentationDataset, Split
from raylab.errors import ResourceError, TrainingError
from raylab.models import Segmenter, build_model
from raylab.training.crops import Crops
from raylab.training.job import TrainingJob
from raylab.training.loss import global_batch_loss
from raylab.training.metrics import confusion


class Report(Protocol):
    """Called after every optimiser step."""

    def __call__(self, done: int, loss: Callable[[], float], state: Callable[[], dict[str, Any]]) -> None:
        """Take note of progress.

        Args:
            done: iterations so far.
            loss: gives the global batch's mean loss; on a GPU asking waits for it.
            state: gives what a training resumes from, on rank 0 of use.
        """
        ...


@dataclass
class Trained:
    """A finished training.

    Attributes:
        model: on its device, in evaluation mode.
        losses: the global batch's mean loss of every iteration.
    """

    model: Segmenter
    losses: list[float] = field(default_factory=list)


def prepare_process(threads: int) -> None:
    """Settings every process that computes with torch needs.

    Args:
        threads: of torch; two threads on a busy machine are slower than one.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def device_given(use_gpu: bool) -> torch.device:
    """The device of a process that asked Ray for a GPU, or for none: Ray does not hide those that it gave to others.

    Args:
        use_gpu: whether it did.

    Raises:
        ResourceError: torch cannot use what Ray gave.
    """
    if use_gpu and not torch.cuda.is_available():
        raise ResourceError(
            f"compute.device: Ray gave a GPU on {platform.node()}, where torch finds none that it can use; set it to "
            "cpu, or tell that node's Ray how many GPUs it has"
        )
    return torch.device("cuda" if use_gpu else "cpu")


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """`prepare_process` for as long as the block runs, in a process that has other work too (a notebook).

    Args:
        threads: of torch.
    """
    before = torch.get_num_threads()
    prepare_process(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def train(job: TrainingJob, device: torch.device, report: Report, resume: dict[str, Any] | None = None) -> Trained:
    """Train from the pre-trained backbone; with a process group, this worker's share.

    Args:
        job: what to train on and how.
        device: where to.
        report: called after every step.
        resume: a state that `report` was given; the training goes on after it as if never stopped.

    Raises:
        WeightsError: the backbone's weights could not be loaded.
        DataError: an image or mask cannot be read.
        TrainingError: a loss or a weight is not finite.
    """
    rank, workers = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    model: Any = build_model(job.model, job.n_classes, job.seed).to(device)
    if job.training.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if job.training.frozen_backbone:
        model.freeze_backbone()
    crops = Crops(job, model.mean_colour.numpy())
    if workers > 1:
        from raylab.models.norm import synchronise_batch_norm

        model = synchronise_batch_norm(model, device)
    optimiser = _optimiser(model, job)
    start, losses = 0, []
    if resume is not None:
        model.load_state_dict(resume["model"])
        optimiser.load_state_dict(resume["optimiser"])
        start, losses = resume["done"], list(resume["losses"])
    network: nn.Module = model
    if job.compute.compile:
        network = torch.compile(model)  # type: ignore[assignment]
    if workers > 1:
        network = DistributedDataParallel(network, broadcast_buffers=False)
    model.train()
    batches = crops.batches(start, rank, workers, job.compute.loader_workers, pinned=device.type == "cuda")
    for done, (images, masks) in enumerate(batches, start + 1):
        losses.append(_step(network, optimiser, job, device, done - 1, images, masks))
        if done % job.training.checkpoint_every == 0 or done == job.iterations:
            # Every worker, at the same step; and seldom, as a GPU has to be waited for.
            _check_losses(losses, job)
        report(done, lambda: float(losses[-1]), lambda: _state(model, optimiser, losses))
    if job.training.norm_images:
        _measure_norms(model, crops, job, device)
    _check_weights(model, job)
    return Trained(model.eval(), [float(loss) for loss in losses])


def _check_losses(losses: Sequence[Any], job: TrainingJob) -> None:
    values = np.array([float(loss) for loss in losses[-job.training.checkpoint_every :]])
    if not np.isfinite(values).all():
        at = len(losses) - len(values) + int(np.argmin(np.isfinite(values)))
        value = values[at - len(losses)]
        raise _diverged(f"the loss is {value:g} at iteration {at + 1} of {job.iterations}", at, job)


def _check_weights(model: nn.Module, job: TrainingJob) -> None:
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    if bad := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        what = f"{len(bad)} of {len(tensors)} tensors ({bad[0]} the first) are not finite"
        what += f" after {job.iterations} iterations"
        raise _diverged(what, job.iterations - 1, job)


def _diverged(what: str, iteration: int, job: TrainingJob) -> TrainingError:
    rate = job.training.learning_rate * _decay(job, iteration)
    return TrainingError(
        f"the training diverged: {what}, where the rate was {rate:g}; lower training.learning_rate "
        f"({job.training.learning_rate:g})"
    )


def _decay(job: TrainingJob, iteration: int) -> float:
    """What the poly schedule leaves of a rate at a step, counted from 0."""
    return float((1 - iteration / job.iterations) ** job.training.power)


def _measure_norms(model: nn.Module, crops: Crops, job: TrainingJob, device: torch.device) -> None:
    from raylab.models.norm import measure_batch_norm

    # Spread over the labelled images, which are sorted by name and so by sequence.
    places = np.linspace(0, len(crops.images) - 1, min(job.training.norm_images, len(crops.images))).astype(np.int64)
    found = image_batches(crops.dataset, "train", crops.images[places], job.eval_batch)
    # The image's mean, a branch of the ASPP, has no variance over one image; with no other batch the averages stay.
    batches = [batch for batch in found if len(batch) > 1]
    if not batches:
        return
    inputs = (to_input([crops.dataset.read_image("train", i) for i in batch], device) for batch in batches)
    with seeded(device, [job.seed, 3]):  # what is dropped is in the statistics
        measure_batch_norm(model, inputs, autocast(device, job.training.precision))


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    job: TrainingJob,
    device: torch.device,
    iteration: int,
    images: Tensor,
    masks: Tensor,
) -> Any:
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * _decay(job, iteration)
    images = images.to(device, non_blocking=True)
    if job.training.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    rank = dist.get_rank() if dist.is_initialized() else 0
    # Dropout of a step is the same whichever process computes it, and after a restart.
    with seeded(device, [job.seed, 2, iteration, rank]), autocast(device, job.training.precision):
        logits = network(images)
    loss, mean = global_batch_loss(logits, masks.to(device, non_blocking=True).long())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return mean


@contextmanager
def seeded(device: torch.device, key: Sequence[int]) -> Iterator[None]:
    """Draw what torch draws at random from a key, and leave the global generators as they are."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        yield


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bf16 autocast where `precision` asks for it; logits are float32 either way."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def _optimiser(model: Segmenter, job: TrainingJob) -> torch.optim.SGD:
    config = job.training
    groups = [
        {"params": model.head_parameters(), "base_lr": config.learning_rate * config.head_rate_factor},
    ]
    if not config.frozen_backbone:
        groups.append({"params": list(model.backbone.parameters()), "base_lr": config.learning_rate})
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)


def _state(model: nn.Module, optimiser: torch.optim.Optimizer, losses: list[Any]) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "done": len(losses),
        "losses": [float(loss) for loss in losses],
    }


def image_batches(
    dataset: SegmentationDataset, split: Split, indices: NDArray[np.int64], batch_size: int
) -> Iterator[list[int]]:
    """Lists of at most `batch_size` images of one size, in order; which images share a list depends on nothing else."""
    sizes = dataset.image_sizes(split)
    batch: list[int] = []
    for index in indices.tolist():
        if batch and (len(batch) == batch_size or (sizes[index] != sizes[batch[0]]).any()):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def to_input(images: list[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """(B, 3, H, W) uint8, channels last, of B images (H, W, 3)."""
    return torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2)


@torch.inference_mode()
def evaluate(
    model: Segmenter, dataset: SegmentationDataset, device: torch.device, batch_size: int, precision: str
) -> NDArray[np.int64]:
    """Confusion over the validation split at the images' own size, single scale; summed over the workers.

    Args:
        model: in evaluation mode.
        dataset: whose `val` split is read; each worker takes every K-th image.
        device: where the model lies.
        batch_size: images in one forward pass.
        precision: `fp32` or `bf16`.

    Returns:
        (C, C) int64, rows the truth.
    """
    rank, workers = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    n_classes = len(dataset.classes)
    total = torch.zeros((n_classes, n_classes), dtype=torch.int64, device=device)
    share = np.arange(rank, len(dataset.image_names("val")), workers)
    for batch in image_batches(dataset, "val", share, batch_size):
        with autocast(device, precision):
            logits = model(to_input([dataset.read_image("val", i) for i in batch], device))
        truth = torch.from_numpy(np.stack([dataset.read_mask("val", i) for i in batch])).to(device)
        total += confusion(logits.argmax(1), truth, n_classes)
    if workers > 1:
        dist.all_reduce(total)
    return total.cpu().numpy()
