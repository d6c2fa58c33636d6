"""Every strategy's picks are those of Algorithm 1 as the paper writes it: the same ids in the same order."""

from __future__ import annotations

import math
import warnings
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raylab.acquisition import ALIASES, STRATEGIES, Acquisition, strategy
from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from raylab.selection import (
    GreedySelector,
    LocalShards,
    array_namespace,
    epochs,
    max_min,
    prefix_bounds,
    select,
)
from raylab.selection.reference import algorithm_1
from tests.selection import guarded
from tests.selection.pools import Case, acquisitions, cases, irregular

pytestmark = pytest.mark.filterwarnings("ignore:acquisition. a=.* is no metric")


def examples(count: int) -> settings:
    """As many cases, the same ones every time."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def check(case: Case, q: Acquisition, xp: ModuleType = np, block_bytes: int | None = None) -> None:
    ids, phi = algorithm_1(case.regions, q, case.k, **case.arguments)
    got = select(case.regions, q, case.k, xp=xp, block_bytes=block_bytes, **case.arguments)
    assert got.region_id.tolist() == ids.tolist()
    assert got.region_id.dtype == np.int64
    columns = (got.phi, got.uncertainty, got.feature, got.spatial)
    assert all(c.dtype == np.float64 and len(c) == len(ids) and np.isfinite(c).all() for c in columns)
    by_phi = len(ids) - int(q.random * len(ids) + 1e-9)
    weight = 0.5 if q.is_sum else 1.0
    total = weight * q.uncertainty * got.uncertainty + q.feature * got.feature + q.spatial * got.spatial
    np.testing.assert_allclose(got.phi[:by_phi], total[:by_phi], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got.phi, phi)


@pytest.mark.parametrize("name", [*STRATEGIES, *ALIASES])
@examples(100)
@given(case=cases())
def test_named_strategies(name: str, case: Case) -> None:
    check(case, strategy(name))


@examples(1200)
@given(case=cases(), q=acquisitions(), block=st.sampled_from([None, 1, 1000]))
def test_any_acquisition(small_epochs: None, case: Case, q: Acquisition, block: int | None) -> None:
    check(case, q, block_bytes=block)


@examples(300)
@given(case=cases(), q=acquisitions())
def test_nothing_of_numpy_reaches_device_arrays(small_epochs: None, case: Case, q: Acquisition) -> None:
    check(case, q, xp=guarded.namespace())


@examples(300)
@given(
    case=cases(),
    q=acquisitions(),
    at=st.integers(0, 300) | st.integers(0, 3000),
    times=st.sampled_from([1, 2, 3, 10, math.inf]),
    block=st.sampled_from([None, 1000]),
)
@pytest.mark.filterwarnings("ignore:out of memory on the GPU")
def test_out_of_memory_anywhere_changes_no_pick(
    small_epochs: None, case: Case, q: Acquisition, at: int, times: float, block: int | None
) -> None:
    with guarded.short_of_memory(at, times):
        check(case, q, xp=guarded.namespace(), block_bytes=block)


@pytest.mark.parametrize("name", ["entropy+spatial+feature", "entropy+spatial", "core-set-maxsum"])
def test_wherever_memory_runs_out(name: str) -> None:
    """At every single call of a selection; what the selector kept from the round before is not lost."""
    rng = np.random.default_rng(11)
    regions = RegionGrid([(24, 24), (20, 12)], 8)
    arguments = {
        "uncertainty": rng.random(regions.n_regions),
        "features": rng.normal(size=(regions.n_regions, 3)).astype(np.float32),
    }
    want = select(regions, strategy(name), 4, labelled=[1, 5, 8], **arguments)
    at = 0
    while True:
        shards = LocalShards(regions, strategy(name), 1, guarded.namespace())
        selector = GreedySelector(regions, strategy(name), shards)
        selector.label([1, 5])
        selector.select(2, **arguments)
        selector.label([8])
        with guarded.short_of_memory(at, 3), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = selector.select(4, **arguments)
            reached = guarded.calls_failed()
        assert got.region_id.tolist() == want.region_id.tolist()
        assert got.phi.tolist() == want.phi.tolist()
        assert selector.select(4, **arguments).region_id.tolist() == want.region_id.tolist()
        assert bool(caught) == (shards.shards[0].xp is np)
        if not reached:
            break
        at += 1
    assert at > 10


@pytest.mark.gpu
@pytest.mark.skipif(array_namespace() is np, reason="no GPU answers")
@examples(300)
@given(case=cases(), q=acquisitions())
def test_on_the_gpu(case: Case, q: Acquisition) -> None:
    check(case, q, xp=array_namespace())


@examples(300)
@given(case=cases(), q=acquisitions(), cut=st.floats(0, 1))
def test_rounds_give_what_one_call_gives(case: Case, q: Acquisition, cut: float) -> None:
    """The state kept between rounds is the state made anew."""
    selector = GreedySelector(case.regions, q)
    half = int(cut * len(case.labelled))
    arguments = {name: value for name, value in case.arguments.items() if name != "labelled"}
    selector.label(case.labelled[:half])
    selector.select(case.k, **arguments)
    selector.label(case.labelled)  # some are there already
    assert selector.labelled.tolist() == sorted(case.labelled.tolist())
    ids, _ = algorithm_1(case.regions, q, case.k, **case.arguments)
    assert selector.select(case.k, **arguments).region_id.tolist() == ids.tolist()


_IN_ORDER = [name for name in (*STRATEGIES, *ALIASES) if not strategy(name).random and "maxsum" not in name]


@pytest.mark.parametrize("name", [*_IN_ORDER, "entropy+spatial+feature,set_function=max_sum_raw"])
def test_fewer_picks_are_the_first_of_more(name: str) -> None:
    rng = np.random.default_rng(3)
    regions = RegionGrid([(40, 60), (64, 64), (50, 33)] * 3, 8)
    arguments = {
        "labelled": rng.permutation(regions.n_regions)[:20],
        "uncertainty": rng.random(regions.n_regions),
        "features": rng.normal(size=(regions.n_regions, 6)).astype(np.float32),
        "predicted_class": rng.integers(0, 5, regions.n_regions),
    }
    more = select(regions, strategy(name), 150, **arguments)
    for k in (1, 10, 77):
        assert select(regions, strategy(name), k, **arguments).region_id.tolist() == more.region_id[:k].tolist()


@pytest.mark.parametrize("name", ["core-set", "entropy+feature", "entropy+spatial+feature", "entropy+spatial"])
@pytest.mark.parametrize("kind", ["spectrum", "far from the origin", "near ties", "isotropic", "superpixels"])
def test_larger_pools(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of regions and many dimensions: the prefix bounds and the nested epochs as they run in earnest."""
    monkeypatch.setattr(prefix_bounds, "FROM_MEMBERS", 256)
    monkeypatch.setattr(epochs, "EPOCH", 300)
    monkeypatch.setattr(max_min, "INNER", 40)
    rng = np.random.default_rng(7)
    sizes = [(64, 128), (70, 100), (32, 64)] * 20
    regions: Regions = RegionGrid(sizes, 8)
    if kind == "superpixels":
        regions = irregular(rng, sizes, 8, "places")
    n, d = regions.n_regions, 96
    table = rng.normal(size=(n, d))
    if kind == "spectrum":
        table *= np.arange(1, d + 1) ** -1.0
    elif kind == "far from the origin":
        table = 1000 + 0.01 * table
    elif kind == "near ties":
        table = np.repeat(table[: n // 8 + 1], 8, axis=0)[:n] + 1e-6 * rng.normal(size=(n, d))
    case = Case(regions, 150, rng.permutation(n)[:150], rng.random(n), table.astype(np.float32), 0)
    got = select(regions, strategy(name), case.k, **case.arguments)
    ids, phi = algorithm_1(regions, strategy(name), case.k, **case.arguments)
    assert got.region_id.tolist() == ids.tolist()
    assert got.phi.tolist() == phi.tolist()
