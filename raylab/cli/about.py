"""Versions, and what a bug report needs to say about the machine."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from raylab import __version__
from raylab.config.sections import Frozen
from raylab.errors import RaylabError
from raylab.files import first_line

_FIRST = ("ray", "torch", "mlflow")
_OTHERS = ("torchvision", "timm", "segmentation-models-pytorch", "numpy", "pyarrow", "pandas", "pydantic")
_CUPY = ("cupy-cuda12x", "cupy-cuda13x", "cupy")
_VARIABLES = (
    "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_TMPDIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME", "AWS_ENDPOINT_URL",
    "AWS_REGION", "AWS_PROFILE", "TMPDIR", "RAYLAB_CACHE", "RAYLAB_CACHE_GB",
)  # fmt: skip
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")
"""Of these only whether they are set is told."""


class InfoOptions(Frozen):
    """What to look at beside the machine."""

    storage: str | None = None
    """Folder or URI of results, whose studies are listed."""


def info(options: InfoOptions) -> None:
    """What a bug report needs: versions, machine, GPUs, environment; no secrets."""
    print("\n".join([versions(), *_packages(), "", *_machine(), *_gpus(), "", *_environment()]))
    if options.storage is not None:
        print("\n".join(["", *_studies(options.storage)]))


def versions() -> str:
    """raylab, Python and the three systems that it stands on, a line each."""
    lines = [f"raylab {__version__}", f"python {platform.python_version()}"]
    return "\n".join([*lines, *(f"{name} {_version(name)}" for name in _FIRST)])


def without_secrets(text: str) -> str:
    """A URI without the user and password, and without the values of a query, that it may hold."""
    return re.sub(r"([?&][^=&\s]+)=[^&\s]*", r"\1=...", re.sub(r"(://)[^/@\s]*@", r"\1...@", text))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _packages() -> Iterator[str]:
    yield from (f"{name} {_version(name)}" for name in _OTHERS)
    found = [f"{name} {_version(name)}" for name in _CUPY if _version(name) != "not installed"]
    yield from found or ["cupy not installed"]


def _machine() -> Iterator[str]:
    yield f"platform: {platform.platform()}"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"CPUs: {os.cpu_count()}, of which this process may use {usable}"
    if "SC_PHYS_PAGES" in os.sysconf_names:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        yield f"memory: {pages * size / 2**30:.1f} GiB"


def _gpus() -> Iterator[str]:
    from raylab.selection.arrays import why_not_cupy

    try:
        import torch

        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        named = ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
        yield f"GPUs: {named or 'none that torch can use'} (torch built for CUDA {torch.version.cuda})"
    except Exception as error:  # torch's own of a driver that does not fit, or none at all
        yield f"GPUs: unknown, torch fails: {first_line(error)}"
    reason = why_not_cupy()
    yield "selection: on CuPy" if reason is None else f"selection: on NumPy, because CuPy fails: {reason}"


def _environment() -> Iterator[str]:
    for name in _VARIABLES:
        if name in os.environ:
            yield f"{name}={without_secrets(os.environ[name])}"
    yield from (f"{name} is set" for name in _SECRETS if os.environ.get(name))


def _studies(storage: str) -> Iterator[str]:
    from raylab.files import Folder
    from raylab.runs import RunStore, stored_study
    from raylab.runs.studies import studies_in

    store = Folder(storage, create=False)
    yield f"studies under {without_secrets(store.uri)}:"
    for name in studies_in(store):
        try:
            runs = stored_study(store, name).runs
            done = sum(RunStore(store, run).finished() for run in runs)
            yield f"  {name}: {done} of {len(runs)} runs are finished"
        except RaylabError as error:
            yield f"  {name}: {first_line(error)}"
