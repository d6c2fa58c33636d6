"""Images a second of scoring: a plain PyTorch loop against the Ray Data pipeline, same images, model and pooling.

    python benchmarks/scoring.py [--images 128] [--repeats 3]

Both run in this machine's memory and CPUs within one process tree, one after the other, `--repeats` times in turn.
Steady state: the pipeline's clock starts with its second block, when its actor holds the model and is warm; the
loop's with its second batch.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from typing import Any

import torch
from safetensors.torch import save

from raylab.config import (
    BudgetConfig,
    ComputeConfig,
    DataConfig,
    ModelConfig,
    RegionConfig,
    RunConfig,
    ScoringConfig,
    SyntheticConfig,
)
from raylab.config.options import parse
from raylab.config.sections import Frozen
from raylab.data import open_dataset
from raylab.errors import exit_cleanly
from raylab.files import Folder
from raylab.models import build_model
from raylab.regions import RegionGrid
from raylab.scoring.pipeline import scored_dataset
from raylab.scoring.predict import Predictor, ScoringJob, pool_batches, scoring_job
from raylab.study.ray_session import ray_session
from raylab.training.step import prepare_process


class Options(Frozen):
    """What to measure."""

    images: int = 128
    """Images in the pool; more, and the ratio says more."""
    root: str | None = None
    """CamVid's folder; generated scenes of its size when not given."""
    repeats: int = 3
    scorers: int = 1
    features: bool = False
    """Also pool the decoder's features."""


def configuration(options: Options) -> RunConfig:
    data = DataConfig(synthetic=SyntheticConfig(train_images=options.images, val_images=1, height=360, width=480))
    if options.root:
        data = DataConfig(name="camvid", root=options.root)
    return RunConfig(
        data=data,
        regions=RegionConfig(size=40),
        model=ModelConfig(weights="random", channels=128),
        scoring=ScoringConfig(batch_size=4),
        budget=BudgetConfig(initial=1, rounds=()),
        compute=ComputeConfig(scorers=options.scorers),
    )


def plain_loop(job: ScoringJob, model: Any) -> float:
    """Images a second of the smallest honest loop: decode, predict, pool."""
    dataset = open_dataset(job.data)
    predict = Predictor(job, [model], torch.device("cpu"))
    batches = list(pool_batches(job, dataset))
    start, images = 0.0, 0
    for number, batch in enumerate(batches):
        predict(batch, [dataset.read_image("train", i) for i in batch])
        if number == 0:
            start = time.perf_counter()
        else:
            images += len(batch)
    return images / (time.perf_counter() - start)


def pipeline(job: ScoringJob, store: Folder) -> float:
    """Images a second of the Ray Data pipeline, from its second block to its last."""
    per_image = job.regions.n_regions // job.regions.n_images
    start, rows = 0.0, 0
    batches = list(pool_batches(job, open_dataset(job.data)))
    dataset = scored_dataset(job, batches, store, [("model.safetensors", None)], use_gpu=False)
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        if start == 0.0:
            start = time.perf_counter()
        else:
            rows += len(table)
    return rows / per_image / (time.perf_counter() - start)


def main(options: Options) -> None:
    """Measure in turn and print the ratio of the medians."""
    config = configuration(options)
    dataset = open_dataset(config.data)
    regions = RegionGrid(dataset.image_sizes("train"), config.regions.size)
    job = scoring_job(config, regions, len(dataset.classes), ("entropy",), options.features)
    model = build_model(config.model, len(dataset.classes), seed=0).eval()
    prepare_process(config.compute.threads)
    with ray_session(), tempfile.TemporaryDirectory() as folder:
        store = Folder(folder)
        store.write_bytes("model.safetensors", save(dict(model.state_dict())))
        rates: dict[str, list[float]] = {"plain loop": [], "Ray Data": []}
        for repeat in range(options.repeats):
            rates["plain loop"].append(plain_loop(job, model))
            rates["Ray Data"].append(pipeline(job, store))
            print(f"repeat {repeat}: " + ", ".join(f"{n} {r[-1]:.2f} images/s" for n, r in rates.items()), flush=True)
    plain, ours = (statistics.median(rate) for rate in rates.values())
    print(f"plain loop {plain:.2f} images/s   Ray Data {ours:.2f} images/s   ratio {ours / plain:.2f}")


if __name__ == "__main__":
    with exit_cleanly():
        main(parse(Options, sys.argv[1:], "scoring.py", __doc__))
