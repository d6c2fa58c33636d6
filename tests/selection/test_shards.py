"""A pool in several shards gives the picks of a pool in one, whatever the strategy, with every term, bit for bit."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylab.acquisition import ALIASES, STRATEGIES, Acquisition, strategy
from raylab.config import DataConfig
from raylab.data import open_dataset
from raylab.errors import ConfigError, ResourceError
from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from raylab.selection import GreedySelector, LocalShards, Selection, epochs, max_min, prefix_bounds, select
from raylab.selection.shard import Shard
from raylab.selection.shards import cut
from tests.selection import guarded
from tests.selection.pools import Case, acquisitions, cases, irregular
from tests.selection.test_exact import check, examples

pytestmark = pytest.mark.filterwarnings("ignore:acquisition. a=.* is no metric")


class Posted(LocalShards):
    """Shards that are asked as in other processes: what arrives is a copy, and may not be written to.

    Attributes:
        asked: the messages so far, by their name.
        received: the largest answer in bytes.
        lost: how many of the next messages find a shard's process replaced.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[str] = []
        self.received = 0
        self.lost: dict[str, int] = {}
        self._again = lambda i: Shard(args[0], args[1], self.images[i], self.shards[i].xp)

    def ask(self, message: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        self.asked += [message] * sum(given is not None for given in arguments)
        if self.lost.get(message):
            self.lost[message] -= 1
            self.shards[-1] = self._again(len(self.shards) - 1)
        answers = [posted(answer) for answer in super().ask(message, [posted(given) for given in arguments])]
        self.received = max([self.received, *(len(pickle.dumps(answer)) for answer in answers)])
        return answers


def posted(value: Any) -> Any:
    """The same after a way through the object store."""
    assert not isinstance(value, guarded.DeviceArray)
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
        return value
    if isinstance(value, tuple | list):
        items = [posted(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return pickle.loads(pickle.dumps(value))


def selected(
    case: Case, q: Acquisition, count: int, xp: ModuleType = np, block: int | None = None
) -> tuple[Selection, GreedySelector]:
    selector = GreedySelector(case.regions, q, Posted(case.regions, q, count, xp, block))
    arguments = case.arguments
    selector.label(arguments.pop("labelled"))
    return selector.select(case.k, **arguments), selector


def same(one: Selection, other: Selection) -> bool:
    return all(getattr(one, f.name).tobytes() == getattr(other, f.name).tobytes() for f in fields(Selection))


@examples(400)
@given(
    case=cases(most_images=9), q=acquisitions(), count=st.sampled_from([2, 3, 8]), block=st.sampled_from([None, 1000])
)
def test_any_acquisition(small_epochs: None, case: Case, q: Acquisition, count: int, block: int | None) -> None:
    check(case, q)
    assert same(selected(case, q, count, block=block)[0], select(case.regions, q, case.k, **case.arguments))


@pytest.mark.parametrize("name", [*STRATEGIES, *ALIASES])
@examples(10)
@given(case=cases(most_images=9), count=st.integers(2, 9))
def test_named_strategies(name: str, case: Case, count: int) -> None:
    whole = select(case.regions, strategy(name), case.k, **case.arguments)
    assert same(selected(case, strategy(name), count)[0], whole)


@examples(80)
@given(case=cases(), q=acquisitions(), at=st.integers(0, 2000), times=st.sampled_from([1, 3, 10, math.inf]))
@pytest.mark.filterwarnings("ignore:out of memory on the GPU")
def test_devices_that_run_out_of_memory(small_epochs: None, case: Case, q: Acquisition, at: int, times: float) -> None:
    """Nothing but NumPy's arrays leaves a shard, and each takes less by itself."""
    with guarded.short_of_memory(at, times):
        found = selected(case, q, 3, guarded.namespace())[0]
    assert same(found, select(case.regions, q, case.k, **case.arguments))


@examples(60)
@given(case=cases(), q=acquisitions(), cut=st.floats(0, 1))
def test_rounds_give_what_one_call_gives(case: Case, q: Acquisition, cut: float) -> None:
    selector = GreedySelector(case.regions, q, Posted(case.regions, q, 3))
    arguments = case.arguments
    labelled = arguments.pop("labelled")
    selector.label(labelled[: int(cut * len(labelled))])
    selector.select(case.k, **arguments)
    selector.label(labelled)
    assert same(selector.select(case.k, **arguments), select(case.regions, q, case.k, **case.arguments))


def pool(seed: int, sizes: list[tuple[int, int]], d: int, kind: str, k: int, labelled: int) -> Case:
    rng = np.random.default_rng(seed)
    regions: Regions = irregular(rng, sizes, 8, "places") if kind == "superpixels" else RegionGrid(sizes, 8)
    n = regions.n_regions
    table = rng.normal(size=(n, d))
    if kind == "spectrum":
        table *= np.arange(1, d + 1) ** -1.0
    elif kind == "duplicates":
        table = table[rng.integers(0, n // 4 + 1, n)]
    elif kind == "near ties":
        table = np.repeat(table[: n // 8 + 1], 8, axis=0)[:n] + 1e-6 * rng.normal(size=(n, d))
    u = rng.random(n) if seed % 2 else rng.integers(0, 12, n) / 11
    classes = rng.integers(0, 5, n)
    return Case(regions, k, rng.permutation(n)[:labelled], u, table.astype(np.float32), seed, classes)


_KINDS = ("spectrum", "near ties", "duplicates", "superpixels")
_NAMES = [*STRATEGIES, *ALIASES, "entropy+spatial+feature,c=1", "entropy+spatial+feature,set_function=max_sum_raw"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_300_pools(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of regions, with the prefix bounds and the nested epochs as they run in earnest."""
    monkeypatch.setattr(prefix_bounds, "FROM_MEMBERS", 128)
    monkeypatch.setattr(epochs, "EPOCH", 200)
    monkeypatch.setattr(max_min, "INNER", 30)
    rng = np.random.default_rng(seed)
    sizes = [(int(h), int(w)) for h, w in rng.integers(8, 160, (int(rng.integers(8, 30)), 2))]
    case = pool(seed, sizes, int(rng.choice([2, 16, 64, 128])), _KINDS[seed % 4], 150, int(rng.choice([0, 3, 200])))
    q = strategy(_NAMES[seed % len(_NAMES)])
    one = selected(case, q, 1)[0]
    for count in (2, 4, 8):
        assert same(selected(case, q, count)[0], one)


@pytest.mark.parametrize("name", ["entropy+feature", "entropy+spatial+feature", "core-set-maxsum"])
def test_exchanges_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two messages a shard an epoch and a few to begin with; none that the coordinator receives grows with the pool."""
    monkeypatch.setattr(epochs, "EPOCH", 64)
    monkeypatch.setattr(max_min, "INNER", 16)
    sizes = {}
    for images in (20, 80):
        case = pool(1, [(64, 64)] * images, 16, "spectrum", 100, 50)
        found, selector = selected(case, strategy(name), 4)
        shards = selector.shards
        assert isinstance(shards, Posted)
        assert len(found) == 100
        assert selector.exchanges == 4 + 2 * selector.epochs - 1
        assert len(shards.asked) <= 4 * selector.exchanges
        assert selector.epochs < 100
        sizes[images] = shards.received
    assert sizes[80] < 1.2 * sizes[20]


def test_without_features_the_shards_are_asked_once() -> None:
    case = pool(1, [(64, 64)] * 20, 16, "spectrum", 100, 50)
    assert selected(case, strategy("entropy+spatial"), 4)[1].exchanges == 1
    assert selected(case, strategy("entropy"), 4)[1].exchanges == 0


@pytest.mark.parametrize("message", ["load", "meet", "start_max_min", "survivors", "settle", "end", "by_images"])
def test_a_shard_whose_process_is_replaced(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "EPOCH", 64)
    monkeypatch.setattr(max_min, "INNER", 16)
    case = pool(3, [(64, 64)] * 20, 8, "spectrum", 300, 50)
    q = strategy("entropy+spatial" if message == "by_images" else "entropy+spatial+feature")
    shards = Posted(case.regions, q, 3)
    selector = GreedySelector(case.regions, q, shards)
    arguments = case.arguments
    selector.label(arguments.pop("labelled"))
    shards.lost = {message: 1}
    assert same(selector.select(case.k, **arguments), selected(case, q, 1)[0])
    shards.lost = {message: 10**9}
    if message in ("load", "by_images"):
        selector.select(case.k, **arguments)  # they need nothing of what came before
    else:
        with pytest.raises(ResourceError, match=r"begun 8 times a shard, in vain \(a process"):
            selector.select(case.k, **arguments)


def test_a_feature_that_is_not_finite_is_found_in_any_shard() -> None:
    case = pool(3, [(64, 64)] * 4, 8, "spectrum", 3, 5)
    case.features[-1, -1] = np.nan
    with pytest.raises(ConfigError, match="features: not all"):
        selected(case, strategy("core-set"), 3)


def test_shards_are_whole_images_of_about_as_many_regions() -> None:
    regions = RegionGrid([(8, 8)] * 30 + [(64, 64)] * 4 + [(8, 80)], 8)
    for count in range(1, 50):
        parts = cut(regions, count)
        assert len(parts) <= min(count, regions.n_images)
        assert [0, *(stop for _, stop in parts)] == [*(first for first, _ in parts), regions.n_images]
        sizes = [int(regions.offset[stop] - regions.offset[first]) for first, stop in parts]
        assert min(sizes) > 0
        assert max(sizes) <= regions.n_regions / count + 2 * 64


@pytest.mark.parametrize("kind", ["grid", "places"])
def test_a_part_has_the_regions_of_its_images(kind: str) -> None:
    sizes = [(20, 30), (8, 40), (25, 9), (16, 16)]
    regions: Regions = RegionGrid(sizes, 8)
    if kind == "places":
        regions = irregular(np.random.default_rng(0), sizes, 8, "places")
    part = regions.part(1, 3)
    first, stop = regions.offset[[1, 3]].tolist()
    ids = np.arange(first, stop)
    assert part.n_regions == len(ids)
    for name in ("boxes", "pixels", "centres"):
        assert getattr(part, name)(ids - first).tolist() == getattr(regions, name)(ids).tolist()
    assert (part.image_of(ids - first) + 1).tolist() == regions.image_of(ids).tolist()


def tiles_of(camvid: Path, k: int) -> Case:
    """CamVid's images in tiles: their colours in 6 x 6 blocks as features, the spread of their brightness as u(x)."""
    dataset = open_dataset(DataConfig(name="camvid", root=str(camvid)))
    size, side = 32, 6
    regions = RegionGrid(dataset.image_sizes("train"), size)
    features, spread = [], []
    for index in range(regions.n_images):
        image = dataset.read_image("train", index).astype(np.float32)
        rows, cols = int(regions.rows[index]), int(regions.cols[index])
        image = np.pad(image, ((0, rows * size - len(image)), (0, cols * size - image.shape[1]), (0, 0)), mode="edge")
        tiles = image.reshape(rows, size, cols, size, 3).swapaxes(1, 2).reshape(rows * cols, size, size, 3)
        blocks = tiles[:, : side * (size // side), : side * (size // side)]
        blocks = blocks.reshape(len(tiles), side, size // side, side, size // side, 3).mean(axis=(2, 4))
        features.append(blocks.reshape(len(tiles), -1) / 255)
        spread.append(tiles.mean(axis=3).std(axis=(1, 2)))
    labelled = np.random.default_rng(0).permutation(regions.n_regions)[:1000]
    return Case(regions, k, labelled, np.concatenate(spread), np.concatenate(features), 0)


@pytest.mark.slow
def test_camvid(camvid: Path) -> None:
    case = tiles_of(camvid, 2000)
    for name in ("core-set", "entropy+feature", "entropy+spatial", "entropy+spatial+feature", "core-set-maxsum"):
        one = selected(case, strategy(name), 1)[0]
        for count in (2, 4, 8):
            found, selector = selected(case, strategy(name), count)
            assert same(found, one)
            print(f"{name}: P = {count}, {selector.exchanges} exchanges, {selector.epochs} epochs, {len(found)} picks")
