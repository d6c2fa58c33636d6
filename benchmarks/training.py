"""Crops a second of training: a plain PyTorch loop against Ray Train with one worker, same model, crops and steps.

    python benchmarks/training.py [--iterations 60] [--repeats 3]

The plain loop is written out below, on torchvision's pattern: model, DataLoader, loss, SGD. Both are timed from the
end of their first step to the end of their last, one after the other, `--repeats` times in turn.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from ray.train import RunConfig as TrainRun
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from torch.utils.data import DataLoader

from raylab.config import (
    BudgetConfig,
    DataConfig,
    ModelConfig,
    RegionConfig,
    RunConfig,
    SyntheticConfig,
    TrainingConfig,
)
from raylab.config.options import parse
from raylab.config.sections import Frozen
from raylab.data import open_dataset
from raylab.errors import exit_cleanly
from raylab.models import build_model
from raylab.regions import RegionGrid
from raylab.study.ray_session import ray_session
from raylab.training.crops import Crops
from raylab.training.job import TrainingJob, training_job
from raylab.training.step import prepare_process, train


class Options(Frozen):
    """What to measure."""

    iterations: int = 40
    repeats: int = 3
    crop: int = 256
    batch_size: int = 8


def configuration(options: Options) -> RunConfig:
    return RunConfig(
        data=DataConfig(synthetic=SyntheticConfig(train_images=16, val_images=1, height=360, width=480)),
        regions=RegionConfig(size=40),
        model=ModelConfig(weights="random", channels=128),
        training=TrainingConfig(iterations=options.iterations, batch_size=options.batch_size, crop=options.crop),
        budget=BudgetConfig(initial=1, rounds=()),
    )


def plain_loop(job: TrainingJob) -> float:
    """Crops a second of the plain loop."""
    prepare_process(1)
    model = build_model(job.model, job.n_classes, job.seed).to(memory_format=torch.channels_last).train()
    crops = Crops(job, model.mean_colour.numpy())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=4e-5)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, job.iterations, power=0.9)
    size = job.training.batch_size
    order = [list(range(i * size, (i + 1) * size)) for i in range(job.iterations)]
    start = 0.0
    for step, (images, masks) in enumerate(DataLoader(crops, batch_sampler=order)):
        loss = F.cross_entropy(model(images), masks.long(), ignore_index=255)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step == 0:
            start = time.perf_counter()
    return (job.iterations - 1) * size / (time.perf_counter() - start)


def _timed_worker(settings: dict[str, Any]) -> float:
    job: TrainingJob = settings["job"]
    prepare_process(1)
    times: list[float] = []

    def report(done: int, loss: Callable[[], float], state: Callable[[], dict[str, Any]]) -> None:
        loss()
        times.append(time.perf_counter())

    train(job, torch.device("cpu"), report)
    return (job.iterations - 1) * job.training.batch_size / (times[-1] - times[0])


def ray_train(job: TrainingJob) -> float:
    """Crops a second of raylab's training in one Ray Train worker."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = TorchTrainer(
            _timed_worker,  # type: ignore[arg-type]  # Ray's annotation knows no return value
            train_loop_config={"job": job},
            scaling_config=ScalingConfig(num_workers=1),
            run_config=TrainRun(name="benchmark", storage_path=folder),
        )
        result: Any = trainer.fit()
        return float(result.return_value)


def main(options: Options) -> None:
    """Measure in turn and print the ratio of the medians."""
    config = configuration(options)
    dataset = open_dataset(config.data)
    job = training_job(
        config, RegionGrid(dataset.image_sizes("train"), config.regions.size), len(dataset.classes), None
    )
    with ray_session():
        rates: dict[str, list[float]] = {"plain loop": [], "Ray Train": []}
        for repeat in range(options.repeats):
            rates["plain loop"].append(plain_loop(job))
            rates["Ray Train"].append(ray_train(job))
            print(f"repeat {repeat}: " + ", ".join(f"{n} {r[-1]:.2f} crops/s" for n, r in rates.items()), flush=True)
    plain, ours = (statistics.median(rate) for rate in rates.values())
    print(f"plain loop {plain:.2f} crops/s   Ray Train, one worker {ours:.2f} crops/s   ratio {ours / plain:.2f}")


if __name__ == "__main__":
    with exit_cleanly():
        main(parse(Options, sys.argv[1:], "training.py", __doc__))
