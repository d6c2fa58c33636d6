"""What the stages of a run ask of Ray, and whether its nodes have it: no process spans two nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from raylab.backends.devices import Devices, devices_for
from raylab.config import ComputeConfig
from raylab.errors import ResourceError

Node = Mapping[str, float]
"""What a node has, as Ray tells it: `CPU`, `GPU` and others."""
_TO_COME = "; nodes that are still to come are waited for with compute.expect"


@dataclass(frozen=True)
class Processes:
    """Alike processes of one stage, which run at once.

    Attributes:
        field: of the configuration that says how many.
        number: of processes.
        cpus: that each asks for.
        gpus: that each asks for.
    """

    field: str
    number: int
    cpus: float
    gpus: int

    def held(self, nodes: Sequence[Node]) -> int:
        """How many of these processes some nodes hold at once."""
        return sum(self._held_by(node) for node in nodes)

    def _held_by(self, node: Node) -> int:
        asked = {"CPU": self.cpus, "GPU": self.gpus}
        # Sums of quarters are exact; others may be off by a rounding error.
        return min(int((node.get(kind, 0) + 1e-9) / amount) for kind, amount in asked.items() if amount)


def stages(compute: ComputeConfig, devices: Devices) -> Iterator[Processes]:
    """What each stage of a run holds while it computes.

    Args:
        compute: of the run.
        devices: on what it computes.
    """
    yield Processes("compute.workers", max(compute.workers, 1), compute.cpus_per_worker, int(devices.network))
    if compute.workers:
        yield Processes("compute.scorers", compute.scorers, compute.cpus_per_scorer, int(devices.network))
        yield Processes("compute.selectors", compute.selectors, 0 if devices.selection else 1, int(devices.selection))


def together(nodes: Sequence[Node], kind: str) -> float:
    """What some nodes have together: `CPU` or `GPU`."""
    return sum(node.get(kind, 0) for node in nodes)


def check_resources(compute: ComputeConfig, nodes: Sequence[Node]) -> None:
    """Whether every stage fits, so that none waits for ever.

    Args:
        compute: of a run.
        nodes: that there are.

    Raises:
        ResourceError: it says the sum that does not fit, and what would.
    """
    gpus = together(nodes, "GPU")
    if compute.device == "cuda" and not gpus:
        raise ResourceError(f"compute.device: cuda, but Ray has no GPU; set it to auto or cpu{_TO_COME}")
    for stage in stages(compute, devices_for(compute, gpus)):
        if (held := stage.held(nodes)) < stage.number:
            more = f", a GPU with each ({stage.number} GPUs)" if stage.gpus else ""
            way_out = "lower it or the CPUs of each"
            if stage.field == "compute.selectors":
                way_out = "lower it" if stage.number > 1 else "give Ray more"
            raise ResourceError(
                f"{stage.field}: {stage.number} x {stage.cpus:g} = {stage.number * stage.cpus:g} CPUs{more} are needed "
                f"at once, but Ray's nodes ({shapes(nodes)}) hold {held} of {stage.number}; {way_out}"
                + (", or set compute.device to cpu" if stage.gpus else "")
                + _TO_COME
            )


def fitting_runs(compute: ComputeConfig, nodes: Sequence[Node]) -> int:
    """How many runs some nodes hold at once, each in its largest stage."""
    devices = devices_for(compute, together(nodes, "GPU"))
    return min(stage.held(nodes) // stage.number for stage in stages(compute, devices))


def shapes(nodes: Sequence[Node]) -> str:
    """Nodes in words, alike ones together: `2 of 8 CPUs and 1 GPU`."""
    alike = Counter((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
    return ", ".join(f"{number} of {amounts(*shape)}" for shape, number in alike.items())


def amounts(cpus: float, gpus: float) -> str:
    """CPUs and GPUs in words; no CPU only where there is nothing at all."""
    both = [_amount(value, kind) for value, kind in ((cpus, "CPU"), (gpus, "GPU")) if value]
    return " and ".join(both) or _amount(0, "CPU")


def _amount(value: float, kind: str) -> str:
    return f"{value:g} {kind}{'s' * (value != 1)}"


def devices_line(compute: ComputeConfig, devices: Devices) -> str:
    """Where each stage is computed, for the person who waits."""
    network, selection = ("GPU" if gpu else "CPU" for gpu in (devices.network, devices.selection))
    if devices.network and not devices.selection:
        selection = "CPU (CuPy is not installed: pip install 'raylab[gpu]')"
    if compute.workers == 0:
        return f"training and scoring on {network}, selection on {selection}: each run in one process"
    workers, scorers = _amount(compute.workers, "worker"), _amount(compute.scorers, "scorer")
    return f"training on {network} ({workers}), scoring on {network} ({scorers}), selection on {selection}"
