"""`import raylab`: what is public, that it is quick, and that every example in a docstring is true."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import raylab
from raylab.errors import ConfigError
from raylab.regions import RegionGrid
from raylab.selection import GreedySelector

ROOT = Path(raylab.__file__).parent
WITH_EXAMPLES = sorted(file for file in ROOT.rglob("*.py") if ">>> " in file.read_text(encoding="utf-8"))


def test_every_public_name_is_there_and_type_checkers_see_the_same():
    (block,) = (node for node in ast.parse(Path(raylab.__file__).read_text()).body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == {name: f"raylab.{module}" for name, module in raylab._MODULES.items()}
    assert set(raylab.__all__) == set(seen)
    for name in raylab.__all__:
        assert getattr(raylab, name).__doc__
    assert set(raylab.__all__) <= set(dir(raylab))
    with pytest.raises(AttributeError, match="no attribute 'selekt'"):
        _ = raylab.selekt


def test_import_is_light():
    script = "import sys, raylab; raylab.StudyConfig; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"torch", "ray", "mlflow", "matplotlib", "pandas", "pyarrow", "numpy"}
    assert heavy & set(done.stdout.split()) <= {"numpy", "pyarrow"}
    light = "import sys, raylab; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True)
    assert not (heavy | {"pydantic"}) & set(done.stdout.split())


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples(file: Path):
    name = ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert tried > 0
    assert failed == 0


# select


def test_select_is_the_selector_on_plain_arrays():
    rng = np.random.default_rng(3)
    regions = RegionGrid([(64, 96), (48, 64)], 16)
    uncertainty = rng.random(regions.n_regions)
    features = rng.standard_normal((regions.n_regions, 5)).astype(np.float32)
    acquisition = raylab.strategy("entropy+spatial+feature", tau=16.0)
    selector = GreedySelector(regions, acquisition)
    selector.label([3, 7])
    expected = selector.select(6, uncertainty=uncertainty, features=features)
    for pool, size in ((regions, None), ([(64, 96), (48, 64)], 16)):
        for strategy in (acquisition, "entropy+spatial+feature,tau=16"):
            picks = raylab.select(
                pool, 6, strategy, region_size=size, uncertainty=uncertainty, features=features, labelled=[3, 7]
            )
            assert picks["region_id"].tolist() == expected.region_id.tolist()
            for term in ("phi", "uncertainty", "feature", "spatial"):
                np.testing.assert_array_equal(picks[term], getattr(expected, term))
    boxes = regions.boxes(expected.region_id)
    np.testing.assert_array_equal(picks[["top", "left", "height", "width"]], boxes)


def test_select_at_random_takes_a_seed_and_nothing_else():
    first, again, other = (raylab.select([(64, 64)], 5, "random", region_size=8, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert first["region_id"].tolist() != other["region_id"].tolist()
    assert len(set(first["region_id"])) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region_size": None}, "region_size: is not given"),
        ({"strategy": "entrpy"}, "strategy: 'entrpy' is not known; did you mean 'entropy'"),
        ({"uncertainty": None}, "uncertainty: this strategy needs"),
        ({"uncertainty": [1.0]}, r"uncertainty: shape \(1,\) does not match 4 regions"),
        ({"labelled": [9]}, "labelled: 9 is no region of this pool"),
        ({"strategy": "core-set,pca=8"}, "strategy: pca=8 has no effect here"),
        ({"k": -1}, "k: -1 is less than 0"),
        ({"regions": RegionGrid([(64, 64)], 32), "region_size": 16}, "region_size: 16 is not that of the regions"),
    ],
)
def test_select_names_what_does_not_fit(changes, message):
    arguments = {"regions": [(64, 64)], "k": 1, "region_size": 32, "uncertainty": [0.1, 0.2, 0.3, 0.4]} | changes
    with pytest.raises(ConfigError, match=message):
        raylab.select(**arguments)
