"""What a study says of its data, and refuses, before Ray is started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raylab.config import BudgetConfig, DataConfig, StudyConfig
from raylab.errors import DataError
from raylab.study.run import begin_studies
from tests.configs import tiny_run


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


def begin(root: Path) -> list[str]:
    lines: list[str] = []
    run = tiny_run(
        data=DataConfig(name="folder", root=str(root)),
        storage=str(root.parent / "results"),
        budget=BudgetConfig(initial=4, rounds=(4,)),
    )
    begin_studies([StudyConfig(name="s", run=run, strategies=("random",))], lines.append)
    return lines


def test_pixels_by_class_are_said(root: Path) -> None:
    lines = begin(root)
    assert [line.split()[0] for line in lines[-4:]] == ["pixels", "road", "$car", "void"]


def test_masks_of_another_size_are_refused_before_anything_is_written(root: Path) -> None:
    path = root / "masks/val/c.png"
    Image.fromarray(np.asarray(Image.open(path))[::2, ::2]).save(path)
    with pytest.raises(DataError, match=r"c\.png: mask is 32x24, but its image .*c\.png is 64x48"):
        begin(root)
    assert not (root.parent / "results/studies").exists()


def test_questions_are_asked(root: Path) -> None:
    for path in root.glob("masks/*/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * 255).save(path)
    with pytest.raises(DataError, match=r"the class '\$car' occurs in no mask; the masks hold 0 .*, 255 \(ignored"):
        begin(root)
