from __future__ import annotations

import numpy as np
import pytest
import torch
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
    assert out.shape == (3, crop, crop)
    assert labels.shape == (crop, crop)
    inside = labels != IGNORE
    assert (out[:, ~inside] == torch.from_numpy(PAD)[:, None]).all()
    # Bilinear pixels within about two pixels of the edge are mixed; the rest must agree.
    mixed = (out[0] > 5) & (out[0] < 195)
    agree = (out[0] >= 195) == (labels == 1)
    assert agree[inside & ~mixed].all()


def test_same_generator_same_crop() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    mask = np.random.default_rng(1).integers(0, 4, (40, 50)).astype(np.uint8)
    first, second = (
        augment(image, mask, crop=24, scale=(0.5, 2.0), pad=PAD, rng=np.random.default_rng(5)) for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_scale_and_position_are_spread_as_the_paper_says() -> None:
    """A ramp tells how large a pixel of the crop is in the image, and where it lies."""
    ramp = np.tile(np.arange(200, dtype=np.uint8), (200, 1))
    drawn = [
        augment(
            np.repeat(ramp[..., None], 3, axis=2),
            ramp,
            crop=50,
            scale=(0.5, 2.0),
            pad=PAD,
            rng=np.random.default_rng(s),
        )[1]
        for s in range(400)
    ]
    ends = np.array([[int(labels[0, 0]), int(labels[0, -1])] for labels in drawn], float)
    flipped = ends[:, 0] > ends[:, 1]
    assert 0.4 < flipped.mean() < 0.6
    left, right = ends.min(axis=1), ends.max(axis=1)
    factor = 50 / (right - left + 1)
    assert abs(factor.mean() - 1.25) < 0.06
    assert 0.48 < factor.min() < 0.53
    assert 1.9 < factor.max() < 2.1
    # The position is uniform over where the window fits.
    at = left / (200 - (right - left + 1))
    assert abs(at.mean() - 0.5) < 0.05
    assert at.min() < 0.03
    assert at.max() > 0.97


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
