"""A scored pool, part by part: which images make a part, and what is written of it. Needs neither torch nor Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylab.errors import TrainingError
from raylab.files import Folder, parquet_bytes
from raylab.regions import Regions
from raylab.regions.parts import PART, part_name
from raylab.regions.table import columns_of, region_table, with_regions
from raylab.scoring.reduce import Moments, Projection


class Written(NamedTuple):
    """A part that was written.

    Attributes:
        name: of its file.
        bytes: size of the file.
        sha256: hexadecimal digest of its bytes.
    """

    name: str
    bytes: int
    sha256: str


Batch = list[int]
"""Indices of images that share a forward pass."""


def in_parts(batches: Iterable[Batch], regions: Regions) -> Iterator[list[Batch]]:
    """The batches of a pool, those of a part together.

    Args:
        batches: in the pool's order.
        regions: of the pool.
    """
    part: list[Batch] = []
    for batch in batches:
        part.append(batch)
        if regions.offset[batch[-1] + 1] - regions.offset[part[0][0]] >= PART:
            yield part
            part = []
    if part:
        yield part


def bounds(part: Sequence[Batch], regions: Regions) -> tuple[int, int]:
    """The first region of a part, and the one after its last."""
    return int(regions.offset[part[0][0]]), int(regions.offset[part[-1][-1] + 1])


def check_finite(table: pa.Table, where: str) -> None:
    """Whether every number of some rows of a region table is one that regions can be ranked by.

    Args:
        table: that scoring gave.
        where: the round, for the message.

    Raises:
        TrainingError: names the column and how many of its rows are not finite.
    """
    maps, features = _own_columns(table)
    columns = maps if features is None else {**maps, "feature": features.sum(axis=1)}
    for name, values in columns.items():
        if bad := len(values) - int(np.isfinite(values).sum()):
            raise TrainingError(
                f"{where}: {name} is not finite in {bad} of {len(values)} regions under the model that was trained; "
                "lower training.learning_rate"
            )


def moments(table: pa.Table) -> Moments:
    """What a part tells the projection; its features are there and finite."""
    _, features = _own_columns(table)
    assert features is not None
    return Moments.of(features)


def _own_columns(table: pa.Table) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32] | None]:
    """`columns_of` a part, which says itself where it begins."""
    first = table["region_id"][0].as_py()
    return columns_of(table, first + len(table), first)


@dataclass(frozen=True)
class PartWriter:
    """Writes the parts of a region table.

    Attributes:
        store: of the results.
        folder: where they go.
        regions: of the pool.
    """

    store: Folder
    folder: str
    regions: Regions

    def __call__(self, table: pa.Table, projection: Projection | None) -> Written:
        """Write a part, its features reduced; the file's name is a free one (`Folder.add`).

        Args:
            table: its rows in the order of region_id.
            projection: of the features; None leaves them as they are.

        Raises:
            StoreError: the rows are not in order, or the file cannot be written.
        """
        first = table["region_id"][0].as_py()
        if projection is not None:
            maps, features = _own_columns(table)
            assert features is not None
            table = region_table(table["region_id"].to_numpy(), maps, projection(features))
        content = parquet_bytes(with_regions(table, self.regions))
        name = part_name(first, len(table), self.regions.n_regions)
        path = self.store.add(f"{self.folder}/{name}", content)
        return Written(path.removeprefix(f"{self.folder}/"), len(content), hashlib.sha256(content).hexdigest())
