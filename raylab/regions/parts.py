"""A region table in parts: Parquet files of whole images in the order of region_id, so that nobody must hold it all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylab.files import Folder
from raylab.regions.table import columns_of

PART = 65_536
"""Regions that a part holds at least, the last one excepted; it ends with an image."""


def part_name(first: int, rows: int, n_regions: int) -> str:
    """The file of a part; its name says the first region, and sorts in the parts' order.

    Example:
        >>> part_name(0, 12, 12), part_name(65_600, 400, 66_000)
        ('regions.parquet', 'regions-0000065600.parquet')
    """
    return "regions.parquet" if rows == n_regions else f"regions-{first:010d}.parquet"


def first_of(name: str) -> int | None:
    """The first region of a part by the name of its file; None where that is none.

    Example:
        >>> [first_of(name) for name in ("regions.parquet", "regions-0000065600.2.parquet", "ledger.parquet")]
        [0, 65600, None]
    """
    found = re.fullmatch(r"regions(?:-(\d{10}))?(?:\.\d+)?\.parquet", name)
    return None if found is None else int(found[1] or 0)


class Part(NamedTuple):
    """A part that was committed.

    Attributes:
        path: below the storage root.
        sha256: that its bytes must have.
        first: its first region_id.
        stop: the one after its last.
    """

    path: str
    sha256: str
    first: int
    stop: int


@dataclass(frozen=True)
class StoredTable:
    """The region table of a round as it lies in the store; a part is read when it is asked for.

    Attributes:
        store: of the results.
        parts: in their order.
    """

    store: Folder
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, store: Folder, files: Mapping[str, str], n_regions: int) -> StoredTable:
        """The one that some files hold.

        Args:
            store: of the results.
            files: SHA-256 of each by its path.
            n_regions: of the pool.
        """
        firsts = {first_of(path.rpartition("/")[2]) or 0: path for path in files}
        stops = [*sorted(firsts)[1:], n_regions]
        parts = (
            Part(firsts[first], files[firsts[first]], first, stop)
            for first, stop in zip(sorted(firsts), stops, strict=True)
        )
        return cls(store, tuple(parts))

    @property
    def n_regions(self) -> int:
        """Number of its rows."""
        return self.parts[-1].stop

    def columns(self) -> dict[str, NDArray[Any]]:
        """(n,) columns of numbers by name, the features excepted.

        Raises:
            StoreError: a part is missing, damaged or not the regions that it should be.
        """
        first = self.parts[0].path
        with self.store.parquet(first) as file:
            names = [name for name in file.schema_arrow.names if name != "feature"]
        found = [columns_of(table, part.stop, part.first)[0] for part, table in self._read(self.parts, names)]
        return {name: np.concatenate([maps[name] for maps in found]) for name in found[0]}

    def features(self) -> StoredFeatures:
        """Its features, read by slices; raises as `columns`."""
        with self.store.parquet(self.parts[0].path) as file:
            dimension = file.schema_arrow.field("feature").type.list_size
        return StoredFeatures(self, dimension)

    def table(self) -> pa.Table:
        """All of it; raises as `columns`."""
        return pa.concat_tables(table for _, table in self._read(self.parts))

    def _read(self, parts: tuple[Part, ...], columns: list[str] | None = None) -> Iterator[tuple[Part, pa.Table]]:
        for part in parts:
            yield part, self.store.read_table(part.path, part.sha256, columns)


@dataclass(frozen=True)
class StoredFeatures:
    """(n, d) float32 features of a pool in the store: `features[first:stop]` reads the parts that hold these rows.

    Attributes:
        stored: the region table.
        dimension: d.
    """

    stored: StoredTable
    dimension: int

    @property
    def shape(self) -> tuple[int, int]:
        """n and d."""
        return self.stored.n_regions, self.dimension

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """(m, d) float32 of rows `first:stop`; raises as `StoredTable.columns`."""
        first, stop, _ = rows.indices(self.stored.n_regions)
        found = np.empty((max(stop - first, 0), self.dimension), np.float32)
        parts = tuple(part for part in self.stored.parts if part.first < stop and part.stop > first)
        for part, table in self.stored._read(parts, ["region_id", "feature"]):
            _, features = columns_of(table, part.stop, part.first)
            assert features is not None
            low, high = max(part.first, first), min(part.stop, stop)
            found[low - first : high - first] = features[low - part.first : high - part.first]
        return found
