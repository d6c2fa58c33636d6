"""What more nodes cost: one study on 1, 2 and 4 raylets of this machine, which have the same CPUs together.

    python benchmarks/raylets.py [--raylets 1 2 4] [--repeats 1]

All raylets share the machine's cores, so that a study cannot become faster by more of them: what it takes longer is
what Ray adds to place, start and join processes on several nodes. It says nothing about what nodes of their own save.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

import yaml
from ray.cluster_utils import Cluster

from raylab.config import (
    BudgetConfig,
    ComputeConfig,
    DataConfig,
    ModelConfig,
    RegionConfig,
    RunConfig,
    ScoringConfig,
    StudyConfig,
    SyntheticConfig,
    TrainingConfig,
)
from raylab.config.options import parse
from raylab.config.sections import Frozen
from raylab.errors import exit_cleanly

_CPUS = 4


class Options(Frozen):
    """What to measure."""

    raylets: tuple[int, ...] = (1, 2, 4)
    """Nodes; each has an equal share of 4 CPUs."""
    repeats: int = 1
    """Measurements of each, in turn."""


def study(storage: str) -> StudyConfig:
    """Four runs of two rounds, which need processes for each stage."""
    run = RunConfig(
        data=DataConfig(synthetic=SyntheticConfig(train_images=24, val_images=8, height=64, width=96)),
        regions=RegionConfig(size=16),
        model=ModelConfig(weights="random", channels=16),
        training=TrainingConfig(iterations=60, batch_size=4, crop=64, learning_rate=0.05),
        scoring=ScoringConfig(batch_size=4),
        budget=BudgetConfig(initial=24, rounds=(24,)),
        compute=ComputeConfig(workers=1),
        storage=storage,
    )
    return StudyConfig(name="raylets", run=run, strategies=("random", "entropy+spatial"), seeds=(0, 1))


def seconds(raylets: int) -> float:
    """Seconds from the start of a driver to its end, on a cluster that is there."""
    share = _CPUS // raylets
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": share, "include_dashboard": False})
    try:
        for _ in range(raylets - 1):
            cluster.add_node(num_cpus=share)
        with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(study(folder).model_dump(mode="json", exclude_defaults=True), file)
            file.flush()
            command = [sys.executable, "-m", "raylab", "study", "--config", file.name]
            start = time.perf_counter()
            env = os.environ | {"RAY_ADDRESS": cluster.address}
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
            return time.perf_counter() - start
    finally:
        cluster.shutdown()


def main(options: Options) -> None:
    """Measure in turn and print the ratios of the medians to the first."""
    took: dict[int, list[float]] = {number: [] for number in options.raylets}
    for repeat in range(options.repeats):
        for number, found in took.items():
            found.append(seconds(number))
            print(f"repeat {repeat}: {number} raylets {found[-1]:.1f} s", flush=True)
    first, *_ = (statistics.median(found) for found in took.values())
    for number, found in took.items():
        median = statistics.median(found)
        print(f"{number} raylets of {_CPUS // number} CPUs: {median:.1f} s, {median / first:.2f} of the first")


if __name__ == "__main__":
    with exit_cleanly():
        main(parse(Options, sys.argv[1:], "raylets.py", __doc__))
