from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.data.classes import IGNORE
from raylab.training.augment import augment

PAD = np.array([127, 127, 127], np.uint8)


@settings(max_examples=60)
@given(
    height=st.integers(5, 60),
    width=st.integers(5, 60),
    crop=st.integers(4, 70),
    seed=st.integers(0, 10_000),
)
def test_image_and_mask_stay_aligned(height: int, width: int, crop: int, seed: int) -> None:
    # The mask is the left half; the image is dark there: after any augmentation both must tell the same halves.
    mask = np.ones((height, width), np.uint8)
    mask[:, : width // 2] = 0
    image = np.repeat((mask * 200)[..., None], 3, axis=2)
    out, labels = augment(image, mask, crop=crop, scale=(0.5, 2.0), pad=PAD, rng=np.random.default_rng(seed))
    assert out.shape == (crop, crop, 3)
    assert labels.shape == (crop, crop)
    inside = labels != IGNORE
    assert (out[~inside] == PAD).all()
    # Bilinear pixels within about two pixels of the edge are mixed; the rest must agree.
    mixed = (out[..., 0] > 5) & (out[..., 0] < 195)
    agree = (out[..., 0] >= 195) == (labels == 1)
    assert agree[inside & ~mixed].all()


def test_same_generator_same_crop() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    mask = np.random.default_rng(1).integers(0, 4, (40, 50)).astype(np.uint8)
    first, second = (
        augment(image, mask, crop=24, scale=(0.5, 2.0), pad=PAD, rng=np.random.default_rng(5)) for _ in range(2)
    )
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize("tries", [1, 50])
def test_tries_find_a_labelled_pixel(tries: int) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    mask = np.full((200, 200), IGNORE, np.uint8)
    mask[90:110, 90:110] = 3
    found = [
        (augment(image, mask, crop=60, scale=(1, 1), pad=PAD, rng=np.random.default_rng(s), tries=tries)[1] == 3).any()
        for s in range(30)
    ]
    assert all(found) == (tries == 50)
