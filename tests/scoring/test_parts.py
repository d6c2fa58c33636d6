"""How a pool is cut into parts, and what is written of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raylab.errors import TrainingError
from raylab.files import Folder
from raylab.regions import RegionGrid
from raylab.regions.table import region_table, regions_of
from raylab.scoring import parts
from raylab.scoring.parts import PartWriter, bounds, check_finite, in_parts
from raylab.scoring.reduce import Moments, Projection, principal_components
from tests.selection.pools import irregular


@pytest.mark.parametrize(("least", "count"), [(1, 4), (13, 2), (36, 2), (1000, 1)])
def test_parts_are_whole_batches_in_the_pools_order(monkeypatch: pytest.MonkeyPatch, least: int, count: int) -> None:
    monkeypatch.setattr(parts, "PART", least)
    regions = RegionGrid([(32, 48)] * 6 + [(16, 16)], 16)
    batches = [[0, 1], [2, 3], [4, 5], [6]]
    found = list(in_parts(batches, regions))
    assert len(found) == count
    assert [batch for part in found for batch in part] == batches
    ends = [bounds(part, regions) for part in found]
    assert [first for first, _ in ends[1:]] == [stop for _, stop in ends[:-1]]
    assert (ends[0][0], ends[-1][1]) == (0, regions.n_regions)


def test_parts_of_superpixels_carry_their_geometry(tmp_path: Path) -> None:
    pool = irregular(np.random.default_rng(0), [(30, 40), (20, 20)], 8, "maps")
    store = Folder(str(tmp_path))
    cut = int(pool.offset[1])
    features = np.random.default_rng(1).normal(size=(pool.n_regions, 5)).astype(np.float32)
    table = region_table(np.arange(pool.n_regions), {}, features)
    write = PartWriter(store, "scores", pool)
    written = [write(table.slice(first, stop - first), None) for first, stop in ((0, cut), (cut, pool.n_regions))]
    whole = [store.read_table(f"scores/{part.name}", part.sha256) for part in written]
    back = regions_of(pa.concat_tables(whole), "x")
    ids = np.arange(pool.n_regions)
    np.testing.assert_array_equal(back.boxes(ids), pool.boxes(ids))
    np.testing.assert_array_equal(back.centres(ids), pool.centres(ids))


@pytest.mark.parametrize("column", ["entropy", "feature"])
def test_what_is_not_finite_is_named(column: str) -> None:
    values = {"entropy": np.ones(5, np.float32), "feature": np.ones((5, 2), np.float32)}
    values[column][[1, 3]] = np.nan, np.inf
    table = region_table(np.arange(5, 10), {"entropy": values["entropy"]}, values["feature"])
    with pytest.raises(TrainingError, match=rf"round-01: {column} is not finite in 2 of 5 regions"):
        check_finite(table, "round-01")


def test_the_projection_of_parts_is_that_of_the_whole() -> None:
    features = np.random.default_rng(2).gamma(0.3, size=(5000, 12)).astype(np.float32)
    whole = principal_components(features, 4)
    cut = [features[:1700], features[1700:1701], features[1701:]]
    projection = Projection.of([Moments.of(part) for part in cut], 4)
    np.testing.assert_allclose(np.concatenate([projection(part) for part in cut]), whole, atol=2e-4)
