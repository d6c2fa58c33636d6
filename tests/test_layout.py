"""The order of the packages: no import runs up or in a circle, and Ray, torch and MLflow only where they may."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import raylab

ROOT = Path(raylab.__file__).parent
LAYERS = (
    "errors",
    "yaml_text",
    "progress",
    "guardian",
    "row_digest",
    "plugins",
    "disk",
    "settled",
    "bucket_address",
    "object_store",
    "files",
    "sealed",
    "lease",
    "acquisition",
    "config",
    "data",
    "regions",
    "selection",
    "labels",
    "models",
    "training",
    "scoring",
    "runs",
    "pool",
    "loop",
    "tracking",
    "backends",
    "study",
    "report",
    "launch",
    "experiment",
    "submit",
    "cli",
)
"""From the ground up: a module imports from its own package and from those before it."""
PURE = (*LAYERS[: LAYERS.index("config") + 1], "data", "regions", "selection", "labels", "runs")
"""Packages that import neither torch, Ray nor MLflow, so that they run anywhere."""
RAY = (
    "training.trainer",
    "scoring.pipeline",
    "backends.failures",
    "backends.ray",
    "backends.selector_actor",
    "backends.shard_actors",
    "study.collector",
    "study.driver",
    "study.metrics",
    "study.nodes",
    "study.preflight",
    "study.ray_session",
    "study.trial_progress",
    "submit",
)
"""Modules that import Ray."""
MLFLOW = ("tracking.client", "cli")


def modules() -> dict[str, Path]:
    """Files of the package by their name below `raylab`."""
    names = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(part for part in parts if part != "__init__")] = file
    return names


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: imports by relative path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


MODULES = modules()
NAMES = [name for name in MODULES if name]


def own(name: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for target in imports(MODULES[name]):
        if target.split(".")[0] != "raylab":
            continue
        below = target.removeprefix("raylab").lstrip(".")
        while below not in MODULES:
            below = below.rpartition(".")[0]
        found.add(below)
    return found - {name, ""}


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name in NAMES} - {"__main__"} == set(LAYERS)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__main__"])
def test_no_import_runs_up(name: str) -> None:
    here = LAYERS.index(name.split(".")[0])
    above = {other for other in own(name) if LAYERS.index(other.split(".")[0]) > here}
    assert not above, f"raylab.{name} imports from above itself: {', '.join(sorted(above))}"


def test_no_circle() -> None:
    left = {name: own(name) for name in NAMES}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    # A package's face imports its modules; what is left after that goes round.
    assert not left, f"modules that import one another in a circle: {', '.join(sorted(left))}"


@pytest.mark.parametrize("name", NAMES)
def test_heavy_libraries_stay_in_their_place(name: str) -> None:
    heavy = {target.split(".")[0] for target in imports(MODULES[name])} & {"torch", "ray", "mlflow"}
    if inside(name, PURE):
        assert not heavy
    if not inside(name, RAY):
        assert "ray" not in heavy
    if not inside(name, MLFLOW):
        assert "mlflow" not in heavy
