from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from raylab.data import CamVid, FolderDataset, IddLite, SyntheticScenes, find_problems, open_dataset
from raylab.errors import DataError

SCENES = SimpleNamespace(train_images=3, val_images=2, height=64, width=96, seed=4)


def config(name: str, root: object = None) -> SimpleNamespace:
    return SimpleNamespace(name=name, root=None if root is None else str(root), train_list="train", synthetic=SCENES)


def test_opens_what_the_configuration_names(camvid_root, idd_root, folder_root):
    assert isinstance(open_dataset(config("camvid", camvid_root)), CamVid)
    assert isinstance(open_dataset(config("idd_lite", idd_root)), IddLite)
    assert isinstance(open_dataset(config("folder", folder_root)), FolderDataset)
    scenes = open_dataset(config("synthetic"))
    assert isinstance(scenes, SyntheticScenes)
    assert scenes.fingerprint() == SyntheticScenes(3, 2, 64, 96, 4).fingerprint()


@pytest.mark.parametrize("name", ["camvid", "idd_lite", "folder"])
def test_root_not_set(name):
    with pytest.raises(DataError, match=rf"^data\.root: the data set '{name}' lies in files; set data\.root"):
        open_dataset(config(name))
    assert len(find_problems(config(name))) == 1


def test_unknown_name():
    with pytest.raises(DataError, match=r"^data\.name: unknown data set 'ade'; choose synthetic, camvid"):
        open_dataset(config("ade"))


def test_imports_no_framework():
    code = "import sys, raylab.data; sys.exit(bool({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
