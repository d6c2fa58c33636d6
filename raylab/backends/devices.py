"""On what the stages of a run on Ray are computed: GPUs that their processes ask Ray for, or the CPU; and where."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from raylab.config import ComputeConfig

MARKET = "ray.io/market-type"
"""Ray's label that tells nodes on spot, which are taken away at short notice."""
ON_DEMAND = {MARKET: "!spot"}
"""Selects all other nodes, those without the label among them."""


@dataclass(frozen=True)
class Devices:
    """Which stages ask Ray for GPUs.

    Attributes:
        network: whether every worker and scorer does, or with `compute.workers` 0 the run.
        selection: whether the selector does.
    """

    network: bool
    selection: bool


def devices_for(compute: ComputeConfig, gpus: float, cupy: bool | None = None) -> Devices:
    """The devices of a run.

    Args:
        compute: of the run.
        gpus: that Ray has.
        cupy: whether the selection has what it needs on a GPU; when None, whether CuPy is installed here.
    """
    network = compute.device != "cpu" and gpus > 0
    return Devices(network, network and (find_spec("cupy") is not None if cupy is None else cupy))
