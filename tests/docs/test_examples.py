"""The modules that docs/extending.md shows work as it says, each in a process of its own, as plugins are used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def python(script: str, tree: Path = ROOT) -> str:
    """Run a script on a tree of the repository."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def raylab(*args: str, cwd: Path) -> str:
    """Run a command."""
    done = subprocess.run(
        [sys.executable, "-m", "raylab", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


STUDY = """
name: mine
plugins: [{examples}/my_strategy.py, {examples}/my_map.py, {examples}/my_model.py]
strategies: ["margin+half-spatial,map=gini"]
run:
  storage: results
  data: {{synthetic: {{train_images: 4, val_images: 1}}}}
  regions: {{size: 32}}
  model: {{architecture: two-levels, weights: random, channels: 16}}
  training: {{iterations: 2, batch_size: 2, crop: 64}}
  budget: {{initial: 4, rounds: [4]}}
  compute: {{backend: local}}
"""


def test_a_strategy_a_map_and_a_model_run_as_plugins(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STUDY.format(examples=EXAMPLES))
    raylab("study", "--config", "mine.yaml", cwd=tmp_path)
    (table,) = tmp_path.glob("results/round0/**/regions.parquet")
    assert "gini" in pq.read_schema(table).names
    (record,) = tmp_path.glob("results/runs/margin+half-spatial,map=gini*/round-01/train.json")
    assert json.loads(record.read_text())["record"]["miou"] >= 0


def test_the_data_set_opens_as_a_plugin(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for folder, name, shape, top in (
            ("leftImg8bit", "a_leftImg8bit", (48, 64, 3), 256),
            ("gtFine", "a_gtFine_labelcsTrainIds", (48, 64), 19),
        ):
            file = tmp_path / folder / split / "drive" / f"{name}.png"
            file.parent.mkdir(parents=True)
            Image.fromarray(rng.integers(top, size=shape).astype(np.uint8)).save(file)
    said = raylab("check", "--plugins", str(EXAMPLES / "my_dataset.py"), "--name", "idd", "--root", ".", cwd=tmp_path)
    assert "1 training and 1 validation images, no problems" in said


def test_the_tracker_writes_what_is_committed(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    from raylab.files import Folder
    from tests.configs import resolved_runs
    from tests.report.study_on_disk import CONFIG, write_study

    write_study(Folder(str(tmp_path / "results")))
    for _ in range(2):  # again writes the same again
        results, logs = str(tmp_path / "results"), str(tmp_path)
        python(f"from docs.examples.my_tracker import mirror; mirror({results!r}, {CONFIG.name!r}, {logs!r})")
    run = resolved_runs(CONFIG)[0]
    (log,) = (tmp_path / run.label).glob("events.*")
    data, points = log.read_bytes(), []
    while data:  # TFRecord: length, its checksum, an event, its checksum
        size = int.from_bytes(data[:8], "little")
        points += [
            (v.tag, e.step, v.simple_value) for e in [Event.FromString(data[12 : 12 + size])] for v in e.summary.value
        ]
        data = data[16 + size :]
    assert [(step, pytest.approx(value)) for tag, step, value in points if tag == "miou"] == [
        (20, 0.3), (40, 0.35), (80, 0.4)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the diff of docs/extending.md applied."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "raylab", tree / "raylab", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ["git", "apply", str(EXAMPLES / "mechanism.diff")],
        cwd=tree,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
        check=True,
    )
    return tree


def test_the_mechanism_picks_what_its_plain_rule_picks(patched: Path) -> None:
    said = python(
        """
import numpy as np
from raylab.acquisition import strategy
from raylab.regions import RegionGrid
from raylab.selection import select
from raylab.selection.reference import algorithm_1

regions = RegionGrid([(40, 56), (24, 40), (48, 48)], 16)
rng = np.random.default_rng(0)
u, f = rng.random(regions.n_regions), rng.random((regions.n_regions, 3)).astype(np.float32)
for name in ("entropy", "entropy+spatial", "entropy+spatial+feature"):
    picks = {}
    for border in (0, 0.5, 1):
        row = strategy(f"{name},border={border}")
        kwargs = dict(labelled=[3], uncertainty=u, features=f)
        picks[border] = select(regions, row, 12, **kwargs).region_id.tolist()
        assert picks[border] == algorithm_1(regions, row, 12, **kwargs)[0].tolist()
    assert picks[0] == select(regions, strategy(name), 12, **kwargs).region_id.tolist()
    assert picks[0] != picks[1]
print("the same")
""",
        patched,
    )
    assert said == "the same\n"


def test_the_mechanism_changes_no_identity(patched: Path) -> None:
    known = "from raylab.config import RunConfig; from raylab.runs import Inputs, resolve"
    ask = f"{known}; print(resolve(RunConfig(), Inputs('')).label)"
    assert python(ask, patched) == python(ask)
