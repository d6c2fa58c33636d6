from __future__ import annotations

import numpy as np
import pytest

from raylab.errors import DataError
from tests.data.sets import opened


def test_names_hold_the_sequence_and_instance_masks_are_passed_over(idd_lite_root, ids):
    dataset = opened("idd_lite", idd_lite_root)
    assert dataset.image_names("train") == ["10/a", "10/b", "9/a"]
    assert dataset.image_names("val") == ["3/004642"]
    mask = dataset.read_mask("train", 1)
    assert (mask[0] == 255).all()
    np.testing.assert_array_equal(mask[1:], ids(0, 7)[1:])
    assert dataset.problems() == []


def test_the_same_id_in_another_sequence_is_no_pair(idd_lite_root):
    (idd_lite_root / "gtFine" / "train" / "9" / "a_label.png").rename(
        idd_lite_root / "gtFine" / "train" / "9" / "b_label.png"
    )
    with pytest.raises(DataError) as caught:
        opened("idd_lite", idd_lite_root)
    no_mask, no_image = caught.value.problems
    assert "leftImg8bit/train/9/a_image.jpg: no mask; add" in no_mask
    assert "gtFine/train/9/b_label.png: no image; add" in no_image


def test_truncated_jpeg_is_found_by_decoding(idd_lite_root):
    path = idd_lite_root / "leftImg8bit" / "val" / "3" / "004642_image.jpg"
    path.write_bytes(path.read_bytes()[:-600])
    dataset = opened("idd_lite", idd_lite_root)
    assert dataset.image_sizes("val").tolist() == [[64, 64]]
    (problem,) = dataset.problems()
    assert problem.startswith(f"{path}: does not decode (")


def test_real_idd_lite(real_data):
    if not (real_data / "idd_lite").is_dir():
        pytest.skip("no idd_lite in RAYLAB_SHARED")
    dataset = opened("idd_lite", real_data / "idd_lite")
    assert [len(dataset.image_names(split)) for split in ("train", "val")] == [1403, 204]
    assert "3/004642" in dataset.image_names("val")
    assert (dataset.image_sizes("val") == [227, 320]).all()
    assert dataset.problems() == []
