"""What a study says of its data, and refuses, before Ray is started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raylab.config import BudgetConfig, ComputeConfig, DataConfig, StudyConfig
from raylab.data.pack import pack_config
from raylab.errors import ConfigError, DataError, TrackingError
from raylab.files import Folder
from raylab.runs import RunStore
from raylab.study import plan_studies, run_study
from raylab.study.run import resolve_studies
from tests.configs import resolved_runs, tiny_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for number, (split, name) in enumerate([("train", "a"), ("train", "b"), ("val", "c")]):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        mask = (np.arange(64 * 48).reshape(48, 64) // 7 % 2).astype(np.uint8)
        Image.fromarray(np.stack([mask * 200 + number] * 3, 2)).save(root / f"images/{split}/{name}.png")
        Image.fromarray(mask).save(root / f"masks/{split}/{name}.png")
    (root / "dataset.yaml").write_text("classes: [{name: road, id: 0}, {name: $car, id: 1}]\n")
    return root


def study_of(root: Path, **data: int) -> StudyConfig:
    run = tiny_run(
        data=DataConfig(name="folder", root=str(root), **data),
        storage=str(root.parent / "results"),
        budget=BudgetConfig(initial=4, rounds=(4,)),
        compute=ComputeConfig(backend="local"),
    )
    return StudyConfig(name="s", run=run, strategies=("entropy+spatial",))


def look_at(root: Path, **data: int) -> list[str]:
    lines: list[str] = []
    resolve_studies([study_of(root, **data)], lines.append)
    return lines


def test_pixels_by_class_are_said(root: Path) -> None:
    lines = look_at(root)
    assert [line.split()[0] for line in lines[-4:]] == ["pixels", "road", "$car", "void"]


def test_masks_of_another_size_are_refused_before_anything_is_written(root: Path) -> None:
    path = root / "masks/val/c.png"
    Image.fromarray(np.asarray(Image.open(path))[::2, ::2]).save(path)
    with pytest.raises(DataError, match=r"c\.png: mask is 32x24, but its image .*c\.png is 64x48"):
        look_at(root)
    assert not (root.parent / "results/studies").exists()


def test_a_plan_compares_headers_and_says_what_it_does_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raylab.settled.SETTLED", 0)
    unread = "no pixel of the data is read here, headers alone: `raylab check` reads them"

    def lines() -> list[str]:
        return plan_studies([study_of(root)]).lines()

    assert sum(unread in line for line in lines()) == 1
    assert not (root.parent / "results").exists()
    look_at(root)
    assert not any(unread in line for line in lines())  # what was found of every file is kept
    (root / "dataset.yaml").write_text("classes: [{name: road, id: 0}, {name: car, id: 1}, {name: bus, id: 2}]\n")
    with pytest.raises(DataError, match="the class 'bus' occurs in no mask"):
        lines()
    path = root / "masks/train/b.png"
    Image.fromarray(np.asarray(Image.open(path))[::2, ::2]).save(path)
    with pytest.raises(DataError, match=r"b\.png: mask is 32x24, but its image .*b\.png is 64x48"):
        lines()


def test_no_root_is_made_where_mlflow_could_not_write(root: Path) -> None:
    config = study_of(root)
    config = config.model_copy(update={"run": config.run.model_copy(update={"storage": str(root / "what?")})})
    with pytest.raises(TrackingError, match=r"what\?.*has a question mark"):
        resolve_studies([config], lambda _: None)
    assert not (root / "what?").exists()


def test_questions_are_asked(root: Path) -> None:
    for path in root.glob("masks/*/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * 255).save(path)
    with pytest.raises(DataError, match=r"the class '\$car' occurs in no mask; the masks hold 0 .*, 255 \(ignored"):
        look_at(root)


def test_an_image_smaller_than_a_region_and_tiles_of_large_ones(root: Path, tmp_path: Path) -> None:
    """9 x 7 is one clipped region; 48 x 64 are four tiles of 32, and the picks are the same from the packed tiles."""
    for split, grey in (("train", 90), ("val", 91)):
        Image.fromarray(np.full((9, 7, 3), grey, np.uint8)).save(root / f"images/{split}/small.png")
        Image.fromarray(np.ones((9, 7), np.uint8)).save(root / f"masks/{split}/small.png")
    configs = {"raw": study_of(root, tile=32)}
    pack_config(configs["raw"].run.data, str(tmp_path / "packed"), tell=lambda _: None)
    configs["packed"] = study_of(tmp_path / "packed")
    picks = {}
    for name, config in configs.items():
        short = config.run.training.model_copy(update={"iterations": 1, "crop": 32})
        run = config.run.model_copy(update={"storage": str(tmp_path / name), "training": short})
        config = config.model_copy(update={"run": run})
        assert plan_studies([config]).lines()
        run_study(config, say=lambda _: None)
        (resolved,) = resolved_runs(config)
        store = RunStore(Folder(run.storage), resolved)
        assert store.finished()
        picks[name] = store.ledger(2)
        assert store.scores(0).regions().num_rows == 2 * 12 + 1
    assert picks["raw"].equals(picks["packed"])


def test_a_tile_that_the_regions_do_not_fill_is_refused(root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.tile: 40 is no multiple of regions\.size \(16\).*; set it to 32 or 48"
    ):
        look_at(root, tile=40)


def test_an_image_that_is_too_large_for_the_network_is_refused(root: Path) -> None:
    with pytest.raises(
        DataError, match=r"a\.png: 64x48 is 3,072 pixels, above data\.max_pixels \(2,000\).*set data\.tile"
    ):
        look_at(root, max_pixels=2000)
