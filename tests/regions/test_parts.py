"""A region table in parts is read by columns and by rows, and each part has to be what it should be."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from raylab.errors import DamagedError, StoreError
from raylab.files import Folder
from raylab.regions.parts import StoredTable, part_name
from raylab.regions.table import region_table

N, D = 20, 3
CUTS = (0, 8, 9, 20)
FEATURES = np.arange(N * D, dtype=np.float32).reshape(N, D)
ENTROPY = np.linspace(0, 1, N, dtype=np.float32)


@pytest.fixture
def stored(tmp_path: Path) -> StoredTable:
    table = region_table(np.arange(N), {"entropy": ENTROPY}, FEATURES)
    store = Folder(str(tmp_path))
    files = {}
    for first, stop in itertools.pairwise(CUTS):
        path = f"scores/{part_name(first, stop - first, N)}"
        store.write_table(path, table.slice(first, stop - first))
        files[path] = store.sha256(path)
    return StoredTable.of(store, files, N)


def test_columns_and_features_are_those_of_the_whole(stored: StoredTable) -> None:
    assert [(part.first, part.stop) for part in stored.parts] == [(0, 8), (8, 9), (9, 20)]
    columns = stored.columns()
    assert list(columns) == ["entropy"]
    np.testing.assert_array_equal(columns["entropy"], ENTROPY)
    features = stored.features()
    assert features.shape == (N, D)
    for first in range(N):
        for stop in range(first, N + 1):
            np.testing.assert_array_equal(features[first:stop], FEATURES[first:stop])
    assert stored.table().num_rows == N


def test_only_the_parts_that_hold_some_rows_are_read(stored: StoredTable) -> None:
    stored.store.delete(stored.parts[1].path)
    np.testing.assert_array_equal(stored.features()[9:12], FEATURES[9:12])
    with pytest.raises(StoreError, match=r"regions-0000000008\.parquet is missing"):
        stored.features()[8:9]


def test_a_part_that_is_damaged_or_not_these_rows_is_refused(stored: StoredTable) -> None:
    with pytest.raises(StoreError, match="its 8 rows are not the pool's 9 regions"):
        StoredTable.of(stored.store, {stored.parts[0].path: stored.parts[0].sha256}, 9).columns()
    moved = {stored.parts[2].path: stored.parts[2].sha256}
    with pytest.raises(StoreError, match="its 11 rows are not regions 9 to 20 in their order"):
        StoredTable.of(stored.store, moved, 21).columns()
    stored.store.write_table(stored.parts[2].path, region_table(np.arange(9, 20), {"entropy": ENTROPY[9:]}, None))
    with pytest.raises(DamagedError):
        stored.columns()
