"""Superpixels: label maps that partition images, geometry counted from them, built once and opened for ever."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab import pool
from raylab.config import BudgetConfig, RegionConfig, RunConfig
from raylab.errors import ConfigError, StoreError
from raylab.files import Folder
from raylab.pool import known_regions, open_or_build, pool_regions
from raylab.regions import RegionGrid, Regions, Superpixels
from raylab.regions.superpixels import decode_labels, encode_labels, geometry_of, joined
from raylab.runs import Inputs, resolve
from tests.selection.pools import label_map

SIZES = [(48, 64), (48, 64), (40, 33), (64, 48), (48, 64)]
FINGERPRINT = "0123456789abcdef" * 4
RUN = resolve(RunConfig(regions=RegionConfig(size=8, shape="superpixels")), Inputs(FINGERPRINT))


class Images:
    """Soft blobs of colour; counts how often each is read."""

    def __init__(self, sizes: list[tuple[int, int]] = SIZES) -> None:
        self.sizes, self.reads = sizes, [0] * len(sizes)

    def image_names(self, split: str) -> list[str]:
        return [f"{split}-{i}" for i in range(len(self.sizes))]

    def image_sizes(self, split: str) -> np.ndarray:
        return np.array(self.sizes, np.int32).reshape(-1, 2)

    def read_image(self, split: str, index: int) -> np.ndarray:
        self.reads[index] += 1
        rng = np.random.default_rng(index)
        labels = label_map(rng, *self.sizes[index], 12)
        return rng.integers(0, 256, (labels.max() + 1, 3)).astype(np.uint8)[labels]

    def fingerprint(self) -> str:
        raise AssertionError("the pool is read once more")


def build(
    store: Folder, images: Any = None, progress: Any = None, size: int = 8, compactness: float = 10.0
) -> Superpixels:
    return open_or_build(images or Images(), FINGERPRINT, store, size, compactness, progress)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A store, and files of two images each."""
    monkeypatch.setattr(pool, "PART", 2)
    return Folder(str(tmp_path))


FOLDER = "regions/superpixels-N8-c10-0123456789ab"


def check_against_counting(pool: Regions) -> None:
    """Everything that regions say of themselves, against their label maps."""
    assert pool.offset.tolist() == [0, *np.cumsum([pool.label_map(i).max() + 1 for i in range(pool.n_images)])]
    for image, (height, width) in enumerate(pool.sizes.tolist()):
        labels = pool.label_map(image)
        assert (labels.shape, labels.dtype) == ((height, width), np.int32)
        ids = np.arange(pool.offset[image], pool.offset[image + 1])
        assert np.unique(labels).tolist() == list(range(len(ids)))
        assert (pool.image_of(ids) == image).all()
        for local, region in enumerate(ids.tolist()):
            y, x = np.nonzero(labels == local)
            assert pool.boxes([region]).tolist() == [[y.min(), x.min(), np.ptp(y) + 1, np.ptp(x) + 1]]
            assert pool.pixels([region]).tolist() == [len(y)]
            assert np.array_equal(pool.covered(image, [region]), labels == local)
        some = ids[:: max(1, len(ids) // 3)]
        others = np.setdiff1d(np.arange(pool.n_regions), ids)
        assert np.array_equal(pool.covered(image, np.r_[others, some]), np.isin(labels, some - ids[0]))
        assert not pool.covered(image, []).any()
    ids = np.arange(pool.n_regions)
    assert pool.n_pixels == pool.pixels(ids).sum() == sum(h * w for h, w in pool.sizes.tolist())
    assert (pool.boxes(ids).dtype, pool.pixels(ids).dtype, pool.centres(ids).dtype) == (np.int32, np.int64, np.float64)
    assert pool.boxes(ids.reshape(1, -1)).shape == (1, len(ids), 4)
    assert pool.centres([]).shape == (0, 2)


def test_superpixels_partition_every_image(store: Folder) -> None:
    pool = build(store)
    assert pool.sizes.tolist() == [list(size) for size in SIZES]
    assert pool.region_size == 8
    check_against_counting(pool)
    for image in range(pool.n_images):
        labels = pool.label_map(image)
        for local, (y, x) in enumerate(pool.centres(np.arange(pool.offset[image], pool.offset[image + 1]))):
            where = np.argwhere(labels == local) + 0.5
            np.testing.assert_allclose([y, x], where.mean(axis=0), rtol=1e-14)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(6, 20)), min_size=1, max_size=3))
def test_a_grid_says_the_same_of_itself(sizes: list[tuple[int, int]]) -> None:
    regions = RegionGrid(sizes, 6)
    check_against_counting(regions)
    row, col = regions.row_col(np.arange(regions.n_regions))
    np.testing.assert_array_equal(regions.centres(np.arange(regions.n_regions)), np.c_[6 * row + 3, 6 * col + 3])


def test_geometry_of_tiles_is_that_of_the_grid() -> None:
    regions = RegionGrid([(32, 48)], 16)
    counted, ids = geometry_of(regions.label_map(0)), np.arange(6)
    assert counted.counts.tolist() == [6]
    for column, expected in ((counted.centres, regions.centres(ids)), (counted.boxes, regions.boxes(ids))):
        np.testing.assert_array_equal(column, expected)
    np.testing.assert_array_equal(counted.pixels, regions.pixels(ids))


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 7, 65536]), st.integers(0, 1000))
def test_label_maps_survive_their_encoding(height: int, width: int, regions: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, regions, (height, width)).astype(np.int32)
    back = decode_labels(encode_labels(labels))
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, labels)


def test_built_once_and_the_same_for_ever(store: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    images, notes = Images(), list[tuple[Any, ...]]()
    first = build(store, images, progress=lambda *note: notes.append(note))
    assert images.reads == [1] * 5
    assert notes[-1] == ("regions", 5, 5)
    assert all(stage == "regions" and 0 <= done <= total == 5 for stage, done, total, *_ in notes)

    def no_slic(*args: object) -> None:
        raise AssertionError("segmented again")

    monkeypatch.setattr(pool, "segment", no_slic)
    monkeypatch.setattr(pool, "_version", lambda: "99")
    monkeypatch.setattr(pool, "PART", 3)
    images = Images()
    again, only_opened = build(store, images), known_regions(RUN, store)
    assert images.reads == [0] * 5
    for other in (again, only_opened):
        assert other.offset.tolist() == first.offset.tolist()
        ids = np.arange(first.n_regions)
        np.testing.assert_array_equal(other.centres(ids), first.centres(ids))
        for image in range(5):
            np.testing.assert_array_equal(other.label_map(image), first.label_map(image))


def test_another_size_or_compactness_is_another_folder(store: Folder) -> None:
    build(store)
    assert build(store, size=16, compactness=0.5).n_regions != build(store).n_regions
    assert store.list("regions") == ["superpixels-N16-c0.5-0123456789ab", "superpixels-N8-c10-0123456789ab"]


def test_pickles_as_its_place(store: Folder) -> None:
    pool = build(store)
    pool.label_map(0)
    data = pickle.dumps(pool)
    assert len(data) < 500
    other = pickle.loads(data)
    np.testing.assert_array_equal(other.boxes(np.arange(other.n_regions)), pool.boxes(np.arange(pool.n_regions)))
    np.testing.assert_array_equal(other.label_map(4), pool.label_map(4))


def test_lies_at_any_uri() -> None:
    check_against_counting(build(Folder(f"memory://{uuid4().hex}")))


def test_label_maps_are_not_to_be_written_to(store: Folder) -> None:
    with pytest.raises(ValueError, match="read-only"):
        build(store).label_map(0)[0, 0] = 1


def test_a_stopped_build_goes_on_where_it_stopped(store: Folder) -> None:
    class Stopped(Images):
        def read_image(self, split: str, index: int) -> np.ndarray:
            if index == 3:
                raise KeyboardInterrupt
            return super().read_image(split, index)

    with pytest.raises(KeyboardInterrupt):
        build(store, Stopped())
    assert store.list(FOLDER) == ["maps-00000.parquet"]
    with pytest.raises(StoreError, match="are not there"):
        known_regions(RUN, store)
    images = Images()
    pool = build(store, images)
    assert images.reads == [0, 0, 1, 1, 1]
    store.delete(FOLDER)
    whole = build(store)
    for image in range(5):
        np.testing.assert_array_equal(pool.label_map(image), whole.label_map(image))


@pytest.mark.parametrize("how", ["half a file", "another scikit-image", "other images"])
def test_parts_that_do_not_fit_are_made_again(store: Folder, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = f"{FOLDER}/maps-00000.parquet"
    if how == "another scikit-image":
        with monkeypatch.context() as patch:
            patch.setattr(pool, "_version", lambda: "0.1")
            build(store)
    else:
        build(store, Images([(16, 16)] * 1 + SIZES[:4]) if how == "other images" else None)
    store.delete(f"{FOLDER}/superpixels.json")
    if how == "half a file":
        store.write_bytes(part, store.read_bytes(part)[:100])
    if how == "other images":
        names = [f"x{i}" for i in range(5)]
        monkeypatch.setattr(Images, "image_names", lambda self, split: names)
    images = Images()
    check_against_counting(build(store, images))
    assert images.reads == ([1, 1, 0, 0, 0] if how == "half a file" else [1] * 5)


@pytest.mark.parametrize("name", ["geometry.parquet", "maps-00001.parquet"])
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_committed_file_that_is_damaged_is_refused(store: Folder, name: str, how: str) -> None:
    build(store)
    path = f"{FOLDER}/{name}"
    data = store.read_bytes(path)
    store.delete(path)
    if how == "cut":
        store.write_bytes(path, data[:-20])
    with pytest.raises(StoreError, match=rf"{name} is not the file that was committed; restore it, or delete"):
        build(store)


def test_a_manifest_that_is_none_is_refused(store: Folder) -> None:
    build(store)
    store.write_bytes(f"{FOLDER}/superpixels.json", b"[]")
    with pytest.raises(StoreError, match=r"superpixels\.json is no manifest of superpixels"):
        build(store)


@pytest.mark.parametrize("how", ["gone", "no parquet", "another map"])
def test_a_map_that_is_damaged_while_open_is_told(store: Folder, how: str) -> None:
    pool = build(store)
    path = f"{FOLDER}/maps-00001.parquet"
    if how == "another map":
        store.write_bytes(path, store.read_bytes(f"{FOLDER}/maps-00000.parquet"))
    else:
        store.delete(path)
        if how == "no parquet":
            store.write_bytes(path, b"PAR1 and so on")
    with pytest.raises(StoreError, match=r"maps-00001\.parquet.*(is missing|damaged)"):
        pool.label_map(2)


def test_geometry_alone_has_no_maps() -> None:
    labels = label_map(np.random.default_rng(0), 20, 30, 5)
    pool = Superpixels([(20, 30)], 8, joined([geometry_of(labels)]))
    for ask in (lambda: pool.label_map(0), lambda: pool.covered(0, [0])):
        with pytest.raises(StoreError, match="only their geometry is known"):
            ask()
    assert pickle.loads(pickle.dumps(pool)).boxes([1]).tolist() == pool.boxes([1]).tolist()


def test_what_cannot_be_is_said_before_anything_is_computed(store: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MOST", 5)
    with pytest.raises(ConfigError, match=r"regions.size: 8 gives \d+ superpixels an image"):
        build(store)


def test_a_pool_without_images(store: Folder) -> None:
    pool = build(store, Images([]))
    assert (pool.n_images, pool.n_regions, pool.n_pixels) == (0, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (5, 40)])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_small_images_have_at_least_one(size: tuple[int, int], n: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    labels = pool.segment(image, n, 10.0)
    assert labels.shape == size
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))


def test_a_grid_is_opened_without_a_store() -> None:
    config = RunConfig(regions=RegionConfig(size=16), budget=BudgetConfig(initial=1, rounds=()))
    regions = pool_regions(resolve(config, Inputs(FINGERPRINT)), Images(), None)  # type: ignore[arg-type]
    assert isinstance(regions, RegionGrid)
    assert regions.n_regions == RegionGrid(SIZES, 16).n_regions
