"""The Arrow tables of regions: what scoring gives and selection takes, and the ledger of picks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylab.acquisition import PREDICTED_CLASS
from raylab.errors import DamagedError, StoreError
from raylab.regions.base import Regions, read_sizes_text
from raylab.regions.grid import RegionGrid
from raylab.regions.superpixels import BOX, GEOMETRY_COLUMNS, SUPERPIXELS, superpixels_of

LEDGER_SCHEMA = pa.schema(
    [
        ("round", pa.int32()),
        ("order", pa.int32()),
        ("region_id", pa.int64()),
        ("image_index", pa.int32()),
        ("image", pa.string()),
        ("top", pa.int32()),
        ("left", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("phi", pa.float64()),
        ("uncertainty", pa.float64()),
        ("feature", pa.float64()),
        ("spatial", pa.float64()),
        ("cost", pa.float64()),
    ]
)
"""One row a pick: where it lies, its potential phi and each scaled term at the time of the pick (Eq. 4), and what it
cost in the budget's unit."""

RESERVED_COLUMNS = {"region_id", "feature", PREDICTED_CLASS, *GEOMETRY_COLUMNS}
"""Columns of a region table that are no uncertainty."""


def region_schema(maps: Sequence[str], feature_size: int | None) -> pa.Schema:
    """Schema of the region table.

    Args:
        maps: names of the uncertainties, one float32 column each; `PREDICTED_CLASS` among them is int16.
        feature_size: d of the region features; None where they are not computed.
    """
    kinds = {PREDICTED_CLASS: pa.int16()}
    fields = [pa.field("region_id", pa.int64(), False)]
    fields += [pa.field(name, kinds.get(name, pa.float32()), False) for name in maps]
    if feature_size:
        # 32-bit list offsets are computed, not stored, for fixed-size lists: the values stay one flat buffer
        # that NumPy maps without a copy.
        fields.append(pa.field("feature", pa.list_(pa.float32(), feature_size), False))
    return pa.schema(fields)


def region_table(
    region_id: NDArray[np.int64], maps: Mapping[str, NDArray[Any]], features: NDArray[np.float32] | None
) -> pa.Table:
    """Rows of scored regions.

    Args:
        region_id: (n,) int64.
        maps: (n,) float32 unscaled uncertainties by name; (n,) int16 for `PREDICTED_CLASS`.
        features: (n, d) float32, or None.
    """
    columns: list[pa.Array] = [pa.array(region_id), *(pa.array(values) for values in maps.values())]
    if features is not None:
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1]))
    return pa.Table.from_arrays(columns, schema=region_schema([*maps], None if features is None else features.shape[1]))


def gathered(tables: Iterable[pa.Table], n_regions: int) -> pa.Table:
    """One region table of its parts, each copied to its place and dropped before the next one is asked for.

    What the parts hold would otherwise lie between the large arrays that computing the next one allocates and frees,
    so that the process could give none of that memory back.

    Args:
        tables: in the order of region_id; at least one.
        n_regions: rows of all of them together.
    """
    columns: dict[str, NDArray[Any]] = {}
    done = 0

    def place(table: pa.Table) -> int:
        maps, features = _columns(table)
        for name, values in {"region_id": table["region_id"].to_numpy(), **maps, "feature": features}.items():
            if values is not None:
                column = columns.setdefault(name, np.zeros((n_regions, *values.shape[1:]), values.dtype))
                column[done : done + len(values)] = values
        return done + len(table)

    for table in tables:
        done = place(table)
        del table
    features = columns.pop("feature", None)
    return region_table(columns.pop("region_id"), columns, features)


def columns_of(
    table: pa.Table, stop: int, first: int = 0
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32] | None]:
    """The maps and features of a whole pool, or of regions `first` .. `stop` - 1, in the order of region_id.

    Args:
        table: sorted by region_id, as `raylab.scoring` gives it.
        stop: how many regions the pool holds.
        first: of a part of it, its first.

    Returns:
        (n,) columns of numbers by name, and (n, d) float32 features or None; views where the table has one chunk.

    Raises:
        StoreError: the table's rows are not exactly these regions in order.
    """
    ids = table["region_id"].to_numpy()
    if not np.array_equal(ids, np.arange(first, stop)):
        whose = f"the pool's {stop} regions" if first == 0 else f"regions {first} to {stop - 1}"
        raise StoreError(f"region table: its {len(ids)} rows are not {whose} in their order")
    return _columns(table)


def _columns(table: pa.Table) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32] | None]:
    features = None
    if "feature" in table.column_names:
        column = table["feature"]
        # combine_chunks copies even a single chunk: some 200 MB on a pool of Cityscapes' size.
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        features = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
    scalars = [name for name in table.column_names if name not in ("region_id", "feature", *GEOMETRY_COLUMNS)]
    return {name: table[name].to_numpy() for name in scalars}, features


_GRID, _DIGEST = b"raylab.grid", b"raylab.sha256"


def with_regions(table: pa.Table, regions: Regions) -> pa.Table:
    """The same table, carrying the pool's geometry: it can be selected from on its own.

    A grid goes into the schema's metadata. Superpixels become columns as well: image_index, y and x of the centroid,
    top, left, height and width of the bounding box, and pixels.

    Args:
        table: one row a region, in the order of region_id; of a part of the pool too.
        regions: of the pool.
    """
    text = regions.sizes_text()
    key = _GRID
    if not isinstance(regions, RegionGrid):
        ids, key = table["region_id"].to_numpy(), SUPERPIXELS
        table = table.drop_columns([name for name in GEOMETRY_COLUMNS if name in table.column_names])
        values = [regions.image_of(ids), *regions.centres(ids).T, *regions.boxes(ids).T, regions.pixels(ids)]
        for (name, kind), column in zip(GEOMETRY_COLUMNS.items(), values, strict=True):
            table = table.append_column(pa.field(name, kind, False), pa.array(column).cast(kind))
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), key: text})
    return table.replace_schema_metadata({**table.schema.metadata, _DIGEST: _digest_of(table)})


def check_digest(table: pa.Table, uri: str) -> None:
    """Compare a table that no manifest names with the digest that it carries, if it does.

    Parquet's page checksums guard the values; this guards the footer too, which says where they lie and what they are.

    Args:
        table: as read.
        uri: of the table, for the message.

    Raises:
        DamagedError: it is not what `with_regions` gave.
    """
    digest = (table.schema.metadata or {}).get(_DIGEST)
    if digest is not None and digest != _digest_of(table):
        reason = "its values or its footer are not those that were written"
        raise DamagedError(f"{uri} is damaged ({reason}); restore it", reason)


def _digest_of(table: pa.Table) -> bytes:
    """Hexadecimal SHA-256 over the columns' names, types and values, and the pool's geometry."""
    metadata = table.schema.metadata or {}
    digest = hashlib.sha256(metadata.get(_GRID, b"") + b"\0" + metadata.get(SUPERPIXELS, b""))
    for field in table.schema:
        kind, rows = field.type, table[field.name]
        if pa.types.is_fixed_size_list(kind):  # Parquet gives what it holds another name
            kind = f"{kind.value_type}[{kind.list_size}]"
            rows = pa.chunked_array([chunk.flatten() for chunk in rows.chunks], field.type.value_type)
        digest.update(f"\0{field.name}\0{kind}\0{len(table)}\0".encode())
        if not pa.types.is_primitive(rows.type):
            digest.update(str(rows.to_pylist()).encode())
            continue
        for chunk in rows.chunks:
            digest.update(np.ascontiguousarray(chunk.to_numpy(zero_copy_only=False)).view(np.uint8).data)
    return digest.hexdigest().encode()


def regions_of(table: pa.Table, uri: str) -> Regions:
    """The geometry that a table carries.

    Args:
        table: from `with_regions`.
        uri: of the table, for the message.

    Returns:
        A `RegionGrid`, or `Superpixels` without label maps.

    Raises:
        StoreError: it carries none, or lacks columns of it.
    """
    metadata = table.schema.metadata or {}
    text = metadata.get(_GRID) or metadata.get(SUPERPIXELS)
    if text is None:
        raise StoreError(f"{uri} carries no regions; give one that raylab scored, a round's regions.parquet")
    sizes, region_size = read_sizes_text(text, uri)
    if _GRID in metadata:
        return RegionGrid(sizes, region_size)
    return superpixels_of(table, sizes, region_size, uri)


def ledger_table(
    regions: Regions,
    names: list[str],
    round_index: int,
    region_id: NDArray[np.int64],
    terms: dict[str, NDArray[np.float64]] | None = None,
    cost: NDArray[np.float64] | None = None,
) -> pa.Table:
    """The ledger rows of one round's picks, in their order.

    Args:
        regions: of the pool; a superpixel's row holds its bounding box.
        names: of the pool's images.
        round_index: t; 0 is the random draw.
        region_id: (k,) picks in order.
        terms: phi, uncertainty, feature and spatial, each (k,) float64; zeros where None (nothing was scored).
        cost: (k,) float64 in the budget's unit; ones where None (the budget counts regions).
    """
    ids = np.asarray(region_id, np.int64)
    image, boxes = regions.image_of(ids), regions.boxes(ids).reshape(-1, 4)
    zeros = np.zeros(len(ids))
    return pa.Table.from_pydict(
        {
            "round": np.full(len(ids), round_index, np.int32),
            "order": np.arange(len(ids), dtype=np.int32),
            "region_id": ids,
            "image_index": image.astype(np.int32),
            "image": [names[i] for i in image],
            **{name: boxes[:, i] for i, name in enumerate(BOX)},
            **{name: (terms or {}).get(name, zeros) for name in ("phi", "uncertainty", "feature", "spatial")},
            "cost": np.ones(len(ids)) if cost is None else cost,
        },
        schema=LEDGER_SCHEMA,
    )
