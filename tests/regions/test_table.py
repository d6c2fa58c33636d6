from __future__ import annotations

import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.errors import StoreError
from raylab.regions import RegionGrid, Superpixels
from raylab.regions.table import (
    LEDGER_SCHEMA,
    columns_of,
    gathered,
    ledger_table,
    region_schema,
    region_table,
    regions_of,
    with_regions,
)
from tests.selection.pools import irregular

TERMS = ("phi", "uncertainty", "feature", "spatial")


def rows(n: int, d: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(n)
    features = None if d is None else rng.normal(size=(n, d)).astype(np.float32)
    return np.arange(n), rng.random(n, np.float32), features


@settings(max_examples=30)
@given(st.integers(1, 40), st.none() | st.integers(1, 9), st.integers(1, 3))
def test_columns_come_back_as_they_went_in(n, d, chunks):
    ids, uncertainty, features = rows(n, d)
    parts = np.array_split(np.arange(n), chunks)
    table = pa.concat_tables(
        region_table(
            ids[part],
            {"entropy": uncertainty[part], "margin": 2 * uncertainty[part]},
            None if features is None else features[part],
        )
        for part in parts
    )
    assert table.schema == region_schema(["entropy", "margin"], d)
    back, back_features = columns_of(table, n)
    np.testing.assert_array_equal(back["entropy"], uncertainty)
    np.testing.assert_array_equal(back["margin"], 2 * uncertainty)
    if d is None:
        assert back_features is None
    else:
        np.testing.assert_array_equal(back_features, features)


def test_a_slice_of_a_table_keeps_its_own_features():
    ids, uncertainty, features = rows(10, 3)
    before = region_table(
        np.r_[[90, 91], ids], {"u": np.r_[uncertainty[:2], uncertainty]}, np.r_[features[:2] + 7, features]
    )
    np.testing.assert_array_equal(columns_of(before.slice(2), 10)[1], features)


def test_columns_of_one_chunk_are_not_copied():
    ids, uncertainty, features = rows(16, 4)
    table = region_table(ids, {"uncertainty": uncertainty}, features)
    flat = table["feature"].chunk(0).flatten().to_numpy()
    assert np.shares_memory(columns_of(table, 16)[1], flat)


@pytest.mark.parametrize("d", [None, 3])
def test_parts_are_gathered_and_dropped_one_by_one(d):
    ids, uncertainty, features = rows(10, d)
    kept = []

    def parts():
        for part in (slice(0, 4), slice(4, 5), slice(5, 10)):
            assert all(one() is None for one in kept)
            table = region_table(ids[part], {"u": uncertainty[part]}, None if d is None else features[part])
            kept.append(weakref.ref(table))
            yield table
            del table

    assert gathered(parts(), 10).equals(region_table(ids, {"u": uncertainty}, features))
    assert len(kept) == 3


@pytest.mark.parametrize("ids", [[0, 1, 1, 3], [1, 0, 2, 3], [0, 1, 2], [0, 1, 2, 3, 4], [1, 2, 3, 4]])
def test_rows_that_are_not_the_pool_in_order_are_refused(ids):
    table = region_table(np.asarray(ids), {"u": np.zeros(len(ids), np.float32)}, None)
    with pytest.raises(StoreError, match=f"its {len(ids)} rows are not the pool's 4 regions"):
        columns_of(table, 4)


def test_the_ledger_says_where_each_pick_lies():
    regions = RegionGrid([(40, 50), (20, 20)], 16)
    terms = {name: np.asarray([3.0, 1.0]) + i for i, name in enumerate(TERMS)}
    table = ledger_table(regions, ["a", "b"], 3, np.asarray([15, 2]), terms)
    assert table.schema == LEDGER_SCHEMA
    assert table.to_pylist() == [
        {"round": 3, "order": 0, "region_id": 15, "image_index": 1, "image": "b", "top": 16, "left": 16, "height": 4,
         "width": 4, "phi": 3.0, "uncertainty": 4.0, "feature": 5.0, "spatial": 6.0, "cost": 1.0},
        {"round": 3, "order": 1, "region_id": 2, "image_index": 0, "image": "a", "top": 0, "left": 32, "height": 16,
         "width": 16, "phi": 1.0, "uncertainty": 2.0, "feature": 3.0, "spatial": 4.0, "cost": 1.0},
    ]  # fmt: skip


def test_the_ledger_of_the_random_draw_has_zero_terms():
    table = ledger_table(RegionGrid([(32, 32)], 16), ["a"], 0, np.asarray([3, 0]))
    assert table["region_id"].to_pylist() == [3, 0]
    assert all(table[name].to_pylist() == [0.0, 0.0] for name in TERMS)


def test_an_empty_ledger_keeps_the_schema():
    table = ledger_table(RegionGrid([(32, 32)], 16), ["a"], 1, np.empty(0, np.int64))
    assert (table.num_rows, table.schema) == (0, LEDGER_SCHEMA)


def test_the_ledger_says_the_bounding_box_of_a_superpixel():
    pool = irregular(np.random.default_rng(0), [(30, 40), (20, 20)], 8, "maps")
    ids = np.asarray([pool.n_regions - 1, 0])
    table = ledger_table(pool, ["a", "b"], 1, ids)
    assert table["image"].to_pylist() == ["b", "a"]
    boxes = np.stack([table[name].to_numpy() for name in ("top", "left", "height", "width")], axis=1)
    np.testing.assert_array_equal(boxes, pool.boxes(ids))


def stored(table: pa.Table) -> pa.Table:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return pq.read_table(pa.BufferReader(sink.getvalue()))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(8, 30)), min_size=1, max_size=6), st.booleans())
def test_a_table_carries_its_grid(sizes, through_parquet):
    regions = RegionGrid(sizes, 8)
    ids, uncertainty, features = rows(regions.n_regions, 2)
    table = with_regions(region_table(ids, {"u": uncertainty}, features), regions)
    assert table.column_names == ["region_id", "u", "feature"]
    back = regions_of(stored(table) if through_parquet else table, "here")
    assert isinstance(back, RegionGrid)
    np.testing.assert_array_equal(back.sizes, regions.sizes)
    assert back.region_size == 8
    columns_of(table, regions.n_regions)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(8, 30), st.integers(8, 30)), min_size=1, max_size=6), st.integers(0, 999))
def test_a_table_carries_its_superpixels(sizes, seed):
    pool = irregular(np.random.default_rng(seed), sizes, 8, "maps")
    ids, uncertainty, features = rows(pool.n_regions, 2)
    table = with_regions(region_table(ids, {"u": uncertainty}, features), pool)
    assert with_regions(table, pool).equals(table)
    table = stored(table)
    back = regions_of(table, "here")
    assert isinstance(back, Superpixels)
    assert back.region_size == 8
    np.testing.assert_array_equal(back.sizes, pool.sizes)
    np.testing.assert_array_equal(back.offset, pool.offset)
    for name in ("centres", "boxes", "pixels"):
        np.testing.assert_array_equal(getattr(back, name)(ids), getattr(pool, name)(ids))
    maps, back_features = columns_of(table, pool.n_regions)
    assert list(maps) == ["u"]
    np.testing.assert_array_equal(back_features, features)


def test_a_table_without_regions_is_told_by_its_place():
    with pytest.raises(StoreError, match=r"^a/regions\.parquet carries no regions"):
        regions_of(region_table(np.arange(3), {}, None), "a/regions.parquet")


def test_a_table_that_lost_columns_or_rows_of_its_superpixels_is_refused():
    pool = irregular(np.random.default_rng(1), [(30, 40), (20, 20)], 8, "maps")
    table = with_regions(pa.table({"region_id": np.arange(pool.n_regions)}), pool)
    with pytest.raises(StoreError, match="here lacks the column y"):
        regions_of(table.drop_columns(["y", "pixels"]), "here")
    for wrong in (table.slice(int(pool.offset[1])), table.take(np.arange(pool.n_regions)[::-1])):
        with pytest.raises(StoreError, match="not the regions of its 2 images in their order"):
            regions_of(wrong, "here")
