"""What does not fit the nodes' shapes is refused with the sum; what fits is counted."""

from __future__ import annotations

from typing import Any

import pytest

from raylab.backends.devices import Devices, devices_for
from raylab.config import ComputeConfig
from raylab.errors import ResourceError
from raylab.study.resources import Node, check_resources, devices_line, fitting_runs


def nodes(*shapes: tuple[float, float]) -> list[Node]:
    """Of some CPUs and GPUs each; Ray leaves out what a node has none of."""
    return [{kind: amount for kind, amount in (("CPU", cpus), ("GPU", gpus)) if amount} for cpus, gpus in shapes]


@pytest.mark.parametrize(
    ("compute", "shapes", "message"),
    [
        ({"workers": 3, "cpus_per_worker": 1.5}, [(4, 0)],
         "compute.workers: 3 x 1.5 = 4.5 CPUs are needed at once, but Ray's nodes (1 of 4 CPUs) hold 2 of 3; lower it "
         "or the CPUs of each"),
        ({"workers": 2, "cpus_per_worker": 4}, [(1, 0)] * 8,
         "compute.workers: 2 x 4 = 8 CPUs are needed at once, but Ray's nodes (8 of 1 CPU) hold 0 of 2; lower it or "
         "the CPUs of each"),
        ({"workers": 0, "cpus_per_worker": 8}, [(0, 0), (4, 0)],
         "compute.workers: 1 x 8 = 8 CPUs are needed at once, but Ray's nodes (1 of 0 CPUs, 1 of 4 CPUs) hold 0 of 1; "
         "lower it or the CPUs of each"),
        ({"scorers": 3}, [(2, 0)],
         "compute.scorers: 3 x 1 = 3 CPUs are needed at once, but Ray's nodes (1 of 2 CPUs) hold 2 of 3; lower it or "
         "the CPUs of each"),
        ({"workers": 2}, [(8, 1), (8, 0)],
         "compute.workers: 2 x 1 = 2 CPUs, a GPU with each (2 GPUs) are needed at once, but Ray's nodes (1 of 8 CPUs "
         "and 1 GPU, 1 of 8 CPUs) hold 1 of 2; lower it or the CPUs of each, or set compute.device to cpu"),
        ({"device": "cuda"}, [(4, 0)], "compute.device: cuda, but Ray has no GPU; set it to auto or cpu"),
        ({"device": "cuda", "workers": 2, "scorers": 3}, [(16, 2)],
         "compute.scorers: 3 x 1 = 3 CPUs, a GPU with each (3 GPUs) are needed at once, but Ray's nodes (1 of 16 CPUs "
         "and 2 GPUs) hold 2 of 3; lower it or the CPUs of each, or set compute.device to cpu"),
        ({"cpus_per_worker": 0.5, "cpus_per_scorer": 0.5}, [(0.5, 0)],
         "compute.selectors: 1 x 1 = 1 CPUs are needed at once, but Ray's nodes (1 of 0.5 CPUs) hold 0 of 1; give Ray "
         "more"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_the_sum(compute: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ResourceError) as caught:
        check_resources(ComputeConfig(**compute), nodes(*shapes))
    assert str(caught.value) == f"{message}; nodes that are still to come are waited for with compute.expect"


@pytest.mark.parametrize(
    ("compute", "shapes", "runs"),
    [
        ({"workers": 2, "scorers": 2}, [(2, 0)], 1),
        ({"workers": 2, "scorers": 2, "device": "cuda"}, [(2, 2)], 1),
        ({"workers": 2, "device": "cpu"}, [(2, 1), (3, 0)], 2),
        ({"workers": 2, "cpus_per_worker": 0.1}, [(1, 0)], 1),
        ({"workers": 0, "cpus_per_worker": 2, "scorers": 9}, [(5, 0), (4, 0)], 4),
        ({"workers": 3, "cpus_per_worker": 2, "scorers": 1}, [(3, 0)] * 7, 2),
    ],
)
def test_what_fits_is_counted(compute: Any, shapes: Any, runs: int) -> None:
    check_resources(ComputeConfig(**compute), nodes(*shapes))
    assert fitting_runs(ComputeConfig(**compute), nodes(*shapes)) == runs


def test_every_stage_has_a_device_and_says_so() -> None:
    compute = ComputeConfig(workers=2)
    assert devices_for(compute, 0, cupy=True) == Devices(network=False, selection=False)
    assert devices_for(compute, 2, cupy=False) == Devices(network=True, selection=False)
    assert devices_for(compute, 2, cupy=True) == Devices(network=True, selection=True)
    assert devices_for(ComputeConfig(device="cpu"), 2, cupy=True) == Devices(network=False, selection=False)
    assert devices_line(compute, Devices(True, False)) == (
        "training on GPU (2 workers), scoring on GPU (1 scorer), selection on CPU (CuPy is not installed: pip install "
        "'raylab[gpu]')"
    )
    alone = ComputeConfig(workers=0)
    assert devices_line(alone, Devices(False, False)) == (
        "training and scoring on CPU, selection on CPU: each run in one process"
    )
