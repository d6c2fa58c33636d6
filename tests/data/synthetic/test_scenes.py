from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.data import SegmentationDataset, SyntheticScenes
from raylab.data.synthetic import scenes
from raylab.data.synthetic.scenes import draw_scene
from raylab.errors import ConfigError


def counts(dataset: SyntheticScenes, split: str = "train") -> np.ndarray:
    masks = [dataset.read_mask(split, index) for index in range(len(dataset.image_names(split)))]
    return np.asarray([np.bincount(mask.ravel(), minlength=19) for mask in masks])


@pytest.fixture(scope="module")
def pool() -> SyntheticScenes:
    return SyntheticScenes()


def test_follows_the_protocol(pool):
    assert isinstance(pool, SegmentationDataset)
    assert len(pool.image_names("train")) == 48
    assert pool.image_names("val") == sorted(pool.image_names("val"))
    assert pool.image_sizes("val").tolist() == [[128, 192]] * 16
    image, mask = pool.read_image("train", 5), pool.read_mask("train", 5)
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((128, 192, 3), np.uint8, (128, 192), np.uint8)
    assert pool.problems() == []
    with pytest.raises(IndexError):
        pool.read_image("val", 16)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_is_in_a_default_pool(seed):
    assert (counts(SyntheticScenes(seed=seed)).sum(axis=0) > 0).all()


def test_shares_have_the_long_tail_of_a_street(pool):
    table = counts(pool)
    shares = dict(zip(pool.classes.names, table.sum(axis=0) / table.sum(), strict=True))
    assert 0.25 < shares["road"] < 0.45
    assert shares["road"] + shares["building"] + shares["sky"] + shares["vegetation"] > 0.7
    rare = (
        "pole",
        "traffic light",
        "traffic sign",
        "rider",
        "motorcycle",
        "bicycle",
        "person",
        "wall",
        "fence",
        "train",
    )
    assert all(0.0003 < shares[name] < 0.02 for name in rare), shares
    present = dict(zip(pool.classes.names, (table > 0).mean(axis=0), strict=True))
    assert all(present[name] < 0.6 for name in ("rider", "truck", "bus", "train", "motorcycle", "wall", "fence"))


def test_pixels_are_those_of_this_version_of_the_generator():
    """Fails when a pixel changes: then raise GENERATOR_VERSION and write the new digest here."""
    digest = hashlib.sha256()
    for index in range(8):
        for part in draw_scene(0, "train", index, 64, 96):
            digest.update(part.tobytes())
    assert (scenes.GENERATOR_VERSION, digest.hexdigest()[:16]) == (1, "0a03c88acf62b610")


@settings(max_examples=25)
@given(
    st.integers(0, 2**40),
    st.sampled_from(["train", "val"]),
    st.integers(0, 999),
    st.integers(32, 150),
    st.integers(32, 150),
)
def test_scenes_are_pure_functions_of_any_size(seed, split, index, height, width):
    image, mask = draw_scene(seed, split, index, height, width)
    assert image.shape == (height, width, 3)
    assert mask.max() < 19
    again = draw_scene(seed, split, index, height, width)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(mask, again[1])


def test_images_do_not_depend_on_how_many_there_are_and_splits_differ():
    small, large = SyntheticScenes(2, 2, 64, 96), SyntheticScenes(9, 9, 64, 96)
    np.testing.assert_array_equal(small.read_image("train", 1), large.read_image("train", 1))
    assert (small.read_image("train", 1) != small.read_image("val", 1)).any()
    assert (small.read_image("train", 0) != SyntheticScenes(2, 2, 64, 96, seed=1).read_image("train", 0)).any()


def test_cache_is_bounded_left_out_of_the_pickle_and_safe_from_writers(monkeypatch):
    monkeypatch.setattr(scenes, "CACHE_BYTES", 3 * 4 * 64 * 64)
    dataset = SyntheticScenes(8, 1, 64, 64)
    with ThreadPoolExecutor(4) as threads:
        images = list(threads.map(lambda index: dataset.read_image("train", index), range(8)))
    assert len(dataset._cache) == 3
    images[7][:] = 0
    assert dataset.read_image("train", 7).any()
    blob = pickle.dumps(dataset)
    assert len(blob) < 1000
    np.testing.assert_array_equal(pickle.loads(blob).read_image("train", 3), images[3])


def test_fingerprint_follows_the_parameters(monkeypatch):
    prints = {SyntheticScenes(**given).fingerprint() for given in
              ({}, {"seed": 1}, {"height": 64}, {"train_images": 4}, {"val_images": 4})}  # fmt: skip
    assert len(prints) == 5
    assert SyntheticScenes().fingerprint() in prints
    monkeypatch.setattr(scenes, "GENERATOR_VERSION", 99)
    assert SyntheticScenes().fingerprint() not in prints


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"train_images": 0}, "data.synthetic.train_images: 0 is too small; choose at least 1"),
        ({"height": 31}, "data.synthetic.height: 31 is too small; choose at least 32"),
        ({"seed": -1}, "data.synthetic.seed: -1 is too small; choose at least 0"),
    ],
)
def test_numbers_out_of_range(given, line):
    with pytest.raises(ConfigError) as caught:
        SyntheticScenes(**given)
    assert str(caught.value) == line
